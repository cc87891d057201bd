#!/bin/sh
# Whether the tests can fail: small changes to the rooms that do no input or output, each of which a test should notice.
#   sh test/mutate.sh [--seeds N] [--only ROOM] [--jobs J] [--limit N] [--sample S] [--retest] [--list] [--report]
# --seeds N: seeds of the simulation for what the unit tests let live (200; 0: none). --only ROOM: only files whose path
# contains this. --jobs J: mutants at a time (1). --limit N: how many (600; 0: all). --sample S: which ones; the same
# number gives the same mutants. --retest: only those that survived before, again. --list, --report: only that.
# What is known is kept in build/mutation/mutants/results.jsonl: a run that was stopped goes on where it was.
set -eu
cd "$(dirname "$0")/.."
. apps/setup.sh

case ${1-} in -h|--help) sed -n '2,7s/^# \{0,1\}//p' test/mutate.sh; exit 0 ;; esac

build=build/mutation
mutate() { python3 -B test/mutation/mutate.py "$@"; }

case " $* " in
  *" --list "*) mutate "$@"; exit ;;
  *" --report "*) mutate "$@" --build "$build"; exit ;;
esac

# shellcheck disable=SC2086
need_packages $build_packages $test_packages python3 mold
say "build: the tests, without any mutant"
cmake --preset mutation >/dev/null
programs=$(mutate "$@" --targets)
[ ! -f test/sim/CMakeLists.txt ] || programs="$programs holdfast-sim-test"
# shellcheck disable=SC2086
cmake --build "$build" -j "$jobs" --target $programs >/dev/null
say "mutants"
mutate "$@" --build "$build"
