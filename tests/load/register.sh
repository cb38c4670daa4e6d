#!/usr/bin/env bash
# Registers devices at a node with SIPp and says what each registration cost: processor time of the node (from the kernel's
# scheduler accounting), its memory per device, retransmissions and failures. The node is started here, on ports of its own.
#
#   tests/load/register.sh GANTRY [DEVICES] [PER_SECOND]        (20000, 2000; GANTRY: a release build)
set -euo pipefail
gantry=${1:?usage: register.sh GANTRY [DEVICES] [PER_SECOND]}
devices=${2:-20000}
rate=${3:-2000}
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
node=
trap '[[ -z $node ]] || kill "$node" 2>/dev/null || true; rm -rf "$work"' EXIT

{ echo SEQUENTIAL; for ((i = 1; i <= devices; i++)); do
    id=$(printf '3402000000132%07d' "$i"); echo "$id;[authentication username=$id password=12345678]"; done; } >"$work/devices.csv"

GANTRY_HTTP_LISTEN=127.0.0.1:0 GANTRY_HTTP_TLS_LISTEN='' GANTRY_WEBRTC_LISTEN=127.0.0.1:0 GANTRY_MEDIA_RTP_PORT=0 \
GANTRY_SIP_LISTEN=127.0.0.1:0 GANTRY_SIP_DEVICE_PASSWORD=12345678 GANTRY_SIP_QUERY_ON_REGISTER=${QUERY:-false} \
GANTRY_LOG_FORMAT=json GANTRY_LOG_FILTER=warn,gantry::app=info \
  "$gantry" serve --data "$work/data" >/dev/null 2>"$work/log" &
node=$!
port=
for _ in $(seq 100); do
  port=$(sed -n 's/.*"sip":"127.0.0.1:\([0-9]*\)".*/\1/p' "$work/log")
  [[ -z $port ]] || break
  read -rt 0.1 <> <(:) || true
done
[[ -n $port ]] || { cat "$work/log" >&2; exit 1; }

cpu_ns() { cat /proc/"$node"/task/*/schedstat | awk '{ n += $1 } END { printf "%.0f", n }'; }
rss_kb() { awk '/^VmRSS/ { print $2 }' /proc/"$node"/status; }

cpu0=$(cpu_ns)
rss0=$(rss_kb)
(cd "$work" && sipp "127.0.0.1:$port" -sf "$here/register.xml" -inf devices.csv -m "$devices" -r "$rate" -l 20000 \
  -i 127.0.0.1 -nostdin -trace_stat -stf stat.csv -fd 1 -timeout 60 >sipp.out 2>&1) || true
cpu1=$(cpu_ns)
# What the database writes behind counts too.
for _ in $(seq 30); do read -rt 0.1 <> <(:) || true; done
cpu2=$(cpu_ns)
rss1=$(rss_kb)
column() { awk -F';' -v name="$1" 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == name) at = i } END { print $at }' "$work/stat.csv"; }
printf '{"devices":%d,"per_s":%d,"ok":%s,"failed":%s,"retransmissions":%s,"cpu_us":%.1f,"cpu_with_store_us":%.1f,"bytes_per_device":%.0f}\n' \
  "$devices" "$rate" "$(column 'SuccessfulCall(C)')" "$(column 'FailedCall(C)')" "$(column 'Retransmissions(C)')" \
  "$(awk "BEGIN { print ($cpu1 - $cpu0) / $devices / 1000 }")" "$(awk "BEGIN { print ($cpu2 - $cpu0) / $devices / 1000 }")" \
  "$(awk "BEGIN { print ($rss1 - $rss0) * 1024 / $devices }")"
