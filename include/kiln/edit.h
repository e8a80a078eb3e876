/* edit.h - going on beyond a picture's edges, and drawing a picture again at a larger size.
 *
 * Part of libkiln; see kiln.h for errors, ownership and sessions. Inpainting is in kiln.h. */
#ifndef KILN_EDIT_H
#define KILN_EDIT_H

#include <kiln/kiln.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------------------------ outpainting */

/* Go on beyond the edges of a picture. Every pixel of the picture keeps its very samples. Side after side (left, right, up,
 * down) strips are drawn in windows of the model's size, which see what is known around them; each picture of a batch has
 * its own seed. */
typedef struct kiln_outpaint_options {
    /* As for kiln_draw; `init` is not used, width and height are those of a window (0: the model's size), and strength is 0.9
     * by default. */
    kiln_draw_options draw;
    const kiln_image *picture;
    int left, right, up, down; /* px to add, 0 or more */
    /* What a window starts from where nothing is known: "edge" (the edge's pixels go on), "mirror", "blurred" (the colours
     * around), "noise" (noise with the spectrum and the colours of what is known), "latent noise"; "noise" */
    const char *fill;
    double variation;  /* of "noise": how much of it is of each colour's own, 0..1; 0.05 */
    int feather;       /* px, 0..1024: how softly the fill and overlapping windows begin; 32 */
    int step;          /* px that one strip goes out at most; 0: half a window */
    int repeat;        /* how often all that is done, each time around the last picture; 1 */
    bool match_colour; /* take slow differences in colour at the seam away; true */
} kiln_outpaint_options;

KILN_API kiln_outpaint_options kiln_outpaint_defaults(void);
/* Set the four sides for a picture of width x height to become at least to_width x to_height px; or to have their
 * proportions, with `proportions` (16 and 9, say). `anchor` says where the picture stays: "center", "left", "right", "top",
 * "bottom", "top-left" and so on; NULL: "center". KILN_BAD_ARGUMENT when the target is smaller or too large. */
KILN_API KILN_CHECKED kiln_status kiln_outpaint_to(kiln_outpaint_options *, int width, int height,
                                                   int to_width, int to_height, bool proportions,
                                                   const char *anchor, kiln_error *);
/* What the largest window takes of memory; checks every option, without drawing. */
KILN_API KILN_CHECKED kiln_status kiln_outpaint_plan(kiln_session *, const kiln_outpaint_options *,
                                                     kiln_memory_plan *, kiln_error *);
/* options->draw.batch pictures into out, each with its "parameters" text. On failure none is left. */
KILN_API KILN_CHECKED kiln_status kiln_outpaint(kiln_session *, const kiln_outpaint_options *,
                                                kiln_image **out, kiln_error *);
/* The options of an outpainting from its recipe. */
KILN_API void kiln_recipe_apply_outpaint(const kiln_recipe *, kiln_outpaint_options *);

/* ------------------------------------------------------------------------------------ diffusion upscaling */

/* Draw a picture again at a larger size, tile by tile: it is enlarged by a filter or a network, then each of the overlapping
 * tiles is drawn from what it shows at a low strength, and all are blended (A1111's "SD upscale"). Tile k has the seed + k.
 * A model of the x4 upscaler's family draws four times the size itself, from the small picture with a little noise.
 * Bit depth, channels and transparency stay. */
typedef struct kiln_redraw_options {
    /* As for kiln_draw; `init` is not used, `batch` is 1; width and height are those of a tile, of the result (0: the model's
     * size); strength is 0.35 by default. */
    kiln_draw_options draw;
    const kiln_image *picture;
    double scale;         /* 0.1..16; 0: 2, or 4 with an x4 upscaler */
    int width, height;    /* px of the result, instead of the scale; 0 */
    const char *upscaler; /* what kiln_upscaler_open takes; "lanczos" */
    int overlap;          /* px of the result that neighbouring tiles share; 64 */
    int noise_level;      /* x4 upscaler: 0..350, 20 */
} kiln_redraw_options;

KILN_API kiln_redraw_options kiln_redraw_defaults(void);
/* What the largest tile takes of memory; checks every option, without drawing. */
KILN_API KILN_CHECKED kiln_status kiln_redraw_plan(kiln_session *, const kiln_redraw_options *,
                                                   kiln_memory_plan *, kiln_error *);
/* The picture, with its "parameters" text. */
KILN_API KILN_CHECKED kiln_status kiln_redraw(kiln_session *, const kiln_redraw_options *, kiln_image **out,
                                              kiln_error *);
/* The options of a redrawing from its recipe. */
KILN_API void kiln_recipe_apply_redraw(const kiln_recipe *, kiln_redraw_options *);

#ifdef __cplusplus
}
#endif
#endif
