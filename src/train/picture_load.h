/* picture_load.h - a picture file made ready for training: 8-bit RGB, scaled to cover its bucket; then cut
 * out and turned into numbers. Apart, so that the first, slow half can be kept. Internal to the loader. */
#ifndef KILN_TRAIN_PICTURE_LOAD_H
#define KILN_TRAIN_PICTURE_LOAD_H

#include "image/image.h"
#include "train/order.h"

/* Read, composite over white, scale to cover (Lanczos; not at all when a side fits already). `unscaled`: what covers it
 * is not scaled either. */
kiln_status picture_load(const char *path, int width_px, int height_px, bool unscaled, image **out,
                         kiln_error *err) KILN_CHECKED;
/* The sample's part of such a picture into nhwc[height,width,3], -1..1. */
void picture_cut(const image *covering, const order_sample *, float *nhwc);

#endif
