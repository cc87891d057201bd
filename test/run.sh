#!/bin/sh
# Builds and passes every test.
#   sh test/run.sh [--setup] [--replace-boost]
# --setup: only install what is needed. The OpenCode server that the real tests talk to is an npm package, pinned, kept
# in the user's cache folder, outside the source tree; so is Prometheus' promtool, out of Debian's package.
set -eu
cd "$(dirname "$0")/.."
. apps/setup.sh

opencode_version=1.18.33
opencode_dir=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/holdfast/opencode/$opencode_version
promtool_dir=${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/holdfast/promtool

setup_only=no
while [ $# -gt 0 ]; do
  case $1 in
    --setup) setup_only=yes; shift ;;
    --replace-boost) replace_boost=yes; shift ;;
    -h|--help) sed -n '2,5s/^# \{0,1\}//p' test/run.sh; exit 0 ;;
    *) echo "holdfast: unknown option $1" >&2; exit 2 ;;
  esac
done

need_opencode() {
  [ ! -x "$opencode_dir/node_modules/opencode-linux-x64/bin/opencode" ] || { say "opencode $opencode_version: there"; return; }
  [ "$(uname -m)" = x86_64 ] || { say "opencode: no package for this machine, its tests will be skipped"; return; }
  command -v npm >/dev/null 2>&1 || need_packages npm
  say "opencode $opencode_version: installing (60 MB)"
  mkdir -p "$opencode_dir"
  npm install --prefix "$opencode_dir" --ignore-scripts --no-audit --no-fund --silent "opencode-linux-x64@$opencode_version"
}

# It checks /metrics. Debian's package would also install a daemon, and start it: its tool alone is unpacked.
need_promtool() {
  ! command -v promtool >/dev/null 2>&1 || { say "promtool: there"; return; }
  [ ! -x "$promtool_dir/promtool" ] || { say "promtool: there"; return; }
  say "promtool: unpacking it from Debian's prometheus package (20 MB)"
  rm -rf "$promtool_dir.new"
  mkdir -p "$promtool_dir.new"
  (cd "$promtool_dir.new" && download_package prometheus && dpkg-deb --fsys-tarfile prometheus_*.deb | tar -x --strip-components=3 ./usr/bin/promtool)
  rm -f "$promtool_dir.new"/*.deb
  rm -rf "$promtool_dir"
  mv "$promtool_dir.new" "$promtool_dir"
}

# Into the current folder. The lists of packages may be older than the packages.
download_package() {
  apt-get download -qq "$1" 2>/dev/null || { as_root apt-get update -qq; apt-get download -qq "$1"; }
}

# Without clang 19 all is tested but what only a fuzzer does.
need_fuzzer() {
  if installed clang-19 && installed libclang-rt-19-dev; then say "clang 19: there"; return; fi
  (need_packages clang-19 libclang-rt-19-dev) || say "clang 19: cannot be installed from this system's sources; nothing will be fuzzed"
}

need_formatter() {
  if installed clang-format-19 && installed clang-tidy-19; then say "clang-format 19 and clang-tidy 19: there"; return; fi
  (need_packages clang-format-19 clang-tidy-19) ||
    say "clang-format 19 and clang-tidy 19: cannot be installed from this system's sources; form and faults are not checked"
}

# It links the tests in a third of the time.
need_linker() {
  if installed mold; then say "mold: there"; return; fi
  (need_packages mold) || say "mold: cannot be installed from this system's sources; the tests are linked more slowly"
}

# shellcheck disable=SC2086
need_packages $build_packages $test_packages gcovr python3
need_fuzzer
need_formatter
need_linker
need_promtool
need_opencode
[ "$setup_only" = no ] || { say "set up"; exit 0; }

if command -v clang-format-19 >/dev/null 2>&1; then
  say "check: the form of the sources"
  find lib apps test \( -name '*.cpp' -o -name '*.hpp' \) -exec clang-format-19 --dry-run --Werror {} +
fi
if command -v clang-tidy-19 >/dev/null 2>&1; then
  say "check: lib and apps by clang-tidy"
  sh test/tidy.sh
fi

# At -O0 with both sanitizers, this is the debug run too; of the simulation it runs a twentieth of the seeds. It counts which
# lines of the library the unit tests run.
say "build: everything, with ASan and UBSan"
# Also where there is a compiler cache, which is empty on a fresh machine.
from_scratch="-DHOLDFAST_WERROR=ON -DHOLDFAST_UNITY=ON -DHOLDFAST_PRECOMPILE=ON"
# shellcheck disable=SC2086
cmake --preset asan $from_scratch -DHOLDFAST_COVERAGE=ON >/dev/null
cmake --build --preset asan -j "$jobs"
find build/asan -name '*.gcda' -exec rm -f {} +
say "test: unit tests"
ctest --preset asan -j "$jobs" -L unit
sh test/coverage.sh --of build/asan
say "test: fuzz corpora, simulation, commands, consumers, the real server"
ctest --preset asan -j $((jobs + 1)) -LE unit # one more than cores: many of them wait most of the time

say "build: the simulation, optimised, with shared libraries"
# Each file by itself and without precompiled headers: an include that is missing shows.
cmake --preset release -DHOLDFAST_WERROR=ON -DHOLDFAST_PRECOMPILE=OFF -DHOLDFAST_UNITY=OFF -DBUILD_SHARED_LIBS=ON >/dev/null
cmake --build --preset release -j "$jobs" --target holdfast-sim-test hardened-sample
say "test: what the compiler adds to the command, by a sample that is compiled as it is; what the libraries give away"
ctest --preset release -R '^consumer/(hardened_|strong_symbols)'
say "test: the same seed is the same world, whether the libraries are shared or not"
for kind in asan release; do
  build/$kind/bin/holdfast-sim-test --seed 7 --verbose >build/$kind/seed-7.txt
done
cmp build/asan/seed-7.txt build/release/seed-7.txt
say "test: 2,000 seeds of the simulated world"
build/release/bin/holdfast-sim-test --threads "$jobs" --rows
say "test: 440 seeds more, with sessions that others follow"
build/release/bin/holdfast-sim-test --threads "$jobs" --seeds 1000020-1000459

# What has several threads: breakers and limits that runtimes share, look-ups, servers on a thread each.
say "build: what several threads share, with TSan"
# shellcheck disable=SC2086
cmake --preset tsan $from_scratch >/dev/null
cmake --build --preset tsan -j "$jobs" --target unit-runtime unit-runtime_log unit-runtime_limits unit-tcp_network real-threads
say "test: that"
HOLDFAST_PROGRAM_FOLDER=$PWD/build/asan/bin ctest --preset tsan -R '^(unit/(runtime(_log|_limits)?|tcp_network)|real/threads)$'

sh test/fuzz/run.sh 15
say "all passed"
