/* texts.h - the texts of a drawing's pictures: the options' for all of them, or what templates become for each seed.
 * Internal. */
#ifndef KILN_PIPELINE_TEXTS_H
#define KILN_PIPELINE_TEXTS_H

#include "base/arena.h"
#include "base/error.h"

typedef struct picture_texts {
    const char *prompt, *negative; /* as in the options: either may be NULL */
} picture_texts;

/* Starts as {0}; free with texts_free, after failures too. */
typedef struct texts {
    arena memory;
    picture_texts *list; /* each another pair */
    int count;           /* at least 1 after success */
    int *of;             /* which one a picture has; NULL: the first */
    /* What they come from, styles applied already; NULL where that is what every picture has. */
    const char *prompt_template, *negative_template;
    const char *styles; /* their names; NULL: none */
} texts;

/* Those of the options' batch, which is checked. Without templates the options' own texts are borrowed. */
kiln_status texts_of(const kiln_draw_options *, texts *out, kiln_error *err);
void texts_free(texts *);

/* The texts of a picture of the batch: their number in the list. */
int texts_index(const texts *, int picture);
/* The options of pictures with these texts: no templates are left in them. */
kiln_draw_options texts_options(const texts *, int number, const kiln_draw_options *);

#endif
