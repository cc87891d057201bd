#!/bin/sh
# The main job, shown: three simulated OpenCode servers, of which one is steady, one cuts its streams and falls silent,
# and one is killed and comes back, with turns running on all of them, and `holdfast watch` on the three. Ends by itself,
# with the table of what there was, and checks that every turn was settled once. Needs no key and no account.
#   sh apps/demo.sh [--seconds N] [--replace-boost]
# --seconds N: for so long (default: 40).
set -eu
cd "$(dirname "$0")/.."
. apps/setup.sh

seconds=40
while [ $# -gt 0 ]; do
  case $1 in
    --seconds) [ $# -gt 1 ] || { echo "holdfast: --seconds wants a number" >&2; exit 2; }; seconds=$2; shift 2 ;;
    --replace-boost) replace_boost=yes; shift ;;
    -h|--help) sed -n '2,6s/^# \{0,1\}//p' apps/demo.sh; exit 0 ;;
    *) echo "holdfast: unknown option $1" >&2; exit 2 ;;
  esac
done
case $seconds in *[!0-9]*|'') echo "holdfast: --seconds wants a number" >&2; exit 2 ;; esac

# shellcheck disable=SC2086
need_packages $build_packages
say "build: the holdfast command, optimised (a few minutes the first time)"
scratch=$(mktemp -d)
started=
cleanup() {
  # shellcheck disable=SC2086
  [ -z "$started" ] || kill $started 2>/dev/null || true
  wait
  rm -rf "$scratch"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

{ cmake --preset release -B build/demo -DHOLDFAST_BUILD_TESTS=OFF && cmake --build build/demo --target holdfast -j "$jobs"; } \
  > "$scratch/build" 2>&1 || { cat "$scratch/build"; die "the build failed"; }
bin=build/demo/bin/holdfast

start_server() { # name faults...
  name=$1
  shift
  "$bin" sim --listen 127.0.0.1:0 --pace 40 "$@" > "$scratch/$name.sim" &
  started="$started $!"
  tries=0
  until url=$(sed -n 's/^opencode server listening on //p' "$scratch/$name.sim") && [ -n "$url" ]; do
    tries=$((tries + 1))
    [ $tries -lt 100 ] || die "the simulated server did not start"
    sleep 0.05
  done
}

# One turn: its settlements go to a file of its own.
turn() { # url expected prompt
  n=$((n + 1))
  "$bin" run --server "$1" --format ndjson --log-level error --base-delay 250ms --turn-timeout 30s --stall-timeout 3s \
    --permissions allow "$3" < /dev/null 2> /dev/null | grep '^{"settled"' > "$scratch/$who.$n.turn" || true
  printf '%s %s %s\n' "$2" "$(wc -l < "$scratch/$who.$n.turn")" "$(cat "$scratch/$who.$n.turn")" >> "$scratch/turns"
}

# Turn after turn at one server, until it is time. What is expected of each: a pattern.
keep_busy() { # who url prompt=expected...
  who=$1 url=$2 n=0
  shift 2
  while :; do
    for each in "$@"; do
      [ "$(date +%s)" -lt "$((end - 12))" ] || return 0
      turn "$url" "${each##*=}" "${each%=*}"
    done
  done
}

start_server steady
steady=$url
start_server cutting --fault 'cut@9000*' --fault 'stall@30000'
cutting=$url
start_server dying --fault 'restart@14000'
dying=$url

end=$(($(date +%s) + seconds))
: > "$scratch/turns"
keep_busy first "$steady" 'Say hello. #plain=completed' 'Run the tests. #ask:3000=completed' 'Try it. #retry=completed' &
workers=$!
keep_busy second "$cutting" 'Count to a hundred. #slow:100=completed' 'Think first. #reason=completed' &
workers="$workers $!"
keep_busy third "$dying" 'Count. #slow:120=completed|lost' 'Go on. #plain=completed|lost' &
workers="$workers $!"

{
  printf '{"servers": [{"url": "%s", "tag": "steady"}, {"url": "%s", "tag": "cutting"},' "$steady" "$cutting"
  printf ' {"url": "%s", "tag": "dying"}],\n "discover": true, "discover_every": "1s", "listen": "127.0.0.1:0", "for": "%ss"}\n' \
    "$dying" "$seconds"
} > "$scratch/watch.json"
watched=0
"$bin" watch --config "$scratch/watch.json" || watched=$?
# shellcheck disable=SC2086
wait $workers

[ "$watched" = 0 ] || die "watch ended with $watched"
awk '{ n = $1; if ($2 != 1) { print "not settled once: " $0; bad = 1 }
       else if ($0 !~ "\"outcome\":\"(" n ")\"") { print "not as it should: " $0; bad = 1 } }
     END { printf "\n%d turns, each settled once, and truly.\n", NR; exit bad }' "$scratch/turns" > "$scratch/verdict" ||
  { cat "$scratch/verdict"; die "some turns did not end as they should"; }
[ -s "$scratch/turns" ] || [ "$seconds" -le 12 ] || die "no turn ran"
tail -n 1 "$scratch/verdict"
