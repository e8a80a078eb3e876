#!/bin/sh
# What the bundled model does with pictures, as sheets in docs/: inpainting, outpainting, upscaling, hires fix.
#
#   BUILD=build          the programs
#   WORK=build/gallery   the single pictures
#   DOCS=docs            where the sheets go
#   MODEL, UPSCALER      models/emoji, and upscale-2x
set -eu
cd "$(dirname "$0")/../.."

BUILD=${BUILD:-build}
WORK=${WORK:-$BUILD/gallery}
DOCS=${DOCS:-docs}
MODEL=${MODEL:-models/emoji}
UPSCALER=${UPSCALER:-upscale-2x}
export KILN_MODEL="$MODEL" KILN_DATA=data

mkdir -p "$WORK"

# kiln COMMAND ... -o WORK/NAME.png, unless it is there: picture NAME COMMAND ...
picture() {
    name=$1
    shift
    command=$1
    shift
    case $command in
    upscale) ;;
    # Multistep samplers and much guidance make this small model restless, and its colours too strong.
    *) set -- --sampler Euler --steps "${STEPS:-30}" --cfg 4 "$@" ;;
    esac
    [ -s "$WORK/$name.png" ] || "$BUILD/kiln" "$command" "$@" -q -o "$WORK/$name.png" >/dev/null
}
case $BUILD in
/*) gallery_sheet=$BUILD/gallery_sheet ;;
*) gallery_sheet=$PWD/$BUILD/gallery_sheet ;;
esac
sheet() {
    to=$1
    shift
    (cd "$WORK" && "$gallery_sheet" sheet.png "$@")
    mv "$WORK/sheet.png" "$DOCS/gallery-$to.png"
    echo "gallery: $DOCS/gallery-$to.png"
}

# Inpainting: an object becomes another one; what lies outside the frame stays bit for bit.
inpaint_sheet() {
    picture apple draw "a red apple on a yellow background" -S 2
    picture apple-1 inpaint "$WORK/apple.png" "a strawberry on a yellow background" --select 16,16,96,96 --strength 1 -S 1
    picture apple-2 inpaint "$WORK/apple.png" "a green frog on a yellow background" --select 16,16,96,96 --strength 1 -S 1
    picture pair draw "a cat left of a sun on a light blue background" -S 3
    picture pair-1 inpaint "$WORK/pair.png" "a cat left of a pizza on a light blue background" --select 66,8,58,112 \
        --strength 1 -S 1
    picture pair-2 inpaint "$WORK/pair.png" "a dog left of a sun on a light blue background" --select 4,8,58,112 \
        --strength 1 -S 1
    sheet inpaint apple.png@16,16,96,96 apple-1.png apple-2.png / pair.png pair-1.png@66,8,58,112 pair-2.png@4,8,58,112
}

# Outpainting to twice the width, and to twice both: the frame is the original, without the outermost pixels of a drawing,
# which are less like a picture's inside. Narrow strips, so that a window sees what it goes on from; and in the larger picture
# the thing is a small one: asked for "a sun", the model puts more of it into the empty windows.
outpaint_row() {
    picture "$1" draw "a $2" -S "$3"
    [ -s "$WORK/$1-inner.png" ] || "$gallery_sheet" --crop 8,8,112,112 "$WORK/$1.png" "$WORK/$1-inner.png"
    picture "$1-wide" outpaint "$WORK/$1-inner.png" "a small $2" --left 56 --right 56 --step 32 \
        --cfg 3 -S "$4"
    picture "$1-large" outpaint "$WORK/$1-inner.png" "a small $2" --left 56 --right 56 --up 56 --down 56 \
        --step 32 --cfg 3 -S "$5"
}

outpaint_sheet() {
    outpaint_row sun "sun on a light blue background" 4 5 5
    outpaint_row fish "fish on a blue background" 1 7 8
    sheet outpaint sun-inner.png sun-wide.png@56,0,112,112 sun-large.png@56,56,112,112 / \
        fish-inner.png fish-wide.png@56,0,112,112 fish-large.png@56,56,112,112
}

# By 2: nearest neighbour, Lanczos, the bundled network.
upscale_sheet() {
    row=
    for k in 1 2; do
        case $k in
        1) words="a lion on a green background" ;;
        2) words="a bicycle on a white background" ;;
        esac
        picture "small-$k" draw "$words" -S 1
        for how in nearest lanczos "$UPSCALER"; do
            picture "large-$k-$(basename "$how")" upscale "$WORK/small-$k.png" --model "$how" --scale 2
        done
        row="$row small-$k.png large-$k-nearest.png large-$k-lanczos.png large-$k-$(basename "$UPSCALER").png"
        [ $k = 2 ] || row="$row /"
    done
    # shellcheck disable=SC2086
    sheet upscale $row
}

# Hires fix: the first pass, the second over the picture enlarged by Lanczos, and by the network. At twice the size that it
# learnt the model would draw twice as many things, but for a low strength.
hires_sheet() {
    row=
    for k in 1 2; do
        case $k in
        1) words="a pizza on a blue background" ;;
        2) words="a crown on a purple background" ;;
        esac
        picture "first-$k" draw "$words" -S 3
        picture "first-$k-large" upscale "$WORK/first-$k.png" --model nearest --scale 2
        picture "second-$k-lanczos" draw "$words" -S 3 --hires-scale 2 --hires-upscaler lanczos \
            --hires-denoise 0.12
        picture "second-$k-network" draw "$words" -S 3 --hires-scale 2 --hires-upscaler "$UPSCALER" \
            --hires-denoise 0.12
        row="$row first-$k-large.png second-$k-lanczos.png second-$k-network.png"
        [ $k = 2 ] || row="$row /"
    done
    # shellcheck disable=SC2086
    sheet hires $row
}

inpaint_sheet
outpaint_sheet
upscale_sheet
hires_sheet
