/* prediction.c - see prediction.h. */
#include "diffusion/prediction.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void prediction_to_x0_ve(prediction_type type, const float *x, const float *output, float sigma, float *out,
                         size_t n)
{
    float square = sigma * sigma + 1;
    float c_out = -sigma / sqrtf(square);
    switch (type) {
    case PREDICTION_EPSILON:
        for (size_t i = 0; i < n; i++)
            out[i] = x[i] - sigma * output[i];
        break;
    case PREDICTION_V:
        for (size_t i = 0; i < n; i++)
            out[i] = output[i] * c_out + x[i] / square;
        break;
    case PREDICTION_SAMPLE:
        memmove(out, output, n * sizeof *out);
        break;
    }
}

void prediction_to_x0_vp(prediction_type type, const float *x, const float *output, float alpha_bar,
                         float *x0, float *noise, size_t n)
{
    float alpha = sqrtf(alpha_bar), sigma = sqrtf(1 - alpha_bar);
    for (size_t i = 0; i < n; i++) {
        float data, eps;
        switch (type) {
        case PREDICTION_V:
            data = alpha * x[i] - sigma * output[i];
            eps = alpha * output[i] + sigma * x[i];
            break;
        case PREDICTION_SAMPLE:
            data = output[i];
            eps = (x[i] - alpha * data) / sigma;
            break;
        default:
            data = (x[i] - sigma * output[i]) / alpha;
            eps = output[i];
            break;
        }
        if (x0)
            x0[i] = data;
        if (noise)
            noise[i] = eps;
    }
}

void prediction_target(prediction_type type, const float *x0, const float *noise, float alpha_bar, float *out,
                       size_t n)
{
    float alpha = sqrtf(alpha_bar), sigma = sqrtf(1 - alpha_bar);
    for (size_t i = 0; i < n; i++) {
        switch (type) {
        case PREDICTION_EPSILON:
            out[i] = noise[i];
            break;
        case PREDICTION_V:
            out[i] = alpha * noise[i] - sigma * x0[i];
            break;
        case PREDICTION_SAMPLE:
            out[i] = x0[i];
            break;
        }
    }
}

void add_noise_vp(const float *x0, const float *noise, float alpha_bar, float *out, size_t n)
{
    float alpha = sqrtf(alpha_bar), sigma = sqrtf(1 - alpha_bar);
    for (size_t i = 0; i < n; i++)
        out[i] = alpha * x0[i] + sigma * noise[i];
}

void add_noise_ve(const float *x0, const float *noise, float sigma, float *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = x0[i] + noise[i] * sigma;
}

void clip_x0(float *x0, float range, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x0[i] = fminf(fmaxf(x0[i], -range), range);
}

static int compare_floats(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

void threshold_x0(float *x0, double ratio, double most, float *scratch, size_t n)
{
    if (n == 0)
        return;
    for (size_t i = 0; i < n; i++)
        scratch[i] = isnan(x0[i]) ? INFINITY : fabsf(x0[i]);
    qsort(scratch, n, sizeof *scratch, compare_floats);
    double rank = fmin(fmax(ratio, 0), 1) * (double)(n - 1);
    size_t low = (size_t)rank, high = low + 1 < n ? low + 1 : low;
    float quantile = scratch[low] + (float)(rank - (double)low) * (scratch[high] - scratch[low]);
    float limit = fminf(fmaxf(quantile, 1), (float)fmax(most, 1));
    for (size_t i = 0; i < n; i++)
        x0[i] = fminf(fmaxf(x0[i], -limit), limit) / limit;
}
