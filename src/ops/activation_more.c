/* activation_more.c - the rarer nonlinearities, which users of hypernetworks may choose: each as torch.nn defines it with
 * its defaults, and its derivative. At a corner the derivative is the one that torch takes. */
#include "ops/op.h"

#include <math.h>

/* Klambauer et al. 2017, arXiv:1706.02515. */
#define SELU_ALPHA 1.6732632423543772848
#define SELU_SCALE 1.0507009873554804934
#define SHRINK 0.5
/* Above this torch's softplus is x itself. */
#define SOFT_PLUS_LINEAR 20.0

static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static double clamped(double x, double low, double high)
{
    return x < low ? low : x > high ? high : x;
}

double activation_apply_more(activation_kind kind, double x, float slope)
{
    switch (kind) {
    case ACTIVATION_ELU:
        return x > 0 ? x : (double)slope * expm1(x);
    case ACTIVATION_SELU:
        return SELU_SCALE * (x > 0 ? x : SELU_ALPHA * expm1(x));
    case ACTIVATION_RELU6:
        return clamped(x, 0, 6);
    case ACTIVATION_HARD_TANH:
        return clamped(x, -1, 1);
    case ACTIVATION_HARD_SIGMOID:
        return clamped(x + 3, 0, 6) / 6;
    case ACTIVATION_HARD_SWISH:
        return x * clamped(x + 3, 0, 6) / 6;
    case ACTIVATION_HARD_SHRINK:
        return fabs(x) <= SHRINK ? 0 : x;
    case ACTIVATION_SOFT_SHRINK:
        return x > SHRINK ? x - SHRINK : x < -SHRINK ? x + SHRINK : x * 0; /* NaN stays */
    case ACTIVATION_TANH_SHRINK:
        return x - tanh(x);
    case ACTIVATION_SOFT_PLUS:
        return x > SOFT_PLUS_LINEAR ? x : log1p(exp(x));
    case ACTIVATION_SOFT_SIGN:
        return x / (1 + fabs(x));
    case ACTIVATION_LOG_SIGMOID:
        return fmin(x, 0) - log1p(exp(-fabs(x)));
    default:
        return x;
    }
}

double activation_slope_more(activation_kind kind, double x, float slope)
{
    switch (kind) {
    case ACTIVATION_ELU:
        return x > 0 ? 1 : (double)slope * exp(x);
    case ACTIVATION_SELU:
        return SELU_SCALE * (x > 0 ? 1 : SELU_ALPHA * exp(x));
    case ACTIVATION_RELU6:
        return x > 0 && x < 6 ? 1 : 0;
    case ACTIVATION_HARD_TANH:
        return x > -1 && x < 1 ? 1 : 0;
    case ACTIVATION_HARD_SIGMOID:
        return x > -3 && x < 3 ? 1.0 / 6 : 0;
    case ACTIVATION_HARD_SWISH:
        return x < -3 ? 0 : x <= 3 ? x / 3 + 0.5 : 1;
    case ACTIVATION_HARD_SHRINK:
    case ACTIVATION_SOFT_SHRINK:
        return fabs(x) <= SHRINK ? 0 : 1;
    case ACTIVATION_TANH_SHRINK:
        return tanh(x) * tanh(x);
    case ACTIVATION_SOFT_PLUS:
        return x > SOFT_PLUS_LINEAR ? 1 : sigmoid(x);
    case ACTIVATION_SOFT_SIGN:
        return 1 / ((1 + fabs(x)) * (1 + fabs(x)));
    case ACTIVATION_LOG_SIGMOID:
        return sigmoid(-x);
    default:
        return 1;
    }
}
