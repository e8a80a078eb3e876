/* prompts.h - the prompts that a model is measured by: the same for every model. */
#ifndef EMOJI_PROMPTS_H
#define EMOJI_PROMPTS_H

#include "emoji/caption.h"
#include "emoji/scene.h"

typedef struct prompt {
    scene what; /* exact places, no jitter */
    char text[CAPTION_SIZE];
} prompt;

/* `count` different emoji, spread evenly over all, each as "a red apple" on white. */
void prompts_names(const glyph_set *, int count, prompt *out);
/* `count` scenes of SPLIT_COMPOSED: "a green cat left of a rocket on a pink background". */
void prompts_composed(const glyph_set *, int count, prompt *out);
/* As a file of JSON lines. */
kiln_status prompts_write(const glyph_set *, const prompt *, int count, const char *path, kiln_error *err);

#endif
