#!/bin/sh
# Fifty sessions that prompt without a rest on simulated servers, under random faults.
#   sh test/soak.sh [MINUTES] [--seed N] [--sessions N]
# Ends with a table, and with exit code 1 when a turn was wrong or anything grew; what grew is judged from 10 minutes on.
# HOLDFAST_BUILD is another build folder than build/release.
set -eu
case ${1:-} in -h|--help) sed -n '2,5s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
cd "$(dirname "$0")/.."
build=${HOLDFAST_BUILD:-build/release}
cmake --preset release -B "$build" >/dev/null
cmake --build "$build" --target long-soak
exec "$build/bin/long-soak" "$@"
