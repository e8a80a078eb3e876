/* model_hash.c - see model_hash.h. */
#include "pipeline/model_hash.h"

#include "formats/hash_cache.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

bool model_hash_init(model_hash *h, const char *cache)
{
    *h = (model_hash){.cache = cache ? strdup(cache) : NULL};
    if (!cache || h->cache) {
        if (pthread_mutex_init(&h->lock, NULL) == 0) {
            if (pthread_cond_init(&h->changed, NULL) == 0)
                return true;
            pthread_mutex_destroy(&h->lock);
        }
    }
    free(h->cache);
    return false;
}

static bool go_on(void *self, uint64_t done, uint64_t size)
{
    model_hash *h = self;
    atomic_store(&h->done, (int64_t)done);
    atomic_store(&h->size, (int64_t)size);
    return !atomic_load(&h->stop);
}

static void *compute(void *self)
{
    model_hash *h = self;
    file_hashes hashes;
    file_stamp stamp;
    bool stamped = file_stamp_of(h->path, &stamp);
    kiln_status status = hash_file_some(h->path, HASH_SHA256, &hashes, go_on, h, NULL);
    if (status == KILN_OK && stamped && h->cache)
        (void)hash_cache_add(h->cache, h->path, &stamp, &hashes);
    pthread_mutex_lock(&h->lock);
    /* A file that cannot be read is not tried again: its picture then names no hash. */
    h->known = status != KILN_CANCELLED;
    memcpy(h->text, hashes.shorthash, sizeof h->text);
    h->running = false;
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->lock);
    return NULL;
}

/* With the lock held: nothing is running. */
static void join(model_hash *h)
{
    if (h->to_join)
        pthread_join(h->thread, NULL);
    h->to_join = false;
}

/* With the lock held: begin to compute what is neither known nor being computed. */
static void begin(model_hash *h)
{
    file_hashes hashes;
    atomic_store(&h->stop, false); /* in time, perhaps, for one that was told to stop */
    if (h->known || h->running)
        return;
    join(h);
    if (!h->path || (h->cache && hash_cache_find(h->cache, h->path, &hashes))) {
        if (h->path)
            memcpy(h->text, hashes.shorthash, sizeof h->text);
        h->known = true;
        return;
    }
    /* Signals are for the program's own threads. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    h->running = h->to_join = pthread_create(&h->thread, NULL, compute, h) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void model_hash_begin(model_hash *h)
{
    pthread_mutex_lock(&h->lock);
    h->wanted++;
    begin(h);
    pthread_mutex_unlock(&h->lock);
}

void model_hash_end(model_hash *h)
{
    pthread_mutex_lock(&h->lock);
    if (--h->wanted == 0) {
        atomic_store(&h->stop, true);
        while (h->running && h->wanted == 0)
            pthread_cond_wait(&h->changed, &h->lock);
        if (!h->running)
            join(h);
    }
    pthread_mutex_unlock(&h->lock);
}

bool model_hash_wait(model_hash *h, int64_t *done, int64_t *size)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 200000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&h->lock);
    begin(h); /* another drawing may have ended it */
    if (!h->known && !h->running) {
        /* No thread is to be had: here and now, then. */
        h->running = true;
        pthread_mutex_unlock(&h->lock);
        compute(h);
        pthread_mutex_lock(&h->lock);
    }
    int waited = 0;
    while (h->running && waited == 0)
        waited = pthread_cond_timedwait(&h->changed, &h->lock, &until);
    bool over = h->known;
    pthread_mutex_unlock(&h->lock);
    *done = atomic_load(&h->done);
    *size = atomic_load(&h->size);
    return over;
}

const char *model_hash_text(model_hash *h)
{
    pthread_mutex_lock(&h->lock);
    bool known = h->known;
    pthread_mutex_unlock(&h->lock);
    /* Once known it does not change. */
    return known && h->text[0] ? h->text : NULL;
}

void model_hash_fini(model_hash *h)
{
    atomic_store(&h->stop, true);
    join(h);
    pthread_cond_destroy(&h->changed);
    pthread_mutex_destroy(&h->lock);
    free(h->cache);
}
