#!/bin/sh
# Make the bundled models: packages, scenes, tokenizer, autoencoder, denoiser, upscaler. Every part goes on where it was stopped
# (Ctrl-C saves), and is left out when it is complete, so that this can be started again at any time.
#
#   MINUTES=60       at most that long for each training of this call. An autoencoder whose time is up is taken as it is
#   PARTS="emoji upscaler"   which to train: emoji is the autoencoder, its decoder once more, and the denoiser
#   PUBLISH=1        afterwards put the latest denoiser into models/emoji, the upscaler into models/upscale-2x
#   THREADS=2        of each training (one per core)
#   SCENES=100000    pictures of the dataset; the autoencoder has 60,000 smaller ones of its own, or as many if less
#   WORK=training    where all of it lies; BUILD=build: the programs
#   VAE_STEPS, DECODER_STEPS, STEPS, UPSCALER_STEPS   steps of the trainings, instead of the recipes'
#   FAST=1           tiny batches, no samples: to try this script
#
# WORK/emoji-vae/model is the autoencoder that the denoiser was begun with. To train it further, remove that folder and
# WORK/emoji-denoiser: another autoencoder has other latents. Its decoder can be trained further at any time (remove
# WORK/emoji-decoder).
set -eu
cd "$(dirname "$0")/../.."

WORK=${WORK:-training}
BUILD=${BUILD:-build}
SCENES=${SCENES:-100000}
MINUTES=${MINUTES:-0}
model=models/emoji
recipes=$model/recipes
scenes=$WORK/emoji-scenes
small_scenes=$WORK/emoji-scenes-64
vae=$WORK/emoji-vae
decoder=$WORK/emoji-decoder
denoiser=$WORK/emoji-denoiser
bundled_upscaler=models/upscale-2x
upscaler=$WORK/upscale-2x
PARTS=${PARTS:-emoji upscaler}
kiln=$BUILD/kiln
watcher=

# Ctrl-C reaches the training too. This waits until it has saved.
trap : INT

say() {
    echo "emoji-model: $*" >&2
}

# `partial` is made whole by a rename, so that a folder under its last name is complete.
begin_partial() {
    partial=$1.unfinished
    rm -rf "$partial"
    mkdir -p "$(dirname "$1")"
}

build() {
    tools/emoji/install-packages.sh
    # Configured anew: the libraries of the tools may have come just now.
    if [ -f "$BUILD/build.ninja" ]; then
        cmake "$BUILD" >/dev/null
    else
        cmake -S . -B "$BUILD" -G Ninja -DCMAKE_BUILD_TYPE=Release >/dev/null
    fi
    cmake --build "$BUILD" --target kiln_command emoji_scenes emoji_tokenizer
}

# make_scenes FOLDER COUNT [options of emoji_scenes]
make_scenes() {
    to=$1
    count=$2
    shift 2
    [ ! -f "$to/metadata.jsonl" ] || return 0
    say "$count scenes into $to"
    begin_partial "$to"
    "$BUILD/tools/emoji/emoji_scenes" "$partial" --count "$count" --threads "$(nproc)" "$@"
    mv "$partial" "$to"
}

make_tokenizer() {
    [ ! -f $model/tokenizer/vocab.json ] || return 0
    say "the tokenizer into $model/tokenizer"
    begin_partial $model/tokenizer
    "$BUILD/tools/emoji/emoji_tokenizer" "$scenes/metadata.jsonl" -o "$partial"
    mv "$partial" $model/tokenizer
}

# Interrupts the program whose number is in the file $1 after MINUTES; it saves then.
watch_time() {
    (
        trap 'kill $sleeper 2>/dev/null; exit' TERM
        sleep "$((MINUTES * 60))" &
        sleeper=$!
        wait $sleeper
        kill -0 $$ 2>/dev/null || exit 0
        : >"$1.over"
        kill -TERM "$(cat "$1")"
    ) &
    watcher=$!
}

# train RUN SCENES RECIPE [more]: returns 0 at the end of the training and 1 when its time is up; ends all on anything else.
train() {
    run=$1
    pictures=$2
    shift 2
    mkdir -p "$run"
    rm -f "$run/process" "$run/process.over"
    if [ "${FAST:-0}" = 1 ]; then
        set -- "$@" --set train_batch_size=4 --set sample_every_n_steps=0 --set validate_every_n_steps=0 \
            --set validate_every_n_epochs=0 --set validation_split=0
    fi
    [ "$MINUTES" = 0 ] || watch_time "$run/process"
    status=0
    sh -c 'echo $$ >"$0"; exec "$@"' "$run/process" \
        "$kiln" train "$@" --output "$run" --resume latest --set "threads=${THREADS:-0}" \
        --set "train_data_dir=$pictures" || status=$?
    [ -z "$watcher" ] || kill "$watcher" 2>/dev/null || :
    watcher=
    rm -f "$run/process"
    if [ -f "$run/process.over" ]; then
        rm -f "$run/process.over"
        [ "$status" != 130 ] || return 1
    fi
    [ "$status" = 0 ] || exit "$status"
}

latest() {
    [ -f "$1/checkpoints/latest/model_index.json" ] || {
        say "$1 has no checkpoint yet"
        exit 1
    }
    echo "$1/checkpoints/latest"
}

# Everything of a checkpoint but what going on takes.
copy_model() {
    mkdir -p "$2"
    for part in "$1"/*; do
        case $part in
        */training_state | */checksums.sha256) ;;
        *) cp -RL "$part" "$2/" ;;
        esac
    done
}

train_vae() {
    [ ! -d "$vae/model" ] || return 0
    say "the autoencoder in $vae"
    train "$vae" "$small_scenes" $recipes/vae.train ${VAE_STEPS:+--set max_train_steps=$VAE_STEPS} ||
        say "$MINUTES minutes are over: the autoencoder is taken as it is"
    begin_partial "$vae/model"
    copy_model "$(latest "$vae")" "$partial"
    mv "$partial" "$vae/model"
}

# The encoder stays, and with it the latents that the denoiser learns.
train_decoder() {
    [ ! -d "$decoder/model" ] || return 0
    say "the decoder in $decoder"
    train "$decoder" "$small_scenes" $recipes/vae_decoder.train --set "base=$vae/model" \
        ${DECODER_STEPS:+--set max_train_steps=$DECODER_STEPS} ||
        say "$MINUTES minutes are over: the decoder is taken as it is"
    begin_partial "$decoder/model"
    copy_model "$(latest "$decoder")" "$partial"
    mv "$partial" "$decoder/model"
}

train_denoiser() {
    say "the denoiser in $denoiser"
    train "$denoiser" "$scenes" $recipes/text_to_image.train --set "vae.base=$vae/model" \
        ${STEPS:+--set max_train_steps=$STEPS} ||
        say "$MINUTES minutes are over: the same command goes on"
}

train_upscaler() {
    say "the upscaler in $upscaler"
    train "$upscaler" "$scenes" $bundled_upscaler/recipes/upscale.train \
        ${UPSCALER_STEPS:+--set max_train_steps=$UPSCALER_STEPS} ||
        say "$MINUTES minutes are over: the same command goes on"
}

publish_upscaler() {
    from=$(latest "$upscaler")
    to=${PUBLISH_UPSCALER_TO:-$bundled_upscaler}
    name=diffusion_pytorch_model.safetensors
    mkdir -p "$to"
    cp -L "$from/upscaler/$name" "$to/$name.unfinished"
    mv "$to/$name.unfinished" "$to/$name"
    say "$to is now $(readlink "$from"), $(du -k "$to/$name" | cut -f1) KiB"
}

# Each part is replaced by a rename; README, recipes and licences of the folder stay.
publish() {
    from=$(latest "$denoiser")
    to=${PUBLISH_TO:-$model}
    begin_partial "$to/new"
    copy_model "$from" "$partial"
    [ ! -d "$decoder/model/vae" ] || copy_model "$decoder/model/vae" "$partial/vae"
    for part in "$partial"/*; do
        rm -rf "${to:?}/$(basename "$part")"
        mv "$part" "$to/"
    done
    rmdir "$partial"
    say "$to is now $(readlink "$from"), $(du -sk "$to" | cut -f1) KiB"
}

build
make_scenes "$scenes" "$SCENES"
case " $PARTS " in
*" emoji "*)
    make_scenes "$small_scenes" "$((SCENES < 60000 ? SCENES : 60000))" --size 64 --seed 5 --mix 40,40,20,0,0
    make_tokenizer
    train_vae
    train_decoder
    train_denoiser
    [ "${PUBLISH:-0}" != 1 ] || publish
    ;;
esac
case " $PARTS " in
*" upscaler "*)
    train_upscaler
    [ "${PUBLISH:-0}" != 1 ] || publish_upscaler
    ;;
esac
