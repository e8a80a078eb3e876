/* words.h - the words of a call encoded once, for drawings that follow each other: windows, tiles. Internal. */
#ifndef KILN_PIPELINE_WORDS_H
#define KILN_PIPELINE_WORDS_H

#include "kiln/kiln.h"
#include "pipeline/prompting_store.h"
#include "pipeline/texts.h"

/* Of a pair of texts: the options' own maps, or encoded ones. Both may be NULL: the words are not one text, or the negative
 * ones are as the family has them. */
typedef struct text_maps {
    const kiln_map *positive, *negative;
} text_maps;

typedef struct words {
    texts texts;
    text_maps *maps; /* of each */
    prompting_store store;
} words;

/* `options` are checked already. Close also after a failure. The text encoders' plans are forgotten afterwards. */
kiln_status words_encode(words *, kiln_session *, const kiln_draw_options *options, kiln_error *);
/* The options of a drawing that is a part of picture `picture`. */
kiln_draw_options words_options(const words *, int picture, const kiln_draw_options *);
void words_close(words *);

#endif
