#!/bin/sh
# Which lines of lib/ the unit tests run, and how many branches; fails below the bounds, naming the lines missing.
#   sh test/coverage.sh [--setup] [--replace-boost] [--of BUILD]
# Rooms that do no input or output: every line. All of lib/: 90 % of the lines. Branches are only told.
# --setup: only install what is needed. --of: count what the unit tests of that build folder, configured with
# HOLDFAST_COVERAGE, have run, and build nothing. What is counted is kept in coverage.json of the build folder.
set -eu
cd "$(dirname "$0")/.."
. apps/setup.sh

setup_only=no
build=
while [ $# -gt 0 ]; do
  case $1 in
    --setup) setup_only=yes; shift ;;
    --replace-boost) replace_boost=yes; shift ;;
    --of) build=${2:?--of needs a build folder}; shift 2 ;;
    -h|--help) sed -n '2,6s/^# \{0,1\}//p' test/coverage.sh; exit 0 ;;
    *) echo "holdfast: unknown option $1" >&2; exit 2 ;;
  esac
done

# shellcheck disable=SC2086
need_packages $build_packages $test_packages gcovr python3
[ "$setup_only" = no ] || { say "set up"; exit 0; }

if [ -z "$build" ]; then
  build=build/coverage
  say "build: the unit tests, counting lines"
  cmake --preset coverage -DHOLDFAST_WERROR=ON >/dev/null
  cmake --build "$build" -j "$jobs" --target unit-tests >"$build/build.log" || { cat "$build/build.log"; die "the build failed"; }
  find "$build" -name '*.gcda' -exec rm -f {} +
  say "test: unit tests"
  ctest --test-dir "$build" -L unit -j "$jobs" --output-on-failure >"$build/ctest.log" ||
    { cat "$build/ctest.log"; die "the unit tests fail"; }
fi

say "count: the lines that the unit tests ran"
gcovr --root . --filter 'lib/' --exclude-throw-branches --exclude-unreachable-branches -j "$jobs" \
  --json "$build/coverage.json" "$build"
python3 -B test/support/coverage.py "$build/coverage.json"
