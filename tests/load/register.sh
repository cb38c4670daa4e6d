#!/usr/bin/env bash
# Registers devices at a node with SIPp and says what each registration cost: processor time of the node (from the kernel's
# scheduler accounting), its memory per device, retransmissions and failures. The node is started here, on ports of its own.
#
#   tests/load/register.sh GANTRY [DEVICES] [PER_SECOND]        (20000, 2000; GANTRY: a release build)
#
# From the environment: QUERY=true = each device is also asked for its channels; SIP_LOG=BYTES = memory for the log of SIP
# messages, which all devices share (0 here, so that the memory is the devices' own); EMPTY=true = first the same against a
# SIPp that only answers, whose retransmissions are what the tools themselves lose on this machine; KEEPALIVE=SECONDS = then so
# long 3,000 keepalives a second of the registered devices.
#
# It fails when a registration failed; and for the keepalives, when one failed or was not sent, when one in a hundred waited
# longer than 20 ms for its answer, or when they took a whole core of the node.
set -euo pipefail
gantry=${1:?usage: register.sh GANTRY [DEVICES] [PER_SECOND]}
devices=${2:-20000}
rate=${3:-2000}
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
node=
empty=
trap 'for pid in $node $empty; do kill "$pid" 2>/dev/null || true; done; rm -rf "$work"' EXIT

awk -v n="$devices" 'BEGIN { print "SEQUENTIAL"; for (i = 1; i <= n; i++) {
  id = sprintf("3402000000132%07d", i); printf "%s;[authentication username=%s password=12345678]\n", id, id } }' >"$work/devices.csv"

GANTRY_HTTP_LISTEN=127.0.0.1:0 GANTRY_HTTP_TLS_LISTEN='' GANTRY_SIP_TLS_LISTEN='' GANTRY_WEBRTC_LISTEN=127.0.0.1:0 GANTRY_MEDIA_RTP_PORT=0 \
GANTRY_SIP_LISTEN=127.0.0.1:0 GANTRY_SIP_DEVICE_PASSWORD=12345678 GANTRY_SIP_QUERY_ON_REGISTER=${QUERY:-false} \
GANTRY_SIP_LOG_BYTES=${SIP_LOG:-0} GANTRY_LOG_FORMAT=json GANTRY_LOG_FILTER=warn,gantry::app=info \
  "$gantry" serve --data "$work/data" >/dev/null 2>"$work/log" &
node=$!
port=
for _ in $(seq 100); do
  port=$(sed -n 's/.*"sip":"127.0.0.1:\([0-9]*\)".*/\1/p' "$work/log")
  [[ -z $port ]] || break
  read -rt 0.1 <> <(:) || true
done
[[ -n $port ]] || { cat "$work/log" >&2; exit 1; }

column() { awk -F';' -v name="$2" 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == name) at = i } END { print $at }' "$work/$1.csv"; }
register() { # port statistics
  (cd "$work" && sipp "127.0.0.1:$1" -sf "$here/register.xml" -inf devices.csv -m "$devices" -r "$rate" -l 20000 \
    -i 127.0.0.1 -nostdin -trace_stat -stf "$2.csv" -fd 1 -timeout 60 >"$2.out" 2>&1) || true
}

if [[ ${EMPTY:-false} == true ]]; then
  empty_port=$((port == 46060 ? 46062 : 46060))
  (cd "$work" && exec sipp -sf "$here/responder.xml" -i 127.0.0.1 -p "$empty_port" -nostdin >responder.out 2>&1) &
  empty=$!
  read -rt 1 <> <(:) || true
  register "$empty_port" empty
  kill "$empty" 2>/dev/null || true
  printf '{"empty_responder":{"ok":%s,"failed":%s,"retransmissions":%s}}\n' \
    "$(column empty 'SuccessfulCall(C)')" "$(column empty 'FailedCall(C)')" "$(column empty 'Retransmissions(C)')"
fi

cpu_ns() { cat /proc/"$node"/task/*/schedstat | awk '{ n += $1 } END { printf "%.0f", n }'; }
rss_kb() { awk '/^VmRSS/ { print $2 }' /proc/"$node"/status; }

cpu0=$(cpu_ns)
rss0=$(rss_kb)
register "$port" stat
cpu1=$(cpu_ns)
# What the database writes behind counts too.
for _ in $(seq 30); do read -rt 0.1 <> <(:) || true; done
cpu2=$(cpu_ns)
rss1=$(rss_kb)
printf '{"devices":%d,"per_s":%d,"ok":%s,"failed":%s,"retransmissions":%s,"cpu_us":%.1f,"cpu_with_store_us":%.1f,"bytes_per_device":%.0f}\n' \
  "$devices" "$rate" "$(column stat 'SuccessfulCall(C)')" "$(column stat 'FailedCall(C)')" "$(column stat 'Retransmissions(C)')" \
  "$(awk "BEGIN { print ($cpu1 - $cpu0) / $devices / 1000 }")" "$(awk "BEGIN { print ($cpu2 - $cpu0) / $devices / 1000 }")" \
  "$(awk "BEGIN { print ($rss1 - $rss0) * 1024 / $devices }")"
bad=0
fail() { echo "FAILED: $1" >&2; bad=1; }
[[ $(column stat 'SuccessfulCall(C)') == "$devices" ]] || fail "not every device is registered"

if [[ ${KEEPALIVE:-0} != 0 ]]; then
  began=$(date +%s%N)
  cpu0=$(cpu_ns)
  (cd "$work" && sipp "127.0.0.1:$port" -sf "$here/keepalive.xml" -inf devices.csv -m $((KEEPALIVE * 3000)) -r 3000 -l 20000 \
    -i 127.0.0.1 -nostdin -trace_stat -stf alive.csv -fd 1 -trace_rtt -rtt_freq 1000 -timeout $((KEEPALIVE + 30)) >alive.out 2>&1) || true
  cpu1=$(cpu_ns)
  took=$(($(date +%s%N) - began))
  read -r times p99 < <(cat "$work"/keepalive_*_rtt.csv | awk -F';' '$3 == "1" || $3 == "\"1\"" { print $2 }' | sort -n |
    awk '{ v[NR] = $1 } END { print NR, v[int(NR * 0.99)] + 0 }')
  core=$(awk "BEGIN { printf \"%.3f\", ($cpu1 - $cpu0) / $took }")
  printf '{"keepalives_ok":%s,"failed":%s,"retransmissions":%s,"per_s":%d,"p99_ms":%s,"core":%s}\n' "$(column alive 'SuccessfulCall(C)')" \
    "$(column alive 'FailedCall(C)')" "$(column alive 'Retransmissions(C)')" "$((KEEPALIVE * 3000 * 1000000000 / took))" "$p99" "$core"
  [[ $(column alive 'SuccessfulCall(C)') == $((KEEPALIVE * 3000)) ]] || fail "not every keepalive was answered"
  [[ $(column alive 'FailedCall(C)') == 0 ]] || fail "keepalives failed"
  ((took < (KEEPALIVE + 5) * 1000000000)) || fail "they came at less than 3,000 a second"
  # Without a single time of an answer there is nothing to judge.
  awk "BEGIN { exit !($times > 0 && $p99 < 20) }" || fail "one in a hundred waited $p99 ms"
  awk "BEGIN { exit !($core < 1) }" || fail "the node took $core of a core"
fi
exit "$bad"
