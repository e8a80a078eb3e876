/* request.h - the options of a drawing, checked and resolved. Internal. */
#ifndef KILN_PIPELINE_REQUEST_H
#define KILN_PIPELINE_REQUEST_H

#include "diffusion/noise.h"
#include "pipeline/drawing.h"
#include "pipeline/texts.h"

/* What the UNet takes besides the latents. */
typedef enum request_extra {
    EXTRA_NONE,
    EXTRA_MASKED, /* the mask, and the latents of the picture without what is masked: inpainting UNets */
    EXTRA_EDIT,   /* the latents of the picture that the words are to change: InstructPix2Pix */
    EXTRA_LOW     /* the pixels of a picture to be enlarged: x4 upscaler */
} request_extra;

/* What a drawing has besides its options. */
typedef struct request_kind {
    bool picture;   /* it starts from one */
    bool mask;      /* of which a part is kept */
    bool low;       /* it enlarges one */
    bool drawn;     /* it will be drawn, not only planned: LoRAs are opened, whose words count */
    int64_t beside; /* bytes that the caller will hold meanwhile, and does not yet */
} request_kind;

struct infotext;

typedef struct request {
    request_kind kind;
    request_extra extra;
    bool
        pure_noise; /* the start picture does not show at all: diffusers' pipelines at strength 1 with a mask */
    const kiln_draw_options *options;
    texts texts;       /* of the pictures: prompt and negative prompt of the options are not looked at */
    int width, height; /* px */
    int latent_width, latent_height;
    noise_kind noise;
    sampler_plan *sampler;
    bool guided;
    bool zero_negative; /* SDXL without a negative prompt: a context of zeros */
    int tokens,
        negative_tokens; /* of the two contexts, the most of any picture; negative 0 without guidance */
    bool apart;          /* of a picture the two have different numbers of them */
    int vae_tile;        /* px, resolved; 0: whole */
    kiln_memory_plan memory;
    /* What a caller adds to the recipe, with the self of its own; or NULL. */
    void (*add_fields)(const void *self, struct infotext *);
    const void *add_self;
} request;

kiln_status request_check_batch(const kiln_draw_options *, kiln_error *);
/* Check every option against the model and resolve defaults. Free with request_fini, also after a failure. */
kiln_status request_resolve(kiln_session *, const kiln_draw_options *, request_kind, request *, kiln_error *);
void request_fini(request *);

/* memory.c: fill request->memory and choose request->vae_tile; KILN_NO_MEMORY when it cannot fit. */
kiln_status request_plan_memory(kiln_session *, request *, kiln_error *);

/* The options of the pictures that have the texts of that number. */
kiln_draw_options request_options(const request *, int number);
/* How the prompt, or the negative one, is to be read. */
kiln_status request_prompting(const request *, bool negative, prompting_rules *, kiln_error *);
/* A number of the options within low..high; NaN never is. KILN_BAD_ARGUMENT names it. */
kiln_status request_check_number(const char *name, double given, double low, double high, kiln_error *);

/* recipe.c: the infotext of picture `index`. Free with free(); NULL when memory is short. */
char *request_infotext(const kiln_session *, const request *, int index);

#endif
