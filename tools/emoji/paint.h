/* paint.h - a scene as pixels: objects scaled with an antialiasing filter, in their colours, over a flat background. */
#ifndef EMOJI_PAINT_H
#define EMOJI_PAINT_H

#include "emoji/scene.h"

/* A glyph scaled onto the pixel grid of a picture: premultiplied RGBA 0..1, its corner at (x, y), which may lie outside
 * of the picture. */
typedef struct patch {
    int x, y, width, height;
    float *rgba;
} patch;

/* The glyph with its centre at (centre_x, centre_y) and its cell `height` high, all in pixels; `tint` as in a scene.
 * False when memory is short. Give back with patch_fini either way. */
bool patch_init(patch *, const glyph *, float centre_x, float centre_y, float height, int tint);
void patch_fini(patch *);

/* Paint into `rgb`, 3 x size x size bytes. */
kiln_status paint_scene(const glyph_set *, const scene *, int size, uint8_t *rgb, kiln_error *err);

#endif
