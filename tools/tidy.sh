#!/bin/sh
# clang-tidy over all sources of a build folder: tidy.sh [build folder] [jobs]. Prints nothing when clean.
set -eu
build=${1:-build}
jobs=${2:-2}
cd "$(dirname "$0")/.."
git ls-files 'src/*.c' 'apps/*.c' 'examples/*.c' 'tests/command/*.c' |
    xargs -P "$jobs" -n 4 clang-tidy -p "$build" --quiet --warnings-as-errors='*' 2>/dev/null
