/* layer_norm_backward.c - the gradients of layer norm. A row is brought into f32 in the first-level cache; mean and
 * variance are computed again. With u = (x - mean) * scale and g = dy * w:
 *
 *   by data    dx = (g - mean(g) - u * mean(g * u)) * scale
 *   by weight  dw[c] = sum over rows of dy * u
 *
 * Sums along a row run in 16 lanes, joined in a fixed order; sums over rows are those of row_sums.h. */
#include "backend/cpu/block.h"
#include "backend/cpu/hot_layer_norm.h"
#include "backend/cpu/row_sums.h"
#include "backend/cpu/step.h"
#include "base/clones.h"

#include <math.h>
#include <string.h>

enum { LANES = 16, LONGEST_ROW = HOT_LONGEST_ROW };

static bool is_hot(const step *s, int dy)
{
    return s->features.avx512_bf16 && s->input_type[0] == DTYPE_BF16 && s->input_type[dy] == DTYPE_BF16;
}

static layer_rows rows_of(const step *s, const kernel_arguments *a, int64_t first, int64_t count)
{
    int64_t C = step_last(s->input_shape[0]);
    return (layer_rows){.x = (const uint16_t *)a->input[0] + first * C,
                        .rows = count,
                        .channels = C,
                        .epsilon = s->attributes.norm.epsilon};
}

INLINE float join(float *lane)
{
    for (int half = LANES / 2; half; half /= 2)
        for (int i = 0; i < half; i++)
            lane[i] += lane[i + half];
    return lane[0];
}

/* x becomes u; returns scale. */
CLONES static float normalise(float *x, int64_t n, float epsilon)
{
    float lane[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++)
            lane[j] += x[i + j];
    for (int j = 0; i + j < n; j++)
        lane[j] += x[i + j];
    float mean = join(lane) / (float)n;
    memset(lane, 0, sizeof lane);
    for (i = 0; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++)
            lane[j] += (x[i + j] - mean) * (x[i + j] - mean);
    for (int j = 0; i + j < n; j++)
        lane[j] += (x[i + j] - mean) * (x[i + j] - mean);
    float scale = 1.0f / sqrtf(join(lane) / (float)n + epsilon);
    for (i = 0; i < n; i++)
        x[i] = (x[i] - mean) * scale;
    return scale;
}

/* g: dy, then dx. */
CLONES static void row_by_data(const float *restrict u, const float *restrict w, float *restrict g,
                               float scale, int64_t n)
{
    float sum[LANES] = {0}, product[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++) {
            float v = g[i + j] * w[i + j];
            sum[j] += v;
            product[j] += v * u[i + j];
            g[i + j] = v;
        }
    for (int j = 0; i + j < n; j++) {
        float v = g[i + j] * w[i + j];
        sum[j] += v;
        product[j] += v * u[i + j];
        g[i + j] = v;
    }
    float mean = join(sum) / (float)n, share = join(product) / (float)n;
    for (i = 0; i < n; i++)
        g[i] = (g[i] - mean - u[i] * share) * scale;
}

/* bf16 throughout, some rows at a time. */
static void hot_by_data(const step *s, const kernel_arguments *a, const float *weight)
{
    enum { PIECE = 16 };
    int64_t C = step_last(s->shape), rows = step_rows(s->shape);
#pragma omp parallel for schedule(static) num_threads(a->threads) if (rows > 8)
    for (int64_t i = 0; i < rows; i += PIECE) {
        layer_rows r = rows_of(s, a, i, rows - i < PIECE ? rows - i : PIECE);
        r.weight = weight;
        hot_layer_norm_backward_bf16(&r, (const uint16_t *)a->input[2] + i * C,
                                     (uint16_t *)a->output + i * C);
    }
}

static kiln_status by_data_run(const struct kernel *k, const kernel_arguments *a, kiln_error *err)
{
    (void)err;
    const step *s = k->state;
    int64_t C = step_last(s->shape), rows = step_rows(s->shape);
    float *weight = a->scratch;
    block_load(s->input_type[1], a->input[1], 0, C, weight);
    if (is_hot(s, 2) && s->type == DTYPE_BF16) {
        hot_by_data(s, a, weight);
        return KILN_OK;
    }
#pragma omp parallel for schedule(static) num_threads(a->threads) if (rows > 8)
    for (int64_t i = 0; i < rows; i++) {
        float x[LONGEST_ROW], g[LONGEST_ROW];
        block_load(s->input_type[0], a->input[0], i * C, C, x);
        block_load(s->input_type[2], a->input[2], i * C, C, g);
        float scale = normalise(x, C, s->attributes.norm.epsilon);
        row_by_data(x, weight, g, scale, C);
        block_store(s->type, a->output, i * C, C, g);
    }
    return KILN_OK;
}

CLONES static void add_products(const float *restrict u, const float *restrict dy, float *restrict sum,
                                int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        sum[i] += dy[i] * u[i];
}

typedef struct weight_call {
    const step *step;
    const kernel_arguments *arguments;
    int64_t channels;
} weight_call;

/* Statistics need the whole row, even where only some columns are summed. */
static void add_rows(const void *self, int64_t first, int64_t count, int64_t from, int64_t width, float *sum)
{
    const weight_call *c = self;
    const step *s = c->step;
    if (is_hot(s, 1)) {
        layer_rows r = rows_of(s, c->arguments, first, count);
        const uint16_t *dy = (const uint16_t *)c->arguments->input[1] + first * c->channels;
        hot_layer_norm_products_bf16(&r, dy, from, width, sum);
        return;
    }
    for (int64_t i = first; i < first + count; i++) {
        float x[LONGEST_ROW], dy[LONGEST_ROW];
        block_load(s->input_type[0], c->arguments->input[0], i * c->channels, c->channels, x);
        block_load(s->input_type[1], c->arguments->input[1], i * c->channels + from, width, dy);
        normalise(x, c->channels, s->attributes.norm.epsilon);
        add_products(x + from, dy, sum, width);
    }
}

static row_sums sums_of(const step *s)
{
    shape X = s->input_shape[0];
    return (row_sums){
        .samples = 1, .rows = step_rows(X), .channels = step_last(X), .type = s->type, .add = add_rows};
}

static kiln_status by_weight_run(const struct kernel *k, const kernel_arguments *a, kiln_error *err)
{
    (void)err;
    const step *s = k->state;
    row_sums sums = sums_of(s);
    weight_call call = {s, a, sums.channels};
    sums.self = &call;
    row_sums_run(&sums, a->output, a->scratch, a->threads);
    return KILN_OK;
}

kiln_status prepare_layer_norm_backward(const kernel_request *r, kernel *out, kiln_error *err)
{
    bool by_data = r->node->op == OP_LAYER_NORM_BACKWARD_DATA;
    int64_t C = step_last(r->input_shape[0]);
    if (C > LONGEST_ROW || C < 1 || r->node->attributes.norm.activation != ACTIVATION_NONE)
        return KILN_OK;
    int in_place = by_data && r->input_type[2] == r->output_type ? 2 : -1;
    kiln_status status = by_data
                             ? step_prepare(r, "vector layer_norm by data", by_data_run, in_place, out, err)
                             : step_prepare(r, "vector layer_norm by weight", by_weight_run, -1, out, err);
    if (status == KILN_OK) {
        row_sums sums = sums_of(out->state);
        out->scratch_bytes = by_data ? (size_t)C * sizeof(float) : row_sums_scratch(&sums);
    }
    return status;
}
