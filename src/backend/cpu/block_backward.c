/* block_backward.c - see block_backward.h. The formulas are those of ops/activation_backward.c. */
#include "backend/cpu/block_backward.h"

#include "backend/cpu/vector_math.h"
#include "ops/table.h"

CLONES static void silu_backward(const float *restrict x, float *restrict dy, float slope, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        float z = slope * x[i], s = 1.0f / (1.0f + exponential(-z));
        dy[i] *= s + z * s * (1.0f - s);
    }
}

INLINE float gelu_derivative(float x)
{
    float density = 0.398942280f * exponential(-0.5f * x * x);
    return 0.5f * (1.0f + error_function(x * 0.707106781f)) + x * density;
}

CLONES static void gelu_backward(const float *restrict x, float *restrict dy, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        dy[i] *= gelu_derivative(x[i]);
}

CLONES static void gelu_tanh_backward(const float *restrict x, float *restrict dy, int64_t n)
{
    const float c = 0.797884561f, k = 0.044715f;
    for (int64_t i = 0; i < n; i++) {
        float s = x[i] * x[i], t = tangent(c * (x[i] + k * x[i] * s));
        dy[i] *= 0.5f * (1.0f + t) + 0.5f * x[i] * (1.0f - t * t) * c * (1.0f + 3.0f * k * s);
    }
}

CLONES static void leaky_backward(const float *restrict x, float *restrict dy, float slope, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        dy[i] *= x[i] > 0 ? 1.0f : slope;
}

CLONES static void sigmoid_backward(const float *restrict x, float *restrict dy, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        float s = sigmoid(x[i]);
        dy[i] *= s * (1.0f - s);
    }
}

CLONES static void tanh_backward(const float *restrict x, float *restrict dy, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        float t = tangent(x[i]);
        dy[i] *= 1.0f - t * t;
    }
}

CLONES static void mish_backward(const float *restrict x, float *restrict dy, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        float gate = soft_gate(x[i]);
        dy[i] *= gate + x[i] * (1.0f - gate * gate) * sigmoid(x[i]);
    }
}

void block_activate_backward(activation_kind kind, float slope, const float *x, float *dy, int64_t n)
{
    switch (kind) {
    case ACTIVATION_SILU:
        silu_backward(x, dy, 1.0f, n);
        break;
    case ACTIVATION_QUICK_GELU:
        silu_backward(x, dy, 1.702f, n);
        break;
    case ACTIVATION_GELU:
        gelu_backward(x, dy, n);
        break;
    case ACTIVATION_GELU_TANH:
        gelu_tanh_backward(x, dy, n);
        break;
    case ACTIVATION_RELU:
        leaky_backward(x, dy, 0.0f, n);
        break;
    case ACTIVATION_LEAKY_RELU:
        leaky_backward(x, dy, slope, n);
        break;
    case ACTIVATION_SIGMOID:
        sigmoid_backward(x, dy, n);
        break;
    case ACTIVATION_TANH:
        tanh_backward(x, dy, n);
        break;
    case ACTIVATION_MISH:
        mish_backward(x, dy, n);
        break;
    case ACTIVATION_NONE:
        break;
    default: /* of small networks only */
        for (int64_t i = 0; i < n; i++)
            dy[i] *= (float)activation_slope(kind, (double)x[i], slope);
    }
}

CLONES void block_prelu_backward(const float *restrict x, const float *restrict slope, float *restrict dy,
                                 int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        dy[i] = x[i] >= 0 ? dy[i] : dy[i] * slope[i];
}

CLONES void block_clamp_backward(const float *restrict x, float low, float high, float *restrict dy,
                                 int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        dy[i] = x[i] < low || x[i] > high ? 0.0f : dy[i];
}

CLONES void block_geglu_backward(float *restrict x, float *restrict gate, const float *restrict dy, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        float v = gate[i], chance = 0.5f * (1.0f + error_function(v * 0.707106781f));
        float slope = chance + v * 0.398942280f * exponential(-0.5f * v * v);
        gate[i] = dy[i] * x[i] * slope;
        x[i] = dy[i] * v * chance;
    }
}

CLONES void block_difference(float *restrict x, const float *restrict y, float factor, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = (x[i] - y[i]) * factor;
}

CLONES void block_exp(float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = exponential(x[i]);
}
