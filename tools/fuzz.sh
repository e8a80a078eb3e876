#!/bin/sh
# Run every fuzz target for some seconds from its corpus, `jobs` of them at once: fuzz.sh [seconds each] [jobs]
set -eu
seconds=${1:-20}
jobs=${2:-2}
cd "$(dirname "$0")/.."

if [ "${3:-}" != "" ]; then # one target, into the folder $4
    target=$3 found=$4
    corpus=tests/fuzz/corpus/${target#fuzz_}
    mkdir -p "$found/$target"
    program=$(find build-fuzz -type f -name "$target" | head -n 1)
    [ -d "$corpus" ] || corpus=
    if ! "$program" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2500 -print_final_stats=1 -verbosity=0 \
        -artifact_prefix="$PWD/build-fuzz/" "$found/$target" $corpus >"$found/$target.log" 2>&1; then
        tail -n 40 "$found/$target.log"
        echo "fuzz: $target failed; the input lies in build-fuzz/"
        exit 1
    fi
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$found/$target.log")
    echo "fuzz: $target: $seconds s, ${runs:-?} inputs, nothing found"
    exit 0
fi

[ -f build-fuzz/build.ninja ] || cmake --preset fuzz >/dev/null
targets=$(ls tests/fuzz/fuzz_*.c | sed 's|.*/||; s|\.c$||')
cmake --build build-fuzz -j "$jobs" --target $targets

found=$(mktemp -d)
trap 'rm -rf "$found"' EXIT
echo "$targets" | xargs -P "$jobs" -I TARGET "tools/fuzz.sh" "$seconds" "$jobs" TARGET "$found"
