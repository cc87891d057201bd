#!/bin/sh
# Checks lib and apps with clang-tidy, by the rules of .clang-tidy: a room at a time, whose files then share the parsing of
# their headers.
#   sh test/tidy.sh [ROOM...]     # for example lib/holdfast/stream; all of them by default
set -eu
cd "$(dirname "$0")/.."
. apps/setup.sh
case ${1:-} in -h|--help) sed -n '2,4s/^# \{0,1\}//p' test/tidy.sh; exit 0 ;; esac

command -v clang-tidy-19 >/dev/null 2>&1 || need_packages clang-tidy-19
into=build/tidy
mkdir -p "$into"

# Each folder with sources is a room; a folder of programs is one for each of its files.
rooms() {
  find lib apps -name '*.cpp' -exec dirname {} + | sort -u
}

# shellcheck disable=SC2046
[ $# -gt 0 ] || set -- $(rooms)
for room in "$@"; do
  name=$(echo "$room" | tr / _)
  if [ "$room" = apps/examples ]; then
    for file in "$room"/*.cpp; do
      echo "#include \"$PWD/$file\"" >"$into/${name}_$(basename "$file")"
      echo "$into/${name}_$(basename "$file")"
    done
  else
    for file in "$room"/*.cpp; do echo "#include \"$PWD/$file\""; done >"$into/$name.cpp"
    echo "$into/$name.cpp"
  fi
done | xargs -P "$jobs" -n 1 sh -c 'clang-tidy-19 --quiet "$1" -- -std=c++20 -Ilib -Iapps/holdfast -Iapps/examples \
  -DSPDLOG_COMPILED_LIB -DSPDLOG_SHARED_LIB -DSPDLOG_FMT_EXTERNAL 2>"$1.log" ||
  { grep -v "warnings\{0,1\} generated\|^Suppressed" "$1.log"; exit 1; }' tidy
say "clang-tidy: nothing found"
