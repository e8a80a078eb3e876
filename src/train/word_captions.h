/* word_captions.h - what pictures are said to be while a word is learnt (Gal et al. 2022, appendix: neutral sentences). */
#ifndef KILN_TRAIN_WORD_CAPTIONS_H
#define KILN_TRAIN_WORD_CAPTIONS_H

#include "train/recipe.h"

/* Whether the pictures' own captions are used. */
bool word_captions_own(const recipe *);
/* The caption of a picture: by learnable_property one of a list of sentences, which `bits` choose, or the picture's own, with
 * the word before it where it lacks it ("" stays ""). free(); NULL when memory is short. */
char *word_caption(const recipe *, const char *own, uint64_t bits);

#endif
