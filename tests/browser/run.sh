#!/usr/bin/env bash
# Starts a node with simulated cameras on ports that are free, runs run.mjs against it, and stops it.
#
#   tests/browser/run.sh [--release]
#
# Needs node (18 or later), npm and Chromium. Where one is missing: skipped, or failed if CI=true.
# From the environment: CHROMIUM, RUNS, LIMIT_FACTOR, OUT (see run.mjs), GANTRY (a program to use instead of building).
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)

skip() {
  if [[ ${CI:-} == true ]]; then
    echo "browser test: FAILED: $1" >&2
    exit 1
  fi
  echo "browser test: SKIPPED: $1"
  exit 0
}

find_chromium() {
  local name
  for name in chromium chromium-browser google-chrome google-chrome-stable; do
    command -v "$name" && return
  done
  return 1
}

command -v node >/dev/null || skip "node is not installed"
command -v npm >/dev/null || skip "npm is not installed"
CHROMIUM=${CHROMIUM:-$(find_chromium)} || skip "no Chromium is installed"
export CHROMIUM

if [[ ! -d $here/node_modules/playwright-core ]]; then
  (cd "$here" && npm ci --no-audit --no-fund --ignore-scripts --silent) || skip "npm could not install the test's packages"
fi

profile=()
folder=debug
if [[ ${1:-} == --release ]]; then
  profile=(--release)
  folder=release
fi
if [[ -z ${GANTRY:-} ]]; then
  (cd "$root" && cargo build --quiet --bin gantry "${profile[@]}")
  GANTRY=${CARGO_TARGET_DIR:-$root/target}/$folder/gantry
fi
# Some checks start a simulated device of their own.
export GANTRY
# A debug build shares two cores with the browser and four cameras; its figures only show that nothing hangs.
if [[ $folder == debug ]]; then export LIMIT_FACTOR=${LIMIT_FACTOR:-3}; fi

data=$(mktemp -d)
log=$data/node.log
ADMIN_PASSWORD=$(node -p 'require("node:crypto").randomBytes(12).toString("hex")')
export ADMIN_PASSWORD
DEVICE_PASSWORD=$(node -p 'require("node:crypto").randomBytes(12).toString("hex")')
export DEVICE_PASSWORD

# Port 0 everywhere: the node says in its log which ports it was given.
GANTRY_ADMIN_PASSWORD=$ADMIN_PASSWORD GANTRY_SIP_DEVICE_PASSWORD=$DEVICE_PASSWORD GANTRY_LOG_FORMAT=json \
GANTRY_HTTP_LISTEN=127.0.0.1:0 GANTRY_HTTP_TLS_LISTEN='' GANTRY_SIP_TLS_LISTEN='' GANTRY_SIP_LISTEN=127.0.0.1:0 \
GANTRY_WEBRTC_LISTEN=127.0.0.1:0 GANTRY_MEDIA_RTP_PORT=0 GANTRY_MEDIA_LINGER_S=0 \
  "$GANTRY" serve --demo --data "$data/node" >"$log" 2>&1 &
pid=$!

stop() {
  kill -TERM "$pid" 2>/dev/null || true
  local _
  for _ in {1..100}; do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  kill -KILL "$pid" 2>/dev/null || true
  rm -rf "$data"
}
trap stop EXIT

ready=
for _ in {1..150}; do
  if ! kill -0 "$pid" 2>/dev/null; then break; fi
  address=$(sed -n '/"node started"/s/.*"http_addr":"\([^"]*\)".*/\1/p' "$log")
  if [[ -n $address ]]; then
    export BASE_URL=http://$address
    SIP_ADDRESS=$(sed -n '/"node started"/s/.*"sip":"\([^"]*\)".*/\1/p' "$log")
    export SIP_ADDRESS
    if node -e 'fetch(process.argv[1]).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))' "$BASE_URL/healthz"; then
      ready=yes
      break
    fi
  fi
  sleep 0.2
done
if [[ -z $ready ]]; then
  echo "browser test: FAILED: the node did not become ready; its log:" >&2
  tail -n 50 "$log" >&2
  exit 1
fi

result=0
node "$here/run.mjs" || result=$?
if [[ $result != 0 ]]; then
  echo "--- the node's log, last lines ---" >&2
  tail -n 40 "$log" >&2
  exit "$result"
fi

# SIGTERM ends it within five seconds, with success.
kill -TERM "$pid"
for _ in {1..50}; do
  kill -0 "$pid" 2>/dev/null || break
  sleep 0.1
done
if kill -0 "$pid" 2>/dev/null; then
  echo "browser test: FAILED: the node still runs five seconds after SIGTERM" >&2
  exit 1
fi
wait "$pid" || { echo "browser test: FAILED: the node ended with $?" >&2; exit 1; }
echo "browser test: passed"
