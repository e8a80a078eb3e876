#!/bin/sh
# Nothing in the repository points to a place on somebody's machine.
set -eu
cd "$(dirname "$0")/.."
if git grep -nIE '/(work|home|root)/[a-z]' -- ':!tools/check-words.sh' ':!tests/data' ':!tests/fuzz/corpus'; then
    echo "paths of one machine do not belong in the repository"
    exit 1
fi
