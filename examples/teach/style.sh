#!/bin/sh
# style.sh - a style as a hypernetwork: the model draws twenty things, they are turned into blueprints, and the hypernetwork
# learns to draw so, whatever it is asked for. See docs/hypernetworks.md.
# shellcheck source=SCRIPTDIR/prepare.sh
. "$(dirname "$0")/prepare.sh"
rm -rf "$OUT/blueprints" && mkdir "$OUT/blueprints"
number=0
while read -r thing; do
    number=$((number + 1))
    [ -f "$OUT/things/$number.png" ] || {
        mkdir -p "$OUT/things"
        kiln draw "$thing" --model "$MODEL" --steps 25 --cfg 5 --seed $number -o "$OUT/things/$number.png"
    }
    character --print "$OUT/things/$number.png" "$OUT/blueprints/$number.png"
    echo "$thing" >"$OUT/blueprints/$number.txt"
done <"$here/things.txt"
teach style.train style "train_data_dir=$OUT/blueprints"
ls -l "$OUT/style/blueprint.safetensors"
kiln draw "a red apple <hypernet:blueprint:1>" --model "$MODEL" --hypernetwork-dir "$OUT/style" --cfg 4 --seed 1 \
    -o "$OUT/style-drawn.png"
