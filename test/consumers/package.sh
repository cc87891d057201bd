#!/bin/sh
# What the Debian package and pkg-config give: unpacks the package into a folder of its own and uses it from there.
#   package.sh BUILD SCRATCH COMPILER SOURCES [FLAG...]
set -eu
build=$1
scratch=$2
root=$scratch/root
compiler=$3
sources=$4
shift 4

fail() { printf '%s\n' "$*" >&2; exit 1; }

rm -rf "$scratch"
mkdir -p "$root"
(cd "$scratch" && cpack --config "$build/CPackConfig.cmake" -G DEB -D CPACK_DEBIAN_COMPRESSION_TYPE=none -B "$scratch/deb" >cpack.log) || fail "$(cat "$scratch/cpack.log")"
deb=$(ls "$scratch"/deb/*.deb)
dpkg-deb --field "$deb" Depends | grep -q 'libboost1.81-dev.*libssl-dev' || fail "the package does not name what its user needs"
dpkg-deb -x "$deb" "$root"
rm -rf "$scratch/deb"

# Where it is.
multiarch=$(dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || "$compiler" -print-multiarch)
libdir=$root/usr/lib/$multiarch
for each in "$root/usr/bin/holdfast" "$root/usr/include/holdfast/version.hpp" "$libdir/cmake/holdfast/holdfast-config.cmake" \
  "$libdir/pkgconfig/holdfast.pc" "$root/usr/share/doc/holdfast/copyright" "$root/usr/share/man/man1/holdfast.1" \
  "$root/usr/share/bash-completion/completions/holdfast"; do
  [ -s "$each" ] || fail "not in the package: ${each#"$root"}"
done

# The command, its page, its completions.
version=$(sed -n 's/^#define HOLDFAST_VERSION "\(.*\)"/\1/p' "$root/usr/include/holdfast/version.hpp")
[ "$("$root/usr/bin/holdfast" --version)" = "holdfast $version" ] || fail "the command tells another version than its headers"
page=$root/usr/share/man/man1/holdfast.1
if command -v groff >/dev/null 2>&1; then
  [ -z "$(groff -man -Tutf8 -wall "$page" 2>&1 >"$scratch/page")" ] || fail "$(groff -man -Tutf8 -wall "$page" 2>&1 >/dev/null)"
fi
for command in cat follow run sim tail watch; do
  for option in $("$root/usr/bin/holdfast" "$command" --help | grep -o -- '^  -[^ =]*' | tr ',' '\n' | grep -o -- '--.*'); do
    grep -q -- "$(printf '%s' "$option" | sed 's/-/\\\\-/g')" "$page" || fail "the page does not have $command $option"
  done
done
complete() { # words of a command line, the last of which is completed
  bash -c 'source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _holdfast; printf "%s " "${COMPREPLY[@]}"' \
    "$root/usr/share/bash-completion/completions/holdfast" "$@"
}
expect() { # completion words...
  wanted=$1
  shift
  [ "$(complete "$@")" = "$wanted" ] || fail "completing '$*' gives '$(complete "$@")', not '$wanted'"
}
expect "tail " holdfast ta
expect "--resume-file " holdfast tail --resu
expect "none equal full " holdfast tail --jitter ""
expect "ndjson " holdfast watch --format nd
expect "$page " holdfast tail --record "${page%.1}"
expect "$page " holdfast cat "${page%.1}"

# Its libraries, found by pkg-config.
if command -v pkg-config >/dev/null 2>&1; then
  flags=$(PKG_CONFIG_PATH=$libdir/pkgconfig pkg-config --cflags --libs holdfast)
  # shellcheck disable=SC2086
  "$compiler" "$@" "$sources/sse_only/main.cpp" -o "$scratch/consumer" $flags
  LD_LIBRARY_PATH=$libdir "$scratch/consumer" || fail "the program that was built by pkg-config fails"
  [ "$(PKG_CONFIG_PATH=$libdir/pkgconfig pkg-config --modversion holdfast)" = "$version" ] || fail "pkg-config tells another version"
fi
rm -rf "$root"
