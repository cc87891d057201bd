#!/bin/sh
# Many sessions on many simulated servers, of which some die under way.
#   sh test/load.sh [streams|captures] [--short] [--servers N] [--sessions N] [--seconds N] ...
# streams: 500 sessions with turns on 50 servers. captures: 2,000 that are looked at now and then, on 20. Each ends with a
# table, and with exit code 1 when a bound is broken. HOLDFAST_BUILD is another build folder than build/release.
set -eu
case ${1:-} in -h|--help) sed -n '2,5s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
cd "$(dirname "$0")/.."
build=${HOLDFAST_BUILD:-build/release}
cmake --preset release -B "$build" >/dev/null
cmake --build "$build" --target holdfast-load-test
exec "$build/bin/holdfast-load-test" "$@"
