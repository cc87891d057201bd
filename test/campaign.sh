#!/bin/sh
# Turns on a real OpenCode server while it, and the way to it, are cut, killed, stopped and disposed of.
#   sh test/campaign.sh [TURNS] [--seed N] [--verbose]
# Ends with a table, and with exit code 1 when a turn was told wrongly, twice, late or not at all. Needs the OpenCode
# binary: sh test/run.sh --setup. HOLDFAST_BUILD is another build folder than build/release.
set -eu
case ${1:-} in -h|--help) sed -n '2,5s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
cd "$(dirname "$0")/.."
build=${HOLDFAST_BUILD:-build/release}
cmake --preset release -B "$build" >/dev/null
cmake --build "$build" --target long-campaign
exec "$build/bin/long-campaign" "$@"
