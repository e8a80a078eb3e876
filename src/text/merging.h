/* merging.h - byte-pair encoding of one word (Sennrich et al. 2016, as CLIP applies it): the word starts as
 * its bytes, the last one marked as the end, and again and again the pair of lowest rank is merged, wherever
 * it stands, until no pair merges.
 *
 * A heap of pairs makes this n log n, so that a word of a hundred thousand letters is no attack. */
#ifndef KILN_TEXT_MERGING_H
#define KILN_TEXT_MERGING_H

#include "text/vocabulary.h"

/* Work space, reused from word to word. Starts as {0}. */
typedef struct merging {
    uint32_t *symbols;  /* in: nothing; out: the symbols that are left, in order */
    uint32_t *next;     /* index of the following symbol */
    uint32_t *previous; /* index of the preceding symbol */
    uint32_t *merged;   /* places merged in the current round */
    struct merging_pair *heap;
    size_t heap_count, capacity;
} merging;

/* Merge the bytes of a word (at least one, at most 2^24). `*count` symbols stand in m->symbols. */
kiln_status merging_run(merging *m, const vocabulary *, const char *word, size_t length, size_t *count,
                        kiln_error *err);
void merging_fini(merging *);

#endif
