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

# Writable data: objects in .data, .bss and their kin. Tables of pointers are const and lie in .data.rel.ro.
writable=$(objdump -t "$build/lib/libkiln.a" | awk '
    {
        section = substr($0, 26)
        sub(/[ \t].*/, "", section)
        flags = substr($0, 18, 7)
    }
    flags !~ /d/ && (section ~ /^\.(data|bss|tdata|tbss)/ || section == "*COM*") && section !~ /^\.data\.rel\.ro/ {
        print $NF
    }' | grep -v -x -F -f tools/writable-symbols.txt || true)
if [ -n "$writable" ]; then
    echo "libkiln holds state that can change:" $writable
    failed=1
fi
exit $failed
