#!/bin/sh
# Which compilers and standards the library builds with, without warnings.
#   sh test/compilers.sh [COMPILER/STANDARD...]
# Default: g++/20 g++/23 clang++-19/20 clang++-19/23. Each builds the libraries and the examples in build/compilers, and a
# program of the examples runs. Ends with a table.
set -eu
case ${1:-} in -h|--help) sed -n '2,5s/^# \{0,1\}//p' "$0"; exit 0 ;; esac
cd "$(dirname "$0")/.."
. apps/setup.sh

[ $# -gt 0 ] || set -- g++/20 g++/23 clang++-19/20 clang++-19/23
failed=0
table=
mkdir -p build/compilers
for each in "$@"; do
  compiler=${each%/*}
  standard=${each##*/}
  build=build/compilers/$compiler-$standard
  say "build: $compiler, C++$standard"
  verdict="builds, runs"
  cmake --preset release -B "$build" -DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_CXX_STANDARD="$standard" -DHOLDFAST_WERROR=ON \
    -DHOLDFAST_BUILD_TESTS=OFF -DHOLDFAST_UNITY=ON -DHOLDFAST_PRECOMPILE=ON -DCMAKE_BUILD_TYPE=Debug >"$build.log" 2>&1 &&
    cmake --build "$build" -j "$jobs" --target examples >>"$build.log" 2>&1 &&
    "$build/bin/example-virtual_time" >>"$build.log" 2>&1 || { verdict="FAILS, see $build.log"; failed=1; }
  table="$table| $("$compiler" --version | head -n 1) | C++$standard | $verdict |
"
done
printf '%s' "$table"
exit $failed
