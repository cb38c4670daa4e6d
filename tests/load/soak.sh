#!/usr/bin/env bash
# Runs a node under trouble for a while and says whether it stays as it is: 50 streaming devices with a viewer each, half of
# them over UDP and half over TCP, devices that die and come back, and viewers and media connections that are cut.
#
#   tests/load/soak.sh GANTRY [SECONDS] [SEED]      (1200, 1; GANTRY: a release build)
#
# It fails when, after the first two minutes, memory or file descriptors grow by more than 5 %, when a defect was caught
# (gantry_panics_total), when the node dies, or when fewer than nine of ten viewers have a picture at the end.
# What is kept of the past has bounds with tests of their own, and is filled before memory is first looked at, so that what
# grows after that is a leak: the log of SIP messages is kept small, and as many sessions come and go as are remembered.
# DEVICES=50 and CREWS=10 (processes that share them) may be set. The samples stay in SOAK_LOG, if that is set.
set -euo pipefail
gantry=${1:?usage: soak.sh GANTRY [SECONDS] [SEED]}
seconds=${2:-1200}
RANDOM=${3:-1}
devices=${DEVICES:-50}
crews=${CREWS:-10}
warm=$((seconds > 240 ? 120 : seconds / 2))
work=$(mktemp -d)
log=${SOAK_LOG:-$work/samples}
node= visitors=
declare -a crew_pid viewer_pid

finish() {
  local pid
  for pid in ${viewer_pid[@]+"${viewer_pid[@]}"} ${crew_pid[@]+"${crew_pid[@]}"} $visitors $node; do
    kill "$pid" 2>/dev/null || true
  done
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap finish EXIT

GANTRY_HTTP_LISTEN=127.0.0.1:0 GANTRY_HTTP_TLS_LISTEN='' GANTRY_SIP_TLS_LISTEN='' GANTRY_WEBRTC_LISTEN=127.0.0.1:0 GANTRY_MEDIA_RTP_PORT=0 \
GANTRY_SIP_LISTEN=127.0.0.1:0 GANTRY_SIP_DEVICE_PASSWORD=12345678 GANTRY_HTTP_OPEN_MEDIA=true \
GANTRY_LOG_FORMAT=json GANTRY_LOG_FILTER=error,gantry::app=info GANTRY_SIP_LOG_BYTES=1048576 \
  "$gantry" serve --data "$work/data" >/dev/null 2>"$work/log" &
node=$!
sip= http=
for _ in $(seq 300); do
  sip=$(sed -n 's/.*"sip":"\(127.0.0.1:[0-9]*\)".*/\1/p' "$work/log")
  http=$(sed -n 's/.*"http_addr":"[^0-9]*\(127.0.0.1:[0-9]*\).*/\1/p' "$work/log")
  [[ -z $sip || -z $http ]] || break
  sleep 0.1
done
[[ -n $sip && -n $http ]] || { cat "$work/log" >&2; exit 1; }

# The devices of a crew live in one process. Every second crew refuses UDP, so its media comes over TCP.
each=$((devices / crews))
start_crew() { # number
  local quirk=none
  (($1 % 2 == 0)) || quirk=tcp-only
  "$gantry" simulate --count "$each" --server "$sip" --password 12345678 --keepalive 10 --quirk "$quirk" --channels 1 \
    --codec mixed --id-base "$(printf '34020000001320%06d' $(($1 * each + 1)))" >/dev/null 2>&1 &
  crew_pid[$1]=$!
  # A crew that is killed is not to be reported by the shell.
  disown "$!"
}

# A viewer that comes back whenever its stream ends, as a page does. What it got is appended to its file, one line a visit.
view() { # number
  local url child=
  url=$(printf 'http://%s/live/PU_34020000001320%06d/0.flv' "$http" $(($1 + 1)))
  trap 'kill $child 2>/dev/null; exit 0' TERM
  while true; do
    curl -s -o /dev/null --connect-timeout 5 -w '%{http_code} %{size_download}\n' "$url" >>"$work/viewer-$1" &
    child=$!
    echo "$child" >"$work/curl-$1"
    wait "$child" || true
    sleep 1
  done
}

metric() { curl -s "http://$http/metrics" | awk -v name="$1" 'index($1, name) == 1 { n += $2 } END { printf "%d", n }'; }
rss_kb() { awk '/^VmRSS/ { print $2 }' "/proc/$node/status"; }
fds() { ls "/proc/$node/fd" | wc -l; }

for ((n = 0; n < crews; n++)); do start_crew "$n"; done
for ((n = 0; n < devices; n++)); do view "$n" 2>/dev/null & viewer_pid[$n]=$!; done

# More than limits::SESSIONS_CLOSED_MAX short visits in the first two minutes, once there is something to visit.
visits() {
  local round n
  while (($(metric 'gantry_devices{state="online"}') * 10 < devices * 9)); do
    sleep 0.5
  done
  for ((round = 0; round * devices < 1100; round++)); do
    for ((n = 0; n < devices; n++)); do
      curl -s -o /dev/null -m 1 "$(printf 'http://%s/live/PU_34020000001320%06d/0.flv' "$http" $((n + 1)))" &
    done
    wait
  done
}
visits 2>/dev/null &
visitors=$!

began=$SECONDS
restarts=0 cuts=0
declare -A back_at
: >"$log"
while ((SECONDS - began < seconds)); do
  sleep 1
  kill -0 "$node" 2>/dev/null || { echo "the node died:" >&2; tail -n 20 "$work/log" >&2; exit 1; }
  at=$((SECONDS - began))
  for n in "${!back_at[@]}"; do
    if ((at >= back_at[$n])); then
      start_crew "$n"
      unset "back_at[$n]"
    fi
  done
  # In the last half minute nothing new goes wrong, so that everybody can be back.
  if ((at < seconds - 30)); then
    if ((RANDOM % 8 == 0)); then
      n=$((RANDOM % crews))
      if [[ -z ${back_at[$n]:-} ]]; then
        # Half of them say goodbye; of the others the connections are cut.
        signal=TERM
        ((RANDOM % 2 == 0)) || signal=KILL
        kill -"$signal" "${crew_pid[$n]}" 2>/dev/null || true
        back_at[$n]=$((at + 2 + RANDOM % 10))
        restarts=$((restarts + 1))
      fi
    fi
    if ((RANDOM % 3 == 0)); then
      n=$((RANDOM % devices))
      kill -KILL "$(cat "$work/curl-$n")" 2>/dev/null || true
      cuts=$((cuts + 1))
    fi
  fi
  echo "$at $(rss_kb) $(fds)" >>"$log"
done

streams=$(metric gantry_streams)
panics=$(metric gantry_panics_total)
watching=0
for ((n = 0; n < devices; n++)); do
  child=$(cat "$work/curl-$n" 2>/dev/null || true)
  # A viewer whose visit goes on, and who was given something.
  [[ -n $child && -e /proc/$child/io ]] || continue
  (($(awk '/^wchar/ { print $2 }' "/proc/$child/io") > 200000)) && watching=$((watching + 1))
done
mean() { awk -v from="$2" -v to="$3" -v column="$1" '$1 > from && $1 <= to { n += $column; c++ } END { printf "%.0f", c ? n / c : 0 }' "$log"; }
window=$(((seconds - warm) / 2 < 60 ? (seconds - warm) / 2 : 60))
rss0=$(mean 2 "$warm" $((warm + window))) rss1=$(mean 2 $((seconds - window)) "$seconds")
fds0=$(mean 3 "$warm" $((warm + window))) fds1=$(mean 3 $((seconds - window)) "$seconds")
printf '{"seconds":%d,"devices":%d,"restarts":%d,"cuts":%d,"streams":%d,"watching":%d,"panics":%d,"rss_kb":[%d,%d],"fds":[%d,%d]}\n' \
  "$seconds" "$devices" "$restarts" "$cuts" "$streams" "$watching" "$panics" "$rss0" "$rss1" "$fds0" "$fds1"
bad=0
fail() { echo "FAILED: $1" >&2; bad=1; }
((panics == 0)) || fail "defects were caught"
((watching * 10 >= devices * 9)) || fail "only $watching of $devices viewers have a picture"
((rss1 * 100 <= rss0 * 105)) || fail "memory grew from $rss0 kB to $rss1 kB"
((fds1 * 100 <= fds0 * 105 + 400)) || fail "file descriptors grew from $fds0 to $fds1"
exit "$bad"
