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
 * whole panel in registers, tap after tap, and written or added to dw. One of the two packed operands stays in the
 * second-level cache meanwhile, the other is asked for in time. A small dw is kept as tiles until the last panel, and its
 * taps are shared out too. */
#include "backend/cpu/weights_gradient.h"

#include "backend/cpu/amx.h"
#include "backend/cpu/products.h"
#include "backend/cpu/transpose16.h"

#include "base/error.h"

#include <stdlib.h>

enum {
    MOST_TAPS = 16,
    MOST_COPIES = 32,
    LONGEST_PANEL = 4096,
    SHORTEST_PANEL = 256,
    PANEL_BYTES = 3 << 18,    /* of both packed operands */
    RESIDENT_BYTES = 1 << 20, /* of the packed operand that stays in the second-level cache */
    KEPT_BYTES = 5 << 17,     /* of the sums that are kept as tiles */
    STREAMED = 1 << 20,
    STRIP = 64 /* pairs of positions that are packed at a time */
};

struct weights_gradient {
    int64_t batch, height, width, in_channels; /* of x, enlarged */
    int64_t out_height, out_width, out_channels;
    int64_t kernel_height, kernel_width, stride, upsample, pad_top, pad_left;
    int64_t pitch, image, length;       /* of the row of positions */
    int64_t panel, blocks, reach;       /* positions of a panel, in blocks of 32; the farthest tap */
    int64_t out_tiles, in_tiles, pairs; /* tiles of 16 channels; pairs of positions in a copy of x */
    int taps, copies;
    int copy_phase[MOST_COPIES], copy_odd[MOST_COPIES]; /* phases are numbered in order of use */
    int phases, phase[MOST_COPIES];
    int tap_copy[MOST_TAPS];
    int64_t tap_pair[MOST_TAPS]; /* where the tap starts in its copy */
    bool x_stays;                /* the packed x is the one that stays in the cache */
    bool keeps;                  /* sums stay tiles until the last panel */
    size_t x_at, sums_at, total;
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
        if (g->phase[g->copy_phase[i]] == phase && g->copy_odd[i] == odd)
            return i;
    if (g->copies == MOST_COPIES)
        return -1;
    int p = 0;
    while (p < g->phases && g->phase[p] != phase)
        p++;
    if (p == g->phases)
        g->phase[g->phases++] = phase;
    g->copy_phase[g->copies] = p;
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

/* Where sums are kept, both operands fit the cache. Else adding to dw once more costs as much as it is large: one operand
 * stays in the cache, or, where many taps read a tile many times, neither must. */
static int64_t longest_panel(const weights_gradient *g)
{
    int64_t y_bytes = 32 * g->out_tiles, x_bytes = 32 * g->in_tiles * g->copies; /* by position */
    int64_t least = x_bytes < y_bytes ? x_bytes : y_bytes, panel = LONGEST_PANEL;
    if (g->keeps)
        panel = PANEL_BYTES / (x_bytes + y_bytes);
    else if (g->taps == 1)
        panel = RESIDENT_BYTES / least;
    return panel < SHORTEST_PANEL ? SHORTEST_PANEL : panel > LONGEST_PANEL ? LONGEST_PANEL : panel;
}

static void size_panels(weights_gradient *g)
{
    g->out_tiles = (g->out_channels + 15) / 16;
    g->in_tiles = (g->in_channels + 15) / 16;
    g->x_stays = g->in_tiles * g->copies <= g->out_tiles;
    int64_t squares = ((g->out_tiles + 1) / 2) * ((g->in_tiles + 1) / 2);
    size_t sums = (size_t)(squares * g->taps * 4 * AMX_FLOATS) * sizeof(float);
    g->keeps = sums <= KEPT_BYTES;
    int64_t longest = longest_panel(g), panels = (g->length + longest - 1) / longest;
    g->panel = ((g->length + panels - 1) / panels + 31) / 32 * 32;
    g->blocks = g->panel / 32;
    g->pairs = (g->panel + g->reach) / 2 + 1;
    size_t x_bytes = (size_t)(g->copies * g->in_tiles * g->pairs) * 64;
    g->x_at = (size_t)(g->out_tiles * g->blocks) * AMX_HALVES * sizeof(uint16_t);
    g->sums_at = g->x_at + x_bytes;
    g->total = g->sums_at + (g->keeps ? sums : 0);
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

/* Where a position lies; stepping is cheaper than dividing. */
typedef struct cursor {
    int64_t sample, row, column;
} cursor;

static cursor cursor_at(const weights_gradient *g, int64_t k)
{
    return (cursor){k / g->image, k % g->image / g->pitch, k % g->image % g->pitch};
}

static void cursor_next(const weights_gradient *g, cursor *c)
{
    if (++c->column < g->pitch)
        return;
    c->column = 0;
    if (++c->row * g->pitch < g->image)
        return;
    c->row = 0;
    c->sample++;
}

/* The places in dy of `count` positions from k on, -1 for none. */
static void find_in_y(const weights_gradient *g, int64_t k, int64_t count, int32_t *to)
{
    cursor c = cursor_at(g, k);
    for (int64_t i = 0; i < count; i++, cursor_next(g, &c)) {
        bool inside = c.sample < g->batch && c.row < g->out_height && c.column < g->out_width;
        to[i] = inside ? (int32_t)((c.sample * g->out_height + c.row) * g->out_width + c.column) : -1;
    }
}

/* The same in x, for a phase. */
static void find_in_x(const weights_gradient *g, int phase, int64_t k, int64_t count, int32_t *to)
{
    cursor c = cursor_at(g, k);
    int64_t s = g->stride, shift = g->upsample - 1, height = g->height >> shift, width = g->width >> shift;
    int64_t top = phase / s - g->pad_top, left = phase % s - g->pad_left;
    for (int64_t i = 0; i < count; i++, cursor_next(g, &c)) {
        int64_t row = c.row * s + top, column = c.column * s + left;
        bool inside = c.sample < g->batch && row >= 0 && row < g->height && column >= 0 && column < g->width;
        to[i] = inside ? (int32_t)((c.sample * height + (row >> shift)) * width + (column >> shift)) : -1;
    }
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

/* Rows that lie a little behind those of `index`: positions follow each other in memory but for the zeros between. */
static inline void fetch_rows(const uint16_t *from, const int32_t *index, int64_t rows, int64_t channels)
{
    if (*index >= 0)
        fetch_ahead_of(from + *index * channels, rows * channels * (int64_t)sizeof *from);
}

AVX512 static void pack_y(const weights_gradient *g, const uint16_t *dy, int64_t start, int64_t block,
                          uint16_t *to)
{
    int32_t index[32];
    find_in_y(g, start + block * 32, 32, index);
    for (int64_t t = 0; t < g->out_tiles; t++) {
        uint16_t *tile = to + (t * g->blocks + block) * AMX_HALVES;
        __mmask16 m = first_lanes(g->out_channels - t * 16);
        __m512i r[16];
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) {
            /* An even tile asks for the line of one row, an odd one for that of the other. */
            if (index[2 * i + t % 2] >= 0)
                fetch_ahead(dy + index[2 * i + t % 2] * g->out_channels + t / 2 * 32);
            r[i] = pair_rows(dy + t * 16, index + 2 * i, g->out_channels, m);
        }
        transpose16(r);
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++)
            _mm512_storeu_si512(tile + i * 32, r[i]);
    }
}

AVX512 static void pack_x(const weights_gradient *g, const uint16_t *x, const int32_t *index, int64_t count,
                          uint16_t *to)
{
    for (int64_t i = 0; i < count; i++) {
        fetch_rows(x, index + 2 * i, 2, g->in_channels);
        for (int64_t t = 0; t < g->in_tiles; t++)
            _mm512_storeu_si512(
                to + (t * g->pairs + i) * 32,
                pair_rows(x + t * 16, index + 2 * i, g->in_channels, first_lanes(g->in_channels - t * 16)));
    }
}

/* All copies of STRIP pairs from the pair `first` of the panel on. */
static void pack_strip(const weights_gradient *g, const uint16_t *x, int64_t start, int64_t first,
                       uint16_t *x_tiles)
{
    int64_t count = g->pairs - first < STRIP ? g->pairs - first : STRIP;
    for (int p = 0; p < g->phases; p++) {
        int32_t index[2 * STRIP + 1];
        find_in_x(g, g->phase[p], start + 2 * first, 2 * count + 1, index);
        for (int64_t copy = 0; copy < g->copies; copy++)
            if (g->copy_phase[copy] == p)
                pack_x(g, x, index + g->copy_odd[copy], count,
                       x_tiles + (copy * g->in_tiles * g->pairs + first) * 32);
    }
}

/* Memory to ask for while summing: so many lines with each block, up to `end`. */
typedef struct ahead {
    const char *next, *end;
    int64_t lines;
} ahead;

static inline void fetch_some(ahead *f)
{
    for (int64_t i = 0; i < f->lines && f->next < f->end; i++, f->next += FETCH_LINE)
        _mm_prefetch(f->next, _MM_HINT_T1);
}

/* c[i][j] = sum over blocks of a[i] b[j], plus c if `more`; i < rows, j < columns. */
AMX static inline __attribute__((always_inline)) void sum_tiles(int rows, int columns, const uint16_t *a,
                                                                int64_t a_step, const uint16_t *b,
                                                                int64_t b_step, float *c, bool more,
                                                                int64_t blocks, ahead *f)
{
    amx_fence();
    amx_square_begin(c, more);
    for (int64_t k = 0; k < blocks; k++, a += AMX_HALVES, b += AMX_HALVES) {
        _tile_loadd(4, a, 64);
        _tile_loadd(6, b, 64);
        fetch_some(f);
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
    amx_square_end(c);
    amx_fence();
}

/* 16 channels of a row, all taps of each: taps come as vectors of channels and leave as the other way round. */
AVX512 static inline void store_row(const float *from, int64_t columns, int taps, bool add, float *to)
{
    __mmask16 m = first_lanes(taps);
    __m512i r[16];
    if (taps == 1) {
        __m512 x = _mm512_loadu_ps(from);
        m = first_lanes(columns);
        _mm512_mask_storeu_ps(to, m, add ? _mm512_add_ps(x, _mm512_maskz_loadu_ps(m, to)) : x);
        return;
    }
#pragma GCC unroll 16
    for (int tap = 0; tap < 16; tap++)
        r[tap] = tap < taps ? _mm512_loadu_si512(from + tap * 4 * AMX_FLOATS) : _mm512_setzero_si512();
    transpose16(r);
#pragma GCC unroll 16
    for (int k = 0; k < 16; k++)
        if (k < columns) {
            __m512 x = _mm512_castsi512_ps(r[k]);
            _mm512_mask_storeu_ps(to + k * taps, m,
                                  add ? _mm512_add_ps(x, _mm512_maskz_loadu_ps(m, to + k * taps)) : x);
        }
}

/* The same, past the caches, for large gradients that are whole lines of memory. */
AVX512 static inline void stream_row(const float *from, int taps, float *to)
{
    _Alignas(64) float row[16 * MOST_TAPS + 16];
    if (taps == 1) {
        _mm512_stream_ps(to, _mm512_loadu_ps(from));
        return;
    }
    store_row(from, 16, taps, false, row);
    for (int i = 0; i < taps; i++)
        _mm512_stream_ps(to + i * 16, _mm512_load_ps(row + i * 16));
}

/* Write (or add) the tiles of all taps to dw [O,C,taps]. */
AVX512 static void store_tiles(const weights_gradient *g, const float *c, int64_t out_tile, int64_t in_tile,
                               bool add, float *dw)
{
    bool large = g->out_channels * g->in_channels * g->taps >= STREAMED && g->in_channels % 16 == 0 &&
                 ((uintptr_t)dw & 63) == 0 && !add;
    for (int64_t r = 0; r < 32 && out_tile * 16 + r < g->out_channels; r++)
        for (int64_t q = 0; q < 2; q++) { /* what lies side by side in dw, one after the other */
            int64_t i = (in_tile + q) * 16, columns = g->in_channels - i < 16 ? g->in_channels - i : 16;
            const float *from = c + (r / 16 * 2 + q) * AMX_FLOATS + r % 16 * 16;
            float *to = dw + ((out_tile * 16 + r) * g->in_channels + i) * g->taps;
            if (columns > 0 && large)
                stream_row(from, g->taps, to);
            else if (columns > 0)
                store_row(from, columns, g->taps, add, to);
        }
    _mm_sfence();
}

/* What a panel is summed from. */
typedef struct panel {
    const uint16_t *y, *x; /* packed */
    float *sums;           /* where they are kept as tiles */
    bool first, last;
} panel;

/* Two by two tiles of channels, one tap. */
AMX static void sum_tap(const weights_gradient *g, const panel *p, int64_t out_tile, int64_t in_tile, int tap,
                        bool more, float *c, ahead *f)
{
    int64_t a_step = g->blocks * AMX_HALVES, b_step = g->pairs * 32;
    bool tall = out_tile + 1 < g->out_tiles, wide = in_tile + 1 < g->in_tiles;
    const uint16_t *a = p->y + out_tile * a_step;
    const uint16_t *b = p->x + (g->tap_copy[tap] * g->in_tiles + in_tile) * b_step + g->tap_pair[tap] * 32;
    if (tall && wide)
        sum_tiles(2, 2, a, a_step, b, b_step, c, more, g->blocks, f);
    else if (tall)
        sum_tiles(2, 1, a, a_step, b, b_step, c, more, g->blocks, f);
    else if (wide)
        sum_tiles(1, 2, a, a_step, b, b_step, c, more, g->blocks, f);
    else
        sum_tiles(1, 1, a, a_step, b, b_step, c, more, g->blocks, f);
}

/* Squares of 2 x 2 tiles are numbered so that the operand that stays changes fastest. */
static void find_square(const weights_gradient *g, int64_t square, int64_t *out_tile, int64_t *in_tile)
{
    int64_t out_pairs = (g->out_tiles + 1) / 2, in_pairs = (g->in_tiles + 1) / 2;
    *out_tile = (g->x_stays ? square / in_pairs : square % out_pairs) * 2;
    *in_tile = (g->x_stays ? square % in_pairs : square / out_pairs) * 2;
}

/* A share of the next tiles of the operand that does not stay, while this square is summed. */
static ahead next_tiles(const weights_gradient *g, const panel *p, int64_t square)
{
    int64_t inner = g->x_stays ? (g->in_tiles + 1) / 2 : (g->out_tiles + 1) / 2, next = square / inner + 1;
    int64_t tiles = g->x_stays ? g->out_tiles : g->in_tiles, tile = (int64_t)g->pairs * 64;
    if (2 * next >= tiles || g->copies > 2)
        return (ahead){NULL, NULL, 0};
    if (g->x_stays)
        tile = g->blocks * AMX_HALVES * (int64_t)sizeof(uint16_t);
    /* Where there are two copies of x, the first and the second half of the squares ask for one each. */
    int64_t turn = square % inner, turns = inner, copy = 0;
    if (!g->x_stays && g->copies == 2 && inner > 1) {
        turns = (inner + 1) / 2;
        copy = turn / turns;
        turn %= turns;
    }
    int64_t bytes = 2 * next + 1 < tiles ? 2 * tile : tile, share = (bytes / turns + 63) / 64 * 64;
    const char *from = (const char *)(g->x_stays ? p->y : p->x) + (copy * tiles + 2 * next) * tile;
    const char *at_turn = from + turn * share, *end = at_turn + share;
    end = end > from + bytes ? from + bytes : end;
    return (ahead){at_turn, end, share / FETCH_LINE / (g->taps * g->blocks) + 1};
}

/* A square, all taps, straight to dw. */
static void sum_square(const weights_gradient *g, const panel *p, int64_t square, float *dw)
{
    _Alignas(64) float c[MOST_TAPS * 4 * AMX_FLOATS];
    int64_t out_tile, in_tile;
    find_square(g, square, &out_tile, &in_tile);
    ahead f = next_tiles(g, p, square);
    for (int tap = 0; tap < g->taps; tap++)
        sum_tap(g, p, out_tile, in_tile, tap, false, c + tap * 4 * AMX_FLOATS, &f);
    store_tiles(g, c, out_tile, in_tile, !p->first, dw);
}

/* One tap of a square, to the tiles that are kept. */
static void sum_kept(const weights_gradient *g, const panel *p, int64_t square, int tap)
{
    int64_t out_tile, in_tile;
    find_square(g, square, &out_tile, &in_tile);
    ahead none = {NULL, NULL, 0};
    sum_tap(g, p, out_tile, in_tile, tap, !p->first, p->sums + (square * g->taps + tap) * 4 * AMX_FLOATS,
            &none);
}

static void store_kept(const weights_gradient *g, const panel *p, int64_t square, float *dw)
{
    int64_t out_tile, in_tile;
    find_square(g, square, &out_tile, &in_tile);
    store_tiles(g, p->sums + square * g->taps * 4 * AMX_FLOATS, out_tile, in_tile, false, dw);
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
    uint16_t *y_tiles = scratch, *x_tiles = (uint16_t *)(void *)((char *)scratch + g->x_at);
    int64_t strips = (g->pairs + STRIP - 1) / STRIP,
            squares = ((g->out_tiles + 1) / 2) * ((g->in_tiles + 1) / 2);
#pragma omp parallel num_threads(threads)
    {
        configure();
        for (int64_t start = 0; start < g->length; start += g->panel) {
            const panel p = {.y = y_tiles,
                             .x = x_tiles,
                             .sums = (float *)(void *)((char *)scratch + g->sums_at),
                             .first = start == 0,
                             .last = start + g->panel >= g->length};
#pragma omp for schedule(static) nowait
            for (int64_t i = 0; i < g->blocks; i++)
                pack_y(g, dy, start, i, y_tiles);
#pragma omp for schedule(static)
            for (int64_t i = 0; i < strips; i++)
                pack_strip(g, x, start, i * STRIP, x_tiles);
#pragma omp for schedule(static)
            for (int64_t i = 0; i < squares * (g->keeps ? g->taps : 1); i++)
                if (g->keeps)
                    sum_kept(g, &p, i / g->taps, (int)(i % g->taps));
                else
                    sum_square(g, &p, i, dw);
#pragma omp for schedule(static)
            for (int64_t i = 0; i < (g->keeps && p.last ? squares : 0); i++)
                store_kept(g, &p, i, dw);
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
