#!/bin/sh
# The main job, shown on a simulated OpenCode server: several turns, through cuts of the stream and a restart of the
# server. Ends by itself, with a table of what happened. Needs no key and no account.
#   sh apps/demo.sh [--seconds N] [--replace-boost]
# --seconds N: go round again until N seconds are over (default: one round, well under a minute).
set -eu
cd "$(dirname "$0")/.."
. apps/setup.sh

seconds=0
while [ $# -gt 0 ]; do
  case $1 in
    --seconds) [ $# -gt 1 ] || { echo "holdfast: --seconds wants a number" >&2; exit 2; }; seconds=$2; shift 2 ;;
    --replace-boost) replace_boost=yes; shift ;;
    -h|--help) sed -n '2,5s/^# \{0,1\}//p' apps/demo.sh; exit 0 ;;
    *) echo "holdfast: unknown option $1" >&2; exit 2 ;;
  esac
done
case $seconds in *[!0-9]*|'') echo "holdfast: --seconds wants a number" >&2; exit 2 ;; esac

# shellcheck disable=SC2086
need_packages $build_packages
say "build: the holdfast command, optimised (a few minutes the first time)"
scratch=$(mktemp -d)
server=
cleanup() {
  [ -z "$server" ] || kill "$server" 2>/dev/null || true
  rm -rf "$scratch"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

{ cmake --preset release -B build/demo -DHOLDFAST_BUILD_TESTS=OFF && cmake --build build/demo --target holdfast -j "$jobs"; } \
  > "$scratch/build" 2>&1 || { cat "$scratch/build"; die "the build failed"; }
bin=build/demo/bin/holdfast

start_server() { # faults...
  [ -z "$server" ] || { kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; }
  : > "$scratch/sim"
  "$bin" sim --listen 127.0.0.1:0 --pace 40 "$@" > "$scratch/sim" &
  server=$!
  tries=0
  until url=$(sed -n 's/^opencode server listening on //p' "$scratch/sim") && [ -n "$url" ]; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || die "the simulated server did not start"
    sleep 0.05
  done
}

turn() { # what-it-shows expected-outcome prompt [options...]
  what=$1 expected=$2 prompt=$3
  shift 3
  printf '\n-- %s\n' "$what"
  begun=$(date +%s)
  "$bin" run --server "$url" --log-level error --base-delay 250ms --turn-timeout 30s "$@" "$prompt" \
    2>/dev/null < /dev/null | tee "$scratch/turn" || true
  outcome=$(sed -n 's/^= \([a-z]*\).*/\1/p' "$scratch/turn" | tail -n 1)
  settled=$(grep -c '^= ' "$scratch/turn" || true)
  broken=$(grep -c 'next try in' "$scratch/turn" || true)
  verdict=as-it-should
  [ "$outcome" = "$expected" ] && [ "$settled" = 1 ] || { verdict=WRONG; wrong=$((wrong + 1)); }
  printf '%-44s %-10s %8s %7s %5ss  %s\n' "$what" "${outcome:-none}" "$settled" "$broken" "$(($(date +%s) - begun))" \
    "$verdict" >> "$scratch/table"
}

round() {
  start_server
  turn "a plain answer" completed "Say hello. #plain"
  turn "a tool, asked for and allowed" completed "Run it. #ask" --permissions allow
  turn "a model that fails once" completed "Try. #retry"
  start_server --fault 'cut@6000'
  turn "the stream cut in mid-answer" completed "Count. #slow:60"
  start_server --fault 'stall@6000'
  turn "the stream silent in mid-answer" completed "Count. #slow:60" --stall-timeout 2s
  start_server --fault 'restart@9000'
  turn "the server restarted in mid-answer" lost "Count. #slow:100"
  turn "the next prompt after that" completed "And now? #plain"
}

wrong=0
: > "$scratch/table"
end=$(($(date +%s) + seconds))
round
while [ "$(date +%s)" -lt "$end" ]; do round; done

printf '\n%-44s %-10s %8s %7s %6s\n' "what happened" "outcome" "settled" "breaks" "took"
cat "$scratch/table"
[ "$wrong" = 0 ] || die "$wrong turns did not end as they should"
printf '\nEvery turn was settled once, and truly.\n'
