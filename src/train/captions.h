/* captions.h - what is done to a caption each time its picture is shown.
 *
 * In kohya's order: choose one of the lines; drop it whole (for classifier-free guidance); prefix and suffix;
 * split at commas, keep the first keep_tokens tags, drop and shuffle the rest. The result is a pure function
 * of the options, the captions and (seed, epoch, sample). */
#ifndef KILN_TRAIN_CAPTIONS_H
#define KILN_TRAIN_CAPTIONS_H

#include "base/error.h"

typedef struct caption_options {
    bool shuffle_caption; /* false */
    int keep_tokens;      /* 0: tags at the front that stay where they are and are never dropped */
    const char *keep_tokens_separator;           /* NULL; "|||": what stands before it is kept instead */
    double caption_dropout_rate;                 /* 0..1: shown without words */
    int caption_dropout_every_n_epochs;          /* 0: never; n: without words in epochs n, 2n, ... */
    double caption_tag_dropout_rate;             /* 0..1 for each tag */
    const char *caption_separator;               /* NULL: "," */
    const char *caption_prefix, *caption_suffix; /* NULL: none */
} caption_options;

/* "" into *out (the caller's, free) when the caption is dropped or there is none. BAD_ARGUMENT for rates out
 * of range. */
kiln_status caption_make(const caption_options *, const char *const *captions, int count, uint64_t seed,
                         int64_t epoch, int64_t sample, char **out, kiln_error *) KILN_CHECKED;
/* The caption without anything random: the first line, prefixed and suffixed. For validation and for caches.
 */
kiln_status caption_plain(const caption_options *, const char *const *captions, int count, char **out,
                          kiln_error *) KILN_CHECKED;
/* True when caption_make can give more than one text for these captions besides "": text states cannot be
 * cached under few keys then. */
bool caption_varies(const caption_options *, int count);
kiln_status caption_options_check(const caption_options *, kiln_error *) KILN_CHECKED;

#endif
