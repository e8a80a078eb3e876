#!/bin/sh
# Install what the tools of the bundled model need besides Kiln's own packages: the pictures, their names, and the
# libraries that read both. Does nothing when all of it is there. Then configure again.
set -eu

packages="fonts-noto-color-emoji unicode-cldr-core libfreetype-dev libexpat1-dev"
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
