/* amx_lines.c - see amx_lines.h. */
#include "backend/cpu/amx_lines.h"

#include "backend/cpu/amx.h"
#include "backend/cpu/products.h"

#include "base/error.h"

#include <stdlib.h>
#include <string.h>

enum { LINE = 64, TILE = 1024, CHANNELS = 32 };

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Images to interleave so that rows are whole tiles; 0: none. */
static int64_t find_group(int64_t batch, int64_t width)
{
    for (int64_t g = 1; g <= 16; g *= 2)
        if (width * g % 16 == 0)
            return batch % g == 0 ? g : 0;
    return 0;
}

static bool place_taps(amx_lines *l)
{
    int64_t s = l->stride;
    if (l->kernel_height * l->kernel_width > MOST_TAPS)
        return false;
    for (int64_t i = 0; i < l->kernel_height; i++)
        for (int64_t j = 0; j < l->kernel_width; j++) {
            int phase = (int)(i % s * s + j % s), p = 0;
            while (p < l->phases && l->phase[p] != phase)
                p++;
            if (p == MOST_PHASES)
                return false;
            if (p == l->phases)
                l->phase[l->phases++] = phase;
            l->tap_line[l->taps++] = p * l->lines + (i / s * l->pitch + j / s) * l->group;
        }
    return true;
}

/* Neighbouring rows and images share their zeros where they can. */
static bool lay_out(amx_lines *l, const product_request *r)
{
    int64_t s = l->stride, shared_column = s == 1 ? smaller(r->pad_left, r->pad_right) : 0,
            shared_row = s == 1 ? smaller(r->pad_top, r->pad_bottom) : 0;
    int64_t beyond_row = (l->kernel_width - 1) / s, beyond_image = (l->kernel_height - 1) / s;
    int64_t group = find_group(l->batch, l->out_width);
    l->by_rows = group > 0;
    l->group = group ? group : 1;
    l->groups = l->batch / l->group;
    l->pitch = l->out_width + beyond_row - smaller(shared_column, beyond_row);
    l->image = l->pitch * (l->out_height + beyond_image - smaller(shared_row, beyond_image));
    /* What the last tap of a last, perhaps incomplete, tile reads. */
    l->lines = l->groups * l->image * l->group + (beyond_image * l->pitch + beyond_row) * l->group + 16;
    l->segments = l->by_rows ? l->groups * l->out_height : l->groups;
    l->valid = l->by_rows ? l->out_width * l->group : (l->out_height - 1) * l->pitch + l->out_width;
    l->tiles = (l->valid + 15) / 16;
    return place_taps(l);
}

static void lay_out_rows(amx_lines *l, const product_request *r)
{
    l->rows = r->convolution ? r->batch * r->height * r->width : r->rows;
    l->direct = true;
    l->in_place = l->type == DTYPE_BF16 && l->channels % CHANNELS == 0;
    l->segments = l->taps = 1;
    l->valid = l->rows;
    l->tiles = (l->rows + 15) / 16;
}

static void fill_offsets(const amx_lines *l)
{
    for (int64_t d = 0; d < l->depth; d++)
        for (int tap = 0; tap < l->taps; tap++) {
            int64_t k = d * l->taps + tap;
            l->offset[k] =
                (int32_t)(l->direct ? d * 2 * TILE : (d * l->lines * l->phases + l->tap_line[tap]) * LINE);
            l->offset_in_place[k] = (int32_t)(d * LINE);
        }
}

static bool is_matrix(const product_request *r, int upsample)
{
    bool single = r->kernel_height == 1 && r->kernel_width == 1 && r->stride == 1 && !r->pad_top &&
                  !r->pad_left && !r->pad_bottom && !r->pad_right;
    return upsample == 1 && (!r->convolution || single);
}

static amx_lines sizes_of(const product_request *r, int upsample)
{
    bool conv = r->convolution;
    return (amx_lines){.batch = conv ? r->batch : 1,
                       .height = conv ? r->height : 1,
                       .width = conv ? r->width : r->rows,
                       .channels = r->in_channels,
                       .out_height = conv ? r->out_height : 1,
                       .out_width = conv ? r->out_width : r->rows,
                       .kernel_height = conv ? r->kernel_height : 1,
                       .kernel_width = conv ? r->kernel_width : 1,
                       .stride = conv ? r->stride : 1,
                       .upsample = upsample,
                       .pad_top = conv ? r->pad_top : 0,
                       .pad_left = conv ? r->pad_left : 0,
                       .type = r->input_type,
                       .depth = (r->in_channels + CHANNELS - 1) / CHANNELS};
}

kiln_status amx_lines_new(const product_request *r, int upsample, amx_lines *l, bool *possible,
                          kiln_error *err)
{
    *possible = false;
    *l = sizes_of(r, upsample);
    if (l->pad_top < 0 || l->pad_left < 0 || l->batch * l->out_height * l->out_width >= INT32_MAX)
        return KILN_OK;
    if (is_matrix(r, upsample))
        lay_out_rows(l, r);
    else if (!lay_out(l, r))
        return KILN_OK;
    l->bytes = (size_t)(l->lines * l->phases * l->depth) * LINE;
    if (l->bytes >= INT32_MAX)
        return KILN_OK;
    size_t steps = (size_t)(l->depth * l->taps);
    l->offset = calloc(2 * steps, sizeof *l->offset);
    if (!l->offset)
        return fail(err, KILN_NO_MEMORY, "not enough memory for a kernel");
    l->offset_in_place = l->offset + steps;
    fill_offsets(l);
    *possible = true;
    return KILN_OK;
}

void amx_lines_free(amx_lines *l)
{
    free(l->offset);
    l->offset = l->offset_in_place = NULL;
}

const char *amx_lines_tile(const amx_lines *l, const char *copy, int64_t tile)
{
    int64_t segment = tile / l->tiles, first = tile % l->tiles * 16;
    int64_t line = l->by_rows ? segment / l->out_height * l->image + segment % l->out_height * l->pitch
                              : segment * l->image;
    return copy + (line * l->group + first) * LINE;
}

void amx_lines_places(const amx_lines *l, int64_t tile, int32_t place[16])
{
    int64_t segment = tile / l->tiles, first = tile % l->tiles * 16;
    if (l->direct) {
        for (int64_t i = 0; i < 16; i++)
            place[i] = first + i < l->rows ? (int32_t)(first + i) : -1;
        return;
    }
    if (l->by_rows) {
        int64_t image = segment / l->out_height * l->group, row = segment % l->out_height;
        for (int64_t i = 0; i < 16; i++) {
            int64_t n = image + (first + i) % l->group, column = (first + i) / l->group;
            place[i] = (int32_t)((n * l->out_height + row) * l->out_width + column);
        }
        return;
    }
    int64_t row = first / l->pitch, column = first % l->pitch;
    for (int64_t i = 0; i < 16; i++) {
        bool inside = row < l->out_height && column < l->out_width;
        place[i] = inside ? (int32_t)((segment * l->out_height + row) * l->out_width + column) : -1;
        if (++column == l->pitch) {
            column = 0;
            row++;
        }
    }
}

#if defined(__x86_64__)
/* The position of x that a line of a phase holds, -1 for none. */
static int64_t place_in_x(const amx_lines *l, int phase, int64_t n, int64_t row, int64_t column)
{
    int64_t s = l->stride, shift = l->upsample - 1;
    row = row * s + phase / s - l->pad_top;
    column = column * s + phase % s - l->pad_left;
    if (n >= l->batch || row < 0 || row >= l->height || column < 0 || column >= l->width)
        return -1;
    return (n * (l->height >> shift) + (row >> shift)) * (l->width >> shift) + (column >> shift);
}

/* 32 channels of one position of x; zeros where it is -1, or has fewer. */
AVX512_BF16 static inline __m512i load_line(const amx_lines *l, const void *x, int64_t position, int64_t d)
{
    int64_t left = position < 0 ? 0 : l->channels - d * CHANNELS;
    left = left > 0 ? left : 0;
    int64_t first = left ? position * l->channels + d * CHANNELS : 0;
    if (l->type == DTYPE_BF16) {
        __mmask32 m = left >= 32 ? 0xFFFFFFFFu : (__mmask32)((1u << left) - 1u);
        return _mm512_maskz_loadu_epi16(m, (const uint16_t *)x + first);
    }
    const float *f = (const float *)x + first;
    __m512 low = _mm512_maskz_loadu_ps(first_lanes(left), f);
    return (__m512i)_mm512_cvtne2ps_pbh(_mm512_maskz_loadu_ps(first_lanes(left - 16), f + 16), low);
}

AVX512_BF16 void amx_lines_panel(const amx_lines *l, const void *x, int64_t tile, int64_t step, int64_t steps,
                                 char *to)
{
    int64_t first = tile * 16, count = l->rows - first;
    for (int64_t k = 0; k < steps; k++)
        for (int64_t i = 0; i < 32; i++)
            _mm512_store_si512(to + k * 2 * TILE + i * LINE,
                               load_line(l, x, i < count ? first + i : -1, step + k));
}

/* One position, all channels, `step` bytes from one line to the next. */
AVX512_BF16 static inline void copy_position(const amx_lines *l, const void *x, int64_t position, char *to,
                                             int64_t step)
{
    for (int64_t d = 0; d < l->depth; d++, to += step)
        _mm512_store_si512(to, load_line(l, x, position, d));
}

/* A row of a group of images. */
static void copy_row(const amx_lines *l, const void *x, int64_t item, char *to)
{
    int64_t rows = l->image / l->pitch, row = item % rows, group = item / rows % l->groups;
    int phase = (int)(item / rows / l->groups);
    int64_t all = l->lines * l->phases * LINE, size = (int64_t)dtype_size(l->type) * l->channels;
    char *line = to + (phase * l->lines + (group * rows + row) * l->pitch * l->group) * LINE;
    for (int64_t column = 0; column < l->pitch; column++)
        for (int64_t i = 0; i < l->group; i++, line += LINE) {
            int64_t position = place_in_x(l, l->phase[phase], group * l->group + i, row, column);
            if (position >= 0)
                fetch_ahead_of((const char *)x + position * size, size);
            copy_position(l, x, position, line, all);
        }
}

/* The lines after the last image. */
static void clear_end(const amx_lines *l, char *to)
{
    int64_t used = l->groups * l->image * l->group;
    for (int64_t i = 0; i < l->depth * l->phases; i++)
        memset(to + (i * l->lines + used) * LINE, 0, (size_t)(l->lines - used) * LINE);
}

void amx_lines_copy(const amx_lines *l, const void *x, char *to)
{
    if (l->direct)
        return;
    int64_t items = l->image / l->pitch * l->groups * l->phases;
#pragma omp for schedule(static) nowait
    for (int64_t i = 0; i < items; i++)
        copy_row(l, x, i, to);
#pragma omp single
    clear_end(l, to);
}
#else
void amx_lines_copy(const amx_lines *l, const void *x, char *to)
{
    (void)l, (void)x, (void)to;
}
void amx_lines_panel(const amx_lines *l, const void *x, int64_t tile, int64_t step, int64_t steps, char *to)
{
    (void)l, (void)x, (void)tile, (void)step, (void)steps, (void)to;
}
#endif
