"""Sends one message over HTTP, with Python's own library: python3 send.py http://127.0.0.1:3004 user_123 sub_456

API_KEY is the key that `socketbridge key` printed, where the bridge asks for one.
"""
import json
import os
import sys
import time
import urllib.error
import urllib.request

url, user, submission = sys.argv[1:]
body = {"userId": user, "topic": "evaluationComplete", "submissionId": submission, "status": "ACCEPTED"}
headers = {"Content-Type": "application/json"}
if os.environ.get("API_KEY"):
    headers["X-API-Key"] = os.environ["API_KEY"]
request = urllib.request.Request(url + "/sendPayload?queue=true", json.dumps(body).encode(), headers)

wait = 0.5
while True:
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            print(answer.status, answer.read().decode())  # 200 a page took it, 202 it waits for one
            break
    except urllib.error.HTTPError as err:
        if err.code not in (429, 503):  # 504 is stored: a retry would be a second message
            sys.exit(f"{err.code} {err.read().decode()}")
        time.sleep(float(err.headers.get("Retry-After") or wait))
    except urllib.error.URLError as err:
        if not isinstance(err.reason, ConnectionRefusedError):  # others may have been sent
            raise
        time.sleep(wait)
    wait = min(2 * wait, 10)
