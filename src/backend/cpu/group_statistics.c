/* group_statistics.c - see group_statistics.h. */
#include "backend/cpu/group_statistics.h"

#include "backend/cpu/row_sums.h"
#include "base/clones.h"

#include <math.h>
#ifdef _OPENMP
#include <omp.h>
#endif
#include <string.h>

enum { CHUNK_ELEMENTS = 16384 };

typedef struct moments {
    double mean, squares; /* squares: sum of (x - mean)^2 */
} moments;

typedef struct group_layout {
    int64_t channels, groups, width, chunk, chunks;
    size_t worker_at, worker_bytes;
} group_layout;

static size_t rounded(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

static group_layout layout_of(const group_input *s)
{
    group_layout l = {.channels = s->channels, .groups = s->groups, .width = s->channels / s->groups};
    l.chunk = CHUNK_ELEMENTS / l.channels < 8 ? 8 : CHUNK_ELEMENTS / l.channels;
    l.chunks = (s->positions + l.chunk - 1) / l.chunk;
    l.worker_at = rounded((size_t)(s->samples * l.chunks * l.groups) * sizeof(moments));
    l.worker_bytes = rounded(2 * (size_t)l.channels * sizeof(float)); /* sums, centres */
    return l;
}

size_t group_statistics_scratch(const group_input *s, int threads)
{
    group_layout l = layout_of(s);
    return l.worker_at + (size_t)threads * l.worker_bytes;
}

INLINE float square(float x)
{
    return x * x;
}

/* sum[c] += (x[c] - centre[c])^2 over the rows */
CLONES static void square_rows_f32(const float *restrict x, const float *restrict centre, int64_t rows,
                                   int64_t C, float *restrict sum)
{
    int64_t i = 0;
    for (; i + 4 <= rows; i += 4, x += 4 * C)
        for (int64_t c = 0; c < C; c++)
            sum[c] += (square(x[c] - centre[c]) + square(x[C + c] - centre[c])) +
                      (square(x[2 * C + c] - centre[c]) + square(x[3 * C + c] - centre[c]));
    for (; i < rows; i++, x += C)
        for (int64_t c = 0; c < C; c++)
            sum[c] += square(x[c] - centre[c]);
}

CLONES static void square_rows_bf16(const uint16_t *restrict x, const float *restrict centre, int64_t rows,
                                    int64_t C, float *restrict sum)
{
    int64_t i = 0;
    for (; i + 4 <= rows; i += 4, x += 4 * C)
        for (int64_t c = 0; c < C; c++)
            sum[c] += (square(bf16_to_f32(x[c]) - centre[c]) + square(bf16_to_f32(x[C + c]) - centre[c])) +
                      (square(bf16_to_f32(x[2 * C + c]) - centre[c]) +
                       square(bf16_to_f32(x[3 * C + c]) - centre[c]));
    for (; i < rows; i++, x += C)
        for (int64_t c = 0; c < C; c++)
            sum[c] += square(bf16_to_f32(x[c]) - centre[c]);
}

/* Mean and squared deviations of each group in `rows` positions. work: 2 C floats. shift may be NULL. */
static void chunk_moments(const group_layout *l, dtype type, const void *x, const float *shift, int64_t rows,
                          float *work, moments *out)
{
    int64_t C = l->channels;
    float *sum = work, *centre = work + C;
    memset(sum, 0, (size_t)C * sizeof(float));
    if (type == DTYPE_BF16)
        row_sums_add_bf16(x, rows, C, C, sum);
    else
        row_sums_add_f32(x, rows, C, C, sum);
    for (int64_t g = 0; g < l->groups; g++) {
        double total = 0;
        for (int64_t c = g * l->width; c < (g + 1) * l->width; c++)
            total += (double)sum[c] + (shift ? (double)rows * (double)shift[c] : 0);
        out[g].mean = total / ((double)rows * (double)l->width);
        for (int64_t c = g * l->width; c < (g + 1) * l->width; c++)
            centre[c] = (float)(out[g].mean - (shift ? (double)shift[c] : 0));
    }
    memset(sum, 0, (size_t)C * sizeof(float));
    if (type == DTYPE_BF16)
        square_rows_bf16(x, centre, rows, C, sum);
    else
        square_rows_f32(x, centre, rows, C, sum);
    for (int64_t g = 0; g < l->groups; g++) {
        out[g].squares = 0;
        for (int64_t c = g * l->width; c < (g + 1) * l->width; c++)
            out[g].squares += (double)sum[c];
    }
}

static int64_t chunk_rows(const group_input *s, const group_layout *l, int64_t k)
{
    return s->positions - k * l->chunk < l->chunk ? s->positions - k * l->chunk : l->chunk;
}

static void measure_chunk(const group_input *s, const group_layout *l, int64_t item, float *work, moments *to)
{
    int64_t n = item / l->chunks, k = item % l->chunks;
    const char *x =
        (const char *)s->x + (size_t)((n * s->positions + k * l->chunk) * l->channels) * dtype_size(s->type);
    chunk_moments(l, s->type, x, s->shift ? s->shift + n * l->channels : NULL, chunk_rows(s, l, k), work,
                  to + item * l->groups);
}

/* The chunks of one sample and group. */
static group_statistics merge(const group_input *s, const group_layout *l, const moments *m)
{
    double mean = 0, squares = 0, count = 0;
    for (int64_t k = 0; k < l->chunks; k++) {
        const moments *part = m + k * l->groups;
        double size = (double)chunk_rows(s, l, k) * (double)l->width, delta = part->mean - mean;
        mean += delta * size / (count + size);
        squares += part->squares + delta * delta * count * size / (count + size);
        count += size;
    }
    return (group_statistics){mean, 1 / sqrt(squares / count + (double)s->epsilon)};
}

void group_statistics_run(const group_input *s, group_statistics *out, void *scratch, int threads)
{
    group_layout l = layout_of(s);
    moments *m = scratch;
    int64_t items = s->samples * l.chunks;
#pragma omp parallel num_threads(threads) if (items > 2)
    {
#ifdef _OPENMP
        int worker = omp_get_thread_num();
#else
        int worker = 0;
#endif
        float *work = (float *)(void *)((char *)scratch + l.worker_at + (size_t)worker * l.worker_bytes);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < items; i++)
            measure_chunk(s, &l, i, work, m);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < s->samples * l.groups; i++)
            out[i] = merge(s, &l, m + i / l.groups * l.chunks * l.groups + i % l.groups);
    }
}
