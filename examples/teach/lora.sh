#!/bin/sh
# lora.sh - the character as a LoRA of a few hundred kilobytes: two thin matrices for each layer of the transformers, the model
# itself is not changed. See docs/lora.md.
# shellcheck source=SCRIPTDIR/prepare.sh
. "$(dirname "$0")/prepare.sh"
paint "zogg cat face"
teach lora.train lora "train_data_dir=$OUT/pictures" "class_data_dir=$OUT/class" \
    "class_validation_data_dir=$OUT/class-held-out"
ls -l "$OUT/lora/zogg.safetensors"
kiln draw "a zogg cat face on a blue background <lora:zogg:1>" --model "$MODEL" --lora-dir "$OUT/lora" --cfg 4 --seed 1 \
    -o "$OUT/lora-drawn.png"
