#!/bin/sh
# disk.sh KILN DATA - a disk that is really full (a small tmpfs): what cannot be written is told in one sentence with file and
# reason, what was there stays whole, nothing is left behind, and with more room it goes on.
#
# Mounting needs root, or a namespace of one's own (unshare -rm); where neither is given the test is skipped.
set -eu
if [ -z "${KILN_DISK_TEST:-}" ] && unshare -rm true 2>/dev/null; then
    KILN_DISK_TEST=1 exec unshare -rm sh "$0" "$@"
fi
KILN=$1
DATA=$2
. "$(dirname "$0")/prepare.sh"
cd "$WORK"
export KILN_MODEL=$MODEL
mkdir disk
if ! mount -t tmpfs -o size=16k none disk 2>mount.log; then
    echo "skipped: no file system may be mounted here ($(cat mount.log))"
    exit 77
fi
trap 'umount "$WORK/disk" 2>/dev/null; rm -rf "$WORK"' EXIT

say() {
    echo "disk: $1"
}
# An empty disk of that size.
disk() {
    umount disk
    mount -t tmpfs -o "size=$1" none disk
}
# The command fails with exactly one sentence, which has these words.
told() {
    words=$1
    shift
    if "$@" >out.log 2>err.log; then
        echo "'$*' should have failed"
        exit 1
    fi
    if ! grep -q "$words" err.log || ! grep -q 'No space left on device' err.log || [ "$(wc -l <err.log)" != 1 ]; then
        cat err.log
        exit 1
    fi
}
nothing_but() {
    if [ "$(ls -A disk)" != "$1" ]; then
        ls -lA disk
        exit 1
    fi
}

say "a picture"
told 'disk/a.png: cannot be written' "$KILN" draw -q --size 128x128 --steps 1 --threads 1 "a tree" -o disk/a.png
nothing_but ""
"$KILN" draw -q --size 32x32 --steps 1 --threads 1 "a tree" -o disk/a.png >out.log
cp disk/a.png kept.png
told 'disk/a.png: cannot be written' "$KILN" draw -q --size 128x128 --steps 1 --threads 1 "a tree" -o disk/a.png
cmp kept.png disk/a.png
nothing_but a.png

say "a conversion"
for size in 16k 300k 1000k; do
    disk $size
    told 'disk/m/[a-z_/]*\.\(safetensors\|json\): cannot be written' "$KILN" convert -q "$MODEL" disk/m
    nothing_but ""
    told 'disk/m.safetensors: cannot be written' "$KILN" convert -q "$MODEL" disk/m.safetensors
    nothing_but ""
done

mkdir pictures
for i in 1 2 3; do
    "$KILN" draw -q --size 32x32 --steps 1 --threads 1 --seed $i "a tree" -o pictures/$i.png >>out.log
done
cat >small.recipe <<END
method = pixel
conditional = false
train_data_dir = pictures
output_dir = disk/run
resolution = 8
threads = 1
mixed_precision = no
train_batch_size = 2
max_train_steps = 8
save_every_n_steps = 1
save_last_n = 3
validate_every_n_epochs = 0
[unet]
block_out_channels = 8, 16
attention = 0, 1
attention_head_dim = 2
layers_per_block = 1
norm_num_groups = 4

END

say "a training that cannot begin"
disk 60k
told 'disk/run/initial.unfinished/[a-z_/]*\.[a-z]*: cannot be written' "$KILN" train -q small.recipe
[ ! -e disk/run/initial.unfinished ]

say "a training whose disk fills up, at several places of a checkpoint"
"$KILN" train -q small.recipe -o whole
for size in 200k 700k 1100k 1500k 2300k 3100k; do
    disk "$size"
    if "$KILN" train -q small.recipe >out.log 2>err.log; then
        echo "a disk of $size was enough"
        exit 1
    fi
    grep -q 'No space left on device' err.log
    [ "$(wc -l <err.log)" = 1 ]
    if [ -e disk/run/checkpoints/latest ]; then
        grep -q 'could not be written, those before it are as they were' err.log
        (cd disk/run/checkpoints/latest && sha256sum -c --quiet checksums.sha256)
        "$KILN" draw -q --model disk/run/checkpoints/latest --size 8x8 --steps 1 --threads 1 "" -o drawn.png >out.log
    fi
    [ ! -e disk/run/checkpoints/.unfinished ]
    count=$(ls disk/run/checkpoints 2>/dev/null | grep -c step || true)
    say "  $size: $count whole checkpoints; $(sed 's/.*as they were: //' err.log)"
    mount -o remount,size=16m disk
    "$KILN" train -q small.recipe --resume latest
    for file in unet/diffusion_pytorch_model.safetensors training_state/state.safetensors; do
        cmp whole/checkpoints/latest/$file disk/run/checkpoints/latest/$file
    done
done
say "good"
