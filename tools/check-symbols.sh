#!/bin/sh
# What a program sees of libkiln is kiln_* and nothing else, and the library holds no state that can change.
#   check-symbols.sh [build folder]
set -eu
cd "$(dirname "$0")/.."
build=${1:-build}
failed=0

for library in "$build/lib/libkiln.so" "$build/lib/libkiln.a"; do
    case $library in
    *.so) names=$(nm -D --defined-only "$library") ;;
    *) names=$(nm -g --defined-only "$library" | grep ' ' || true) ;;
    esac
    if ! echo "$names" | grep -q ' T kiln_draw$'; then
        echo "$library: does not export kiln_draw"
        failed=1
    fi
    if echo "$names" | awk 'NF == 3 && $3 !~ /^kiln_/ { print; bad = 1 } END { exit !bad }'; then
        echo "$library: exports names that do not begin with kiln_"
        failed=1
    fi
done

# Writable data: .data (d, D) and .bss (b, B), common (C). Tables of pointers are const and lie in .data.rel.ro, which
# nm also shows as d; so ask for the section.
writable=$(objdump -t "$build/lib/libkiln.a" | awk '
    $0 ~ /[ \t](\.data|\.bss|\.tdata|\.tbss|\*COM\*)(\.[^r][^ \t]*)?[ \t]/ && $0 !~ / d  \./ { print $NF }' |
    grep -v -x -F -f tools/writable-symbols.txt || true)
if [ -n "$writable" ]; then
    echo "libkiln holds state that can change:" $writable
    failed=1
fi
exit $failed
