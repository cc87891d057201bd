#!/bin/sh
# Fifty sessions that prompt without a rest on simulated servers, under random faults.
#   sh test/soak.sh [MINUTES] [--seed N] [--sessions N]
# Ends with a table, and with exit code 1 when a turn was wrong or anything grew.
set -eu
case ${1:-} in -h|--help) sed -n '2,4s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
cd "$(dirname "$0")/.."
cmake --preset release >/dev/null
cmake --build --preset release --target long-soak
exec build/release/bin/long-soak "$@"
