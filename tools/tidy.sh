#!/bin/sh
# clang-tidy over all sources of a build folder: tidy.sh [build folder] [jobs]. Says nothing but what it finds.
set -eu
build=${1:-build}
jobs=${2:-2}
cd "$(dirname "$0")/.."
if [ ! -f "$build/compile_commands.json" ]; then
    echo "tidy: $build is not configured" >&2
    exit 1
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# Only what the build compiles: clang-tidy would guess the flags of the rest.
git ls-files 'src/*.c' 'apps/*.c' 'bench/*.c' 'examples/*.c' 'tools/*.c' 'tests/*.c' | while read -r file; do
    ! grep -q "\"file\": \"$PWD/$file\"" "$build/compile_commands.json" || echo "$file"
done >"$log"
[ -s "$log" ] || {
    echo "tidy: no source of this folder is in $build" >&2
    exit 1
}
xargs -P "$jobs" -n 4 clang-tidy -p "$build" --quiet --warnings-as-errors='*' 2>/dev/null <"$log"
echo "tidy: $(wc -l <"$log") files, nothing found"
