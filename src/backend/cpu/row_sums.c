/* row_sums.c - see row_sums.h. */
#include "backend/cpu/row_sums.h"

#include "backend/cpu/block.h"
#include "backend/cpu/fetch.h"
#include "base/clones.h"

#include <string.h>

enum { CHUNK_ELEMENTS = 16384, COLUMNS = 1024 };

typedef struct cut {
    int64_t chunk, chunks, columns, pieces; /* rows of a chunk, chunks of a sample, columns of a piece */
} cut;

static cut cut_of(const row_sums *s)
{
    cut c = {.columns = s->channels < COLUMNS ? s->channels : COLUMNS};
    c.columns = c.columns < 1 ? 1 : c.columns;
    c.chunk = CHUNK_ELEMENTS / c.columns;
    c.chunks = (s->rows + c.chunk - 1) / c.chunk;
    c.pieces = (s->channels + c.columns - 1) / c.columns;
    return c;
}

size_t row_sums_scratch(const row_sums *s)
{
    cut c = cut_of(s);
    return (size_t)(s->samples * c.chunks * s->channels) * sizeof(float);
}

static void add_chunk(const row_sums *s, const cut *c, int64_t item, float *sums)
{
    int64_t piece = item % c->pieces, chunk = item / c->pieces % c->chunks, n = item / c->pieces / c->chunks;
    int64_t from = piece * c->columns,
            width = s->channels - from < c->columns ? s->channels - from : c->columns;
    int64_t first = chunk * c->chunk, count = s->rows - first < c->chunk ? s->rows - first : c->chunk;
    float *sum = sums + (n * c->chunks + chunk) * s->channels + from;
    memset(sum, 0, (size_t)width * sizeof *sum);
    s->add(s->self, n * s->rows + first, count, from, width, sum);
}

/* The chunks of one piece of one sample, added up and stored. */
static void join_chunks(const row_sums *s, const cut *c, int64_t item, const float *sums, void *output)
{
    double total[COLUMNS] = {0};
    float result[COLUMNS];
    int64_t from = item % c->pieces * c->columns, n = item / c->pieces;
    int64_t width = s->channels - from < c->columns ? s->channels - from : c->columns;
    for (int64_t k = 0; k < c->chunks; k++) {
        const float *sum = sums + (n * c->chunks + k) * s->channels + from;
        for (int64_t i = 0; i < width; i++)
            total[i] += (double)sum[i];
    }
    for (int64_t i = 0; i < width; i++)
        result[i] = (float)total[i];
    block_store(s->type, output, n * s->channels + from, width, result);
}

void row_sums_run(const row_sums *s, void *output, void *scratch, int threads)
{
    cut c = cut_of(s);
    int64_t items = s->samples * c.chunks * c.pieces;
#pragma omp parallel num_threads(threads) if (items > 2)
    {
#pragma omp for schedule(static)
        for (int64_t i = 0; i < items; i++)
            add_chunk(s, &c, i, scratch);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < s->samples * c.pieces; i++)
            join_chunks(s, &c, i, scratch, output);
    }
}

/* The rows that come some steps of four later. */
INLINE void fetch_rows(const void *x, int64_t stride, int64_t width)
{
    int64_t rows = FETCH_DISTANCE / (4 * stride) * 4;
    const char *later = (const char *)x + (rows < 4 ? 4 : rows) * stride;
    for (int64_t i = 0; i < 4; i++, later += stride)
        for (int64_t k = 0; k < width; k += FETCH_LINE)
            __builtin_prefetch(later + k, 0, 3);
}

CLONES void row_sums_add_f32(const float *restrict x, int64_t rows, int64_t stride, int64_t width,
                             float *restrict sum)
{
    int64_t i = 0, S = stride;
    for (; i + 4 <= rows; i += 4, x += 4 * S) {
        fetch_rows(x, S * (int64_t)sizeof *x, width * (int64_t)sizeof *x);
        for (int64_t c = 0; c < width; c++)
            sum[c] += (x[c] + x[S + c]) + (x[2 * S + c] + x[3 * S + c]);
    }
    for (; i < rows; i++, x += S)
        for (int64_t c = 0; c < width; c++)
            sum[c] += x[c];
}

CLONES void row_sums_add_bf16(const uint16_t *restrict x, int64_t rows, int64_t stride, int64_t width,
                              float *restrict sum)
{
    int64_t i = 0, S = stride;
    for (; i + 4 <= rows; i += 4, x += 4 * S) {
        fetch_rows(x, S * (int64_t)sizeof *x, width * (int64_t)sizeof *x);
        for (int64_t c = 0; c < width; c++)
            sum[c] += (bf16_to_f32(x[c]) + bf16_to_f32(x[S + c])) +
                      (bf16_to_f32(x[2 * S + c]) + bf16_to_f32(x[3 * S + c]));
    }
    for (; i < rows; i++, x += S)
        for (int64_t c = 0; c < width; c++)
            sum[c] += bf16_to_f32(x[c]);
}
