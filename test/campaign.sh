#!/bin/sh
# Turns on a real OpenCode server while it, and the way to it, are cut, killed, stopped and disposed of.
#   sh test/campaign.sh [TURNS] [--seed N] [--verbose]
# Ends with a table, and with exit code 1 when a turn was told wrongly, twice, late or not at all. Needs the OpenCode
# binary: sh test/run.sh --setup.
set -eu
case ${1:-} in -h|--help) sed -n '2,5s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
cd "$(dirname "$0")/.."
cmake --preset release >/dev/null
cmake --build --preset release --target long-campaign
exec build/release/bin/long-campaign "$@"
