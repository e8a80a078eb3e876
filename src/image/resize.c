/* resize.c - see resize.h.
 *
 * Here: floats and 16-bit samples; resize_bytes.c has the 8-bit pictures. The source is fetched row by row
 * through a callback, so that a picture is never held as floats whole: only the intermediate of
 * [from_height, to_width] is. */
#include "image/resize.h"

#include "image/resize_taps.h"

#include <stdlib.h>
#include <string.h>

typedef struct resampling {
    int from_width, from_height, to_width, to_height, channels;
    resize_filter filter;
    /* Row y of the source as floats; `row` is room for it, which may stay unused. */
    const float *(*fetch)(const void *source, int y, float *row);
    const void *source;
    /* Takes row y of the result. */
    void (*store)(void *target, int y, const float *row);
    void *target;
} resampling;

static void resample_row(const float *from, float *to, int to_width, int channels, const taps *columns)
{
    for (int x = 0; x < to_width; x++) {
        const double *weights = columns->weights + (size_t)x * columns->room;
        const float *source = from + (size_t)columns->first[x] * (size_t)channels;
        for (int c = 0; c < channels; c++) {
            float sum = 0.0f;
            for (int i = 0; i < columns->count[x]; i++)
                sum += (float)weights[i] * source[(size_t)i * (size_t)channels + (size_t)c];
            to[(size_t)x * (size_t)channels + (size_t)c] = sum;
        }
    }
}

static void resample(const resampling *r, const taps *columns, const taps *rows, float *between,
                     float *from_row, float *to_row)
{
    size_t width = (size_t)r->to_width * (size_t)r->channels;
    for (int y = 0; y < r->from_height; y++)
        resample_row(r->fetch(r->source, y, from_row), between + (size_t)y * width, r->to_width, r->channels,
                     columns);
    for (int y = 0; y < r->to_height; y++) {
        memset(to_row, 0, width * sizeof *to_row);
        for (int i = 0; i < rows->count[y]; i++) {
            const float *source = between + (size_t)(rows->first[y] + i) * width;
            float weight = (float)rows->weights[(size_t)y * rows->room + (size_t)i];
            for (size_t x = 0; x < width; x++)
                to_row[x] += weight * source[x];
        }
        r->store(r->target, y, to_row);
    }
}

static bool side_is_good(int side)
{
    return side >= 1 && side <= IMAGE_MAX_SIDE;
}

static kiln_status run(const resampling *r, kiln_error *err)
{
    if (!side_is_good(r->from_width) || !side_is_good(r->from_height) || !side_is_good(r->to_width) ||
        !side_is_good(r->to_height) || r->channels < 1 || r->channels > 4096)
        return fail(err, KILN_BAD_ARGUMENT,
                    "cannot resize %d x %d to %d x %d in %d channels: each side must be 1 to %d",
                    r->from_width, r->from_height, r->to_width, r->to_height, r->channels, IMAGE_MAX_SIDE);
    taps columns = {0}, rows = {0};
    size_t channels = (size_t)r->channels, width = (size_t)r->to_width * channels;
    float *between = malloc((size_t)r->from_height * width * sizeof *between);
    float *from_row = calloc((size_t)r->from_width * channels, sizeof *from_row);
    float *to_row = malloc(width * sizeof *to_row);
    bool good = between && from_row && to_row && taps_init(&columns, r->from_width, r->to_width, r->filter) &&
                taps_init(&rows, r->from_height, r->to_height, r->filter);
    if (good)
        resample(r, &columns, &rows, between, from_row, to_row);
    taps_fini(&columns);
    taps_fini(&rows);
    free(between);
    free(from_row);
    free(to_row);
    return good ? KILN_OK
                : fail(err, KILN_NO_MEMORY, "not enough memory to resize %d x %d to %d x %d", r->from_width,
                       r->from_height, r->to_width, r->to_height);
}

typedef struct float_rows {
    const float *from;
    float *to;
    size_t from_stride, to_stride;
} float_rows;

static const float *fetch_floats(const void *source, int y, float *row)
{
    (void)row;
    const float_rows *rows = source;
    return rows->from + (size_t)y * rows->from_stride;
}

static void store_floats(void *target, int y, const float *row)
{
    const float_rows *rows = target;
    memcpy(rows->to + (size_t)y * rows->to_stride, row, rows->to_stride * sizeof *row);
}

kiln_status resize_floats(const float *from, int from_width, int from_height, int channels, float *to,
                          int to_width, int to_height, resize_filter filter, kiln_error *err)
{
    float_rows rows = {from, to, (size_t)from_width * (size_t)channels, (size_t)to_width * (size_t)channels};
    resampling r = {from_width, from_height,  to_width, to_height,    channels,
                    filter,     fetch_floats, &rows,    store_floats, &rows};
    return run(&r, err);
}

enum { FULL_SCALE = 65535 };

/* Rows of 16-bit samples, colours multiplied by alpha as a fraction. */
static const float *fetch_samples(const void *source, int y, float *row)
{
    const image *from = source;
    size_t channels = (size_t)from->channels, count = (size_t)from->width * channels;
    const uint16_t *samples = (const uint16_t *)from->pixels + (size_t)y * count;
    for (size_t i = 0; i < count; i++)
        row[i] = (float)samples[i];
    for (size_t i = 0; image_has_alpha(from) && i < count; i += channels)
        for (size_t c = 0; c + 1 < channels; c++)
            row[i + c] *= row[i + channels - 1] / (float)FULL_SCALE;
    return row;
}

static float clamp(float value)
{
    return value < 0.0f ? 0.0f : value > (float)FULL_SCALE ? (float)FULL_SCALE : value;
}

static void store_samples(void *target, int y, const float *row)
{
    image *to = target;
    size_t channels = (size_t)to->channels, count = (size_t)to->width * channels;
    uint16_t *samples = (uint16_t *)to->pixels + (size_t)y * count;
    for (size_t i = 0; i < count; i += channels) {
        float alpha = clamp(row[i + channels - 1]);
        float scale = !image_has_alpha(to) ? 1.0f : alpha > 0.0f ? (float)FULL_SCALE / alpha : 0.0f;
        for (size_t c = 0; c < channels; c++) {
            bool is_alpha = image_has_alpha(to) && c + 1 == channels;
            samples[i + c] = (uint16_t)(clamp(is_alpha ? alpha : row[i + c] * scale) + 0.5f);
        }
    }
}

/* Nearest neighbours need no arithmetic, and keep the colours of transparent pixels. */
static kiln_status pick_nearest(const image *from, image *to, kiln_error *err)
{
    size_t bytes = (size_t)from->channels * (size_t)(from->bits / 8);
    unsigned char *target = to->pixels;
    taps columns = {0}, rows = {0};
    bool good = taps_init(&columns, from->width, to->width, RESIZE_NEAREST) &&
                taps_init(&rows, from->height, to->height, RESIZE_NEAREST);
    for (int y = 0; good && y < to->height; y++) {
        const unsigned char *row =
            (const unsigned char *)from->pixels + (size_t)rows.first[y] * image_row_bytes(from);
        for (int x = 0; x < to->width; x++, target += bytes)
            memcpy(target, row + (size_t)columns.first[x] * bytes, bytes);
    }
    taps_fini(&columns);
    taps_fini(&rows);
    return good ? KILN_OK
                : fail(err, KILN_NO_MEMORY, "not enough memory to resize to %d x %d", to->width, to->height);
}

kiln_status image_resize(const image *from, int width, int height, resize_filter filter, image **out,
                         kiln_error *err)
{
    kiln_status status = image_new(width, height, from->channels, from->bits, out, err);
    if (status != KILN_OK)
        return status;
    if (filter == RESIZE_NEAREST) {
        status = pick_nearest(from, *out, err);
    } else if (from->bits == 8) {
        status = resize_bytes(from, *out, filter, err);
    } else {
        status = run(&(resampling){from->width, from->height, width, height, from->channels, filter,
                                   fetch_samples, from, store_samples, *out},
                     err);
    }
    if (status != KILN_OK) {
        image_free(*out);
        *out = NULL;
    }
    return status;
}
