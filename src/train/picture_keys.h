/* picture_keys.h - the sha256 of each picture of a dataset, so that a cache is asked without reading the picture.
 *
 * They are kept between runs in a text file, a line a picture, that counts as long as size and time of the last change are
 * those of the file. A file that is damaged or missing only costs time. For one thread. */
#ifndef KILN_TRAIN_PICTURE_KEYS_H
#define KILN_TRAIN_PICTURE_KEYS_H

#include "train/cache.h"
#include "train/dataset.h"

typedef struct picture_keys picture_keys;

/* The dataset is borrowed. `path` NULL: nothing is kept between runs. */
kiln_status picture_keys_open(const dataset *, const char *path, picture_keys **out,
                              kiln_error *) KILN_CHECKED;
/* The key of a sample's picture, as cache_key_of_picture gives it. */
kiln_status picture_keys_find(picture_keys *, const struct order_sample *, cache_key *out,
                              kiln_error *) KILN_CHECKED;
/* How many pictures have been read for it. */
int64_t picture_keys_read(const picture_keys *);
/* Writes what is new. Accepts NULL. */
void picture_keys_close(picture_keys *);

#endif
