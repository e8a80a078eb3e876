#!/bin/sh
# flows.sh KILN DATA - what the command promises about pictures: the same bytes at any number of threads, batches,
# recipes that repeat, Ctrl-C that leaves nothing, conversions that change nothing.
set -eu
KILN=$1
DATA=$2
. "$(dirname "$0")/prepare.sh"
cd "$WORK"
export KILN_MODEL=$MODEL

say() {
    echo "flows: $1"
}
draw() {
    "$KILN" draw -q --size 64x48 --steps 3 --threads 1 "$@" >>out.log
}
refused() {
    ! "$@" >/dev/null 2>&1
}

say "the same bytes with one thread and with two"
for precision in f32 bf16; do
    draw "a red fox" --seed 11 --precision $precision --threads 1 -o one.png
    draw "a red fox" --seed 11 --precision $precision --threads 2 -o two.png
    cmp one.png two.png
done

say "picture k of a batch is the picture of seed + k"
draw "a red fox" --seed 20 --batch 3 -o batch.png
for k in 1 2 3; do
    draw "a red fox" --seed $((19 + k)) -o alone.png
    [ $k = 1 ] && name=batch.png || name=batch-$k.png
    cmp $name alone.png
done
refused cmp batch.png batch-2.png

say "another seed, prompt, sampler, noise and strength each give another picture"
draw "a red fox" --seed 20 -o base.png
i=0
for option in "--seed 21" "--sampler Euler" "--rng nv" "--cfg 3" "--steps 4" "--negative blue" "--clip-skip 2"; do
    i=$((i + 1))
    draw "a red fox" --seed 20 $option -o other$i.png
    refused cmp base.png other$i.png
done

say "a model's own guidance is taken when none is asked for"
cp -RL "$MODEL" guided
sed 's/^{/{ "_recommended": {"guidance_scale": 3.5},/' "$MODEL/model_index.json" >guided/model_index.json
"$KILN" draw -q "a red fox" -m guided --size 64x48 --steps 3 --threads 1 --seed 20 -o guided.png >>out.log
grep -q 'CFG scale: 3.5' guided.png
"$KILN" verify --threads 1 -q guided.png | grep -q identical
"$KILN" draw -q "a red fox" -m guided --size 64x48 --steps 3 --threads 1 --seed 20 --cfg 7 -o seven.png >>out.log
grep -q 'CFG scale: 7' seven.png

say "a cell of a grid is what draw draws; a grid begun again draws only what is missing or was changed"
"$KILN" grid "a red fox" --size 64x48 --threads 1 --seed 20 --x "steps=2,3" --y "cfg=3,7" -o grid.png -q >>out.log
[ "$(ls grid-cells | wc -l)" = 4 ]
found=
for cell in grid-cells/*.png; do
    "$KILN" verify "$cell" --threads 1 -q | grep -q identical
    grep -q 'Steps: 3, .*CFG scale: 7' "$cell" && found=$cell
done
[ -n "$found" ]
rm "$found"
cp grid.png before.png
"$KILN" grid "a red fox" --size 64x48 --threads 1 --seed 20 --x "steps=2,3" --y "cfg=3,7" -o grid.png 2>grid.log >>out.log
grep -q '3 of 4 pictures are there already' grid.log
[ "$(grep -c 'kiln: picture ' grid.log)" = 1 ]
cmp grid.png before.png
"$KILN" grid "a red fox" --size 64x48 --threads 1 --seed 21 --x "steps=2,3" --y "cfg=3,7" -o grid.png 2>grid.log >>out.log
[ "$(grep -c 'kiln: picture ' grid.log)" = 4 ]
refused cmp grid.png before.png

say "what bench-samplers has measured is not measured again; what is gone from its table is, to the same figures"
bench() {
    "$KILN" bench-samplers "a red fox" --size 16x16 --threads 1 --steps 2,4 --sampler "Euler,DPM++ 2M" --reference-steps 16 \
        -o bench.csv --plot bench.png "$@" 2>bench.log >>out.log
}
bench
[ "$(wc -l <bench.csv)" = 5 ]
cp bench.csv bench-before.csv
cp bench.png bench-before.png
bench
refused grep -q ' away' bench.log
cmp bench.csv bench-before.csv
cmp bench.png bench-before.png
grep -v 'DPM++ 2M,Karras,4,' bench-before.csv >bench.csv
bench
[ "$(grep -c 'evaluations, .* away' bench.log)" = 1 ]
cmp bench.csv bench-before.csv
bench --cfg 3
[ "$(wc -l <bench.csv)" = 9 ]
echo "DPM++ 2M,Karras,none" >>bench.csv
cp bench.csv bench-before.csv
refused bench
grep -q 'line 10' bench.log
cmp bench.csv bench-before.csv

say "--like repeats, and options given as well win"
draw "a red fox, \"quoted\": yes" -n "blue, [x]" --seed 9 --sampler "Euler a" --schedule Karras --cfg 5.5 -o recipe.png
"$KILN" draw -q --threads 1 --like recipe.png -o again.png >>out.log
cmp recipe.png again.png
"$KILN" draw -q --threads 1 --like recipe.png --seed 10 -o seed.png >>out.log
refused cmp recipe.png seed.png
"$KILN" draw -q --threads 1 --seed 10 --like recipe.png -o seed2.png >>out.log
cmp seed.png seed2.png

say "verify proves it, and tells a changed picture"
"$KILN" verify recipe.png --threads 1 -q | grep -q 'identical, 3072 pixels'
"$KILN" verify batch-3.png --threads 1 -q | grep -q identical
draw "a red fox" --seed 3 -o photo.jpg
if "$KILN" verify --threads 1 -q photo.jpg >verdict; then exit 1; fi
grep -q 'different: [0-9]* of 3072 pixels, the largest difference is' verdict

say "wildcards and styles: each picture of a batch has the text of its seed, which its recipe repeats"
mkdir -p places/wildcards/below
cp -R "$MODEL" places/model
printf '\357\273\277# colours\r\nred\r\ngreen\r\n\r\n__below/dark__\r\n' >places/wildcards/colour.txt
echo "dark blue" >places/wildcards/below/dark.txt
printf 'name,prompt,negative_prompt\nInk,ink of {prompt},"colour, photo"\n' >places/styles.csv
draw "a __colour__ fox" --wildcard-dir places/wildcards --styles places/styles.csv --style Ink --seed 4 --batch 3 -o wild.png
grep -q 'ink of a red fox' wild.png
grep -q 'ink of a dark blue fox' wild-2.png
for picture in wild.png wild-2.png wild-3.png; do
    grep -q 'Wildcard prompt: ink of a __colour__ fox' $picture
    grep -q 'Styles: Ink' $picture
    "$KILN" verify --threads 1 -q $picture | grep -q identical
done
draw "a __colour__ fox" --wildcard-dir places/wildcards --styles places/styles.csv --style Ink --seed 5 -o wild-alone.png
cmp wild-2.png wild-alone.png
draw "ink of a dark blue fox" -n "colour, photo" --seed 5 -o plain.png
cmp_words() {
    # Of two pictures whose recipes say it in other words: the same pixels, so the same latents.
    "$KILN" encode "$1" -o first.safetensors >>out.log
    "$KILN" encode "$2" -o second.safetensors >>out.log
    cmp first.safetensors second.safetensors
}
cmp_words wild-2.png plain.png
"$KILN" draw -q --threads 1 --like wild-2.png --wildcard-dir places/wildcards --seed 4 -o like.png >>out.log
grep -q 'ink of a dark blue fox' like.png
refused grep -q 'Wildcard' like.png
"$KILN" draw -q --threads 1 --like wild-2.png -p "a __colour__ hen" --wildcard-dir places/wildcards --seed 4 -o hen.png >>out.log
grep -q 'a red hen' hen.png

say "... those beside the model are found, and a grid's cell changes with them"
draw "a __colour__ fox" -m places/model --style Ink --seed 5 -o beside.png
grep -q 'ink of a dark blue fox' beside.png
draw "a __colour__ fox" --seed 5 -o literal.png
refused grep -q 'Wildcard' literal.png
wild_grid() {
    "$KILN" grid "a __colour__ fox" -m places/model --size 64x48 --steps 2 --threads 1 --x "seed=4,5" -o wild-grid.png 2>grid.log >>out.log
    grep -c 'kiln: picture ' grid.log || true
}
[ "$(wild_grid)" = 2 ]
grep -q 'a red fox' wild-grid-cells/*.png
grep -q 'a dark blue fox' wild-grid-cells/*.png
[ "$(wild_grid)" = 0 ]
echo "white" >places/wildcards/colour.txt
[ "$(wild_grid)" = 2 ]

say "emphasis in encoding is that of drawing"
for how in Original ComfyUI Ignore; do
    "$KILN" encode "a (fox:1.6)" --emphasis $how -o weighed.safetensors >>out.log
    draw --cond weighed.safetensors --seed 20 -o weighed-cond.png
    draw "a (fox:1.6)" --emphasis $how --seed 20 -o weighed-$how.png
    cmp_words weighed-cond.png weighed-$how.png
done
refused cmp_words weighed-Original.png weighed-ComfyUI.png
refused cmp_words weighed-Ignore.png weighed-ComfyUI.png

say "image to image"
draw "a red fox" --seed 4 --init base.png --strength 0.5 -o from.png
refused cmp base.png from.png
refused "$KILN" verify --threads 1 -q from.png
"$KILN" verify --threads 1 -q from.png --init base.png | grep -q identical

say "conditioning from a file draws the same picture"
"$KILN" encode "a red fox" -o fox.safetensors >>out.log
draw --cond fox.safetensors --seed 20 -o cond.png
draw "a red fox" --seed 20 -o prompt.png
"$KILN" draw -q --cond fox.safetensors --seed 20 --size 64x48 --steps 3 -o cond2.png >>out.log
cmp cond.png cond2.png

say "a picture to latents and back"
"$KILN" encode base.png -o latents.safetensors >>out.log
"$KILN" encode latents.safetensors -o back.png >>out.log
[ -s back.png ]

say "converted models draw the same picture"
"$KILN" convert -q "$MODEL" single.safetensors >>out.log
"$KILN" convert -q single.safetensors folder/ >>out.log
draw "a red fox" --seed 20 --precision f32 -o before.png
draw "a red fox" --seed 20 --precision f32 -m folder --tokenizer "$MODEL/tokenizer" -o after.png
"$KILN" verify --threads 1 -q before.png >>out.log
cmp_pixels() {
    # The recipes name other models, so compare through verify, which compares pixels.
    "$KILN" verify --threads 1 -q "$1" -m "$2" --tokenizer "$MODEL/tokenizer" 2>/dev/null | grep -q identical
}
cmp_pixels before.png folder
cmp_pixels before.png single.safetensors

say "previews, traces"
draw "a red fox" --seed 20 --preview preview.png --preview-every 1 --trace trace.tsv -o with.png
cmp base.png with.png
[ -s preview.png ]
[ "$(head -n 1 trace.tsv | cut -f 1-4)" = "path	op	kernel	shape" ]
[ "$(wc -l <trace.tsv)" -gt 100 ]

say "a drawing enlarged is the drawing and 'kiln upscale'; the network that comes with Kiln is found"
mkdir -p data/models/upscale-2x
refused env KILN_DATA=data "$KILN" upscale base.png -o none.png
cp "$DATA/upscale/compact-x3.safetensors" data/models/upscale-2x/diffusion_pytorch_model.safetensors
KILN_DATA=data draw "a red fox" --seed 20 --upscale 2 -o larger.png
KILN_DATA=data "$KILN" upscale -q base.png --scale 2 -o apart.png >>out.log
cmp larger.png apart.png
"$KILN" upscale -q base.png -m data/models/upscale-2x --scale 2 -o named.png >>out.log
cmp larger.png named.png
KILN_DATA=data draw "a red fox" --seed 20 --hires-scale 2 --hires-upscaler upscale-2x -o second.png
if "$KILN" verify --threads 1 -q larger.png >verdict; then exit 1; fi
grep -q 'Postprocess upscaler: upscale-2x' verdict

say "Ctrl-C stops within a step and leaves nothing"
mkdir stopped
(
    cd stopped
    "$KILN" draw "a red fox" --size 96x96 --steps 1000 --threads 1 -o x.png >out 2>err &
    echo $! >pid
    sleep 1
    kill -INT "$(cat pid)" 2>/dev/null || true
    status=0
    wait "$(cat pid)" || status=$?
    echo "$status" >status
)
# A shell may start background programs with SIGINT ignored; then it is TERM that reaches them.
[ "$(cat stopped/status)" = 130 ] || {
    echo "exit status $(cat stopped/status):"
    cat stopped/err
    exit 1
}
grep -q 'kiln: stopped' stopped/err
[ -z "$(find stopped -name 'x*')" ]

say "an existing file stays as it was when the drawing fails"
cp base.png keep.png
refused "$KILN" draw -q "x" --memory 1M -o keep.png
cmp base.png keep.png

say "nothing is written to standard error with -q, and no bar where there is no terminal"
"$KILN" draw -q x --size 32x32 --steps 2 2>err >>out.log
[ ! -s err ]
"$KILN" draw x --size 32x32 --steps 2 2>err >>out.log
[ "$(wc -l <err)" = 1 ]
echo "flows: as expected"
