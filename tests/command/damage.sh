# damage.sh - sourced by run.sh: files that are not what they should be, in $WORK.

# One copy for each kind of damage to the UNet's weights.
damaged truncated
head -c 100000 "$MODEL/$UNET" >"$WORK/truncated/$UNET"
damaged empty
: >"$WORK/empty/$UNET"
damaged garbage
head -c 100000 "$MODEL/vae/diffusion_pytorch_model.safetensors" | tail -c 50000 >"$WORK/garbage/$UNET"
damaged huge-header
patch_bytes "$WORK/huge-header/$UNET" 0 '\377\377\377\377\377\377\377\177'
damaged not-json
patch_bytes "$WORK/not-json/$UNET" 8 'xxxxxxxx'
damaged other-part
cp "$MODEL/vae/diffusion_pytorch_model.safetensors" "$WORK/other-part/$UNET"
damaged nan
patch_bytes "$WORK/nan/$UNET" $(($(size_of "$MODEL/$UNET") - 4)) '\000\000\300\177'
damaged inf
patch_bytes "$WORK/inf/$UNET" $(($(size_of "$MODEL/$UNET") - 4)) '\000\000\200\177'
damaged missing-weights
rm "$WORK/missing-weights/$UNET"
damaged missing-config
rm "$WORK/missing-config/unet/config.json"
damaged bad-config
echo '{"in_channels": "four"' >"$WORK/bad-config/unet/config.json"
damaged odd-config
sed 's/"in_channels": 4/"in_channels": -4/' "$MODEL/unet/config.json" >"$WORK/odd-config/unet/config.json"
damaged missing-vae
rm -r "$WORK/missing-vae/vae"
damaged missing-tokenizer
rm -r "$WORK/missing-tokenizer/tokenizer"
damaged bad-vocabulary
head -c 200 "$MODEL/tokenizer/vocab.json" >"$WORK/bad-vocabulary/tokenizer/vocab.json"
mkdir "$WORK/folder" "$WORK/folder.png"

printf 'not a picture at all' >"$WORK/garbage.png"
: >"$WORK/empty.png"
: >"$WORK/empty.safetensors"
printf '\003\000\000\000\000\000\000\000{}x' >"$WORK/small.safetensors"
printf 'PK\003\004garbage' >"$WORK/garbage.ckpt"
printf '\200\002}q\000.' >"$WORK/nothing.ckpt"
PICTURE=$WORK/picture.png
"$KILN" draw "a lighthouse" -q -m "$MODEL" --size 64x64 --steps 2 --seed 3 -o "$PICTURE" >/dev/null
head -c 700 "$PICTURE" >"$WORK/cut.png"
cp "$PICTURE" "$WORK/changed.png"
LATENTS=$WORK/latents.safetensors
"$KILN" encode "$PICTURE" -m "$MODEL" -o "$LATENTS" >/dev/null
# A white and a black pixel; masks of them, and pictures of unusual sizes.
printf '\211\120\116\107\015\012\032\012\000\000\000\015\111\110\104\122\000\000\000\001\000\000\000\001\010\000\000\000\000\072\176\233\125' >"$WORK/white.png"
printf '\000\000\000\012\111\104\101\124\170\234\143\370\017\000\001\001\001\000\261\070\366\024\000\000\000\000\111\105\116\104\256\102\140\202' >>"$WORK/white.png"
printf '\211\120\116\107\015\012\032\012\000\000\000\015\111\110\104\122\000\000\000\001\000\000\000\001\010\000\000\000\000\072\176\233\125' >"$WORK/black.png"
printf '\000\000\000\012\111\104\101\124\170\234\143\140\000\000\000\002\000\001\110\257\244\161\000\000\000\000\111\105\116\104\256\102\140\202' >>"$WORK/black.png"
ONE=$WORK/white.png
for size in 64x64 63x64; do
    "$KILN" upscale "$WORK/white.png" -q -m nearest --size $size -o "$WORK/white-$size.png" >/dev/null
done
"$KILN" upscale "$WORK/black.png" -q -m nearest --size 64x64 -o "$WORK/black-64x64.png" >/dev/null
WIDE=$WORK/wide.png
"$KILN" upscale "$PICTURE" -q -m bilinear --size 20000x8 -o "$WIDE" >/dev/null
mkdir "$WORK/x4"
cp -R "$DATA/x4-tiny/." "$MODEL/text_encoder" "$MODEL/tokenizer" "$WORK/x4"
LONG=$(awk 'BEGIN { for (i = 0; i < 5000; i++) printf "word%d ", i % 97 }')
NOT_UTF8=$(printf 'a \377 b')
export MODEL WORK PICTURE ONE WIDE LATENTS LONG NOT_UTF8

# What prompts name: wildcards and styles, and some that are wrong.
mkdir -p "$WORK/wildcards/below"
printf 'red\ngreen\nblue\n' >"$WORK/wildcards/colour.txt"
printf 'wolf\n' >"$WORK/wildcards/below/wild.txt"
printf 'cow\n' >"$WORK/wildcards/below/tame.txt"
printf 'a __round__\n' >"$WORK/wildcards/round.txt"
printf '# nothing\n' >"$WORK/wildcards/none.txt"
printf '\351\n' >"$WORK/wildcards/latin.txt"
printf 'name,prompt,negative_prompt\nInk,"ink of {prompt}, ""fine""",colour\nOil,oil,\n' >"$WORK/styles-good.csv"
printf 'name,prompt\nInk,"ink\n' >"$WORK/styles-open.csv"
printf 'name,prompt\nInk,ink, fine\n' >"$WORK/styles-comma.csv"
