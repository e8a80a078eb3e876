#!/bin/sh
# A file has at most 600 lines, a function at most 60, a line at most 110 columns, unless tools/limits-exceptions.txt
# names it ("path lines" or "path:function lines") with its reason after a '#'.
set -eu
cd "$(dirname "$0")/.."

git ls-files -co --exclude-standard '*.c' '*.h' | grep -v '^tests/data/' | while read -r file; do
    [ -f "$file" ] && echo "$file"
done | xargs awk -v exceptions=tools/limits-exceptions.txt '
    BEGIN {
        while ((getline line < exceptions) > 0) {
            sub(/#.*/, "", line)
            if (split(line, part, " ") == 2)
                limit[part[1]] = part[2]
        }
    }
    function check(what, lines, most) {
        if (what in limit)
            most = limit[what]
        if (lines > most) {
            print what ": " lines " lines, at most " most
            failed = 1
        }
    }
    function close_file() {
        if (file != "")
            check(file, count, 600)
    }
    FNR == 1 { close_file(); file = FILENAME; inside = 0; candidate = "" }
    { count = FNR }
    # A definition begins at the first column with a name before "(", and its body with "{" at the first column.
    !inside && /^[A-Za-z_].*\(/ && !/;[ \t]*$/ {
        candidate = $0
        sub(/\(.*/, "", candidate)
        sub(/.*[ *]/, "", candidate)
    }
    /^{/ && candidate != "" { inside = 1; start = FNR; name = candidate }
    /^}/ {
        if (inside)
            check(file ":" name, FNR - start + 1, 60)
        inside = 0
        candidate = ""
    }
    END { close_file(); exit failed }'
