#!/bin/sh
# Everything is as clang-format (version 14) would have it; names the files that are not ("make format" mends them).
set -eu
cd "$(dirname "$0")/.."
failed=0
for file in $(git ls-files '*.c' '*.h' | grep -v '^tests/data/'); do
    if [ -f "$file" ] && ! clang-format --dry-run -Werror "$file" >/dev/null 2>&1; then
        echo "$file: not formatted"
        failed=1
    fi
done
exit $failed
