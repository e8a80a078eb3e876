/* buckets.h - the sizes that pictures of different aspect ratios are trained at.
 *
 * Behaves as kohya's BucketManager and make_bucket_resolutions: all (width, height) in steps whose area is at
 * most that of the resolution, between the least and the largest side, and the square; a picture takes the
 * one of its own size if there is one, else of the nearest aspect ratio (the smaller in (width, height) order
 * wins). */
#ifndef KILN_TRAIN_BUCKETS_H
#define KILN_TRAIN_BUCKETS_H

#include "train/dataset.h"

enum { BUCKETS_MAX = 4096 };

typedef struct bucket_set {
    dataset_bucket *sizes;
    int count, capacity;
    const dataset_options *options;
} bucket_set;

/* The predefined sizes (none with bucket_no_upscale: they are made from the pictures). */
kiln_status buckets_init(bucket_set *, const dataset_options *, kiln_error *err) KILN_CHECKED;
void buckets_fini(bucket_set *);
/* The index of a picture's bucket, which may be added; *out is -1 when the picture is too small for any. */
kiln_status buckets_choose(bucket_set *, int width_px, int height_px, int *out, kiln_error *err) KILN_CHECKED;
/* The size to which a picture is scaled so that it covers the bucket with one side exact. */
void bucket_cover(const dataset_bucket *, int width_px, int height_px, int *scaled_width, int *scaled_height);

#endif
