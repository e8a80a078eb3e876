#!/bin/sh
# word.sh - a new word, "zogg", for a character that the model has never seen: four vectors, three kilobytes, from five
# pictures; the model itself is not changed. See docs/embeddings.md.
# shellcheck source=SCRIPTDIR/prepare.sh
. "$(dirname "$0")/prepare.sh"
paint zogg
teach word.train word "train_data_dir=$OUT/pictures"
ls -l "$OUT/word/zogg.safetensors"
kiln draw "a zogg on a blue background" --model "$MODEL" --embedding "$OUT/word/zogg.safetensors" --cfg 4 --seed 1 \
    -o "$OUT/word-drawn.png"
