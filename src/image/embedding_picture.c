/* embedding_picture.c - see embedding_picture.h. Facts of the layout: A1111's modules/textual_inversion/image_embedding.py. */
#include "image/embedding_picture.h"

#include "image/embedding_json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define TEXT_KEYWORD "sd-ti-embedding"

/* The JSON of 75 vectors of 16384 has some 27 MB. */
enum { JSON_BYTES_MAX = 64 << 20, SAMPLES = 3, FRONT_HEIGHT_MIN = 64 };

/* The sequence that both blocks are xored with, sample after sample: an old generator's numbers, modulo 255. */
static void mask_samples(unsigned char *samples, size_t count)
{
    uint32_t state = 0;
    for (size_t i = 0; i < count; i++) {
        state = 1664525u * state + 1013904223u;
        /* The caller filled them: NOLINTNEXTLINE(clang-analyzer-core.uninitialized.Assign) */
        samples[i] ^= (unsigned char)(state % 255 & 0x0F);
    }
}

/* ------------------------------------------------------------------------------------ reading pixels */

/* A rectangle of an RGB picture. */
typedef struct area {
    const image *picture;
    int left, top, right, bottom;
} area;

static const unsigned char *pixel(const image *p, int x, int y)
{
    return (const unsigned char *)p->pixels + ((size_t)y * (size_t)p->width + (size_t)x) * SAMPLES;
}

/* No sample of the pixel is 0. */
static bool is_lit(const image *p, int x, int y)
{
    const unsigned char *s = pixel(p, x, y);
    return s[0] && s[1] && s[2];
}

static bool line_is_lit(const area *a, int at, bool column)
{
    int from = column ? a->top : a->left, to = column ? a->bottom : a->right;
    for (int i = from; i < to; i++)
        if (is_lit(a->picture, column ? at : i, column ? i : at))
            return true;
    return false;
}

/* What is left when dark lines at the border are cut off. */
static area without_border(const image *p)
{
    area whole = {p, 0, 0, p->width, p->height}, a = whole;
    while (a.left < a.right && !line_is_lit(&whole, a.left, true))
        a.left++;
    while (a.right > a.left && !line_is_lit(&whole, a.right - 1, true))
        a.right--;
    while (a.top < a.bottom && !line_is_lit(&whole, a.top, false))
        a.top++;
    while (a.bottom > a.top && !line_is_lit(&whole, a.bottom - 1, false))
        a.bottom--;
    return a;
}

/* A column whose low halves are all 0 parts the blocks from the picture. */
static bool parts_blocks(const area *a, int x)
{
    for (int y = a->top; y < a->bottom; y++) {
        const unsigned char *s = pixel(a->picture, x, y);
        if ((s[0] | s[1] | s[2]) & 0x0F)
            return false;
    }
    return true;
}

/* The low halves of a block, row after row, without the mask; NULL when memory is short. */
static unsigned char *read_block(const area *a, int left, int right)
{
    size_t wide = (size_t)(right - left) * SAMPLES, high = (size_t)(a->bottom - a->top);
    unsigned char *block = malloc(wide * high + 1);
    for (size_t y = 0; block && y < high; y++) {
        const unsigned char *from = pixel(a->picture, left, a->top + (int)y);
        for (size_t i = 0; i < wide; i++)
            block[y * wide + i] = from[i] & 0x0F;
    }
    if (block)
        mask_samples(block, wide * high);
    return block;
}

/* zlib data that what follows it does not spoil. *json NULL and KILN_OK: it is none. */
static kiln_status unpack(const unsigned char *packed, size_t size, char **json, size_t *length,
                          kiln_error *err)
{
    size_t room = (size_t)1 << 16;
    *json = NULL;
    *length = 0;
    z_stream z = {.next_in = (unsigned char *)(uintptr_t)packed, .avail_in = (uInt)size};
    if (inflateInit(&z) != Z_OK)
        return fail(err, KILN_NO_MEMORY, "out of memory for an embedding");
    int result = Z_OK;
    while (result == Z_OK && room < JSON_BYTES_MAX) {
        room *= 2;
        char *bigger = realloc(*json, room);
        if (!bigger)
            break;
        *json = bigger;
        z.next_out = (unsigned char *)*json + z.total_out;
        z.avail_out = (uInt)(room - z.total_out);
        result = inflate(&z, Z_NO_FLUSH);
    }
    *length = z.total_out;
    inflateEnd(&z);
    if (result == Z_STREAM_END)
        return KILN_OK;
    free(*json);
    *json = NULL;
    return KILN_OK;
}

static kiln_status join_halves(const area *a, int first, int last, char **json, size_t *length,
                               kiln_error *err)
{
    unsigned char *low = read_block(a, a->left, first), *high = read_block(a, last + 1, a->right);
    size_t size = (size_t)(first - a->left) * (size_t)(a->bottom - a->top) * SAMPLES;
    kiln_status status =
        low && high ? KILN_OK : fail(err, KILN_NO_MEMORY, "out of memory for the embedding in a picture");
    for (size_t i = 0; !status && i < size; i++)
        low[i] |= (unsigned char)(high[i] << 4);
    if (!status)
        status = unpack(low, size, json, length, err);
    free(low);
    free(high);
    return status;
}

/* *json NULL and KILN_OK: there are no blocks of data. */
static kiln_status json_of_pixels(const image *any, char **json, size_t *length, kiln_error *err)
{
    image *p = NULL;
    *json = NULL;
    kiln_status status = image_to_bytes(any, SAMPLES, &p, err);
    if (status)
        return status;
    area a = without_border(p);
    int first = a.left, last = a.right - 1;
    while (first < a.right && !parts_blocks(&a, first))
        first++;
    while (last > first && !parts_blocks(&a, last))
        last--;
    if (first > a.left && last > first && a.right - 1 - last == first - a.left)
        status = join_halves(&a, first, last, json, length, err);
    image_free(p);
    return status;
}

kiln_status embedding_of_picture(const image *p, const picture_text *texts, const char *path, bool *found,
                                 embedding *out, kiln_error *err)
{
    const char *text = picture_text_get(texts, TEXT_KEYWORD);
    char *json = NULL;
    size_t length = 0;
    *found = false;
    kiln_status status = text ? base64_decode(text, path, (unsigned char **)&json, &length, err)
                              : json_of_pixels(p, &json, &length, err);
    if (!status && json) {
        *found = true;
        status = embedding_of_json(json, length, path, out, err);
    }
    free(json);
    if (status)
        embedding_fini(out);
    return status;
}

/* ------------------------------------------------------------------------------------ writing pixels */

/* The pattern of dots in the high halves: circles of 7 px in a staggered grid of 8, each as light as the next number of the
 * first vector is large. For the eye only. */
static void draw_dots(unsigned char *block, int width, int height, const embedding *e, bool backwards)
{
    int count = e->width[0] < 1024 ? e->width[0] : 1024, dot = 0;
    float most = 0;
    for (int i = 0; i < count; i++)
        most = fmaxf(most, fabsf(e->values[0][i]));
    for (int x = -6; x < width; x += 8)
        for (int row = 0, y = -6; y < height; y += 8, row++, dot++) {
            int i = dot % count, left = row % 2 == 0 ? x + 4 : x;
            float number = fabsf(e->values[0][backwards ? count - 1 - i : i]);
            unsigned char shade = most > 0 ? (unsigned char)(number / most * 255.0f) & 0xF0 : 0;
            for (int v = 0; v < 7; v++)
                for (int u = 0; u < 7; u++) {
                    bool inside = (u - 3) * (u - 3) + (v - 3) * (v - 3) <= 10;
                    if (inside && left + u >= 0 && left + u < width && y + v >= 0 && y + v < height)
                        for (int k = 0; k < SAMPLES; k++)
                            block[((size_t)(y + v) * (size_t)width + (size_t)(left + u)) * SAMPLES +
                                  (size_t)k] |= shade;
                }
        }
}

/* One half of the bytes as a block; what is left over repeats from the beginning. */
static unsigned char *make_block(const unsigned char *packed, size_t size, int width, int height, bool high,
                                 const embedding *e)
{
    size_t samples = (size_t)width * (size_t)height * SAMPLES;
    unsigned char *block = malloc(samples);
    for (size_t i = 0; block && i < samples; i++)
        block[i] = high ? packed[i % size] >> 4 : packed[i % size] & 0x0F;
    if (!block)
        return NULL;
    mask_samples(block, samples);
    draw_dots(block, width, height, e, high);
    return block;
}

static void paste(image *to, const unsigned char *from, int width, int at)
{
    size_t row = (size_t)width * SAMPLES;
    for (int y = 0; y < to->height; y++)
        memcpy((unsigned char *)to->pixels + ((size_t)y * (size_t)to->width + (size_t)at) * SAMPLES,
               from + (size_t)y * row, row);
}

static kiln_status compose(const embedding *e, const unsigned char *packed, size_t size, const image *front,
                           image **out, kiln_error *err)
{
    size_t column = (size_t)front->height * SAMPLES;
    if (size / column > IMAGE_MAX_SIDE)
        return fail(err, KILN_BAD_ARGUMENT, "the picture is too low for an embedding of %zu bytes", size);
    int wide = (int)(size / column) + 1;
    kiln_status status = image_new(front->width + 2 * wide + 2, front->height, SAMPLES, 8, out, err);
    if (status)
        return status;
    unsigned char *low = make_block(packed, size, wide, front->height, false, e),
                  *high = make_block(packed, size, wide, front->height, true, e);
    if (low && high) {
        paste(*out, low, wide, 0);
        paste(*out, front->pixels, front->width, wide + 1);
        paste(*out, high, wide, wide + 1 + front->width + 1);
    } else {
        status = fail(err, KILN_NO_MEMORY, "out of memory for the picture of an embedding");
    }
    free(low);
    free(high);
    return status;
}

static kiln_status pack(const char *json, unsigned char **packed, uLongf *size, kiln_error *err)
{
    uLong length = (uLong)strlen(json);
    *size = compressBound(length);
    *packed = malloc(*size);
    if (!*packed || compress2(*packed, size, (const unsigned char *)json, length, Z_BEST_COMPRESSION) != Z_OK)
        return fail(err, KILN_NO_MEMORY, "out of memory for the picture of an embedding");
    return KILN_OK;
}

static kiln_status add_text(picture_text *texts, const char *json, kiln_error *err)
{
    char *text = base64_encode(json, strlen(json));
    kiln_status status = text ? picture_text_add(texts, TEXT_KEYWORD, text, err)
                              : fail(err, KILN_NO_MEMORY, "out of memory for the text of an embedding");
    free(text);
    return status;
}

/* A column of the blocks that happens to be dark would part them at the wrong place: only reading tells. */
static kiln_status read_again(const embedding *e, const image *made, kiln_error *err)
{
    embedding again = {0};
    bool found = false;
    kiln_status status = embedding_of_picture(made, NULL, "the picture", &found, &again, err);
    if (!status && (!found || again.vectors != e->vectors ||
                    memcmp(again.values[0], e->values[0],
                           (size_t)e->vectors * (size_t)e->width[0] * sizeof(float)) != 0))
        status = fail(err, KILN_UNSUPPORTED,
                      "the embedding cannot be read back from this picture: take another one");
    embedding_fini(&again);
    return status;
}

kiln_status embedding_to_picture(const embedding *e, const char *word, const image *front, image **out,
                                 picture_text *texts, kiln_error *err)
{
    char *json = NULL;
    unsigned char *packed = NULL;
    uLongf size = 0;
    image *rgb = NULL;
    *out = NULL;
    if (e->width[1])
        return fail(
            err, KILN_UNSUPPORTED,
            "an embedding for two text encoders cannot be written as a picture: the layout has room for one");
    if (front->height < FRONT_HEIGHT_MIN)
        return fail(err, KILN_BAD_ARGUMENT, "the picture for an embedding is at least %d px high, not %d",
                    FRONT_HEIGHT_MIN, front->height);
    kiln_status status = image_to_bytes(front, SAMPLES, &rgb, err);
    if (!status)
        status = embedding_to_json(e, word, &json, err);
    if (!status)
        status = pack(json, &packed, &size, err);
    if (!status)
        status = compose(e, packed, size, rgb, out, err);
    if (!status)
        status = read_again(e, *out, err);
    if (!status)
        status = add_text(texts, json, err);
    free(json);
    free(packed);
    image_free(rgb);
    if (status) {
        image_free(*out);
        *out = NULL;
    }
    return status;
}
