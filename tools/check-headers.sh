#!/bin/sh
# Every header compiles alone as C; kiln.h as C++ too, with and without warnings of the pedantic kind.
set -eu
cd "$(dirname "$0")/.."
flags="-std=c11 -Wall -Wextra -fsyntax-only -Iinclude -Isrc -D_POSIX_C_SOURCE=200809L -D_XOPEN_SOURCE=700"
failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for header in $(git ls-files -co --exclude-standard 'include/*.h' 'src/*.h' 'apps/*.h'); do
    [ -f "$header" ] || continue
    printf '#include "%s"\ntypedef int not_empty;\n' "$PWD/$header" |
        ${CC:-cc} $flags -iquote "$(dirname "$header")" -x c - 2>"$log" || {
        echo "$header: does not compile alone: $(grep -m 1 error "$log")"
        failed=1
    }
done
${CC:-cc} -std=c11 -pedantic-errors -Wall -Wextra -fsyntax-only -x c include/kiln/kiln.h || failed=1
printf '#include "%s"\n' "$PWD/include/kiln/kiln.h" |
    ${CXX:-c++} -std=c++11 -pedantic-errors -Wall -Wextra -fsyntax-only -x c++ - || failed=1
exit $failed
