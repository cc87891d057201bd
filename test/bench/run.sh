#!/bin/sh
# Measures how fast streams are read, and what the machine itself can do beside it.
#   sh test/bench/run.sh [options of Google Benchmark]
set -eu
case ${1:-} in -h|--help) sed -n '2,3s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
cd "$(dirname "$0")/../.."
. apps/setup.sh
# shellcheck disable=SC2086
need_packages $build_packages libboost-test1.81-dev libbenchmark-dev
cmake --preset release >/dev/null
cmake --build --preset release -j "$jobs" --target holdfast-bench
exec build/release/bin/holdfast-bench --benchmark_repetitions=5 --benchmark_report_aggregates_only=true "$@"
