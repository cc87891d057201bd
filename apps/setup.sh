# What both entry points need: Debian's packages, installed where they are missing. Sourced, not run.
# Sets nothing up that is there already, and says what it does.

say() { printf '== %s\n' "$*"; }
die() { printf 'holdfast: %s\n' "$*" >&2; exit 1; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null 2>&1; then sudo "$@"
  else die "needs root for: $* (run it as root, or install sudo)"; fi
}

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# Boost 1.81's headers conflict with 1.74's: apt would remove those, so it is asked for by name.
check_boost() {
  installed libboost1.81-dev && return
  old=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' 'libboost*1.74-dev' libboost-dev 2>/dev/null | sed -n 's/^installed //p' | tr '\n' ' ')
  [ -z "$old" ] || [ "${replace_boost:-no}" = yes ] || die "libboost1.81-dev would remove these: $old
run again with --replace-boost to allow that; the 1.74 runtime libraries stay"
}

need_packages() {
  command -v apt-get >/dev/null 2>&1 || die "this sets up Debian 12; elsewhere, see README.md for what is needed"
  missing=
  for package in "$@"; do installed "$package" || missing="$missing $package"; done
  [ -n "$missing" ] || { say "packages: all there"; return; }
  check_boost
  say "packages: installing$missing"
  as_root apt-get update -qq
  # shellcheck disable=SC2086
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
}

build_packages="g++ cmake ninja-build libboost1.81-dev libboost-json1.81-dev libboost-url1.81-dev libssl-dev libcli11-dev
  libspdlog-dev"
test_packages="libboost-test1.81-dev procps"

jobs=$(nproc 2>/dev/null || echo 2)
