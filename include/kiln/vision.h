/* vision.h - the public interface to what pictures mean: CLIP's vision encoder and likeness, pictures as prompts
 * (IP-Adapter), pictures that steer a drawing (ControlNet), and edges found in a picture.
 *
 * Errors, ownership and threads: as in kiln.h, except that a kiln_clip is used by one thread at a time. */
#ifndef KILN_VISION_H
#define KILN_VISION_H

#include "kiln/kiln.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------------------------ CLIP */

/* A CLIP model (Radford et al. 2021): pictures, and texts where it has that half, become vectors of one space. */
typedef struct kiln_clip kiln_clip;

/* Open a transformers folder, a diffusers folder with image_encoder/, or a single file in transformers' or OpenCLIP's
 * names. Of the options tokenizer, data_directory, hints, precision, threads and reference count; NULL: defaults.
 * KILN_NOT_FOUND when there is no vision encoder in it. */
KILN_API KILN_CHECKED kiln_status kiln_clip_open(const char *path, const kiln_model_options *,
                                                 kiln_clip **out, kiln_error *);
KILN_API void kiln_clip_close(kiln_clip *);
/* Whether this is a CLIP model and nothing more: not a diffusion model that has one in it. */
KILN_API bool kiln_clip_is_whole(const char *path);
/* Whether texts can be encoded: the file holds that half, and its vectors are of the pictures' space. */
KILN_API bool kiln_clip_has_text(const kiln_clip *);
/* What multiplies a cosine before a softmax over texts: e to the file's logit_scale, 100 where it holds none. */
KILN_API double kiln_clip_scale(const kiln_clip *);

/* A picture as a map of kind "image": "image_embeds" [1,P] where the encoder has a projection, "pooled" [1,C],
 * "last_hidden_state" [1,T,C] and "penultimate" [1,T,C] (what IP-Adapter plus takes). The picture is made ready exactly
 * as transformers' CLIPImageProcessor does: shorter side by PIL's bicubic filter, centre crop, mean and deviation; an
 * alpha channel is laid over white first. */
KILN_API KILN_CHECKED kiln_status kiln_clip_encode_image(kiln_clip *, const kiln_image *, kiln_map **out,
                                                         kiln_error *);
/* A text as a map of kind "text": "text_embeds" [1,P]. What does not fit into 77 tokens is left out. */
KILN_API KILN_CHECKED kiln_status kiln_clip_encode_text(kiln_clip *, const char *text, kiln_map **out,
                                                        kiln_error *);
/* The cosine of two maps' vectors ("image_embeds", "text_embeds" or, without a projection, "pooled"), -1..1. */
KILN_API KILN_CHECKED kiln_status kiln_clip_cosine(const kiln_map *, const kiln_map *, double *out,
                                                   kiln_error *);

#ifdef __cplusplus
}
#endif

#endif
