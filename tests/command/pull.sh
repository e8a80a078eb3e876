#!/bin/sh
# pull.sh KILN HUB DATA - download a model from a hub on loopback, with transfers that break, and draw with it.
set -eu
KILN=$1
HUB=$2
DATA=$3
. "$(dirname "$0")/prepare.sh"
cd "$WORK"

mkfifo open
"$HUB" "$MODEL" me/tiny cut:1000 unet/config.json cut:200000 "$UNET" vae/config.json \
    vae/diffusion_pytorch_model.safetensors text_encoder/config.json text_encoder/model.safetensors \
    tokenizer/vocab.json tokenizer/merges.txt scheduler/scheduler_config.json model_index.json <open >address &
hub=$!
exec 3>open
while [ ! -s address ]; do
    kill -0 $hub
    sleep 0.05
done

"$KILN" pull me/tiny --endpoint "$(cat address)" >out 2>err
[ "$(cat out)" = tiny ]
[ ! -s err ] # silent where there is no terminal
for file in "$UNET" unet/config.json model_index.json tokenizer/merges.txt; do
    cmp "$MODEL/$file" "tiny/$file"
done
[ -z "$(find tiny -name '*.part')" ]
"$KILN" draw "a lighthouse" -m tiny --size 32x32 --steps 1 -q
[ -s out.png ]

# The environment names the hub too; what is not there is said in one line.
status=0
HF_ENDPOINT=$(cat address) "$KILN" pull me/gone >out 2>err || status=$?
[ "$status" = 1 ]
[ "$(wc -l <err)" = 1 ]
grep -q 404 err
[ ! -e gone ]

exec 3>&-
wait $hub
status=0
"$KILN" pull me/tiny other --endpoint http://127.0.0.1:1 >out 2>err || status=$?
[ "$status" = 1 ]
[ "$(wc -l <err)" = 1 ]
echo "pull: as expected"
