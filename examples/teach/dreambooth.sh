#!/bin/sh
# dreambooth.sh - the character as a dreambooth, with prior preservation and without: all weights learn "a zwx cat face" from
# five pictures, and with it cat faces stay what they were. Prints the loss on cat faces that are never trained on, against that
# of the base; both sheets show cats and other things too. See docs/dreambooth.md.
# shellcheck source=SCRIPTDIR/prepare.sh
. "$(dirname "$0")/prepare.sh"
paint "zwx cat face"
for way in with without; do
    preserve=true
    [ $way = with ] || preserve=false
    teach dreambooth.train dreambooth-$way "train_data_dir=$OUT/pictures" "with_prior_preservation=$preserve" \
        "class_data_dir=$OUT/class" "class_validation_data_dir=$OUT/class-held-out"
done
for way in with without; do
    echo "$way prior preservation:"
    cat "$OUT/dreambooth-$way/class-preservation.json"
done
