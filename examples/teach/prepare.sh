# prepare.sh - what the four examples share; read by them, not run.
#
#     BUILD   where make built (build)             MODEL   what is taught (models/emoji)
#     OUT     where everything goes (BUILD/teach)  STEPS   instead of the recipe's number of steps
#
# shellcheck shell=sh disable=SC2012 # folders and files of our own names
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
BUILD=${BUILD:-$root/build}
MODEL=${MODEL:-$root/models/emoji}
OUT=${OUT:-$BUILD/teach}
STEPS=${STEPS:-}
PATH=$BUILD:$BUILD/examples:$PATH
export KILN_DATA=${KILN_DATA:-$root/data}
mkdir -p "$OUT"
OUT=$(cd "$OUT" && pwd)

# The five pictures of Zogg, whom the model has never seen; $1: what the captions call it.
paint() {
    rm -rf "$OUT/pictures" && mkdir "$OUT/pictures"
    character "$OUT/pictures" "$1"
}

# teach RECIPE NAME KEY=VALUE...: train into $OUT/NAME, from the beginning. The contact sheets, before and after, lie in
# $OUT/NAME/samples.
teach() {
    recipe=$1 name=$2
    shift 2
    rm -rf "${OUT:?}/$name"
    set -- "$@" "base=$MODEL"
    [ -z "$STEPS" ] || set -- "$@" "max_train_steps=$STEPS" "sample_every_n_steps=$STEPS"
    options=
    for pair; do options="$options
--set
$pair"; done
    old=$IFS IFS='
'
    # shellcheck disable=SC2086 # one option a line
    kiln train "$here/$recipe" --output "$OUT/$name" $options
    IFS=$old
    cp "$(ls "$OUT/$name"/samples/*.png | tail -n 1)" "$OUT/$name.png"
    echo "before: $(ls "$OUT/$name"/samples/*.png | head -n 1)"
    echo "after:  $OUT/$name.png"
}
