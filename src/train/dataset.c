/* dataset.c - see dataset.h: options, and the items made from what the folders hold. */
#include "train/dataset.h"

#include "formats/hash.h"
#include "image/byte_buffer.h"
#include "image/image.h"
#include "train/buckets.h"
#include "train/dataset_parts.h"
#include "train/mix.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { PARTS = DATASET_CLASS_VALIDATION + 1 };

struct dataset {
    dataset_options options;
    arena memory;
    dataset_item *items;
    atomic_uchar *damaged;
    int64_t count, part_count[PARTS];
    bucket_set buckets;
    byte_buffer identity; /* what the hash is of; emptied after opening */
    char hash[SHA256_DIGITS + 1];
    pthread_mutex_t log_lock;
};

dataset_options dataset_defaults(void)
{
    return (dataset_options){.width_px = 512,
                             .height_px = 512,
                             .captions_needed = true,
                             .min_bucket_reso = 256,
                             .max_bucket_reso = 1024,
                             .bucket_reso_steps = 64,
                             .num_repeats = 1};
}

static kiln_status check_buckets(const dataset_options *o, kiln_error *err)
{
    if (o->bucket_reso_steps < 1 || o->bucket_reso_steps > IMAGE_MAX_SIDE)
        return fail(err, KILN_BAD_ARGUMENT, "bucket_reso_steps is 1 to %d, not %d", (int)IMAGE_MAX_SIDE,
                    o->bucket_reso_steps);
    if (o->min_bucket_reso < o->bucket_reso_steps || o->max_bucket_reso < o->min_bucket_reso ||
        o->max_bucket_reso > IMAGE_MAX_SIDE)
        return fail(
            err, KILN_BAD_ARGUMENT,
            "bucket sides go from min_bucket_reso, %d, to max_bucket_reso, %d: expected bucket_reso_steps "
            "(%d) <= min <= max <= %d",
            o->min_bucket_reso, o->max_bucket_reso, o->bucket_reso_steps, (int)IMAGE_MAX_SIDE);
    return KILN_OK;
}

static kiln_status check_options(const dataset_options *o, kiln_error *err)
{
    if (!o->folder || !*o->folder)
        return fail(err, KILN_BAD_ARGUMENT, "no folder of training pictures (train_data_dir) is given");
    if (o->width_px < 1 || o->height_px < 1 || o->width_px > IMAGE_MAX_SIDE ||
        o->height_px > IMAGE_MAX_SIDE || (int64_t)o->width_px * o->height_px > IMAGE_MAX_PIXELS)
        return fail(err, KILN_BAD_ARGUMENT, "resolution: %d x %d pixels cannot be trained at", o->width_px,
                    o->height_px);
    if (o->num_repeats < 1 || o->num_repeats > REPEATS_MAX)
        return fail(err, KILN_BAD_ARGUMENT, "num_repeats is 1 to %d, not %d", (int)REPEATS_MAX,
                    o->num_repeats);
    if (!(o->validation_split >= 0 && o->validation_split <= 0.9))
        return fail(err, KILN_BAD_ARGUMENT, "validation_split is between 0 and 0.9, not %g",
                    o->validation_split);
    kiln_status status = caption_options_check(&o->captions, err);
    if (status == KILN_OK && o->enable_bucket)
        status = check_buckets(o, err);
    return status;
}

/* All texts of the options, copied into the dataset. */
static bool copy_options(dataset *data, const dataset_options *options)
{
    data->options = *options;
    dataset_options *o = &data->options;
    const char **texts[] = {&o->folder,
                            &o->reg_folder,
                            &o->validation_folder,
                            &o->class_validation_folder,
                            &o->instance_prompt,
                            &o->class_prompt,
                            &o->caption_extension,
                            &o->size_cache,
                            &o->captions.keep_tokens_separator,
                            &o->captions.caption_separator,
                            &o->captions.caption_prefix,
                            &o->captions.caption_suffix};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (!*texts[i])
            continue;
        *texts[i] = arena_text(&data->memory, *texts[i]);
        if (!*texts[i])
            return false;
    }
    return true;
}

/* Append what makes two datasets differ, each text with its final NUL. */
static void identify(dataset *data, const found_picture *picture, dataset_part part)
{
    uint64_t numbers[] = {(uint64_t)part,
                          picture->file_bytes,
                          (uint64_t)picture->width_px,
                          (uint64_t)picture->height_px,
                          (uint64_t)picture->repeats,
                          (uint64_t)picture->captions_count};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        unsigned char bytes[8];
        for (int j = 0; j < 8; j++)
            bytes[j] = (unsigned char)(numbers[i] >> (8 * j));
        byte_buffer_add(&data->identity, bytes, sizeof bytes);
    }
    byte_buffer_add(&data->identity, picture->name, strlen(picture->name) + 1);
    for (int i = 0; i < picture->captions_count; i++)
        byte_buffer_add(&data->identity, picture->captions[i], strlen(picture->captions[i]) + 1);
}

static kiln_status add_items(dataset *data, const folder_scan *scan, const bool *chosen, dataset_part part,
                             kiln_error *err)
{
    dataset_item *grown = realloc(data->items, ((size_t)data->count + scan->count) * sizeof *grown);
    if (!grown)
        return fail(err, KILN_NO_MEMORY, "no memory for %zu pictures", scan->count);
    data->items = grown;
    for (size_t i = 0; i < scan->count; i++) {
        const found_picture *picture = &scan->pictures[i];
        if (chosen && !chosen[i])
            continue;
        int bucket;
        kiln_status status =
            buckets_choose(&data->buckets, picture->width_px, picture->height_px, &bucket, err);
        if (status != KILN_OK)
            return status;
        if (bucket < 0) {
            dataset_options_tell(
                &data->options, "%s: %d x %d pixels are less than bucket_reso_steps, %d; left out",
                picture->path, picture->width_px, picture->height_px, data->options.bucket_reso_steps);
            continue;
        }
        data->items[data->count++] = (dataset_item){.path = picture->path,
                                                    .name = picture->name,
                                                    .captions = picture->captions,
                                                    .captions_count = picture->captions_count,
                                                    .width_px = picture->width_px,
                                                    .height_px = picture->height_px,
                                                    .bucket = bucket,
                                                    .repeats = picture->repeats * data->options.num_repeats,
                                                    .part = part};
        data->part_count[part]++;
        data->buckets.sizes[bucket].items++;
        identify(data, picture, part);
    }
    return KILN_OK;
}

static uint64_t hash_text(const char *text)
{
    uint64_t h = 0;
    for (; *text; text++)
        h = mix_word(h ^ (unsigned char)*text);
    return h;
}

/* chosen[i]: picture i is for validation. At least one is, and at least one is not, when there are two. */
static void split(const dataset *data, const folder_scan *scan, bool *chosen)
{
    size_t taken = 0, least = 0, most = 0;
    double least_place = 2, most_place = -1;
    for (size_t i = 0; i < scan->count; i++) {
        double place = mix_unit(
            mix(data->options.validation_seed, MIX_VALIDATION_SPLIT, hash_text(scan->pictures[i].name), 0));
        chosen[i] = place < data->options.validation_split;
        taken += chosen[i];
        if (place < least_place) {
            least_place = place;
            least = i;
        }
        if (place > most_place) {
            most_place = place;
            most = i;
        }
    }
    if (scan->count > 1 && taken == 0)
        chosen[least] = true;
    if (taken == scan->count)
        chosen[most] = false;
}

static kiln_status add_training(dataset *data, const folder_scan *scan, bool validation, kiln_error *err)
{
    if (!(data->options.validation_split > 0) || data->options.validation_folder)
        return validation ? KILN_OK : add_items(data, scan, NULL, DATASET_TRAIN, err);
    bool *chosen = malloc(scan->count * sizeof *chosen);
    if (!chosen)
        return fail(err, KILN_NO_MEMORY, "no memory for the validation split");
    split(data, scan, chosen);
    for (size_t i = 0; i < scan->count; i++)
        chosen[i] = chosen[i] == validation;
    kiln_status status = add_items(data, scan, chosen, validation ? DATASET_VALIDATION : DATASET_TRAIN, err);
    free(chosen);
    return status;
}

/* Everything about one folder but which part its pictures are. The cache of sizes is for the first only. */
static kiln_status scan_folder(dataset *data, const char *folder, const char *prompt, const char *size_cache,
                               folder_scan *scan, kiln_error *err)
{
    *scan =
        (folder_scan){.options = &data->options, .memory = &data->memory, .folder = folder, .prompt = prompt};
    kiln_status status = folder_scan_walk(scan, err);
    if (status == KILN_OK)
        status = folder_scan_sizes(scan, size_cache, err);
    if (status == KILN_OK)
        status = folder_scan_captions(scan, err);
    return status;
}

static kiln_status check_captions(const dataset *data, const folder_scan *scan, kiln_error *err)
{
    size_t with = 0, first = 0;
    for (size_t i = 0; i < scan->count; i++) {
        if (scan->pictures[i].captions_count)
            with++;
        else if (with == i) /* all before have captions */
            first = i;
    }
    if (with == 0 && data->options.captions_needed)
        return fail(err, KILN_BAD_FORMAT,
                    "%s: none of its %zu pictures has a caption (expected %s%s beside the picture, "
                    "metadata.jsonl, or "
                    "folders named like '10_a photo of a dog')",
                    scan->folder, scan->count,
                    data->options.caption_extension ? data->options.caption_extension : ".txt or .caption",
                    data->options.caption_extension ? " files" : "");
    if (scan->prompt && scan->prompted == 0)
        dataset_options_tell(
            &data->options,
            "%s: instance_prompt is not used, as all of its pictures have captions of their own",
            scan->folder);
    if (with < scan->count && data->options.captions_needed)
        dataset_options_tell(&data->options,
                             "%s: %zu of %zu pictures have no caption and are shown without words, "
                             "the first is %s",
                             scan->folder, scan->count - with, scan->count, scan->pictures[first].name);
    return KILN_OK;
}

/* A class that goes without words would teach that no words mean the class. */
static kiln_status check_class_captions(const dataset *data, const folder_scan *scan, kiln_error *err)
{
    for (size_t i = 0; i < scan->count && data->options.captions_needed; i++)
        if (!scan->pictures[i].captions_count)
            return fail(
                err, KILN_BAD_FORMAT,
                "%s: the class picture %s has no caption; class_prompt gives one to all that have none",
                scan->folder, scan->pictures[i].name);
    return KILN_OK;
}

static kiln_status add_folder(dataset *data, const char *folder, dataset_part part, kiln_error *err)
{
    folder_scan scan;
    bool class_part = part == DATASET_REGULARISATION || part == DATASET_CLASS_VALIDATION;
    const char *prompt = class_part ? data->options.class_prompt : data->options.instance_prompt;
    kiln_status status = scan_folder(data, folder, prompt, NULL, &scan, err);
    if (status == KILN_OK && class_part && data->options.paired)
        status = check_class_captions(data, &scan, err);
    if (status == KILN_OK)
        status = add_items(data, &scan, NULL, part, err);
    folder_scan_fini(&scan);
    return status;
}

static kiln_status fill(dataset *data, kiln_error *err)
{
    const dataset_options *o = &data->options;
    folder_scan scan;
    kiln_status status = scan_folder(data, o->folder, o->instance_prompt, o->size_cache, &scan, err);
    if (status == KILN_OK)
        status = check_captions(data, &scan, err);
    if (status == KILN_OK)
        status = add_training(data, &scan, false, err);
    if (status == KILN_OK && data->part_count[DATASET_TRAIN] == 0)
        status = fail(err, KILN_BAD_FORMAT, "%s: no picture is left to train on", o->folder);
    if (status == KILN_OK && o->reg_folder)
        status = add_folder(data, o->reg_folder, DATASET_REGULARISATION, err);
    if (status == KILN_OK && o->validation_folder)
        status = add_folder(data, o->validation_folder, DATASET_VALIDATION, err);
    if (status == KILN_OK)
        status = add_training(data, &scan, true, err);
    if (status == KILN_OK && o->class_validation_folder)
        status = add_folder(data, o->class_validation_folder, DATASET_CLASS_VALIDATION, err);
    folder_scan_fini(&scan);
    if (status != KILN_OK)
        return status;
    if (o->paired)
        byte_buffer_add(&data->identity, "pairs", 6);
    data->damaged = calloc((size_t)data->count, sizeof *data->damaged);
    if (!data->damaged || data->identity.short_of_memory)
        return fail(err, KILN_NO_MEMORY, "no memory for %" PRId64 " pictures", data->count);
    status = hash_memory(data->identity.bytes, data->identity.size, data->hash, err);
    byte_buffer_fini(&data->identity);
    return status;
}

kiln_status dataset_open(const dataset_options *options, dataset **out, kiln_error *err)
{
    *out = NULL;
    kiln_status status = check_options(options, err);
    if (status != KILN_OK)
        return status;
    dataset *data = calloc(1, sizeof *data);
    if (!data || pthread_mutex_init(&data->log_lock, NULL)) {
        free(data);
        return fail(err, KILN_NO_MEMORY, "no memory for a dataset");
    }
    status = copy_options(data, options) ? buckets_init(&data->buckets, &data->options, err)
                                         : fail(err, KILN_NO_MEMORY, "no memory for a dataset");
    if (status == KILN_OK)
        status = fill(data, err);
    if (status != KILN_OK) {
        dataset_close(data);
        return status;
    }
    *out = data;
    return KILN_OK;
}

void dataset_close(dataset *data)
{
    if (!data)
        return;
    pthread_mutex_destroy(&data->log_lock);
    buckets_fini(&data->buckets);
    byte_buffer_fini(&data->identity);
    arena_fini(&data->memory);
    free(data->items);
    free(data->damaged);
    free(data);
}

int64_t dataset_count(const dataset *data)
{
    return data->count;
}

const dataset_item *dataset_item_at(const dataset *data, int64_t index)
{
    return &data->items[index];
}

int64_t dataset_part_count(const dataset *data, dataset_part part)
{
    return data->part_count[part];
}

int64_t dataset_part_first(const dataset *data, dataset_part part)
{
    int64_t first = 0;
    for (int i = 0; i < (int)part; i++)
        first += data->part_count[i];
    return first;
}

int dataset_bucket_count(const dataset *data)
{
    return data->buckets.count;
}

const dataset_bucket *dataset_bucket_at(const dataset *data, int index)
{
    return &data->buckets.sizes[index];
}

const dataset_options *dataset_options_of(const dataset *data)
{
    return &data->options;
}

const char *dataset_hash(const dataset *data)
{
    return data->hash;
}

/* The lock and the marks are the only things that change behind a const dataset. */
static dataset *changeable(const dataset *data)
{
    union {
        const dataset *fixed;
        dataset *open;
    } same = {data};
    return same.open;
}

void dataset_tell(const dataset *data, const char *format, ...)
{
    if (!data->options.log)
        return;
    kiln_error sentence;
    va_list arguments;
    va_start(arguments, format);
    fail_with(&sentence, KILN_OK, format, arguments);
    va_end(arguments);
    pthread_mutex_lock(&changeable(data)->log_lock);
    data->options.log(data->options.log_self, sentence.text);
    pthread_mutex_unlock(&changeable(data)->log_lock);
}

void dataset_mark_damaged(const dataset *data, int64_t index, const kiln_error *reason)
{
    if (!atomic_exchange(&changeable(data)->damaged[index], 1))
        dataset_tell(data, "%s; left out", reason->text);
}

bool dataset_is_damaged(const dataset *data, int64_t index)
{
    return atomic_load(&data->damaged[index]) != 0;
}

int64_t dataset_next_good(const dataset *data, int64_t index)
{
    const dataset_item *item = &data->items[index];
    int64_t first = dataset_part_first(data, item->part), count = data->part_count[item->part];
    for (int64_t i = 1; i < count; i++) {
        int64_t other = first + (index - first + i) % count;
        if (data->items[other].bucket == item->bucket && !dataset_is_damaged(data, other))
            return other;
    }
    return -1;
}
