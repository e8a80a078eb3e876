#!/bin/sh
# train.sh KILN DATA - what `kiln train` promises about interruptions: killed at any moment, also while a checkpoint is
# being written, it goes on and ends in the same bytes; Ctrl-C saves; a full disk and a wrong recipe lose nothing.
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

say "mistakes are sentences"
refused "$KILN" train small.recipe --set learing_rate=1
grep -q 'did you mean learning_rate' err.log
refused "$KILN" train small.recipe -o whole
grep -q 'resume' err.log
refused "$KILN" train nowhere.recipe
grep -q 'nowhere.recipe' err.log
"$KILN" train --show small.recipe -s seed=7 >shown.recipe
grep -q '^seed = 7' shown.recipe
"$KILN" train --show shown.recipe | cmp - shown.recipe
say "good"
