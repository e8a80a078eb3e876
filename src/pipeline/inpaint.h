/* inpaint.h - drawing a region of a picture anew: what inpainting and outpainting share. Internal.
 *
 *     inpaint_open    picture, mask and region -> a drawing that is known to fit in memory
 *     inpaint_paint   picture `index` of the batch, into a copy of the picture
 *     inpaint_close
 *
 * What is not under the mask is never written: the drawn region is mixed into the picture's own samples by its share, and
 * a share of 0 leaves a pixel alone. */
#ifndef KILN_PIPELINE_INPAINT_H
#define KILN_PIPELINE_INPAINT_H

#include "pipeline/control_part.h"
#include "pipeline/work.h"

typedef struct inpainting inpainting;

/* Another start than the picture itself: change `start`, [height, width, 3] of the region. */
typedef struct inpaint_fill {
    kiln_status (*fill)(const void *self, const inpainting *, float *start, kiln_error *);
    const void *self;
} inpaint_fill;

struct inpainting {
    const kiln_inpaint_options *options;
    kiln_draw_options draw; /* the options' with the size of the region and its part of control pictures */
    control_part controls;
    const image *picture; /* borrowed */
    const mask *mask;     /* borrowed: final, of the size of the region's box */
    region region;
    work work;
    soft_inpainting soft;
    mask *pixel_mask, *latent_mask; /* of the region: at the size of the drawing, and of its latents */
    bool touched;            /* a latent is drawn when any of its pixels is, not only when half of it is */
    float *original, *start; /* [height, width, 3] of the region: as it is, and what is drawn from */
};

/* Close also after a failure; everything given is borrowed until then. With a fill (NULL: none) latents are drawn when any
 * of their pixels is, so that nothing of the fill is kept. */
kiln_status inpaint_open(inpainting *, kiln_session *, const kiln_inpaint_options *, const image *picture,
                         const mask *, region, const inpaint_fill *, kiln_error *);
/* Mix picture `index` into `onto`, a copy of the picture. */
kiln_status inpaint_paint(inpainting *, int index, image *onto, kiln_error *);
void inpaint_close(inpainting *);

kiln_status inpaint_check(const kiln_inpaint_options *, kiln_error *);

/* inpaint_soft.c: soft inpainting's share of each pixel of the region, [height, width], from how much the latents x
 * [C,h,w] differ from those of the picture. */
kiln_status inpaint_soft_share(const inpainting *, const float *x, float *share, kiln_error *);

/* recipe_inpaint.c */
struct infotext;
void inpaint_add_fields(const void *options, struct infotext *);

#endif
