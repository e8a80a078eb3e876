/* request.h - the options of a drawing, checked and resolved. Internal. */
#ifndef KILN_PIPELINE_REQUEST_H
#define KILN_PIPELINE_REQUEST_H

#include "diffusion/noise.h"
#include "pipeline/drawing.h"

typedef struct request {
    const kiln_draw_options *options;
    int width, height; /* px */
    int latent_width, latent_height;
    noise_kind noise;
    sampler_plan *sampler;
    bool guided;
    bool zero_negative;          /* SDXL without a negative prompt: a context of zeros */
    int tokens, negative_tokens; /* of the two contexts; negative 0 without guidance */
    int vae_tile;                /* px, resolved; 0: whole */
    kiln_memory_plan memory;
} request;

kiln_status request_check_batch(const kiln_draw_options *, kiln_error *);
/* Check every option against the model and resolve defaults. Free with request_fini, also after a failure. */
kiln_status request_resolve(kiln_session *, const kiln_draw_options *, request *, kiln_error *);
void request_fini(request *);

/* memory.c: fill request->memory and choose request->vae_tile; KILN_NO_MEMORY when it cannot fit. */
kiln_status request_plan_memory(kiln_session *, request *, kiln_error *);

/* recipe.c: the infotext of picture `index`. Free with free(); NULL when memory is short. */
char *request_infotext(const kiln_session *, const request *, int index);

#endif
