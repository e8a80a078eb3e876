#!/bin/sh
# Run every fuzz target for some seconds from its corpus: fuzz.sh [seconds each] [jobs]
set -eu
seconds=${1:-20}
jobs=${2:-2}
cd "$(dirname "$0")/.."

[ -f build-fuzz/build.ninja ] || cmake --preset fuzz >/dev/null
targets=$(ls tests/fuzz/fuzz_*.c | sed 's|.*/||; s|\.c$||')
cmake --build build-fuzz -j "$jobs" --target $targets

found=$(mktemp -d)
trap 'rm -rf "$found"' EXIT
for target in $targets; do
    corpus=tests/fuzz/corpus/${target#fuzz_}
    mkdir -p "$found/$target"
    program=$(find build-fuzz -type f -name "$target" | head -n 1)
    [ -d "$corpus" ] || corpus=
    if ! "$program" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2500 -print_final_stats=0 -verbosity=0 \
        -artifact_prefix="$PWD/build-fuzz/" "$found/$target" $corpus >"$found/log" 2>&1; then
        tail -n 40 "$found/log"
        echo "fuzz: $target failed; the input lies in build-fuzz/" >&2
        exit 1
    fi
    echo "fuzz: $target: ${seconds} s, nothing found"
done
