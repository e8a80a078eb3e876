#!/bin/sh
# All checks of the sources: check.sh [build folder]. The symbols are checked when that folder has a built library.
set -eu
cd "$(dirname "$0")/.."
build=${1:-build}
failed=0
for check in floors limits headers words format symbols; do
    if [ "$check" = symbols ] && [ ! -f "$build/lib/libkiln.so" ]; then
        echo "check-symbols: skipped, $build/lib is not built"
        continue
    fi
    if [ "$check" = format ] && ! command -v clang-format >/dev/null; then
        echo "check-format: skipped, no clang-format"
        continue
    fi
    if tools/check-$check.sh "$build"; then
        echo "check-$check: passed"
    else
        echo "check-$check: failed"
        failed=1
    fi
done
exit $failed
