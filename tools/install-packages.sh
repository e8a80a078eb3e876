#!/bin/sh
# Install what Kiln is built from (Debian 12 and its kin). Does nothing when all of it is there.
#   install-packages.sh          to build and test
#   install-packages.sh --checks clang, clang-tidy and clang-format too, for fuzzing and the checks
set -eu

packages="gcc cmake ninja-build make pkg-config libdnnl-dev libjansson-dev libpng-dev libjpeg-dev libwebp-dev libzip-dev
zlib1g-dev libpcre2-dev libutf8proc-dev libfreetype-dev fonts-dejavu-core
libcurl4-openssl-dev libssl-dev libcmocka-dev"
checks="g++ clang clang-tidy clang-format libclang-rt-14-dev libomp-dev man-db git"

if [ "${1:-}" = --checks ]; then
    packages="$packages $checks"
fi
if ! command -v dpkg-query >/dev/null 2>&1; then
    echo "install-packages.sh: no dpkg here; please install:" $packages >&2
    exit 0
fi

missing=
for package in $packages; do
    state=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)
    [ "$state" = "install ok installed" ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

echo "installing:$missing"
run=
[ "$(id -u)" = 0 ] || run=sudo
export DEBIAN_FRONTEND=noninteractive
$run apt-get update -q
$run apt-get install -q -y --no-install-recommends $missing
