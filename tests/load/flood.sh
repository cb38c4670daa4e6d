#!/usr/bin/env bash
# A flood of rubbish at the SIP port of a node with ten registered devices and a stream that plays: what
# tests/integration/flood.rs asserts, as long and as hard as a node has to stand.
#
#   tests/load/flood.sh GANTRY [SECONDS] [PER_SECOND]        (10, 50000; GANTRY: a release build)
#
# It fails when fewer datagrams were sent, or a picture is missing at the viewer.
set -euo pipefail
gantry=${1:?usage: flood.sh GANTRY [SECONDS] [PER_SECOND]}
export GANTRY_TEST_BINARY=$(realpath "$gantry") GANTRY_FLOOD_SECONDS=${2:-10} GANTRY_FLOOD_PER_S=${3:-50000}
cd "$(dirname "$0")/../.."
cargo test --quiet --test integration -- --nocapture flood::
