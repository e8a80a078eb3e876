/* conv2d_rows.c - see conv2d_rows.h.
 *
 * Networks that enlarge pictures convolve 32 to 256 channels over maps that no cache holds, and what they convolve is often
 * joined from several maps. A thread takes a band of rows. It keeps the rows of x that it is summing in its second-level
 * cache, with a zero on both sides and 32 channels (a line of 64 bytes) of neighbouring positions next to each other, so that
 * a tap is a constant distance and 16 lines are an A tile. Each row of x is read once, from wherever its parts lie: joining
 * costs nothing. A few lines of the row after next are copied in every step of a sum, so that memory and tiles work at once. A
 * sum has one order, whatever the number of threads. */
#include "backend/cpu/conv2d_rows.h"

#include "backend/cpu/amx.h"
#include "backend/cpu/conv2d.h"
#include "backend/cpu/products.h"

#include "base/error.h"

#ifdef _OPENMP
#include <omp.h>
#endif
#include <stdlib.h>

enum {
    LINE = 64,
    CHANNELS = 32, /* of a line, and columns of a pair of B tiles */
    SPAN = 32,     /* positions that are summed at once */
    TAPS = 9,
    ROWS = 4,  /* three that are summed, and the one that comes */
    PIECE = 4, /* lines that are copied in a step */
    MOST_PARTS_JOINED = 5,
    MOST_DEPTH = 8, /* lines of a position */
    MOST_PAIRS = 4
};

typedef struct conv2d_rows {
    int parts, input[MOST_PARTS_JOINED];
    int64_t lines[MOST_PARTS_JOINED]; /* of a position, by part */
    int64_t depth, pairs;             /* lines of a position in all; output channels by 32 */
    int64_t batch, height, width, pitch;
    bool bias, residual, leaky;
    float slope, gain;
    const void *weights;
    packed *packed;
    packed_store *store;
} conv2d_rows;

#if defined(__x86_64__)

/* [pair][depth][tap][2] tiles of 16 pairs of inputs by 16 outputs, from [outputs][inputs][taps]. */
static kiln_status pack_weights(const void *arguments, const float *from, int64_t count, void *to,
                                kiln_error *err)
{
    (void)count, (void)err;
    const conv2d_rows *c = arguments;
    uint16_t *tile = to;
    int64_t inputs = c->depth * CHANNELS;
    for (int64_t pair = 0; pair < c->pairs; pair++)
        for (int64_t d = 0; d < c->depth; d++)
            for (int64_t tap = 0; tap < TAPS; tap++)
                for (int64_t half = 0; half < 2; half++, tile += AMX_HALVES)
                    for (int64_t i = 0; i < CHANNELS; i++)
                        for (int64_t o = 0; o < 16; o++) {
                            int64_t out = pair * 32 + half * 16 + o;
                            tile[i / 2 * 32 + o * 2 + i % 2] =
                                f32_to_bf16(from[(out * inputs + d * CHANNELS + i) * TAPS + tap]);
                        }
    return KILN_OK;
}

/* One call, by one thread. */
typedef struct rows_run {
    const conv2d_rows *conv;
    const kernel_arguments *arguments;
    char *ring; /* [ROWS][depth][pitch] lines */
    /* The row that is copied meanwhile: where its lines lie, how far from one position to the next. copied 0: none. */
    const char *next[MOST_DEPTH];
    int64_t step[MOST_DEPTH], copied;
    char *next_place;
} rows_run;

static inline char *ring_row(const rows_run *r, int64_t row)
{
    const conv2d_rows *c = r->conv;
    return r->ring + (row + ROWS) % ROWS * c->depth * c->pitch * LINE;
}

/* Row `row` of image n, -1 and height included, into its place. */
AVX512 static void fill_row(const rows_run *r, int64_t n, int64_t row)
{
    const conv2d_rows *c = r->conv;
    char *to = ring_row(r, row);
    bool inside = row >= 0 && row < c->height;
    for (int p = 0; p < c->parts; p++) {
        const char *from = (const char *)r->arguments->input[c->input[p]] +
                           (inside ? (n * c->height + row) * c->width * c->lines[p] * LINE : 0);
        for (int64_t l = 0; l < c->lines[p]; l++, to += c->pitch * LINE) {
            for (int64_t x = 0; x < c->width; x++) {
                __m512i line =
                    inside ? _mm512_loadu_si512(from + (x * c->lines[p] + l) * LINE) : _mm512_setzero_si512();
                _mm512_store_si512(to + (x + 1) * LINE, line);
            }
        }
    }
}

/* Say that row `row` is to be copied while the one two above it is summed. */
static void begin_copy(rows_run *r, int64_t n, int64_t row)
{
    const conv2d_rows *c = r->conv;
    r->copied = row < c->height ? c->width : 0;
    r->next_place = ring_row(r, row) + LINE;
    for (int64_t p = 0, d = 0; r->copied && p < c->parts; p++)
        for (int64_t l = 0; l < c->lines[p]; l++, d++) {
            r->step[d] = c->lines[p] * LINE;
            r->next[d] = (const char *)r->arguments->input[c->input[p]] +
                         (n * c->height + row) * c->width * r->step[d] + l * LINE;
        }
}

/* A part of it: of line d, a few positions under the span at x. */
AVX512 static inline void copy_piece(const rows_run *r, int64_t x, int64_t d, int tap)
{
    int64_t first = x + tap * PIECE, count = r->copied - first < PIECE ? r->copied - first : PIECE;
    if (tap * PIECE >= SPAN)
        return;
    const char *from = r->next[d] + first * r->step[d];
    char *to = r->next_place + (d * r->conv->pitch + first) * LINE;
    for (int64_t i = 0; i < count; i++)
        _mm512_store_si512(to + i * LINE, _mm512_loadu_si512(from + i * r->step[d]));
}

/* Sums of 32 positions from x on and 32 output channels: [2 positions][2 channels] tiles. */
AMX static void sum_span(const rows_run *r, int64_t row, int64_t x, int64_t pair, float *sums)
{
    const conv2d_rows *c = r->conv;
    const uint16_t *b = (const uint16_t *)c->weights + pair * c->depth * TAPS * 2 * AMX_HALVES;
    const char *rows[3];
    for (int i = 0; i < 3; i++)
        rows[i] = ring_row(r, row + i - 1) + x * LINE;
    amx_fence();
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t d = 0; d < c->depth; d++)
        for (int tap = 0; tap < TAPS; tap++, b += 2 * AMX_HALVES) {
            const char *a = rows[tap / 3] + (d * c->pitch + tap % 3) * LINE;
            _tile_loadd(6, b, 64);
            _tile_loadd(4, a, 64);
            _tile_dpbf16ps(0, 4, 6);
            _tile_loadd(7, b + AMX_HALVES, 64);
            _tile_dpbf16ps(1, 4, 7);
            _tile_loadd(5, a + 16 * LINE, 64);
            _tile_dpbf16ps(2, 5, 6);
            _tile_dpbf16ps(3, 5, 7);
            if (pair == 0)
                copy_piece(r, x, d, tap);
        }
    _tile_stored(0, sums, 64);
    _tile_stored(1, sums + AMX_FLOATS, 64);
    _tile_stored(2, sums + 2 * AMX_FLOATS, 64);
    _tile_stored(3, sums + 3 * AMX_FLOATS, 64);
    amx_fence();
}

AVX512_BF16 static void store_span(const rows_run *r, int64_t first, int64_t count, int64_t pair,
                                   const float *sums)
{
    const conv2d_rows *c = r->conv;
    const float *bias = c->bias ? (const float *)r->arguments->input[2] + pair * 32 : NULL;
    __m512 zero = _mm512_setzero_ps(), slope = _mm512_set1_ps(c->slope), gain = _mm512_set1_ps(c->gain);
    __m512 shift[2] = {bias ? _mm512_loadu_ps(bias) : zero, bias ? _mm512_loadu_ps(bias + 16) : zero};
    for (int64_t i = 0; i < count; i++) {
        int64_t place = ((first + i) * c->pairs + pair) * 32;
        const float *from = sums + i / 16 * 2 * AMX_FLOATS + i % 16 * 16;
        __m512 y[2];
        for (int k = 0; k < 2; k++) {
            y[k] = _mm512_add_ps(_mm512_load_ps(from + k * AMX_FLOATS), shift[k]);
            if (c->leaky)
                y[k] = _mm512_mask_mul_ps(y[k], _mm512_cmp_ps_mask(y[k], zero, _CMP_LT_OQ), y[k], slope);
            y[k] = _mm512_mul_ps(y[k], gain);
            if (c->residual)
                y[k] = _mm512_add_ps(
                    y[k], widen(_mm256_loadu_si256(
                              (const void *)((const uint16_t *)r->arguments->input[3] + place + k * 16))));
        }
        _mm512_storeu_si512((uint16_t *)r->arguments->output + place,
                            (__m512i)_mm512_cvtne2ps_pbh(y[1], y[0]));
    }
}

/* A row of the result. The sums of a span are stored while the next is summed. */
static void run_row(const rows_run *r, int64_t n, int64_t row, float sums[2][4 * AMX_FLOATS])
{
    const conv2d_rows *c = r->conv;
    int64_t start = (n * c->height + row) * c->width, spans = (c->width + SPAN - 1) / SPAN;
    for (int64_t i = 0; i <= spans * c->pairs; i++) {
        if (i < spans * c->pairs)
            sum_span(r, row, i / c->pairs * SPAN, i % c->pairs, sums[i % 2]);
        if (i > 0) {
            int64_t before = i - 1, x = before / c->pairs * SPAN;
            store_span(r, start + x, c->width - x < SPAN ? c->width - x : SPAN, before % c->pairs,
                       sums[before % 2]);
        }
    }
}

/* Rows `first` to `end` of all images, counted through. */
static void run_band(rows_run *r, int64_t first, int64_t end)
{
    _Alignas(64) float sums[2][4 * AMX_FLOATS];
    const conv2d_rows *c = r->conv;
    for (int64_t i = first; i < end; i++) {
        int64_t n = i / c->height, row = i % c->height;
        for (int64_t k = row - 1; k <= row + 1 && (i == first || row == 0); k++)
            fill_row(r, n, k);
        if (row + 1 == c->height)
            fill_row(r, n, row + 1);
        begin_copy(r, n, i + 1 < end ? row + 2 : c->height);
        run_row(r, n, row, sums);
    }
}

static size_t ring_bytes(const conv2d_rows *c)
{
    return (size_t)(ROWS * c->depth * c->pitch) * LINE;
}

/* What lies beyond the edges is never written again. */
AVX512 static void clear_ring(const rows_run *r)
{
    const conv2d_rows *c = r->conv;
    for (int64_t i = 0; i < ROWS * c->depth; i++) {
        char *row = r->ring + i * c->pitch * LINE;
        _mm512_store_si512(row, _mm512_setzero_si512());
        for (int64_t x = c->width + 1; x < c->pitch; x++)
            _mm512_store_si512(row + x * LINE, _mm512_setzero_si512());
    }
}

AMX static void configure(void)
{
    _tile_loadconfig(&amx_whole_tiles);
}
AMX static void let_go(void)
{
    _tile_release();
}

static kiln_status rows_kernel_run(const struct kernel *k, const kernel_arguments *a, kiln_error *err)
{
    (void)err;
    const conv2d_rows *c = k->state;
    int64_t rows = c->batch * c->height;
#pragma omp parallel num_threads(a->threads)
    {
#ifdef _OPENMP
        int worker = omp_get_thread_num(), workers = omp_get_num_threads();
#else
        int worker = 0, workers = 1;
#endif
        rows_run r = {.conv = c, .arguments = a, .ring = (char *)a->scratch + (size_t)worker * ring_bytes(c)};
        configure();
        clear_ring(&r);
        run_band(&r, rows * worker / workers, rows * (worker + 1) / workers);
        let_go();
    }
    return KILN_OK;
}

static void rows_release(struct kernel *k)
{
    conv2d_rows *c = k->state;
    if (c && c->packed)
        packed_release(c->store, c->packed);
    free(c);
}

/* Parts of x: input 0, and those after the residual. */
static bool read_parts(const kernel_request *r, conv2d_rows *c)
{
    for (int i = 0; i < r->node->input_count; i++) {
        if (i > 0 && i < 4)
            continue;
        int64_t channels = r->input_shape[i].dim[3];
        if (r->input_type[i] != DTYPE_BF16 || channels % CHANNELS || c->parts == MOST_PARTS_JOINED)
            return false;
        c->input[c->parts] = i;
        c->lines[c->parts] = channels / CHANNELS;
        c->depth += c->lines[c->parts++];
    }
    return c->depth <= MOST_DEPTH;
}

static bool is_possible(const kernel_request *r, const product_request *p)
{
    const conv2d_attributes *a = &r->node->attributes.conv2d;
    bool padded = p->pad_top == 1 && p->pad_bottom == 1 && p->pad_left == 1 && p->pad_right == 1;
    return cpu_features_detect().amx_bf16 && p->kernel_height == 3 && p->kernel_width == 3 &&
           p->stride == 1 && padded && a->upsample == 1 && r->compute == DTYPE_BF16 &&
           r->output_type == DTYPE_BF16 && r->parameter[1] >= 0 && p->out_channels % 32 == 0 &&
           p->out_channels <= MOST_PAIRS * 32 &&
           (p->activation == ACTIVATION_NONE || p->activation == ACTIVATION_LEAKY_RELU) &&
           p->height * p->width >= 4096;
}

kiln_status prepare_conv2d_rows(const kernel_request *r, const product_request *p, kernel *out,
                                kiln_error *err)
{
    conv2d_rows all = {.pairs = p->out_channels / 32,
                       .batch = p->batch,
                       .height = p->height,
                       .width = p->width,
                       .pitch = (p->width + SPAN - 1) / SPAN * SPAN + 2,
                       .bias = p->bias,
                       .residual = p->residual,
                       .leaky = p->activation == ACTIVATION_LEAKY_RELU,
                       .slope = p->slope,
                       .gain = p->gain != 0 ? p->gain : 1,
                       .store = r->packed};
    if (!is_possible(r, p) || !read_parts(r, &all))
        return KILN_OK;
    conv2d_rows *c = malloc(sizeof *c);
    if (!c)
        return fail(err, KILN_NO_MEMORY, "not enough memory for a kernel");
    *c = all;
    static const char key[] = "rows of 3x3";
    size_t bytes = (size_t)(c->pairs * c->depth * TAPS * 2 * AMX_HALVES) * sizeof(uint16_t);
    kiln_status status = packed_take(r->packed, r->graph, r->parameter[1], key, sizeof key, bytes,
                                     pack_weights, c, &c->packed, &c->weights, err);
    if (status != KILN_OK) {
        free(c);
        return status;
    }
    *out = (kernel){.label = "amx conv2d by rows",
                    .run = rows_kernel_run,
                    .release = rows_release,
                    .state = c,
                    .scratch_bytes = ring_bytes(c) * (size_t)r->threads,
                    .in_place = c->residual ? 3 : -1,
                    .packed = 1u << 1};
    return KILN_OK;
}
#else
kiln_status prepare_conv2d_rows(const kernel_request *r, const product_request *p, kernel *out,
                                kiln_error *err)
{
    (void)r, (void)p, (void)out, (void)err;
    return KILN_OK;
}
#endif
