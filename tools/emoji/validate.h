/* validate.h - the measure measured: true pictures of the prompts must score near 100 %, pictures that show something
 * else near nothing. */
#ifndef EMOJI_VALIDATE_H
#define EMOJI_VALIDATE_H

#include "emoji/score.h"

typedef enum validate_case {
    VALIDATE_TRUE,     /* painted with the training's jitter */
    VALIDATE_BLURRED,  /* the same with a blur of 1.5 px, less contrast, and noise: what a weak model draws */
    VALIDATE_SHUFFLED, /* the picture of the next prompt */
    VALIDATE_BLANK,    /* the background alone */
    VALIDATE_CASES
} validate_case;

extern const char *const validate_names[VALIDATE_CASES];

/* The score of `count` prompts in that case, with pictures of `size` px. */
kiln_status validate_run(measure *, const glyph_set *, const prompt *, int count, int size, validate_case,
                         score *, kiln_error *err);

#endif
