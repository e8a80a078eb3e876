/* score.h - pictures against their prompts: what the measure says of a whole list. */
#ifndef EMOJI_SCORE_H
#define EMOJI_SCORE_H

#include "emoji/measure.h"
#include "emoji/prompts.h"

/* An object of a composed scene counts as recognised when the right emoji is among the nearest this many. */
enum { SCORE_RECOGNISED = 10 };

typedef struct score {
    int pictures;
    int first, among_five; /* of single emoji */
    int background;        /* the border's nearest named colour is the one asked for */
    int both, one;         /* composed: both, or exactly one of the objects recognised */
    int both_five, both_first;
    int tinted, tint_right; /* recoloured objects, and those nearest to the right emoji in the right colour */
} score;

/* What was found in one picture. */
typedef struct finding {
    int rank[2], best[2];
    int background; /* the border's nearest named colour */
} finding;

/* Look at one picture and add to the score. */
kiln_status score_picture(measure *, const glyph_set *, const prompt *, const uint8_t *rgb, int width,
                          int height, score *, finding *, kiln_error *err);

/* n of m in percent. */
double score_percent(int n, int of);

#endif
