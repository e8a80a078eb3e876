/* clip_vision.h - the vision encoders of the CLIP family (Radford et al. 2021; Dosovitskiy et al. 2021): a picture to
 * one vector of the space that it shares with texts, and to hidden states of its patches.
 *
 * Parameters carry transformers' names (canonical) and OpenCLIP's (original), the latter below "visual." in whole
 * models. */
#ifndef KILN_MODEL_CLIP_VISION_H
#define KILN_MODEL_CLIP_VISION_H

#include "graph/graph.h"
#include "model/config.h"

typedef struct clip_vision_config {
    int image_size, patch; /* px; the side of the square picture and of a patch */
    int width, feed_forward, layers, heads;
    bool quick_gelu; /* x sigmoid(1.702 x) instead of gelu */
    float norm_epsilon;
    int projection_channels; /* of visual_projection; 0: the encoder has none */
} clip_vision_config;

/* Outputs to draw; what is not asked for is not computed. T is 1 + patches: the class token comes first. */
typedef enum clip_vision_output {
    CLIP_IMAGE_EMBEDS = 1,      /* "image_embeds" [N,projection_channels] */
    CLIP_VISION_POOLED = 2,     /* "pooled" [N,C]: the class token after the last layer norm */
    CLIP_VISION_LAST = 4,       /* "last_hidden_state" [N,T,C]: after the last layer, without layer norm */
    CLIP_VISION_PENULTIMATE = 8 /* "penultimate" [N,T,C]: before the last layer */
} clip_vision_output;

/* Patches and the class token. */
int clip_vision_tokens(const clip_vision_config *);

/* Read config.json of a vision model, or the vision_config within a whole CLIP model's. Zero *out on failure. */
kiln_status clip_vision_config_parse(const char *json, size_t length, const char *name,
                                     clip_vision_config *out, kiln_error *err);

/* Tell the configuration from the tensors, named as transformers names them or (`openclip`) as OpenCLIP does, without
 * a prefix. `heads` 0: as the published encoders of that width have. Widths 768 and 1024 mean quick_gelu (OpenAI's),
 * others gelu. KILN_NOT_FOUND when there is none. */
kiln_status clip_vision_config_from_tensors(const tensor_finder *, bool openclip, int heads,
                                            clip_vision_config *out, kiln_error *err);

/* Draw the encoder for `batch` pictures.
 *   input   pixels [N,image_size,image_size,3], normalised as the encoder was trained
 * All parameters are declared whatever is asked for (clip_vision_output, or-ed). Errors stay in the graph. */
void clip_vision_draw(graph *, const clip_vision_config *, int batch, unsigned outputs);

#endif
