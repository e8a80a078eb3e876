/* conditioning.h - from words to the map that the UNet looks at. Internal.
 *
 * SD 1 and 2: the text encoder's hidden states after the final layer norm, at the layer that clip skip chooses.
 * SDXL: both encoders' penultimate states side by side, and the second one's projected pooled state.
 * A prompt of more than 75 tokens is encoded window by window and joined along the tokens (A1111's way). */
#ifndef KILN_PIPELINE_CONDITIONING_H
#define KILN_PIPELINE_CONDITIONING_H

#include "pipeline/session.h"
#include "text/prompt_attention.h"

/* How weights act on the text encoders' states; the names are A1111's, and that of the program whose way it is. */
typedef enum emphasis {
    EMPHASIS_ORIGINAL, /* every position times its weight, then all so that the mean stays */
    EMPHASIS_NO_NORM,  /* without the latter */
    EMPHASIS_COMFYUI, /* every position from where no words would be, so far on to its own: e + weight (z - e) */
    EMPHASIS_IGNORE, /* weights are read and do nothing */
    EMPHASIS_NONE    /* brackets are words */
} emphasis;

/* NULL is "Original"; else one of "Original", "No norm", "ComfyUI", "Ignore" and "None", in any case. */
kiln_status emphasis_of_name(const char *name, emphasis *out, kiln_error *err);

/* A prompt as it is encoded. */
typedef struct conditioning_text {
    const prompt_pieces *pieces;
    int clip_skip;
    int windows; /* at least so many */
    emphasis emphasis;
} conditioning_text;

kiln_status conditioning_of_pieces(kiln_session *, const conditioning_text *, kiln_map **out, kiln_error *);
/* How many tokens that would give, and whether it could: the words are cut, nothing is run. */
kiln_status conditioning_tokens(const kiln_session *, const conditioning_text *, int *tokens, kiln_error *);
/* Set used[i] for every word of session_words that is in the text. */
kiln_status conditioning_words(const kiln_session *, const conditioning_text *, bool *used, kiln_error *);
/* Plain words, in which only BREAK means something (captions). A map of kind "conditioning": "context" [1,T,D], and "pooled" [1,P] where the family has it. */
kiln_status conditioning_of_text(kiln_session *, const char *prompt, int clip_skip, kiln_map **out,
                                 kiln_error *);
/* A map of the same shapes as `like`, all zero: what SDXL takes where there is no negative prompt. */
kiln_status conditioning_of_nothing(const kiln_map *like, kiln_map **out, kiln_error *);
/* The tokens of a map that conditioning_check has seen. */
int conditioning_map_tokens(const kiln_map *);
/* Whether a map fits this model's UNet and holds numbers only; a sentence if not. */
kiln_status conditioning_check(const kiln_model *, const kiln_map *, const char *what, kiln_error *);

#endif
