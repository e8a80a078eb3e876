/* amx_product.c - see amx_product.h.
 *
 * y[position][column] = bias[column] + sum over steps of a line of x times a B tile of weights; a step is 32 inputs of one
 * tap (amx_lines.h, amx_weights.h). Work is shared out in blocks of columns, whose tiles a thread packs and keeps in its
 * second-level cache while all positions go by, 32 at a time; where there are too few columns for all threads, positions are
 * shared out as well. Long sums are cut into chunks of inputs: what they read then stays in the cache, and the sums of all
 * positions wait there. */
#include "backend/cpu/amx_product.h"

#include "backend/cpu/amx.h"
#include "backend/cpu/amx_lines.h"
#include "backend/cpu/amx_weights.h"
#include "backend/cpu/products.h"

#include "base/error.h"

#ifdef _OPENMP
#include <omp.h>
#endif
#include <stdlib.h>

enum {
    PAIR = 32,             /* columns */
    STEP_BYTES = 2048,     /* of a pair */
    WHOLE_BYTES = 5 << 18, /* most weights of a block that is not cut into chunks */
    WHOLE_PAIRS = 4,       /* fewer do not pay for reading x again, where positions are few: */
    FEW_POSITIONS = 1024,
    CHUNK_POSITIONS = 2048, /* positions times pairs */
    CHUNK_STEPS = 288,      /* steps times pairs, where taps share the lines of x; else: */
    CHUNK_STEPS_SINGLE = 576
};

struct amx_product {
    amx_lines lines;
    amx_weights weights;
    dtype output_type;
    int64_t depth, chunk, chunks; /* inputs by 32 */
    int64_t pairs, block, blocks; /* pairs of tiles of columns */
    int64_t tiles, share, shares; /* of positions */
    int64_t ahead;                /* lines of x to ask for by step */
    int32_t *fetch;               /* their bytes from a tile's first line, by step */
    int threads;
    size_t lines_bytes, block_bytes, sums_bytes, panel_bytes; /* of scratch: once; by thread */
};

#if defined(__x86_64__)
static int64_t divided(int64_t n, int64_t by)
{
    return (n + by - 1) / by;
}

static int64_t between(int64_t low, int64_t n, int64_t high)
{
    return n < low ? low : n > high ? high : n;
}

/* Columns to blocks: at most `most` pairs each, and as many blocks for every thread. */
static void share_columns(amx_product *p, int64_t most)
{
    p->pairs = divided(p->weights.columns, PAIR);
    p->blocks = divided(p->pairs, most);
    if (p->pairs >= p->threads)
        p->blocks = divided(p->blocks, p->threads) * p->threads;
    p->block = divided(p->pairs, p->blocks);
    p->blocks = divided(p->pairs, p->block);
}

static bool stays_whole(const amx_product *p)
{
    int64_t most = WHOLE_BYTES / (p->depth * p->lines.taps * STEP_BYTES);
    if (p->tiles * 16 > FEW_POSITIONS)
        return most >= 1;
    return p->lines.taps == 1 && most >= WHOLE_PAIRS;
}

static void share_out(amx_product *p)
{
    int64_t taps = p->lines.taps, threads = p->threads, few = taps > 1 ? 4 : 8;
    p->tiles = amx_lines_tiles(&p->lines);
    p->chunk = p->depth;
    if (stays_whole(p))
        share_columns(p, WHOLE_BYTES / (p->depth * taps * STEP_BYTES));
    else {
        share_columns(p, between(1, CHUNK_POSITIONS / (p->tiles * 16), few));
        p->chunk = between(1, (taps > 1 ? CHUNK_STEPS : CHUNK_STEPS_SINGLE) / (p->block * taps), p->depth);
    }
    p->chunks = divided(p->depth, p->chunk);
    bool even = p->blocks % threads == 0 || p->blocks >= 4 * threads;
    p->share = even ? p->tiles : divided(divided(p->tiles, 2), threads) * 2;
    p->shares = divided(p->tiles, p->share);
    p->lines_bytes = scratch_rounded(p->lines.bytes);
    p->block_bytes = (size_t)(p->block * p->chunk * taps * STEP_BYTES);
    p->sums_bytes =
        p->chunks > 1 ? (size_t)((p->share + 1) / 2 * p->block * 4 * AMX_FLOATS) * sizeof(float) : 0;
    p->panel_bytes = p->lines.direct ? (size_t)(p->chunk * STEP_BYTES) : 0;
}

static size_t bytes_by_thread(const amx_product *p)
{
    return p->block_bytes + p->sums_bytes + p->panel_bytes;
}

/* Every tap of a step asks for lines of its own, all of them where the last tap will read them: the others have been
 * read before, for the rows above. Rows of a matrix lie elsewhere. */
static kiln_status plan_fetching(amx_product *p, kiln_error *err)
{
    const amx_lines *l = &p->lines;
    bool rows = l->direct;
    int64_t steps = p->depth * l->taps, line = rows ? l->channels * (int64_t)dtype_size(l->type) : 64;
    p->ahead = divided(PAIR, p->block * l->taps);
    p->fetch = calloc((size_t)steps, sizeof *p->fetch);
    if (!p->fetch)
        return fail(err, KILN_NO_MEMORY, "not enough memory for a kernel");
    for (int64_t k = 0; k < steps; k++) {
        int64_t first =
            rows ? k * 32 * (int64_t)dtype_size(l->type) : l->offset[k / l->taps * l->taps + l->taps - 1];
        p->fetch[k] = (int32_t)(first + k % l->taps * p->ahead * line);
    }
    return KILN_OK;
}

/* The forward product that gives the gradient by data: dy and weights change places, and taps their order. */
static bool turn_round(const product_request *r, product_request *forward)
{
    *forward = *r;
    if (r->kind == PRODUCT_FORWARD)
        return true;
    forward->input_type = r->input_type;
    forward->in_channels = r->out_channels;
    forward->out_channels = r->in_channels;
    forward->height = r->out_height;
    forward->width = r->out_width;
    forward->out_height = r->height;
    forward->out_width = r->width;
    forward->pad_top = r->kernel_height - 1 - r->pad_top;
    forward->pad_bottom = r->kernel_height - 1 - r->pad_bottom;
    forward->pad_left = r->kernel_width - 1 - r->pad_left;
    forward->pad_right = r->kernel_width - 1 - r->pad_right;
    return r->stride == 1 && forward->pad_top >= 0 && forward->pad_left >= 0 && forward->pad_bottom >= 0 &&
           forward->pad_right >= 0;
}

kiln_status amx_product_new(const product_request *r, int upsample, const cpu_features *features,
                            amx_product **out, kiln_error *err)
{
    *out = NULL;
    product_request forward;
    if (!features->amx_bf16 || r->weight_type != DTYPE_BF16 || !r->live || r->live_type != DTYPE_F32 ||
        r->residual || r->activation != ACTIVATION_NONE || !turn_round(r, &forward))
        return KILN_OK;
    amx_product *p = calloc(1, sizeof *p);
    if (!p)
        return fail(err, KILN_NO_MEMORY, "not enough memory for a kernel");
    bool possible = false, turned = r->kind == PRODUCT_DATA;
    kiln_status status = amx_lines_new(&forward, upsample, &p->lines, &possible, err);
    if (status != KILN_OK || !possible) {
        free(p);
        return status;
    }
    p->output_type = r->output_type;
    p->threads = r->threads;
    p->weights = (amx_weights){.columns = forward.out_channels,
                               .inputs = forward.in_channels,
                               .taps = p->lines.taps,
                               .by_columns = turned || r->transposed};
    for (int t = 0; t < p->weights.taps; t++)
        p->weights.tap[t] = turned ? p->weights.taps - 1 - t : t;
    p->depth = p->lines.depth;
    share_out(p);
    status = plan_fetching(p, err);
    if (status == KILN_OK)
        *out = p;
    else
        amx_product_free(p);
    return status;
}

/* Lines of x to ask for while summing: those of the 32 positions that come next. */
typedef struct ahead {
    const char *from;
    int64_t stride, lines; /* by step */
    const int32_t *offset;
} ahead;

/* What is summed: the tiles of x of 32 positions, those of the weights of a pair of columns, some steps. */
typedef struct summands {
    const char *a[2];
    const int32_t *offset;
    int64_t stride; /* bytes from one row of a tile to the next */
    int rows;
    const uint16_t *b;
    int64_t steps;
    bool wide, more;
} summands;

/* c[i][j] = (more ? c[i][j] : 0) + sum over steps of a[i] b[j]; i < rows, j < columns. */
AMX static inline __attribute__((always_inline)) void sum_tiles(int rows, int columns, const summands *s,
                                                                float *c, const ahead *f)
{
    const char *a0 = s->a[0], *a1 = s->a[1];
    const int32_t *offset = s->offset;
    const uint16_t *b = s->b;
    size_t stride = (size_t)s->stride;
    amx_fence();
    amx_square_begin(c, s->more);
    for (int64_t k = 0; k < s->steps; k++, b += 2 * AMX_HALVES) {
        _tile_loadd(6, b, 64);
        _tile_loadd(4, a0 + offset[k], stride);
        _tile_dpbf16ps(0, 4, 6);
        if (columns > 1) {
            _tile_loadd(7, b + AMX_HALVES, 64);
            _tile_dpbf16ps(1, 4, 7);
        }
        for (int64_t i = 0; i < f->lines; i++)
            _mm_prefetch(f->from + f->offset[k] + i * f->stride, _MM_HINT_T1);
        if (rows > 1) {
            _tile_loadd(5, a1 + offset[k], stride);
            _tile_dpbf16ps(2, 5, 6);
            if (columns > 1)
                _tile_dpbf16ps(3, 5, 7);
        }
    }
    amx_square_end(c);
    amx_fence();
}

/* A square of 2 x 2 tiles of y, or part of one. */
typedef struct square {
    const int32_t *place; /* of 32 positions */
    int rows;             /* tiles */
    int64_t column;
    const float *sums;
} square;

/* 16 positions, up to 32 columns. */
AVX512_BF16 static inline void store_rows(const amx_product *p, const square *s, int tile, const float *bias,
                                          void *y)
{
    int64_t left = p->weights.columns - s->column, columns = p->weights.columns;
    __mmask16 low = first_lanes(left), high = first_lanes(left - 16);
    __m512 bias_low = _mm512_setzero_ps(), bias_high = bias_low;
    if (bias) {
        bias_low = _mm512_maskz_loadu_ps(low, bias + s->column);
        bias_high = high ? _mm512_maskz_loadu_ps(high, bias + s->column + 16) : bias_high;
    }
    const float *sums = s->sums + tile * 2 * AMX_FLOATS;
    for (int i = 0; i < 16; i++) {
        int64_t place = s->place[tile * 16 + i];
        if (place < 0)
            continue;
        __m512 a = _mm512_add_ps(_mm512_load_ps(sums + i * 16), bias_low);
        __m512 b = _mm512_add_ps(_mm512_load_ps(sums + AMX_FLOATS + i * 16), bias_high);
        int64_t first = place * columns + s->column;
        if (p->output_type == DTYPE_BF16) {
            __mmask32 m = (__mmask32)low | (__mmask32)high << 16;
            _mm512_mask_storeu_epi16((uint16_t *)y + first, m, (__m512i)_mm512_cvtne2ps_pbh(b, a));
        } else {
            _mm512_mask_storeu_ps((float *)y + first, low, a);
            if (high)
                _mm512_mask_storeu_ps((float *)y + first + 16, high, b);
        }
    }
}

static void store_square(const amx_product *p, const square *s, const float *bias, void *y)
{
    for (int tile = 0; tile < s->rows; tile++)
        store_rows(p, s, tile, bias, y);
}

AMX static void sum_square(const summands *s, float *c, const ahead *f)
{
    if (s->rows > 1 && s->wide)
        sum_tiles(2, 2, s, c, f);
    else if (s->rows > 1)
        sum_tiles(2, 1, s, c, f);
    else if (s->wide)
        sum_tiles(1, 2, s, c, f);
    else
        sum_tiles(1, 1, s, c, f);
}

/* One chunk of one block of columns, by one thread. */
typedef struct amx_run {
    const amx_product *product;
    const void *x;
    const float *w, *bias;
    void *y;
    const char *lines;
    uint16_t *weights; /* packed */
    float *sums;       /* of the block: [tile / 2][pair][4] */
    char *panel;
    amx_part part;
} amx_run;

/* What square `turn` of a row of squares asks for; `next`: the tile after these. */
static ahead fetch_for(const amx_run *r, int64_t next, int64_t turn)
{
    const amx_product *p = r->product;
    const amx_lines *l = &p->lines;
    int64_t first = turn * p->ahead * l->taps, line = 64;
    if (next + 2 > p->tiles || first >= PAIR)
        return (ahead){.offset = p->fetch};
    const char *from = r->lines;
    if (l->direct) {
        line = l->channels * (int64_t)dtype_size(l->type);
        from = (const char *)r->x + next * 16 * line;
    } else
        from = amx_lines_tile(l, from, next);
    return (ahead){from + first * line, line, p->ahead, p->fetch + r->part.block * l->taps};
}

/* The tiles of x. */
static void find_tiles(const amx_run *r, int64_t tile, summands *s)
{
    const amx_lines *l = &r->product->lines;
    int64_t first = r->part.block * l->taps;
    s->offset = l->offset + first;
    s->stride = 64;
    if (l->direct && l->in_place && (tile + s->rows) * 16 <= l->rows) {
        s->offset = l->offset_in_place + first;
        s->stride = l->channels * 2;
        for (int i = 0; i < s->rows; i++)
            s->a[i] = (const char *)r->x + (tile + i) * 16 * s->stride;
    } else if (l->direct) {
        s->offset = l->offset;
        amx_lines_panel(l, r->x, tile, r->part.block, s->steps, r->panel);
        for (int i = 0; i < s->rows; i++)
            s->a[i] = r->panel + i * 1024;
    } else
        for (int i = 0; i < s->rows; i++)
            s->a[i] = amx_lines_tile(l, r->lines, tile + i);
}

/* All columns of the block for one or two tiles of positions. The sums of a square are stored while the next is summed. */
static void run_tiles(const amx_run *r, int64_t tile, int rows, float *kept)
{
    _Alignas(64) float sums[2][4 * AMX_FLOATS];
    int32_t place[32];
    const amx_product *p = r->product;
    bool last = r->part.block + r->part.blocks == p->depth;
    square before = {.rows = 0};
    summands s = {.rows = rows, .steps = r->part.blocks * p->lines.taps, .more = r->part.block > 0};
    find_tiles(r, tile, &s);
    for (int i = 0; i < rows; i++)
        amx_lines_places(&p->lines, tile + i, place + 16 * i);
    for (int64_t j = 0; j < r->part.pairs; j++) {
        float *c = p->chunks > 1 ? kept + j * 4 * AMX_FLOATS : sums[j % 2];
        square now = {
            .place = place, .rows = last ? rows : 0, .column = r->part.column + j * PAIR, .sums = c};
        ahead f = fetch_for(r, tile + rows, j);
        s.b = r->weights + j * s.steps * 2 * AMX_HALVES;
        s.wide = p->weights.columns - now.column > 16;
        sum_square(&s, c, &f);
        store_square(p, &before, r->bias, r->y);
        before = now;
    }
    store_square(p, &before, r->bias, r->y);
}

/* All positions of a share. */
static void run_share(const amx_run *r, int64_t share)
{
    const amx_product *p = r->product;
    int64_t tile = share * p->share, end = p->tiles - tile < p->share ? p->tiles : tile + p->share;
    float *kept = r->sums;
    for (; tile < end; tile += 2, kept += r->part.pairs * 4 * AMX_FLOATS)
        run_tiles(r, tile, tile + 1 < end ? 2 : 1, kept);
}

/* The items from `first` to `end`: blocks of columns, shares of positions. */
static void run_items(amx_run *r, int64_t first, int64_t end)
{
    const amx_product *p = r->product;
    int64_t held = -1;
    for (int64_t i = first * p->chunks; i < end * p->chunks; i++) {
        int64_t item = i / p->chunks, pair = item / p->shares * p->block, block = i % p->chunks * p->chunk;
        r->part = (amx_part){.column = pair * PAIR,
                             .pairs = p->pairs - pair < p->block ? p->pairs - pair : p->block,
                             .block = block,
                             .blocks = p->depth - block < p->chunk ? p->depth - block : p->chunk};
        if (p->chunks > 1 || pair != held)
            amx_weights_pack(&p->weights, r->w, &r->part, r->weights);
        held = pair;
        run_share(r, item % p->shares);
    }
}

AMX static void configure(void)
{
    _tile_loadconfig(&amx_whole_tiles);
}
AMX static void release(void)
{
    _tile_release();
}

void amx_product_run(const amx_product *p, const void *x, const float *w, const float *bias, void *y,
                     void *scratch, int threads)
{
#pragma omp parallel num_threads(threads < p->threads ? threads : p->threads)
    {
#ifdef _OPENMP
        int worker = omp_get_thread_num(), workers = omp_get_num_threads();
#else
        int worker = 0, workers = 1;
#endif
        char *own = (char *)scratch + p->lines_bytes + (size_t)worker * bytes_by_thread(p);
        amx_run r = {.product = p,
                     .x = x,
                     .w = w,
                     .bias = bias,
                     .y = y,
                     .lines = scratch,
                     .weights = (void *)own,
                     .sums = (float *)(void *)(own + p->block_bytes),
                     .panel = own + p->block_bytes + p->sums_bytes};
        int64_t items = p->blocks * p->shares;
        configure();
        amx_lines_copy(&p->lines, x, scratch);
        run_items(&r, items * worker / workers, items * (worker + 1) / workers);
        release();
    }
}
#else
kiln_status amx_product_new(const product_request *r, int upsample, const cpu_features *features,
                            amx_product **out, kiln_error *err)
{
    (void)r, (void)upsample, (void)features, (void)err;
    *out = NULL;
    return KILN_OK;
}
void amx_product_run(const amx_product *p, const void *x, const float *w, const float *bias, void *y,
                     void *scratch, int threads)
{
    (void)p, (void)x, (void)w, (void)bias, (void)y, (void)scratch, (void)threads;
}
#endif

void amx_product_free(amx_product *p)
{
    if (!p)
        return;
    amx_lines_free(&p->lines);
    free(p->fetch);
    free(p);
}

size_t amx_product_scratch(const amx_product *p)
{
    return p->lines_bytes + (p->block_bytes + p->sums_bytes + p->panel_bytes) * (size_t)p->threads;
}
