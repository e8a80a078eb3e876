/* prediction.c - see prediction.h. */
#include "diffusion/prediction.h"

#include <math.h>
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
    case PREDICTION_FLOW: /* at (1 - sigma) x_0 + sigma noise */
        for (size_t i = 0; i < n; i++)
            out[i] = x[i] - sigma * output[i];
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
        case PREDICTION_FLOW:
            out[i] = noise[i] - x0[i];
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

/* Let x[at] sink to its place among its children below n. */
static void sink(float *x, size_t at, size_t n)
{
    for (size_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && x[child + 1] > x[child])
            child++;
        if (x[at] >= x[child])
            return;
        float swap = x[at];
        x[at] = x[child];
        x[child] = swap;
    }
}

/* Heapsort: the C library's qsort takes memory, and this runs at every step. No NaN. */
static void sort(float *x, size_t n)
{
    for (size_t i = n / 2; i-- > 0;)
        sink(x, i, n);
    while (n-- > 1) {
        float swap = x[0];
        x[0] = x[n];
        x[n] = swap;
        sink(x, 0, n);
    }
}

float magnitude_quantile(const float *x0, double ratio, float *scratch, size_t n)
{
    for (size_t i = 0; i < n; i++)
        scratch[i] = isnan(x0[i]) ? INFINITY : fabsf(x0[i]);
    sort(scratch, n);
    double rank = fmin(fmax(ratio, 0), 1) * (double)(n - 1);
    size_t low = (size_t)rank, high = low + 1 < n ? low + 1 : low;
    return scratch[low] + (float)(rank - (double)low) * (scratch[high] - scratch[low]);
}

void threshold_x0(float *x0, double ratio, double most, float *scratch, size_t n)
{
    if (n == 0)
        return;
    float quantile = magnitude_quantile(x0, ratio, scratch, n);
    float limit = fminf(fmaxf(quantile, 1), (float)fmax(most, 1));
    for (size_t i = 0; i < n; i++)
        x0[i] = fminf(fmaxf(x0[i], -limit), limit) / limit;
}
