#!/usr/bin/env bash
# Holds every call of /openapi.json against its description: no 5xx, no answer outside its schema.
#   tests/api/schemathesis.sh [BINARY] [EXAMPLES AN OPERATION]
# Starts a node of its own on free ports of the loopback with two simulated recorders, and installs schemathesis in a venv
# under the target folder. Media and upgrades to WebSocket are left out: they are no JSON.
set -euo pipefail
here=$(cd "$(dirname "$0")/../.." && pwd)
target=$(realpath -m "${CARGO_TARGET_DIR:-$here/target}")
binary=$(realpath "${1:-$target/debug/gantry}")
examples=${2:-200}
venv=$target/schemathesis
[ -x "$venv/bin/schemathesis" ] || { python3 -m venv "$venv"; "$venv/bin/pip" -q install 'schemathesis>=4,<5'; }

work=$(mktemp -d)
node= devices=
finish() {
  [ -z "$devices" ] || kill "$devices" 2>/dev/null || true
  [ -z "$node" ] || kill "$node" 2>/dev/null || true
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT

export GANTRY_HTTP_LISTEN=127.0.0.1:0 GANTRY_HTTP_TLS_LISTEN= GANTRY_SIP_LISTEN=127.0.0.1:0 GANTRY_MEDIA_RTP_PORT=0
export GANTRY_SIP_TLS_LISTEN=127.0.0.1:0
export GANTRY_WEBRTC_LISTEN=127.0.0.1:0 GANTRY_SIP_DEVICE_PASSWORD=12345678 GANTRY_LOG_FORMAT=json
export GANTRY_ADMIN_PASSWORD='a password of the tests' GANTRY_SIMULATE_PASSWORD=12345678
"$binary" serve --data "$work/data" 2>"$work/log" >/dev/null & node=$!
for _ in $(seq 300); do grep -q '"node started"' "$work/log" && break; sleep 0.2; done
fact() { grep '"node started"' "$work/log" | python3 -c "import json,sys; print(json.loads(sys.stdin.readline())['fields']['$1'])"; }
http=$(fact http_addr) sip=$(fact sip)
"$binary" simulate --count 2 --channels 3 --id-base 34020000001110000001 --server "$sip" --media none --driving 2>/dev/null & devices=$!
token() { curl -s "http://$http/bvcsp/v1/auth/login" -d '{"username":"admin","password":"a password of the tests"}' | python3 -c 'import json,sys; print(json.load(sys.stdin)["data"]["token"])'; }

# It leaves a folder of its own behind where it runs.
cd "$work"
# Logins, logouts and passwords would end the run; lists of who may come in would empty it.
"$venv/bin/schemathesis" run "http://$http/openapi.json" --header "Authorization: $(token)" \
  --max-examples "$examples" --phases examples,fuzzing --checks not_a_server_error,response_schema_conformance,content_type_conformance,status_code_conformance \
  --exclude-path-regex '/auth/(login|logout|password)|/bwlist/config|/live/|/whep/|/ws/|sip.pcap|/metrics' \
  --suppress-health-check all --request-timeout 30 --workers 4 --no-color ${SCHEMATHESIS_ARGUMENTS:-} | tee "$target/schemathesis.txt"
