#!/bin/sh
# Sends one message with curl: send.sh http://127.0.0.1:3004 user_123 sub_456. API_KEY where the bridge asks for one.
# Exit status 22 and the error's JSON when it was refused. No --retry: curl repeats 504 as well, which is stored.
exec curl --silent --show-error --fail-with-body --max-time 10 \
	-H 'Content-Type: application/json' ${API_KEY:+-H "X-API-Key: $API_KEY"} \
	-d "{\"userId\":\"$2\",\"topic\":\"evaluationComplete\",\"submissionId\":\"$3\",\"status\":\"ACCEPTED\"}" \
	"$1/sendPayload?queue=true"
