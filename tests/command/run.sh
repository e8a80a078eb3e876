#!/bin/sh
# run.sh KILN DATA LIST - every request of the list, in an empty folder each.
#
# A line of the list is
#     name | status | words | arguments
# with `words` what the sentence on standard error (or, for status 0, any output) must contain, ';' between several,
# and `arguments` as a shell would read them. MODEL, WORK and the files that prepare.sh and damage.sh make can be
# used. A request that fails must say exactly one line, "kiln: ...", and leave no file behind. A line that begins with
# '#' is a comment.
set -eu
KILN=$1
DATA=$2
LIST=$3
here=$(cd "$(dirname "$0")" && pwd)
. "$here/prepare.sh"
. "$here/damage.sh"

total=0
bad=0
complain() {
    echo "FAILED $name: $1"
    sed 's/^/    /' "$WORK/out" "$WORK/err"
    wrong=1
}

check_words() {
    old=$IFS
    IFS=';'
    for word in $words; do
        grep -qF -- "$word" "$WORK/err" "$WORK/out" || complain "nothing says '$word'"
    done
    IFS=$old
}

check_failure() {
    lines=$(grep -c . "$WORK/err" || true)
    # A drawing that fails under way has printed its plan before.
    plans=$(grep -c '^kiln: .*; takes .* of memory' "$WORK/err" || true)
    [ "$((lines - plans))" = 1 ] || complain "expected one sentence, found $lines lines"
    grep -q '^kiln: ' "$WORK/err" || complain "the sentence does not begin with 'kiln: '"
    left=$(find "$WORK/here" -mindepth 1 | head -n 3)
    [ -z "$left" ] || complain "left behind: $left"
}

while IFS='|' read -r name status words arguments; do
    case $name in
    '' | '#'*) continue ;;
    esac
    name=$(echo "$name" | tr -d ' ')
    status=$(echo "$status" | tr -d ' ')
    words=$(echo "$words" | sed 's/^ *//; s/ *$//; s/ *; */;/g')
    rm -rf "$WORK/here"
    mkdir "$WORK/here"
    cd "$WORK/here"
    found=0
    wrong=0
    eval "\"\$KILN\" $arguments" >"$WORK/out" 2>"$WORK/err" </dev/null || found=$?
    [ "$found" = "$status" ] || complain "expected exit status $status, found $found"
    check_words
    [ "$status" = 0 ] || check_failure
    total=$((total + 1))
    bad=$((bad + wrong))
done <"$LIST"

echo "$((total - bad)) of $total requests as expected"
[ "$total" -gt 0 ] && [ "$bad" = 0 ]
