/* model_hash.h - the short sha256 of a model, which pictures name, computed while the model draws. Internal.
 *
 * Hashing a checkpoint takes seconds, and so does drawing: a thread hashes while drawings go on, and only the end of
 * the first waits for it. The thread runs as long as any drawing wants the hash; when the last of them fails or is
 * cancelled it stops. What it found stays, with the model and in the cache of hashes. */
#ifndef KILN_PIPELINE_MODEL_HASH_H
#define KILN_PIPELINE_MODEL_HASH_H

#include "base/error.h"

#include <pthread.h>
#include <stdatomic.h>

typedef struct model_hash {
    const char *path;     /* the checkpoint, or a folder's UNet file; NULL: no single such file. Borrowed */
    char *cache;          /* file of known hashes, or NULL */
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t changed;
    pthread_t thread;
    bool running, to_join, known;
    int wanted; /* drawings under way */
    atomic_bool stop;
    atomic_int_least64_t done, size; /* bytes */
    char text[11];
} model_hash;

bool model_hash_init(model_hash *, const char *cache);
void model_hash_fini(model_hash *);

/* A drawing begins and ends; each begin needs its end, on failure too. */
void model_hash_begin(model_hash *);
void model_hash_end(model_hash *);

/* Wait up to some tenths of a second; true when it is known. Meanwhile *done of *size bytes. To be called between begin
 * and end, until it is true or the drawing is given up. */
bool model_hash_wait(model_hash *, int64_t *done, int64_t *size);
/* 10 digits; NULL where there is none or it is not known. Valid as long as the model. */
const char *model_hash_text(model_hash *);

#endif
