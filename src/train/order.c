/* order.c - see order.h.
 *
 * Each bucket has a table of showings: its items with the number of showings before them. A batch is found by
 * two permutations: step of the epoch -> batch number (which bucket, which part of it), and place in the
 * bucket -> showing. */
#include "train/order.h"

#include "train/mix.h"

#include <stdlib.h>

enum { ROUNDS = 8 };

typedef struct showings {
    int64_t *items, *before; /* before[i]: showings of items[0..i-1] */
    int64_t count, total;
} showings;

struct order {
    const dataset *data;
    uint64_t seed;
    showings *buckets;
    int bucket_count;
    int64_t per_epoch;
};

/* Place `x` of a keyed permutation of 0..n-1: a Feistel network over the next even number of bits, walked
 * until it falls below n. */
static uint64_t permuted(uint64_t key, uint64_t x, uint64_t n)
{
    int half = 1;
    while (half < 31 && (uint64_t)1 << (2 * half) < n)
        half++;
    uint64_t mask = ((uint64_t)1 << half) - 1;
    do {
        uint64_t left = x >> half, right = x & mask;
        for (uint64_t round = 0; round < ROUNDS; round++) {
            uint64_t next = left ^ (mix_word(mix_word(key ^ round) ^ right) & mask);
            left = right;
            right = next;
        }
        x = left << half | right;
    } while (x >= n);
    return x;
}

/* Showings per epoch of an item. Regularisation pictures together are shown as often as training pictures: of
 * `reg` of them, the i-th is due when i/reg of the whole is reached. */
static int64_t showings_of(const dataset *data, int64_t index, int64_t training)
{
    const dataset_item *item = dataset_item_at(data, index);
    if (item->part == DATASET_TRAIN)
        return item->repeats;
    if (item->part != DATASET_REGULARISATION || dataset_options_of(data)->paired)
        return 0;
    int64_t i = index - dataset_part_first(data, DATASET_REGULARISATION);
    int64_t reg = dataset_part_count(data, DATASET_REGULARISATION);
    return (i + 1) * training / reg - i * training / reg;
}

static kiln_status reserve(order *o, kiln_error *err)
{
    const dataset *data = o->data;
    o->bucket_count = dataset_bucket_count(data);
    o->buckets = calloc((size_t)o->bucket_count, sizeof *o->buckets);
    for (int i = 0; o->buckets && i < o->bucket_count; i++) {
        size_t items = (size_t)dataset_bucket_at(data, i)->items + 1;
        o->buckets[i].items = calloc(items, sizeof(int64_t));
        o->buckets[i].before = calloc(items, sizeof(int64_t));
        if (!o->buckets[i].items || !o->buckets[i].before)
            return fail(err, KILN_NO_MEMORY, "no memory for the order of samples");
    }
    return o->buckets ? KILN_OK : fail(err, KILN_NO_MEMORY, "no memory for the order of samples");
}

kiln_status order_new(const dataset *data, uint64_t seed, order **out, kiln_error *err)
{
    *out = NULL;
    order *o = calloc(1, sizeof *o);
    if (!o)
        return fail(err, KILN_NO_MEMORY, "no memory for the order of samples");
    o->data = data;
    o->seed = seed;
    kiln_status status = reserve(o, err);
    if (status != KILN_OK) {
        order_free(o);
        return status;
    }
    int64_t training = 0;
    for (int64_t i = 0; i < dataset_part_count(data, DATASET_TRAIN); i++)
        training += dataset_item_at(data, i)->repeats;
    for (int64_t i = 0; i < dataset_count(data); i++) {
        int64_t shown = showings_of(data, i, training);
        if (shown == 0)
            continue;
        showings *bucket = &o->buckets[dataset_item_at(data, i)->bucket];
        bucket->items[bucket->count] = i;
        bucket->before[bucket->count++] = bucket->total;
        bucket->total += shown;
        o->per_epoch += shown;
    }
    *out = o;
    return KILN_OK;
}

void order_free(order *o)
{
    if (!o)
        return;
    for (int i = 0; o->buckets && i < o->bucket_count; i++) {
        free(o->buckets[i].items);
        free(o->buckets[i].before);
    }
    free(o->buckets);
    free(o);
}

int64_t order_samples_per_epoch(const order *o)
{
    return o->per_epoch;
}

static int64_t batches_of(const showings *bucket, int batch_size)
{
    return (bucket->total + batch_size - 1) / batch_size;
}

int64_t order_steps_per_epoch(const order *o, int batch_size)
{
    int64_t steps = 0;
    for (int i = 0; i < o->bucket_count; i++)
        steps += batches_of(&o->buckets[i], batch_size);
    return steps;
}

static int64_t item_of_showing(const showings *bucket, int64_t showing)
{
    int64_t low = 0, high = bucket->count;
    while (high - low > 1) {
        int64_t middle = low + (high - low) / 2;
        if (bucket->before[middle] <= showing)
            low = middle;
        else
            high = middle;
    }
    return bucket->items[low];
}

static void vary(const order *o, order_sample *sample)
{
    const dataset_options *options = dataset_options_of(o->data);
    const dataset_item *item = dataset_item_at(o->data, sample->item);
    uint64_t serial = (uint64_t)sample->serial, crop = mix(o->seed, MIX_CROP, serial, 0);
    sample->regularisation = item->part == DATASET_REGULARISATION;
    sample->of_class = sample->regularisation || item->part == DATASET_CLASS_VALIDATION;
    sample->unscaled = options->crop_unscaled;
    sample->flip = options->flip_aug && (mix(o->seed, MIX_FLIP, serial, 0) >> 63);
    sample->crop_x = sample->crop_y = 0.5f;
    if (options->random_crop) {
        sample->crop_x = (float)(crop >> 40) * 0x1.0p-24f;
        sample->crop_y = (float)(crop >> 8 & 0xFFFFFF) * 0x1.0p-24f;
    }
    sample->noise_seed = mix(o->seed, MIX_NOISE, serial, 0);
}

/* The class pictures take turns: each once in every round, in another order each time. */
static int64_t class_item(const order *o, int64_t showing)
{
    int64_t count = dataset_part_count(o->data, DATASET_REGULARISATION);
    uint64_t key = mix(o->seed, MIX_ORDER_CLASS, (uint64_t)(showing / count), 0);
    return dataset_part_first(o->data, DATASET_REGULARISATION) +
           (int64_t)permuted(key, (uint64_t)(showing % count), (uint64_t)count);
}

static bool has_pairs(const order *o)
{
    return dataset_options_of(o->data)->paired && dataset_part_count(o->data, DATASET_REGULARISATION) > 0;
}

int order_batch_count(const order *o, int batch_size)
{
    return has_pairs(o) ? 2 * batch_size : batch_size;
}

void order_batch(const order *o, int64_t step, int batch_size, order_sample *out)
{
    int64_t steps = order_steps_per_epoch(o, batch_size);
    int64_t epoch = step / steps; /* no order is empty: NOLINT(clang-analyzer-core.DivideZero) */
    uint64_t key = mix(o->seed, MIX_ORDER_BATCHES, (uint64_t)epoch, 0);
    int64_t batch = (int64_t)permuted(key, (uint64_t)(step % steps), (uint64_t)steps);
    int b = 0;
    while (batch >= batches_of(&o->buckets[b], batch_size))
        batch -= batches_of(&o->buckets[b++], batch_size);
    const showings *bucket = &o->buckets[b];
    key = mix(o->seed, MIX_ORDER_SAMPLES, (uint64_t)epoch, (uint64_t)b);
    for (int i = 0; i < batch_size; i++) {
        int64_t place = (batch * batch_size + i) % bucket->total;
        int64_t showing = (int64_t)permuted(key, (uint64_t)place, (uint64_t)bucket->total);
        out[i] = (order_sample){.item = item_of_showing(bucket, showing),
                                .epoch = epoch,
                                .serial = step * batch_size + i,
                                .width_px = dataset_bucket_at(o->data, b)->width_px,
                                .height_px = dataset_bucket_at(o->data, b)->height_px};
        vary(o, &out[i]);
        if (!has_pairs(o))
            continue;
        out[batch_size + i] = out[i];
        out[batch_size + i].item = class_item(o, out[i].serial);
        out[batch_size + i].serial |= PAIR_SERIAL;
        vary(o, &out[batch_size + i]);
    }
}

int64_t order_validation_count(const order *o, dataset_part part)
{
    return dataset_part_count(o->data, part);
}

void order_validation(const order *o, dataset_part part, int64_t index, order_sample *out)
{
    int64_t item = dataset_part_first(o->data, part) + index;
    const dataset_bucket *bucket = dataset_bucket_at(o->data, dataset_item_at(o->data, item)->bucket);
    uint64_t seed = dataset_options_of(o->data)->validation_seed;
    *out = (order_sample){.item = item,
                          .epoch = -1,
                          .serial = index,
                          .width_px = bucket->width_px,
                          .height_px = bucket->height_px,
                          .of_class = part == DATASET_CLASS_VALIDATION,
                          .unscaled = dataset_options_of(o->data)->crop_unscaled,
                          .crop_x = 0.5f,
                          .crop_y = 0.5f,
                          .noise_seed = mix(seed, MIX_VALIDATION_NOISE, (uint64_t)index, 0)};
}

kiln_status order_caption(const order *o, const order_sample *sample, char **out, kiln_error *err)
{
    const dataset_item *item = dataset_item_at(o->data, sample->item);
    const caption_options *options = &dataset_options_of(o->data)->captions;
    if (sample->epoch < 0)
        return caption_plain(options, item->captions, item->captions_count, out, err);
    return caption_make(options, item->captions, item->captions_count, o->seed, sample->epoch, sample->serial,
                        out, err);
}
