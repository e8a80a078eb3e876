/* loader.h - the pictures of coming batches, decoded in the background.
 *
 * What comes out depends on the order only, never on timing. Memory is bounded: `ahead` batches, and decoded
 * pictures of 8 bits kept for the next epoch as long as they fit into `keep_bytes` (so that a fast trainer
 * does not wait for the decoder). A picture that turns out damaged is named once and replaced by the next
 * good one of its bucket, the same on every run. */
#ifndef KILN_TRAIN_LOADER_H
#define KILN_TRAIN_LOADER_H

#include "train/order.h"

typedef struct loader_options {
    const order *order;  /* borrowed, with its dataset */
    const dataset *data; /* borrowed */
    int batch_size;
    int64_t first_step;
    int threads;         /* 1..64; default 1 */
    int ahead;           /* batches decoded in advance, 1..64; default 4 */
    int64_t keep_bytes;  /* default 1 GiB; 0: keep nothing */
    bool without_pixels; /* captions and samples only: the latents are cached */
} loader_options;

loader_options loader_defaults(void);

typedef struct loader_batch {
    int64_t step;
    int count, width_px, height_px; /* count: order_batch_count */
    const float *pixels;            /* [count,height,width,3] in -1..1; NULL when without_pixels */
    const order_sample *samples;    /* [count]; `item` is what is shown, after replacement */
    const char *const *captions;    /* [count], never NULL */
} loader_batch;

typedef struct loader loader;

kiln_status loader_open(const loader_options *, loader **out, kiln_error *) KILN_CHECKED;
/* The batch of the next step; valid until the next call. Fails when no picture of a bucket can be read, or
 * memory is short. */
kiln_status loader_next(loader *, const loader_batch **out, kiln_error *) KILN_CHECKED;
/* Stops the threads. Accepts NULL. */
void loader_close(loader *);
/* Seconds that loader_next has waited so far: large means that the trainer starves. */
double loader_waited_s(const loader *);

/* One picture at once, without a loader: scaled to cover the sample's size, cropped, flipped, into
 * nhwc[height*width*3], -1..1. For validation and for filling caches. */
kiln_status loader_read_picture(const dataset *, const order_sample *, float *nhwc,
                                kiln_error *) KILN_CHECKED;

#endif
