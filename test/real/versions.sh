#!/bin/sh
# The tests of turns and outages on other versions of the OpenCode server, each an npm package in the user's cache
# folder, outside the source tree.
#   sh test/real/versions.sh [--global-stream] [VERSION...]
# Prints a table: of each group of cases how many passed, and the names of those that did not. Exit code 1 when any
# failed. --global-stream: hold every server by its /global/event; those before 1.15 always are. HOLDFAST_BUILD is another
# build folder than build/release.
set -eu
cd "$(dirname "$0")/../.."
cache=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/holdfast/opencode
build=${HOLDFAST_BUILD:-build/release}
bin=$build/bin
logs=${TMPDIR:-/tmp}/holdfast-versions.$$

while [ $# -gt 0 ]; do
  case $1 in
    --global-stream) export HOLDFAST_TEST_GLOBAL_STREAM=1; shift ;;
    -h|--help) sed -n '2,7s/^# \{0,1\}//p' test/real/versions.sh; exit 0 ;;
    -*) echo "holdfast: unknown option $1" >&2; exit 2 ;;
    *) break ;;
  esac
done
newest() { npm view opencode-linux-x64 versions --json | grep -o '"1\.[0-9]*\.[0-9]*"' | tr -d '"' | sort -V | tail -1; }
[ $# -gt 0 ] || set -- 1.14.48 1.15.13 1.17.19 1.18.3 "$(newest)"

cmake --preset release -B "$build" >/dev/null
cmake --build "$build" --target real-turns real-outages

install() {
  [ ! -x "$cache/$1/node_modules/opencode-linux-x64/bin/opencode" ] || return 0
  mkdir -p "$cache/$1"
  npm install --prefix "$cache/$1" --ignore-scripts --no-audit --no-fund --silent "opencode-linux-x64@$1"
}

# The names of the cases that a log tells to have failed.
failed() { sed -n 's/.*error: in "\([^"]*\)".*/\1/p' "$1" | sort -u; }

mkdir -p "$logs"
any_failed=no
table="| version | cases | passed | failed |\n|---|---|---|---|\n"
for version in "$@"; do
  install "$version"
  global=${HOLDFAST_TEST_GLOBAL_STREAM-}
  case $version in 1.[0-9].*|1.1[0-4].*) global=1 ;; esac # their /event ends at once
  for group in turns outages; do
    log=$logs/$group-$version.log
    env ${global:+HOLDFAST_TEST_GLOBAL_STREAM=1} HOLDFAST_OPENCODE=$cache/$version/node_modules/opencode-linux-x64/bin/opencode \
      "$bin/real-$group" --color_output=no --log_level=message >"$log" 2>&1 || any_failed=yes
    all=$("$bin/real-$group" --list_content 2>&1 | grep -c '\*$' || true)
    names=$(failed "$log" | tr '\n' ' ')
    count=$(failed "$log" | grep -c . || true)
    # A server that holdfast will not hold ends the program before its first case.
    grep -q '^Running' "$log" && grep -q 'events of' "$log" || { names="refused: $(grep -m1 -o 'unsupported.*\|no session.*' "$log")"; count=$all; }
    echo "$version $group: $((all - count)) of $all passed" >&2
    table="$table| $version | $group | $((all - count)) | $names |\n"
  done
done
printf "%b" "$table"
echo "what each said: $logs" >&2
[ $any_failed = no ]
