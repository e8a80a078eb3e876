/* weights_gradient.c - see weights_gradient.h.
 *
 * dw[o][c][tap] = sum over positions of dy[position][o] * x[position moved by tap][c] is a matrix product along
 * positions. Positions are laid out in a row: rows of an image one after another, `pitch` apart, images `image` apart,
 * with so many zeros between them that a step beyond a border reads zero. Then moving by a tap is adding a constant, and
 * a tile of x is 16 consecutive pairs of positions from there: two copies of x, with pairs that start at even and at odd
 * positions, serve all taps. With stride s, x is first split into its s * s phases, each of which is such a row.
 *
 * The row is worked through in panels. For a panel dy is packed into A tiles (16 channels by 32 positions, transposed)
 * and x into rows of B tiles (pairs of positions by 16 channels); then 32 x 32 channels at a time are summed over the
 * whole panel in registers, tap after tap, and written or added to dw. */
#include "backend/cpu/weights_gradient.h"

#include "backend/cpu/amx.h"
#include "backend/cpu/products.h"
#include "backend/cpu/transpose16.h"

#include "base/error.h"

#include <stdlib.h>

enum { MOST_TAPS = 16, MOST_COPIES = 32, PANEL = 4096 };

struct weights_gradient {
    int64_t batch, height, width, in_channels; /* of x, enlarged */
    int64_t out_height, out_width, out_channels;
    int64_t kernel_height, kernel_width, stride, upsample, pad_top, pad_left;
    int64_t pitch, image, length;       /* of the row of positions */
    int64_t panel, blocks, reach;       /* positions of a panel, in blocks of 32; the farthest tap */
    int64_t out_tiles, in_tiles, pairs; /* tiles of 16 channels; pairs of positions in a copy of x */
    int taps, copies;
    int copy_phase[MOST_COPIES], copy_odd[MOST_COPIES];
    int tap_copy[MOST_TAPS];
    int64_t tap_pair[MOST_TAPS]; /* where the tap starts in its copy */
    size_t x_at, y_index_at, x_index_at, total;
};

#if defined(__x86_64__)
static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* How far apart rows (or images) lie so that steps beyond their ends read zeros. */
static int64_t pitch_of(int64_t size, int64_t out_size, int64_t taps, int64_t stride, int64_t before,
                        int64_t after)
{
    if (stride > 1)
        return out_size + (taps - 1) / stride;
    return larger(out_size, size + larger(before, after));
}

static int find_copy(weights_gradient *g, int phase, int odd)
{
    for (int i = 0; i < g->copies; i++)
        if (g->copy_phase[i] == phase && g->copy_odd[i] == odd)
            return i;
    if (g->copies == MOST_COPIES)
        return -1;
    g->copy_phase[g->copies] = phase;
    g->copy_odd[g->copies] = odd;
    return g->copies++;
}

static bool place_taps(weights_gradient *g)
{
    int64_t s = g->stride;
    for (int64_t i = 0; i < g->kernel_height; i++)
        for (int64_t j = 0; j < g->kernel_width; j++) {
            int64_t step = i / s * g->pitch + j / s;
            int odd = (int)(step & 1), copy = find_copy(g, (int)(i % s * s + j % s), odd);
            if (copy < 0)
                return false;
            g->tap_copy[g->taps] = copy;
            g->tap_pair[g->taps++] = (step - odd) / 2;
            g->reach = larger(g->reach, step);
        }
    return true;
}

static void size_panels(weights_gradient *g)
{
    int64_t panels = (g->length + PANEL - 1) / PANEL;
    g->panel = ((g->length + panels - 1) / panels + 31) / 32 * 32;
    g->blocks = g->panel / 32;
    g->pairs = (g->panel + g->reach) / 2 + 1;
    g->out_tiles = (g->out_channels + 15) / 16;
    g->in_tiles = (g->in_channels + 15) / 16;
    size_t x_bytes = (size_t)(g->copies * g->in_tiles * g->pairs) * 64;
    g->x_at = (size_t)(g->out_tiles * g->blocks) * AMX_HALVES * sizeof(uint16_t);
    g->y_index_at = g->x_at + x_bytes;
    g->x_index_at = g->y_index_at + scratch_rounded((size_t)g->panel * sizeof(int32_t));
    g->total = g->x_index_at + (size_t)g->copies * scratch_rounded((size_t)(2 * g->pairs) * sizeof(int32_t));
}

kiln_status weights_gradient_new(const product_request *r, int upsample, const cpu_features *features,
                                 weights_gradient **out, kiln_error *err)
{
    *out = NULL;
    bool conv = r->convolution;
    int64_t rows = conv ? r->batch * r->height * r->width : r->rows;
    if (!features->amx_bf16 || r->weight_type != DTYPE_BF16 || r->input_type != DTYPE_BF16 ||
        rows >= INT32_MAX / 4 || (conv && r->kernel_height * r->kernel_width > MOST_TAPS))
        return KILN_OK;
    weights_gradient *g = calloc(1, sizeof *g);
    if (!g)
        return fail(err, KILN_NO_MEMORY, "not enough memory for a kernel");
    *g = (weights_gradient){.batch = conv ? r->batch : 1,
                            .height = conv ? r->height : 1,
                            .width = conv ? r->width : rows,
                            .in_channels = r->in_channels,
                            .out_height = conv ? r->out_height : 1,
                            .out_width = conv ? r->out_width : rows,
                            .out_channels = r->out_channels,
                            .kernel_height = conv ? r->kernel_height : 1,
                            .kernel_width = conv ? r->kernel_width : 1,
                            .stride = conv ? r->stride : 1,
                            .upsample = upsample,
                            .pad_top = conv ? r->pad_top : 0,
                            .pad_left = conv ? r->pad_left : 0};
    g->pitch =
        pitch_of(g->width, g->out_width, g->kernel_width, g->stride, g->pad_left, conv ? r->pad_right : 0);
    g->image = g->pitch * pitch_of(g->height, g->out_height, g->kernel_height, g->stride, g->pad_top,
                                   conv ? r->pad_bottom : 0);
    g->length = (g->batch - 1) * g->image + (g->out_height - 1) * g->pitch + g->out_width;
    if (g->length >= INT32_MAX || !place_taps(g)) {
        free(g);
        return KILN_OK;
    }
    size_panels(g);
    *out = g;
    return KILN_OK;
}

/* The place in dy of position k of the row, or -1. */
static int32_t place_in_y(const weights_gradient *g, int64_t k)
{
    int64_t n = k / g->image, row = k % g->image / g->pitch, column = k % g->image % g->pitch;
    if (n >= g->batch || row >= g->out_height || column >= g->out_width)
        return -1;
    return (int32_t)((n * g->out_height + row) * g->out_width + column);
}

/* The place in x of position k of a phase, or -1. */
static int32_t place_in_x(const weights_gradient *g, int phase, int64_t k)
{
    int64_t n = k / g->image, s = g->stride, up = g->upsample;
    int64_t row = k % g->image / g->pitch * s + phase / s - g->pad_top;
    int64_t column = k % g->image % g->pitch * s + phase % s - g->pad_left;
    if (n >= g->batch || row < 0 || row >= g->height || column < 0 || column >= g->width)
        return -1;
    return (int32_t)((n * (g->height / up) + row / up) * (g->width / up) + column / up);
}

/* Two positions of 16 channels as pairs; absent ones are zeros. */
AVX512 static inline __m512i pair_rows(const uint16_t *from, const int32_t *at_pair, int64_t channels,
                                       __mmask16 m)
{
    __m256i even = _mm256_setzero_si256(), odd = even;
    if (at_pair[0] >= 0)
        even = _mm256_maskz_loadu_epi16(m, from + at_pair[0] * channels);
    if (at_pair[1] >= 0)
        odd = _mm256_maskz_loadu_epi16(m, from + at_pair[1] * channels);
    return _mm512_or_si512(_mm512_cvtepu16_epi32(even), _mm512_slli_epi32(_mm512_cvtepu16_epi32(odd), 16));
}

AVX512 static void pack_y(const weights_gradient *g, const uint16_t *dy, const int32_t *index, int64_t block,
                          uint16_t *to)
{
    for (int64_t t = 0; t < g->out_tiles; t++) {
        uint16_t *tile = to + (t * g->blocks + block) * AMX_HALVES;
        __mmask16 m = first_lanes(g->out_channels - t * 16);
        __m512i r[16];
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++)
            r[i] = pair_rows(dy + t * 16, index + block * 32 + 2 * i, g->out_channels, m);
        transpose16(r);
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++)
            _mm512_storeu_si512(tile + i * 32, r[i]);
    }
}

AVX512 static void pack_x(const weights_gradient *g, const uint16_t *x, const int32_t *index, int64_t first,
                          int64_t count, uint16_t *to)
{
    for (int64_t i = first; i < first + count; i++)
        for (int64_t t = 0; t < g->in_tiles; t++)
            _mm512_storeu_si512(
                to + (t * g->pairs + i) * 32,
                pair_rows(x + t * 16, index + 2 * i, g->in_channels, first_lanes(g->in_channels - t * 16)));
}

/* c[i][j] = sum over blocks of a[i] b[j]; i < rows, j < columns. */
AMX static inline __attribute__((always_inline)) void sum_tiles(int rows, int columns, const uint16_t *a,
                                                                int64_t a_step, const uint16_t *b,
                                                                int64_t b_step, float *c, int64_t blocks)
{
    amx_fence();
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t k = 0; k < blocks; k++, a += AMX_HALVES, b += AMX_HALVES) {
        _tile_loadd(4, a, 64);
        _tile_loadd(6, b, 64);
        _tile_dpbf16ps(0, 4, 6);
        if (columns > 1) {
            _tile_loadd(7, b + b_step, 64);
            _tile_dpbf16ps(1, 4, 7);
        }
        if (rows > 1) {
            _tile_loadd(5, a + a_step, 64);
            _tile_dpbf16ps(2, 5, 6);
            if (columns > 1)
                _tile_dpbf16ps(3, 5, 7);
        }
    }
    _tile_stored(0, c, 64);
    _tile_stored(1, c + AMX_FLOATS, 64);
    _tile_stored(2, c + 2 * AMX_FLOATS, 64);
    _tile_stored(3, c + 3 * AMX_FLOATS, 64);
    amx_fence();
}

/* Write (or add) the tiles of all taps to dw [O,C,taps]. */
static void store_tiles(const weights_gradient *g, const float *c, int64_t out_tile, int64_t in_tile,
                        bool add, float *dw)
{
    for (int64_t q = 0; q < 4; q++) {
        int64_t o = (out_tile + q / 2) * 16, i = (in_tile + q % 2) * 16;
        int64_t rows = g->out_channels - o < 16 ? g->out_channels - o : 16;
        int64_t columns = g->in_channels - i < 16 ? g->in_channels - i : 16;
        for (int64_t r = 0; r < rows; r++)
            for (int64_t k = 0; k < columns; k++) {
                float *to = dw + ((o + r) * g->in_channels + i + k) * g->taps;
                const float *from = c + q * AMX_FLOATS + r * 16 + k;
                for (int tap = 0; tap < g->taps; tap++)
                    to[tap] = add ? to[tap] + from[tap * 4 * AMX_FLOATS] : from[tap * 4 * AMX_FLOATS];
            }
    }
}

/* Two by two tiles of channels, all taps. */
AMX static void sum_pair(const weights_gradient *g, const uint16_t *y, const uint16_t *x, int64_t out_tile,
                         int64_t in_tile, bool add, float *dw)
{
    _Alignas(64) float c[MOST_TAPS * 4 * AMX_FLOATS];
    int64_t a_step = g->blocks * AMX_HALVES, b_step = g->pairs * 32;
    bool tall = out_tile + 1 < g->out_tiles, wide = in_tile + 1 < g->in_tiles;
    const uint16_t *a = y + out_tile * a_step;
    for (int tap = 0; tap < g->taps; tap++) {
        const uint16_t *b = x + (g->tap_copy[tap] * g->in_tiles + in_tile) * b_step + g->tap_pair[tap] * 32;
        float *to = c + tap * 4 * AMX_FLOATS;
        if (tall && wide)
            sum_tiles(2, 2, a, a_step, b, b_step, to, g->blocks);
        else if (tall)
            sum_tiles(2, 1, a, a_step, b, b_step, to, g->blocks);
        else if (wide)
            sum_tiles(1, 2, a, a_step, b, b_step, to, g->blocks);
        else
            sum_tiles(1, 1, a, a_step, b, b_step, to, g->blocks);
    }
    store_tiles(g, c, out_tile, in_tile, add, dw);
}

AMX static void configure(void)
{
    _tile_loadconfig(&amx_whole_tiles);
}
AMX static void release(void)
{
    _tile_release();
}

void weights_gradient_run(const weights_gradient *g, const void *x, const void *dy, float *dw, void *scratch,
                          int threads)
{
    enum { STRIP = 64 };
    uint16_t *y_tiles = scratch, *x_tiles = (uint16_t *)(void *)((char *)scratch + g->x_at);
    int32_t *y_index = (int32_t *)(void *)((char *)scratch + g->y_index_at),
            *x_index = (int32_t *)(void *)((char *)scratch + g->x_index_at);
    int64_t x_step = (int64_t)(scratch_rounded((size_t)(2 * g->pairs) * sizeof(int32_t)) / sizeof(int32_t));
    int64_t strips = (g->pairs + STRIP - 1) / STRIP, out_pairs = (g->out_tiles + 1) / 2,
            in_pairs = (g->in_tiles + 1) / 2;
#pragma omp parallel num_threads(threads)
    {
        configure();
        for (int64_t start = 0; start < g->length; start += g->panel) {
#pragma omp for schedule(static) nowait
            for (int64_t i = 0; i < g->blocks; i++) {
                for (int64_t k = i * 32; k < i * 32 + 32; k++)
                    y_index[k] = place_in_y(g, start + k);
                pack_y(g, dy, y_index, i, y_tiles);
            }
#pragma omp for schedule(static)
            for (int64_t i = 0; i < g->copies * strips; i++) {
                int64_t copy = i / strips, first = i % strips * STRIP;
                int64_t count = g->pairs - first < STRIP ? g->pairs - first : STRIP;
                int32_t *index = x_index + copy * x_step;
                for (int64_t k = 2 * first; k < 2 * (first + count); k++)
                    index[k] = place_in_x(g, g->copy_phase[copy], start + k + g->copy_odd[copy]);
                pack_x(g, x, index, first, count, x_tiles + copy * g->in_tiles * g->pairs * 32);
            }
#pragma omp for schedule(static)
            for (int64_t i = 0; i < out_pairs * in_pairs; i++)
                sum_pair(g, y_tiles, x_tiles, i % out_pairs * 2, i / out_pairs * 2, start > 0, dw);
        }
        release();
    }
}
#else
kiln_status weights_gradient_new(const product_request *r, int upsample, const cpu_features *features,
                                 weights_gradient **out, kiln_error *err)
{
    (void)r, (void)upsample, (void)features, (void)err;
    *out = NULL;
    return KILN_OK;
}
void weights_gradient_run(const weights_gradient *g, const void *x, const void *dy, float *dw, void *scratch,
                          int threads)
{
    (void)g, (void)x, (void)dy, (void)dw, (void)scratch, (void)threads;
}
#endif

void weights_gradient_free(weights_gradient *g)
{
    free(g);
}

size_t weights_gradient_scratch(const weights_gradient *g)
{
    return g->total;
}
