/* block.c - see block.h. */
#include "backend/cpu/block.h"

#include "backend/cpu/fetch.h"
#include "backend/cpu/vector_math.h"
#include "ops/table.h"

#include <string.h>

CLONES static void load_bf16(const uint16_t *restrict from, float *restrict to, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        to[i] = bf16_to_f32(from[i]);
}

/* Round to nearest even; the same bits as f32_to_bf16, written without a branch. */
CLONES static void store_bf16(const float *restrict from, uint16_t *restrict to, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        union {
            float f;
            uint32_t u;
        } x = {from[i]};
        uint32_t rounded = (x.u + 0x7FFFu + ((x.u >> 16) & 1u)) >> 16, quiet = (x.u >> 16) | 0x40u;
        to[i] = (uint16_t)((x.u & 0x7FFFFFFFu) > 0x7F800000u ? quiet : rounded);
    }
}

void block_load(dtype type, const void *from, int64_t offset, int64_t n, float *to)
{
    enum { PIECE = 256 };
    const char *x = (const char *)from + (size_t)offset * dtype_size(type);
    for (int64_t i = 0; i < n; i += PIECE, x += PIECE * dtype_size(type)) {
        int64_t length = n - i < PIECE ? n - i : PIECE;
        fetch_ahead_of(x, length * (int64_t)dtype_size(type));
        if (type == DTYPE_BF16)
            load_bf16((const void *)x, to + i, length);
        else
            memcpy(to + i, x, (size_t)length * sizeof(float));
    }
}

void block_store(dtype type, void *to, int64_t offset, int64_t n, const float *from)
{
    if (type == DTYPE_BF16)
        store_bf16(from, (uint16_t *)to + offset, n);
    else
        memcpy((float *)to + offset, from, (size_t)n * sizeof(float));
}

CLONES static void activate_silu(float *x, float slope, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = x[i] / (1.0f + exponential(-slope * x[i]));
}

CLONES static void activate_gelu(float *x, float slope, int64_t n)
{
    (void)slope;
    for (int64_t i = 0; i < n; i++)
        x[i] = 0.5f * x[i] * (1.0f + error_function(x[i] * 0.707106781f));
}

CLONES static void activate_gelu_tanh(float *x, float slope, int64_t n)
{
    (void)slope;
    for (int64_t i = 0; i < n; i++)
        x[i] = 0.5f * x[i] * (1.0f + tangent(0.797884561f * (x[i] + 0.044715f * x[i] * x[i] * x[i])));
}

CLONES static void activate_leaky(float *x, float slope, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = x[i] > 0 ? x[i] : x[i] * slope;
}

CLONES static void activate_sigmoid(float *x, float slope, int64_t n)
{
    (void)slope;
    for (int64_t i = 0; i < n; i++)
        x[i] = sigmoid(x[i]);
}

CLONES static void activate_tanh(float *x, float slope, int64_t n)
{
    (void)slope;
    for (int64_t i = 0; i < n; i++)
        x[i] = tangent(x[i]);
}

CLONES static void activate_mish(float *x, float slope, int64_t n)
{
    (void)slope;
    for (int64_t i = 0; i < n; i++)
        x[i] *= soft_gate(x[i]);
}

void block_activate(activation_kind kind, float slope, float *x, int64_t n)
{
    switch (kind) {
    case ACTIVATION_SILU:
        activate_silu(x, 1.0f, n);
        break;
    case ACTIVATION_QUICK_GELU:
        activate_silu(x, 1.702f, n);
        break;
    case ACTIVATION_GELU:
        activate_gelu(x, 0, n);
        break;
    case ACTIVATION_GELU_TANH:
        activate_gelu_tanh(x, 0, n);
        break;
    case ACTIVATION_RELU:
        activate_leaky(x, 0.0f, n);
        break;
    case ACTIVATION_LEAKY_RELU:
        activate_leaky(x, slope, n);
        break;
    case ACTIVATION_SIGMOID:
        activate_sigmoid(x, 0, n);
        break;
    case ACTIVATION_TANH:
        activate_tanh(x, 0, n);
        break;
    case ACTIVATION_MISH:
        activate_mish(x, 0, n);
        break;
    case ACTIVATION_NONE:
        break;
    default: /* of small networks only */
        for (int64_t i = 0; i < n; i++)
            x[i] = (float)activation_apply(kind, (double)x[i], slope);
    }
}

CLONES void block_add(float *restrict x, const float *restrict y, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] += y[i];
}

CLONES void block_multiply(float *restrict x, const float *restrict y, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] *= y[i];
}

CLONES void block_scale(float *x, float factor, float offset, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = x[i] * factor + offset;
}

/* NaN passes, as in the reference. */
CLONES void block_clamp(float *x, float low, float high, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        float v = x[i] < low ? low : x[i];
        x[i] = v > high ? high : v;
    }
}

CLONES void block_prelu(float *restrict x, const float *restrict slope, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = x[i] >= 0 ? x[i] : x[i] * slope[i];
}

CLONES void block_geglu(float *restrict x, const float *restrict gate, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] *= 0.5f * gate[i] * (1.0f + error_function(gate[i] * 0.707106781f));
}
