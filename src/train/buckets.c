/* buckets.c - see buckets.h. */
#include "train/buckets.h"

#include "image/image.h"

#include <math.h>
#include <stdlib.h>

static int compare_sizes(const void *a, const void *b)
{
    const dataset_bucket *x = a, *y = b;
    if (x->width_px != y->width_px)
        return x->width_px < y->width_px ? -1 : 1;
    return (x->height_px > y->height_px) - (x->height_px < y->height_px);
}

static int find(const bucket_set *set, int width, int height)
{
    for (int i = 0; i < set->count; i++)
        if (set->sizes[i].width_px == width && set->sizes[i].height_px == height)
            return i;
    return -1;
}

static kiln_status add(bucket_set *set, int width, int height, int *index, kiln_error *err)
{
    *index = find(set, width, height);
    if (*index >= 0)
        return KILN_OK;
    if (set->count >= BUCKETS_MAX)
        return fail(err, KILN_BAD_ARGUMENT,
                    "more than %d bucket sizes: bucket_reso_steps %d is too small for this range",
                    (int)BUCKETS_MAX, set->options->bucket_reso_steps);
    if (set->count == set->capacity) {
        int capacity = set->capacity ? set->capacity * 2 : 64;
        dataset_bucket *grown = realloc(set->sizes, (size_t)capacity * sizeof *grown);
        if (!grown)
            return fail(err, KILN_NO_MEMORY, "no memory for bucket sizes");
        set->sizes = grown;
        set->capacity = capacity;
    }
    *index = set->count;
    set->sizes[set->count++] = (dataset_bucket){.width_px = width, .height_px = height};
    return KILN_OK;
}

static kiln_status predefine(bucket_set *set, kiln_error *err)
{
    const dataset_options *o = set->options;
    int64_t area = (int64_t)o->width_px * o->height_px, step = o->bucket_reso_steps;
    int index, square = (int)((int64_t)sqrt((double)area) / step * step);
    kiln_status status = square > 0 ? add(set, square, square, &index, err) : KILN_OK;
    for (int64_t width = o->min_bucket_reso; status == KILN_OK && width <= o->max_bucket_reso;
         width += step) {
        int64_t height = area / width / step * step;
        if (height > o->max_bucket_reso)
            height = o->max_bucket_reso;
        if (height < o->min_bucket_reso)
            continue;
        status = add(set, (int)width, (int)height, &index, err);
        if (status == KILN_OK)
            status = add(set, (int)height, (int)width, &index, err);
    }
    if (status == KILN_OK && set->count == 0)
        status = fail(err, KILN_BAD_ARGUMENT,
                      "no bucket of %d x %d pixels fits min_bucket_reso %d, max_bucket_reso %d, steps of %d",
                      o->width_px, o->height_px, o->min_bucket_reso, o->max_bucket_reso, (int)step);
    if (status == KILN_OK)
        qsort(set->sizes, (size_t)set->count, sizeof *set->sizes, compare_sizes);
    return status;
}

kiln_status buckets_init(bucket_set *set, const dataset_options *options, kiln_error *err)
{
    *set = (bucket_set){.options = options};
    int index;
    if (!options->enable_bucket)
        return add(set, options->width_px, options->height_px, &index, err);
    return options->bucket_no_upscale ? KILN_OK : predefine(set, err);
}

void buckets_fini(bucket_set *set)
{
    free(set->sizes);
    *set = (bucket_set){0};
}

static int rounded_to_steps(double x, int step)
{
    int whole = (int)(x + 0.5);
    return whole - whole % step;
}

/* kohya's bucket of a picture that is never enlarged. */
static void own_size(const dataset_options *o, int w, int h, int *bucket_width, int *bucket_height)
{
    int step = o->bucket_reso_steps;
    double area = (double)o->width_px * o->height_px, ratio = (double)w / h;
    int width = w, height = h;
    if ((double)w * h > area) {
        double free_width = sqrt(area * ratio), free_height = area / free_width;
        int width_a = rounded_to_steps(free_width, step), height_a = rounded_to_steps(width_a / ratio, step);
        int height_b = rounded_to_steps(free_height, step),
            width_b = rounded_to_steps(height_b * ratio, step);
        double error_a = height_a ? fabs((double)width_a / height_a - ratio) : HUGE_VAL;
        double error_b = height_b ? fabs((double)width_b / height_b - ratio) : HUGE_VAL;
        if (error_a < error_b) {
            width = width_a;
            height = (int)(width_a / ratio + 0.5);
        } else {
            width = (int)(height_b * ratio + 0.5);
            height = height_b;
        }
    }
    *bucket_width = width - width % step;
    *bucket_height = height - height % step;
}

kiln_status buckets_choose(bucket_set *set, int width_px, int height_px, int *out, kiln_error *err)
{
    *out = 0;
    if (!set->options->enable_bucket)
        return KILN_OK;
    if (set->options->bucket_no_upscale) {
        int width, height;
        own_size(set->options, width_px, height_px, &width, &height);
        *out = -1;
        return width > 0 && height > 0 ? add(set, width, height, out, err) : KILN_OK;
    }
    *out = find(set, width_px, height_px);
    if (*out >= 0)
        return KILN_OK;
    double ratio = (double)width_px / height_px, least = HUGE_VAL;
    for (int i = 0; i < set->count; i++) {
        double error = fabs((double)set->sizes[i].width_px / set->sizes[i].height_px - ratio);
        if (error < least) {
            least = error;
            *out = i;
        }
    }
    return KILN_OK;
}

void bucket_cover(const dataset_bucket *bucket, int width_px, int height_px, int *scaled_width,
                  int *scaled_height)
{
    double w = width_px, h = height_px, by_width = bucket->width_px / w, by_height = bucket->height_px / h;
    double scale = by_width > by_height ? by_width : by_height;
    double across = floor(w * scale + 0.5), down = floor(h * scale + 0.5);
    *scaled_width = across < IMAGE_MAX_SIDE ? (int)across : IMAGE_MAX_SIDE;
    *scaled_height = down < IMAGE_MAX_SIDE ? (int)down : IMAGE_MAX_SIDE;
    if (by_width >= by_height || *scaled_width < bucket->width_px)
        *scaled_width = bucket->width_px;
    if (by_height >= by_width || *scaled_height < bucket->height_px)
        *scaled_height = bucket->height_px;
}
