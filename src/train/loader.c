/* loader.c - see loader.h. Slots in a ring, one batch each: step s lies in slot s modulo the number of slots.
 * Threads claim steps in turn; the trainer holds one slot, so there is one more than batches ahead. */
#include "train/loader.h"

#include "train/picture_load.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { THREADS_MAX = 64, AHEAD_MAX = 64, BATCH_MAX = 65536 };

typedef struct slot {
    bool ready;
    kiln_status status;
    kiln_error error;
    float *pixels;
    size_t capacity; /* floats */
    order_sample *samples;
    char **captions;
    int64_t step;
} slot;

struct loader {
    loader_options options;
    slot *slots;
    int slot_count, thread_count;
    int count; /* samples in a batch */
    pthread_t threads[THREADS_MAX];
    pthread_mutex_t lock, keep_lock;
    pthread_cond_t changed;
    int64_t next_claim, next_taken; /* steps */
    bool stop, failed;
    image **kept; /* per item, or NULL */
    int64_t kept_bytes;
    loader_batch batch;
    double waited_s;
};

loader_options loader_defaults(void)
{
    return (loader_options){.batch_size = 1, .threads = 1, .ahead = 4, .keep_bytes = (int64_t)1 << 30};
}

static kiln_status load_covering(const dataset *data, const order_sample *sample, image **out,
                                 kiln_error *err)
{
    return picture_load(dataset_item_at(data, sample->item)->path, sample->width_px, sample->height_px,
                        sample->unscaled, out, err);
}

kiln_status loader_read_picture(const dataset *data, const order_sample *sample, float *nhwc, kiln_error *err)
{
    image *covering;
    kiln_status status = load_covering(data, sample, &covering, err);
    if (status != KILN_OK)
        return status;
    picture_cut(covering, sample, nhwc);
    image_free(covering);
    return KILN_OK;
}

/* ------------------------------------------------------------------------------------ filling a batch */

static const image *kept_picture(loader *l, int64_t item)
{
    pthread_mutex_lock(&l->keep_lock);
    const image *found = l->kept[item];
    pthread_mutex_unlock(&l->keep_lock);
    return found; /* never freed before the loader closes */
}

/* Takes the picture over, or frees it. */
static void keep_picture(loader *l, int64_t item, image *covering)
{
    int64_t bytes = (int64_t)image_bytes(covering);
    pthread_mutex_lock(&l->keep_lock);
    if (!l->kept[item] && l->kept_bytes + bytes <= l->options.keep_bytes) {
        l->kept[item] = covering;
        l->kept_bytes += bytes;
        covering = NULL;
    }
    pthread_mutex_unlock(&l->keep_lock);
    image_free(covering);
}

/* A picture is kept at the size of its bucket; a class picture of a pair may be shown at another one. */
static bool is_of_bucket(const dataset *data, const order_sample *sample)
{
    const dataset_bucket *b = dataset_bucket_at(data, dataset_item_at(data, sample->item)->bucket);
    return b->width_px == sample->width_px && b->height_px == sample->height_px;
}

static kiln_status read_sample(loader *l, const order_sample *sample, float *nhwc, kiln_error *err)
{
    if (!is_of_bucket(l->options.data, sample))
        return loader_read_picture(l->options.data, sample, nhwc, err);
    const image *kept = kept_picture(l, sample->item);
    if (kept) {
        picture_cut(kept, sample, nhwc);
        return KILN_OK;
    }
    image *covering;
    kiln_status status = load_covering(l->options.data, sample, &covering, err);
    if (status != KILN_OK)
        return status;
    picture_cut(covering, sample, nhwc);
    keep_picture(l, sample->item, covering);
    return KILN_OK;
}

/* The sample, or the next good one of its bucket in its place. */
static kiln_status read_good_sample(loader *l, order_sample *sample, float *nhwc, kiln_error *err)
{
    const dataset *data = l->options.data;
    int64_t wanted = sample->item;
    for (;;) {
        if (!dataset_is_damaged(data, sample->item)) {
            kiln_error problem;
            kiln_status status = nhwc ? read_sample(l, sample, nhwc, &problem) : KILN_OK;
            if (status == KILN_OK)
                return KILN_OK;
            if (status == KILN_NO_MEMORY)
                return fail(err, status, "%s", problem.text);
            dataset_mark_damaged(data, sample->item, &problem);
        }
        sample->item = dataset_next_good(data, sample->item);
        if (sample->item < 0) {
            sample->item = wanted;
            return fail(err, KILN_BAD_FORMAT,
                        "%s: neither this picture nor any other of %d x %d pixels can be read",
                        dataset_item_at(data, wanted)->path, sample->width_px, sample->height_px);
        }
    }
}

static kiln_status make_room(slot *s, size_t floats, kiln_error *err)
{
    if (floats <= s->capacity)
        return KILN_OK;
    free(s->pixels);
    s->capacity = 0;
    s->pixels = malloc(floats * sizeof *s->pixels);
    if (!s->pixels)
        return fail(err, KILN_NO_MEMORY, "no memory for a batch of %zu bytes of pictures",
                    floats * sizeof *s->pixels);
    s->capacity = floats;
    return KILN_OK;
}

static kiln_status fill_slot(loader *l, slot *s, int64_t step, kiln_error *err)
{
    int count = l->count;
    s->step = step;
    order_batch(l->options.order, step, l->options.batch_size, s->samples);
    size_t each = (size_t)s->samples[0].width_px * (size_t)s->samples[0].height_px * 3;
    kiln_status status = l->options.without_pixels ? KILN_OK : make_room(s, each * (size_t)count, err);
    for (int i = 0; status == KILN_OK && i < count; i++) {
        float *to = l->options.without_pixels ? NULL : s->pixels + (size_t)i * each;
        status = read_good_sample(l, &s->samples[i], to, err);
        free(s->captions[i]);
        s->captions[i] = NULL;
        if (status == KILN_OK)
            status = order_caption(l->options.order, &s->samples[i], &s->captions[i], err);
    }
    return status;
}

static void *work(void *self)
{
    loader *l = self;
    pthread_mutex_lock(&l->lock);
    while (!l->stop) {
        if (l->failed || l->next_claim > l->next_taken + l->options.ahead) {
            pthread_cond_wait(&l->changed, &l->lock);
            continue;
        }
        int64_t step = l->next_claim++;
        slot *s = &l->slots[step % l->slot_count];
        pthread_mutex_unlock(&l->lock);
        kiln_status status = fill_slot(l, s, step, &s->error);
        pthread_mutex_lock(&l->lock);
        s->status = status;
        s->ready = true;
        l->failed = l->failed || status != KILN_OK;
        pthread_cond_broadcast(&l->changed);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* ------------------------------------------------------------------------------------ opening, taking,
 * closing */

static kiln_status check(const loader_options *o, kiln_error *err)
{
    if (o->batch_size < 1 || o->batch_size > BATCH_MAX)
        return fail(err, KILN_BAD_ARGUMENT, "train_batch_size is 1 to %d, not %d", (int)BATCH_MAX,
                    o->batch_size);
    if (o->threads < 1 || o->threads > THREADS_MAX)
        return fail(err, KILN_BAD_ARGUMENT, "the loader has 1 to %d threads, not %d", (int)THREADS_MAX,
                    o->threads);
    if (o->ahead < 1 || o->ahead > AHEAD_MAX)
        return fail(err, KILN_BAD_ARGUMENT, "the loader reads 1 to %d batches ahead, not %d", (int)AHEAD_MAX,
                    o->ahead);
    if (o->first_step < 0 || o->keep_bytes < 0)
        return fail(err, KILN_BAD_ARGUMENT, "the loader's first step and keep_bytes are 0 or more");
    return KILN_OK;
}

static bool allocate(loader *l)
{
    l->slot_count = l->options.ahead + 1;
    l->slots = calloc((size_t)l->slot_count, sizeof *l->slots);
    l->kept = calloc((size_t)dataset_count(l->options.data), sizeof *l->kept);
    if (!l->slots || !l->kept)
        return false;
    for (int i = 0; i < l->slot_count; i++) {
        l->slots[i].samples = calloc((size_t)l->count, sizeof *l->slots[i].samples);
        l->slots[i].captions = calloc((size_t)l->count, sizeof *l->slots[i].captions);
        if (!l->slots[i].samples || !l->slots[i].captions)
            return false;
    }
    return true;
}

kiln_status loader_open(const loader_options *options, loader **out, kiln_error *err)
{
    *out = NULL;
    kiln_status status = check(options, err);
    if (status != KILN_OK)
        return status;
    loader *l = calloc(1, sizeof *l);
    if (!l)
        return fail(err, KILN_NO_MEMORY, "no memory for a loader");
    l->options = *options;
    l->count = order_batch_count(options->order, options->batch_size);
    l->next_claim = options->first_step;
    l->next_taken = options->first_step - 1; /* the trainer holds none yet; loader_next counts up first */
    pthread_mutex_init(&l->lock, NULL);
    pthread_mutex_init(&l->keep_lock, NULL);
    pthread_cond_init(&l->changed, NULL);
    if (!allocate(l)) {
        loader_close(l);
        return fail(err, KILN_NO_MEMORY, "no memory for a loader");
    }
    while (l->thread_count < options->threads) {
        if (pthread_create(&l->threads[l->thread_count], NULL, work, l)) {
            loader_close(l);
            return fail(err, KILN_NO_MEMORY, "the system gives no thread to the loader");
        }
        l->thread_count++;
    }
    *out = l;
    return KILN_OK;
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

kiln_status loader_next(loader *l, const loader_batch **out, kiln_error *err)
{
    *out = NULL;
    double begin = now_s();
    pthread_mutex_lock(&l->lock);
    if (l->next_taken >= l->options.first_step)
        l->slots[l->next_taken % l->slot_count].ready = false;
    int64_t step = l->next_taken + 1;
    slot *s = &l->slots[step % l->slot_count];
    if (!(s->ready && s->status != KILN_OK)) /* a failure stays where it is */
        l->next_taken = step;
    pthread_cond_broadcast(&l->changed);
    while (!s->ready)
        pthread_cond_wait(&l->changed, &l->lock);
    kiln_status status = s->status;
    if (status != KILN_OK)
        l->next_taken = step - 1;
    pthread_mutex_unlock(&l->lock);
    l->waited_s += now_s() - begin;
    if (status != KILN_OK)
        return fail(err, status, "%s", s->error.text);
    l->batch = (loader_batch){.step = s->step,
                              .count = l->count,
                              .width_px = s->samples[0].width_px,
                              .height_px = s->samples[0].height_px,
                              .pixels = l->options.without_pixels ? NULL : s->pixels,
                              .samples = s->samples,
                              .captions = (const char *const *)s->captions};
    *out = &l->batch;
    return KILN_OK;
}

void loader_close(loader *l)
{
    if (!l)
        return;
    pthread_mutex_lock(&l->lock);
    l->stop = true;
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
    for (int i = 0; i < l->thread_count; i++)
        pthread_join(l->threads[i], NULL);
    for (int i = 0; l->slots && i < l->slot_count; i++) {
        for (int j = 0; l->slots[i].captions && j < l->count; j++)
            free(l->slots[i].captions[j]);
        free(l->slots[i].captions);
        free(l->slots[i].samples);
        free(l->slots[i].pixels);
    }
    for (int64_t i = 0; l->kept && i < dataset_count(l->options.data); i++)
        image_free(l->kept[i]);
    free(l->kept);
    free(l->slots);
    pthread_cond_destroy(&l->changed);
    pthread_mutex_destroy(&l->keep_lock);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

double loader_waited_s(const loader *l)
{
    return l->waited_s;
}
