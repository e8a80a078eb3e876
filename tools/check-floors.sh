#!/bin/sh
# A floor (a folder of src/) may include its own and lower floors only; text, diffusion and image only base, tensor and
# formats besides their own. Programs and examples see <kiln/kiln.h> and their own headers, nothing of src/.
set -eu
cd "$(dirname "$0")/.."

order="base tensor formats graph ops backend plan nn model text weights diffusion image pipeline train"

git ls-files -co --exclude-standard 'src/*.c' 'src/*.h' | xargs grep -Hn '^[[:space:]]*#[[:space:]]*include "' |
    awk -v order="$order" '
        BEGIN {
            n = split(order, names, " ")
            for (i = 1; i <= n; i++)
                level[names[i]] = i
        }
        {
            split($0, part, ":")
            split(part[1], from, "/")
            match($0, /"[^"]*"/)
            target = substr($0, RSTART + 1, RLENGTH - 2)
            split(target, to, "/")
            a = from[2]
            b = to[1]
            bad = 0
            if (target ~ /^kiln\//)
                next
            if (!(a in level) || !(b in level))
                bad = 1
            else if (a == "text" || a == "diffusion" || a == "image")
                bad = b != a && b != "base" && b != "tensor" && b != "formats"
            else
                bad = level[b] > level[a]
            if (bad) {
                print part[1] ":" part[2] ": " a " may not include \"" target "\""
                failed = 1
            }
        }
        END { exit failed }'

failed=0
for file in $(git ls-files -co --exclude-standard 'apps/*.[ch]' 'examples/*.[ch]'); do
    folder=$(dirname "$file")
    for header in $(sed -n 's/^[[:space:]]*#[[:space:]]*include "\([^"]*\)".*/\1/p' "$file"); do
        if [ ! -f "$folder/$header" ]; then
            echo "$file: a program may not include \"$header\""
            failed=1
        fi
    done
done
exit $failed
