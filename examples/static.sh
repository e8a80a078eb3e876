#!/bin/sh
# static.sh CC SOURCE BUILD - install into a folder, build the example with what pkg-config says, and run it.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
cmake --install "$3" --prefix "$place" >/dev/null
pc=$(find "$place" -name kiln.pc)
export PKG_CONFIG_PATH="$(dirname "$pc")"
# kiln.pc has the prefix of the build; here it lies elsewhere.
flags="$(pkg-config --define-variable=prefix="$place" --cflags kiln)"
libraries="$(pkg-config --static --define-variable=prefix="$place" --libs kiln)"
library=$(find "$place" -name libkiln.a)
"$1" -std=c11 $flags "$2/examples/draw.c" -o "$place/draw" "$library" $(echo "$libraries" | sed 's/-lkiln//')
"$place/draw" "$2/tests/data/sd1-tiny" "a lighthouse" "$place/picture.png"
[ -s "$place/picture.png" ] && [ -s "$place/include/kiln/kiln.h" ] && [ -s "$place/share/man/man1/kiln.1" ]
"$place/bin/kiln" --version
