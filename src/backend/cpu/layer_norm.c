/* layer_norm.c - layer norm over the last dimension (Ba, Kiros & Hinton 2016): a row is brought into f32
 * in the first-level cache, then mean, squared deviations and result are three passes over it. Sums run in
 * 16 lanes, joined in a fixed order. */
#include "backend/cpu/block.h"
#include "backend/cpu/hot_layer_norm.h"
#include "backend/cpu/step.h"
#include "base/clones.h"

#include <math.h>

enum { LANES = 16, LONGEST_ROW = 8192 };

INLINE float join(const float *lane)
{
    float sum[LANES];
    for (int i = 0; i < LANES; i++)
        sum[i] = lane[i];
    for (int half = LANES / 2; half; half /= 2)
        for (int i = 0; i < half; i++)
            sum[i] += sum[i + half];
    return sum[0];
}

CLONES static float row_mean(const float *x, int64_t n)
{
    float lane[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++)
            lane[j] += x[i + j];
    for (int j = 0; i + j < n; j++)
        lane[j] += x[i + j];
    return join(lane) / (float)n;
}

CLONES static float row_variance(const float *x, float mean, int64_t n)
{
    float lane[LANES] = {0};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++)
            lane[j] += (x[i + j] - mean) * (x[i + j] - mean);
    for (int j = 0; i + j < n; j++)
        lane[j] += (x[i + j] - mean) * (x[i + j] - mean);
    return join(lane) / (float)n;
}

CLONES static void row_apply(float *restrict x, float mean, float scale, const float *restrict weight,
                             const float *restrict bias, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = (x[i] - mean) * scale * weight[i] + bias[i];
}

/* bf16 throughout, some rows at a time. */
static void hot_run(const step *s, const kernel_arguments *a, const float *weight, const float *bias)
{
    enum { PIECE = 16 };
    int64_t C = step_last(s->shape), rows = step_rows(s->shape);
#pragma omp parallel for schedule(static) num_threads(a->threads) if (rows > 8)
    for (int64_t i = 0; i < rows; i += PIECE)
        hot_layer_norm_bf16(&(layer_rows){.x = (const uint16_t *)a->input[0] + i * C,
                                          .rows = rows - i < PIECE ? rows - i : PIECE,
                                          .channels = C,
                                          .epsilon = s->attributes.norm.epsilon,
                                          .weight = weight,
                                          .bias = bias},
                            (uint16_t *)a->output + i * C);
}

static kiln_status layer_norm_run(const struct kernel *k, const kernel_arguments *a, kiln_error *err)
{
    (void)err;
    const step *s = k->state;
    int64_t C = step_last(s->shape), rows = step_rows(s->shape);
    float *weight = a->scratch, *bias = weight + C;
    block_load(s->input_type[1], a->input[1], 0, C, weight);
    block_load(s->input_type[2], a->input[2], 0, C, bias);
    if (s->features.avx512_bf16 && s->input_type[0] == DTYPE_BF16 && s->type == DTYPE_BF16 &&
        C <= HOT_LONGEST_ROW && s->attributes.norm.activation == ACTIVATION_NONE) {
        hot_run(s, a, weight, bias);
        return KILN_OK;
    }
#pragma omp parallel for schedule(static) num_threads(a->threads) if (rows > 8)
    for (int64_t i = 0; i < rows; i++) {
        float x[LONGEST_ROW];
        block_load(s->input_type[0], a->input[0], i * C, C, x);
        float mean = row_mean(x, C), variance = row_variance(x, mean, C);
        row_apply(x, mean, 1.0f / sqrtf(variance + s->attributes.norm.epsilon), weight, bias, C);
        block_activate(s->attributes.norm.activation, 0, x, C);
        block_store(s->type, a->output, i * C, C, x);
    }
    return KILN_OK;
}

kiln_status prepare_layer_norm(const kernel_request *r, kernel *out, kiln_error *err)
{
    int64_t C = step_last(r->node->shape);
    if (C > LONGEST_ROW || C < 1)
        return KILN_OK;
    kiln_status status = step_prepare(r, "vector layer_norm", layer_norm_run,
                                      r->input_type[0] == r->output_type ? 0 : -1, out, err);
    if (status == KILN_OK)
        out->scratch_bytes = (size_t)C * 2 * sizeof(float);
    return status;
}
