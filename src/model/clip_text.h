/* clip_text.h - the text encoders of the CLIP family (Radford et al. 2021): tokens to hidden states.
 *
 * Parameters carry transformers' names (canonical). The original dialect depends on who stored the
 * checkpoint: see clip_dialect; the prefixes before it are CLIP_PREFIX_*. */
#ifndef KILN_MODEL_CLIP_TEXT_H
#define KILN_MODEL_CLIP_TEXT_H

#include "graph/graph.h"
#include "model/config.h"

#define CLIP_PREFIX_SD1 "cond_stage_model.transformer."
#define CLIP_PREFIX_SD2 "cond_stage_model.model."
#define CLIP_PREFIX_SDXL_1 "conditioner.embedders.0.transformer."
#define CLIP_PREFIX_SDXL_2 "conditioner.embedders.1.model."

/* How a single-file checkpoint names the encoder's tensors. */
typedef enum clip_dialect {
    CLIP_DIALECT_TRANSFORMERS, /* text_model.encoder.layers.N...: the canonical names */
    CLIP_DIALECT_BARE,         /* the same without text_model (some early merges) */
    CLIP_DIALECT_OPENCLIP      /* transformer.resblocks.N..., q, k, v in one matrix */
} clip_dialect;

typedef struct clip_text_config {
    int vocabulary, positions;
    int width, feed_forward, layers, heads;
    bool quick_gelu; /* x sigmoid(1.702 x) instead of gelu */
    float norm_epsilon;
    int projection_channels; /* of text_projection; 0: the encoder has none */
    int eos_token;           /* as the file says; 2 stands for "pool at the largest id" (an old convention) */
    clip_dialect dialect;
} clip_text_config;

/* The id of a place where a vector stands instead of a token: its row of the table is zeros. */
enum { NO_TOKEN = -1 };

/* Outputs to draw; what is not asked for is not computed. */
typedef enum clip_text_output {
    CLIP_HIDDEN_0 = 1,          /* "hidden_0" [N,T,C]: the embeddings */
    CLIP_LAST_HIDDEN_STATE = 2, /* "last_hidden_state" [N,T,C]: last layer, after the final layer norm */
    CLIP_HIDDEN_RAW = 4,        /* "hidden_raw" [N,T,C]: the layer that `skip` chooses, without layer norm */
    CLIP_HIDDEN_LN = 8,         /* "hidden_ln" [N,T,C]: the same after the final layer norm */
    CLIP_POOLED = 16,           /* "pooled" [N,C]: last_hidden_state at pooling_index */
    CLIP_TEXT_EMBEDS = 32       /* "text_embeds" [N,projection_channels]: pooled, projected */
} clip_text_output;

typedef struct clip_text_shape {
    int batch, tokens; /* tokens: 1..positions */
    unsigned outputs;  /* clip_text_output, or-ed; at least one */
    int skip; /* "clip skip": 1 the last layer, 2 the one before it (penultimate), ... up to layers */
    bool word_vectors; /* words may have vectors of their own: see clip_text_draw */
    const char *
        place; /* where in a larger graph: parameters, inputs and outputs are named below it; NULL: at the root */
} clip_text_shape;

/* SD 1.x and SDXL's first; SD 2.x as a folder (23 layers, the last one already dropped); SDXL's second. */
extern const clip_text_config clip_text_l, clip_text_h, clip_text_big_g;

/* Read text_encoder/config.json, or the text_config within a whole CLIP model's. Zero *out on failure. */
kiln_status clip_text_config_parse(const char *json, size_t length, const char *name, clip_text_config *out,
                                   kiln_error *err);

/* Tell the configuration, dialect included, from a checkpoint's tensors. `heads` 0: one per 64 channels. A
 * transformers dialect means quick_gelu, OpenCLIP's means gelu. KILN_NOT_FOUND when there is none. */
kiln_status clip_text_config_from_tensors(const tensor_finder *finder, int heads, clip_text_config *out,
                                          kiln_error *err);

/* Where the pooled state is taken in a row of `count` token ids: the first end of text. */
int clip_pooling_index(const clip_text_config *config, const int32_t *ids, int count);

/* Draw the encoder.
 *   inputs   ids I32 [N,T];   pooling_index I32 [N] when CLIP_POOLED or CLIP_TEXT_EMBEDS is asked for
 *   with word_vectors also word_vectors F32 [N,T,width], added to what is looked up: zeros for a token like any other, and a
 *   vector in the place of a token whose id is NO_TOKEN. Positions are added afterwards
 * All parameters are declared whatever is asked for. Errors stay in the graph. */
void clip_text_draw(graph *graph, const clip_text_config *config, const clip_text_shape *shape);

#endif
