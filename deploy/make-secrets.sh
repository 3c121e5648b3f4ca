#!/bin/sh
# Makes the secrets of docker-compose.yml: deploy/make-secrets.sh [DIRECTORY]
#
# The directory, deploy/secrets without an argument, must not exist: secrets in use are
# never replaced. Only its owner can list it; the files are readable, because the
# containers that they are mounted into run as other users.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
dir=${1:-$here/secrets}

if [ -e "$dir" ]; then
	echo "$dir exists: its secrets may be in use" >&2
	exit 1
fi
umask 022
new=$(mktemp -d "$dir.XXXXXX") # complete, or not there
trap 'rm -rf "$new"' EXIT

random() { od -An -N 24 -t x1 /dev/urandom | tr -d ' \n'; }
sha256() { printf %s "$1" | sha256sum | cut -d ' ' -f 1; }
write() { printf '%s\n' "$2" >"$new/$1"; }

bridge=$(random) publisher=$(random) operator=$(random)
write nats-bridge-password "$bridge"
write nats-publisher-password "$publisher"
write nats-operator-password "$operator"
write nats-passwords.conf "BRIDGE_PASSWORD: \"$bridge\"
PUBLISHER_PASSWORD: \"$publisher\"
OPERATOR_PASSWORD: \"$operator\""

bridge=$(random) operator=$(random)
write redis-bridge-password "$bridge"
write redis-operator-password "$operator"
sed -e "s/BRIDGE_PASSWORD_SHA256/$(sha256 "$bridge")/" -e "s/OPERATOR_PASSWORD_SHA256/$(sha256 "$operator")/" \
	"$here/redis/users.acl" >"$new/redis-users.acl"

# The bridge keeps hashes of keys; the keys themselves are for those who call it.
api=sbk_$(random) ops=sbk_$(random)
write api-key "$api"
write ops-key "$ops"
write bridge.env "AUTH_API_KEYS=backend:$(sha256 "$api")
OPS_KEYS=operator:$(sha256 "$ops")"

# Signs the tokens of users: the issuer has the same secret.
write auth-secrets "main:$(random)$(random)"

mv "$new" "$dir"
trap - EXIT
echo "made $dir"
