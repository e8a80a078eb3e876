/* resize_taps.h - which source positions make a target position, and with what weights. Internal to
 * resizing. */
#ifndef KILN_IMAGE_RESIZE_TAPS_H
#define KILN_IMAGE_RESIZE_TAPS_H

#include "image/resize.h"

typedef struct taps {
    int *first, *count; /* of the source positions of each target position */
    double *weights;    /* `room` per target position; they sum to 1 */
    size_t room;
} taps;

/* For stretching `from` positions to `to`; false when memory is short. Give back with taps_fini either
 * way. */
bool taps_init(taps *, int from, int to, resize_filter filter);
void taps_fini(taps *);

/* Resample 8-bit samples as PIL does, bit for bit (resize_bytes.c). `to` has its size, and the channels of
 * `from`. */
kiln_status resize_bytes(const image *from, image *to, resize_filter filter, kiln_error *err);

#endif
