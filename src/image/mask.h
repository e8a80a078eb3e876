/* mask.h - which part of a picture is meant: one number a pixel, 0 (not) to 1 (wholly).
 *
 * Masks come from pictures, shapes, colours and transparency; they grow, shrink and get soft edges. */
#ifndef KILN_IMAGE_MASK_H
#define KILN_IMAGE_MASK_H

#include "image/image.h"

typedef struct mask {
    int width, height;
    float *values; /* [height, width] */
} mask;

/* All zero; sides and pixels are limited as a picture's are. The caller gives it back with mask_free. */
kiln_status mask_new(int width, int height, mask **out, kiln_error *);
/* Accepts NULL. */
void mask_free(mask *);

/* The luma of a picture of the mask's meaning (white is 1). A picture with alpha whose colours are all the same is taken by
 * its alpha: many programs save masks so. */
kiln_status mask_of_picture(const image *, mask **out, kiln_error *);
/* A picture's transparency: 1 where nothing is. BAD_ARGUMENT when it has no alpha. */
kiln_status mask_of_transparency(const image *, mask **out, kiln_error *);
/* Pixels whose 8-bit red, green and blue are each at most `tolerance` (0..255) from `colour`. */
kiln_status mask_of_colour(const image *, const uint8_t colour[3], int tolerance, mask **out, kiln_error *);

typedef struct mask_point {
    double x, y; /* px from the top left corner of the picture */
} mask_point;

/* Set the inside of a polygon (even-odd rule) to 1; edges get their share of each pixel, by 16 samples. Parts out of the
 * picture are left out. */
void mask_add_polygon(mask *, const mask_point *, int count);

void mask_invert(mask *);
/* 0 or 1: at least one half. */
void mask_round(mask *);
/* Move the edge out by `px` (Euclidean; what is at least one half counts), or in when negative. Gives a mask of 0 and 1; 0 px
 * leaves all as it is. */
kiln_status mask_grow(mask *, double px, kiln_error *);
/* Gaussian blur of deviation `sigma` px as A1111's "Mask blur" does it: 2 round(2.5 sigma) + 1 taps, mirrored at the
 * edges, steps of 1/255: what is farther from the mask than half of that is 0. */
kiln_status mask_blur(mask *, double sigma, kiln_error *);

typedef struct mask_box {
    int x, y, width, height; /* px */
} mask_box;

/* The smallest box with all that is not 0; false when there is nothing. */
bool mask_bounds(const mask *, mask_box *);
/* A copy of a part, which lies inside. */
kiln_status mask_crop(const mask *, mask_box, mask **out, kiln_error *);
/* Bicubic, limited to 0..1. */
kiln_status mask_resize(const mask *, int width, int height, mask **out, kiln_error *);

/* The box wider by `padding` px, then widened or heightened towards the proportions of aspect_width : aspect_height as far as
 * a picture of width x height allows: what A1111 draws for "Only masked". */
mask_box mask_box_around(mask_box, int padding, int aspect_width, int aspect_height, int width, int height);

#endif
