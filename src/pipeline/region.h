/* region.h - a part of a picture at the size of a drawing, and back. Internal. */
#ifndef KILN_PIPELINE_REGION_H
#define KILN_PIPELINE_REGION_H

#include "image/mask.h"

typedef struct region {
    mask_box box;      /* the part of the picture */
    int width, height; /* of the drawing, px */
    bool own_scale;    /* a pixel is a pixel: the drawing goes on beyond the box to the right and below */
} region;

/* The part as a tensor [height, width, 3] in -1..1; free(). Beyond the box the edge goes on. */
kiln_status region_pixels(const region *, const image *, float **out, kiln_error *);
/* The same of a mask of the box's size; 0 beyond it. */
kiln_status region_mask(const region *, const mask *, mask **out, kiln_error *);
/* A drawing of the region's size to the size of its box, [box.height, box.width, 3]; free(). */
kiln_status region_back(const region *, const float *drawn, float **out, kiln_error *);

#endif
