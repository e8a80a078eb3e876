#!/bin/sh
# train.sh KILN DATA - what `kiln train` promises about interruptions: killed at any moment, also while a checkpoint is
# being written, it goes on and ends in the same bytes; Ctrl-C saves; mistakes and damage are told and lose nothing.
# A disk that is full: disk.sh. Killed at each single call: tests/unit/test_train_killed.c.
set -eu
KILN=$1
DATA=$2
. "$(dirname "$0")/prepare.sh"
cd "$WORK"
export KILN_MODEL=$MODEL

say() {
    echo "train: $1"
}
refused() {
    ! "$@" >/dev/null 2>err.log
}

mkdir pictures
i=0
for words in "a red fox" "a blue hill" "a green sea" "a white cat" "a dark wood"; do
    i=$((i + 1))
    "$KILN" draw -q --size 32x32 --steps 1 --threads 1 --seed $i "$words" -o pictures/$i.png >>out.log
    echo "$words" >pictures/$i.txt
done

cat >small.recipe <<END
method = pixel
train_data_dir = pictures
resolution = 8
threads = 1
mixed_precision = no
train_batch_size = 2
max_train_steps = 30
learning_rate = 1e-3
ema_decay = 0.9
caption_dropout_rate = 0.2
flip_aug = true
save_every_n_steps = 1
validate_every_n_epochs = 0
[unet]
block_out_channels = 8, 16
attention = 0, 1
attention_head_dim = 2
layers_per_block = 1
norm_num_groups = 4
[text_encoder]
tokenizer = $MODEL/tokenizer
hidden_size = 16
num_hidden_layers = 1
num_attention_heads = 2
END

same_end() {
    for file in unet/diffusion_pytorch_model.safetensors text_encoder/model.safetensors training_state/state.safetensors; do
        cmp whole/checkpoints/latest/$file $1/checkpoints/latest/$file
    done
}

say "a whole training, and again: the same bytes"
"$KILN" train -q small.recipe -o whole
"$KILN" train -q small.recipe -o again
same_end again

say "killed at any moment, it goes on and ends in the same bytes"
kills=0
wait_for=0.05
while :; do
    "$KILN" train -q small.recipe -o killed --resume latest 2>>killed.log &
    job=$!
    sleep $wait_for
    if ! kill -9 $job 2>/dev/null; then
        wait $job && break
    fi
    wait $job 2>/dev/null && break || true
    kills=$((kills + 1))
    # Longer and longer, so that it comes to an end on any machine.
    wait_for=$(awk "BEGIN { print $wait_for + 0.037 }")
    [ $kills -lt 60 ]
done
say "killed $kills times"
[ $kills -gt 2 ]
same_end killed
! grep -q damaged killed.log
(cd killed/checkpoints/latest && sha256sum -c --quiet checksums.sha256)

say "Ctrl-C saves and stops"
"$KILN" train -q small.recipe -o stopped -s max_train_steps=100000 -s save_every_n_steps=0 2>stopped.log &
job=$!
tries=0
while [ ! -s stopped/loss.csv ] || [ "$(wc -l <stopped/loss.csv)" -lt 4 ]; do
    sleep 0.05
    tries=$((tries + 1))
    [ $tries -lt 400 ]
done
kill -INT $job
status=0
wait $job || status=$?
[ $status = 130 ]
grep -q 'stopped after step' stopped.log
[ -s stopped/checkpoints/latest/model_index.json ]

say "what cannot be written is told, and the checkpoint before it stays"
"$KILN" train -q small.recipe -o full -s max_train_steps=2
cp -R full/checkpoints/step-00000002 kept
if (
    trap '' XFSZ
    ulimit -f 40
    "$KILN" train -q small.recipe -o full --resume latest 2>full.log
); then exit 1; fi
grep -q 'the checkpoint of step 3 could not be written, those before it are as they were' full.log
diff -r kept full/checkpoints/step-00000002
"$KILN" train -q small.recipe -o full --resume latest
same_end full

say "mistakes are sentences, and nothing is lost"
# The command fails with a sentence that has these words.
says() {
    words=$1
    shift
    refused "$@" || { echo "'$*' should have failed"; exit 1; }
    grep -q "$words" err.log || { cat err.log; exit 1; }
}
says 'did you mean learning_rate' "$KILN" train small.recipe --set learing_rate=1
says 'resume' "$KILN" train small.recipe -o whole
says 'nowhere.recipe' "$KILN" train nowhere.recipe
printf '[unet]\natention = 1\n' >wrong.recipe
says "wrong.recipe: line 2: there is no key 'unet.atention' (did you mean unet.attention?)" "$KILN" train wrong.recipe
mkdir empty uncaptioned damaged
says 'empty: there is no picture in this folder' "$KILN" train -q small.recipe -o none -s train_data_dir=empty
cp pictures/*.png uncaptioned
says 'uncaptioned: none of its 5 pictures has a caption' "$KILN" train -q small.recipe -o none -s train_data_dir=uncaptioned
cp pictures/* damaged
head -c 300 pictures/2.png >damaged/2.png
echo "no picture" >damaged/4.png
: >damaged/5.png
rm damaged/1.txt
"$KILN" train -q small.recipe -o skipped -s train_data_dir=damaged 2>err.log
for i in 2 4 5; do
    [ "$(grep -c "damaged/$i.png.*left out" err.log)" = 1 ]
done
grep -q '1 of [0-9] pictures have no caption.*1.png' err.log
says 'step 2: the loss is no longer a number (NaN).*last checkpoint is that of step 1' \
    "$KILN" train -q small.recipe -o diverged -s learning_rate=1e8
(cd diverged/checkpoints/latest && sha256sum -c --quiet checksums.sha256)
says "unet.layers_per_block was '1' .* and is '2' now" "$KILN" train -q small.recipe -o whole -r latest -s unet.layers_per_block=2
says 'are not those that this checkpoint was trained on; --accept-changes' \
    "$KILN" train -q small.recipe -o whole -r latest -s train_data_dir=damaged
patch_bytes again/checkpoints/step-00000030/unet/diffusion_pytorch_model.safetensors 5000 '\377\377\377'
rm again/checkpoints/step-00000029/model_index.json
"$KILN" train -q small.recipe -o again -r latest 2>err.log
grep -q "step-00000030: damaged: 'unet/.*' is not as it was written; the one before it is used" err.log
grep -q "step-00000029: damaged: 'model_index.json' is missing; the one before it is used" err.log
same_end again

say "a list of rates, each until a step"
"$KILN" train -q small.recipe -o rates -s "learning_rate=0.005:2, 1e-3:4, 1e-4" -s max_train_steps=6
[ "$(cut -d, -f5 rates/loss.csv | tr '\n' ' ')" = "learning_rate 0.005 0.005 0.001 0.001 0.0001 0.0001 " ]

say "the resolved recipe"
"$KILN" train --show small.recipe -s seed=7 >shown.recipe
grep -q '^seed = 7' shown.recipe
"$KILN" train --show shown.recipe | cmp - shown.recipe
say "good"
