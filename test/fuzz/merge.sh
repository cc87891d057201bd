#!/bin/sh
# Takes into the tree what fuzzing has found worth keeping, as few inputs as reach as much.
#   sh test/fuzz/merge.sh [TARGET...]
# Inputs are those of the tree and of build/fuzz/corpus/TARGET; those of 4 KiB and more are passed over. Findings are kept as they are:
# their names begin with "found-".
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
build=${HOLDFAST_FUZZ_DIR:-build/fuzz}

[ $# -gt 0 ] || set -- $(cd "$here/corpus" && ls)
for target in "$@"; do
  new=$build/merged/$target
  rm -rf "$new"
  mkdir -p "$new"
  "$build/bin/fuzz-$target" -merge=1 -use_counters=0 -max_len=4096 "$new" "$here/corpus/$target" "$build/corpus/$target" >/dev/null 2>&1
  find "$here/corpus/$target" -type f ! -name 'found-*' ! -name 'case-*' -delete
  cp "$new"/* "$here/corpus/$target/"
  printf '%s: %s inputs, %s\n' "$target" "$(find "$here/corpus/$target" -type f | wc -l)" "$(du -sh --apparent-size "$here/corpus/$target" | cut -f1)"
done
