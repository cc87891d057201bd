#!/bin/sh
# Fuzzes for some time, beginning with the corpus in the tree.
#   sh test/fuzz/run.sh SECONDS [TARGET...]
# Each target runs for SECONDS, as many at a time as there are cores. New inputs go to build/fuzz/corpus/TARGET, what breaks a rule to
# build/fuzz/findings/TARGET; the exit status is 1 when there is such a thing. Without clang 19 this says so and does nothing.
# HOLDFAST_FUZZ_DIR is another folder than build/fuzz.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
build=${HOLDFAST_FUZZ_DIR:-build/fuzz}

say() { printf '== %s\n' "$*"; }
figure() { sed -n "s/^stat::$1: *//p" "$2"; }

fuzz_one() { # SECONDS TARGET
  dict=
  [ ! -f "$here/dict/$2.dict" ] || dict=-dict=$here/dict/$2.dict
  findings=$build/findings/$2
  log=$build/log/$2
  mkdir -p "$build/corpus/$2" "$findings" "$build/log"
  status=0
  "$build/bin/fuzz-$2" -max_total_time="$1" -max_len=4096 -timeout=60 -rss_limit_mb=2048 -malloc_limit_mb=1024 \
    ${dict:+"$dict"} -artifact_prefix="$findings/" -print_final_stats=1 "$build/corpus/$2" "$here/corpus/$2" >"$log" 2>&1 || status=$?
  if [ "$status" -ne 0 ]; then
    say "$2: FOUND something, kept in $findings:"
    sed -n '/BROKEN\|ERROR: \|runtime error\|Assertion/,/^$/p' "$log" | head -n 20
    return 1
  fi
  say "$2: held for $(figure number_of_executed_units "$log") runs, $(figure average_exec_per_sec "$log") a second," \
    "$(sed -n 's/^#.*DONE *\(cov: [0-9]* ft: [0-9]*\).*/\1/p' "$log")"
}

if [ "${1:-}" = --one ]; then
  shift
  fuzz_one "$@"
  exit
fi

case ${1:-} in
  -h|--help) sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 0 ;;
  ''|*[!0-9]*) sed -n '2,6s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
seconds=$1
shift

if ! printf 'extern "C" int LLVMFuzzerTestOneInput(const char*, unsigned long) { return 0; }' |
  clang++-19 -fsanitize=fuzzer,address,undefined -x c++ - -o /dev/null 2>/dev/null; then
  say "fuzz: no clang 19 with its runtime here (Debian: clang-19 libclang-rt-19-dev); nothing was fuzzed"
  exit 0
fi

jobs=$(nproc 2>/dev/null || echo 2)
say "fuzz: building with clang 19"
cmake --preset fuzz -B "$build" >/dev/null
cmake --build "$build" -j "$jobs" --target fuzz
[ $# -gt 0 ] || set -- $(cd "$here/corpus" && ls)
say "fuzz: $seconds seconds each: $*"
printf '%s\n' "$@" | xargs -P "$jobs" -n 1 sh "$here/run.sh" --one "$seconds" || exit 1
