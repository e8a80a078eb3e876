# prepare.sh - sourced by the tests of the command: a folder to work in, and models that are damaged in many ways.
#
# Expects KILN (the program) and DATA (tests/data). Sets WORK and leaves with it removed.

export LC_ALL=C
unset KILN_MODEL KILN_DATA HF_TOKEN HF_ENDPOINT || true

MODEL=$DATA/sd1-tiny
if [ ! -f "$MODEL/model_index.json" ]; then
    echo "skipped: no model at $MODEL"
    exit 77
fi

WORK=$(mktemp -d "${TMPDIR:-/tmp}/kiln-command-XXXXXX")
trap 'rm -rf "$WORK"' EXIT
export KILN_CACHE="$WORK/cache"
UNET=unet/diffusion_pytorch_model.safetensors

# A copy of the model, to be damaged.
damaged() {
    mkdir -p "$WORK/$1"
    cp -R "$MODEL/." "$WORK/$1"
}

# Write the bytes of $3 (octal escapes) over file $1 from byte $2 on.
patch_bytes() {
    printf "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc 2>/dev/null
}

size_of() {
    wc -c <"$1" | tr -d ' '
}
