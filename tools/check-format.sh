#!/bin/sh
# Everything is as clang-format (version 14) would have it.
set -eu
cd "$(dirname "$0")/.."
git ls-files '*.c' '*.h' | grep -v '^tests/data/' | xargs clang-format --dry-run -Werror
