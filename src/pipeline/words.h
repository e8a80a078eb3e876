/* words.h - the words of a call encoded once, for drawings that follow each other. Internal. */
#ifndef KILN_PIPELINE_WORDS_H
#define KILN_PIPELINE_WORDS_H

#include "kiln/kiln.h"
#include "pipeline/prompting.h"

typedef struct words {
    const kiln_map *positive,
        *negative; /* the options' own, or those below; both may be NULL: the words are not one
                      text, or the negative ones are as the family has them */
    prompting *own_positive, *own_negative;
} words;

/* `options` are checked already. Close also after a failure. The text encoders' plans are forgotten afterwards. */
kiln_status words_encode(words *, kiln_session *, const kiln_draw_options *options, kiln_error *);
void words_close(words *);

#endif
