/* repaint.c - see repaint.h. */
#include "pipeline/repaint.h"

#include <math.h>

/* The network's output and x_0, one from the other, at what the network sees: output = a x + b x_0. */
typedef struct conversion {
    float of_x, of_x0;
} conversion;

static conversion output_of_x0(const sampler_plan *plan, float sigma)
{
    float of_x, of_output;
    sampler_x0_line(plan, sigma, &of_x, &of_output);
    return (conversion){-of_x / of_output, 1 / of_output};
}

/* The share of the drawing at a position: the mask, softened by the noise level. */
static float share(const repaint *r, size_t i, float sigma)
{
    float m = r->mask[i];
    if (!r->soft || m <= 0 || m >= 1)
        return m;
    return powf(m, powf(sigma, r->soft->bias) * r->soft->scale);
}

static float length(const float *x, size_t stride, int channels)
{
    float sum = 0;
    for (int c = 0; c < channels; c++)
        sum += x[(size_t)c * stride] * x[(size_t)c * stride];
    return sqrtf(sum);
}

/* What the mean of two latents is to be multiplied with, so that its length is the mean (of power `contrast`) of theirs. */
static float length_ratio(const repaint *r, const float *kept, const float *drawn, float t)
{
    size_t stride = r->positions;
    float sum = 0, power = r->soft->contrast;
    for (int c = 0; c < r->channels; c++) {
        float mean = kept[(size_t)c * stride] * (1 - t) + drawn[(size_t)c * stride] * t;
        sum += mean * mean;
    }
    double a = pow((double)length(kept, stride, r->channels), (double)power) * (1 - (double)t);
    double b = pow((double)length(drawn, stride, r->channels), (double)power) * (double)t;
    return (float)(pow(a + b, 1 / (double)power) / (sqrt((double)sum) + 1e-5));
}

void repaint_output(const repaint *r, const sampler_plan *plan, const float *x, float sigma, float *output)
{
    if (r->way != REPAINT_DENOISED || !(sigma > 0))
        return;
    conversion to = output_of_x0(plan, sigma);
    enum { MOST = 64 };
    for (size_t i = 0; i < r->positions; i++) {
        float t = share(r, i, sigma), drawn[MOST] = {0}, ratio = 1;
        if (t >= 1)
            continue;
        for (int c = 0; c < r->channels && c < MOST; c++) {
            size_t k = (size_t)c * r->positions + i;
            drawn[c] = (output[k] - to.of_x * x[k]) / to.of_x0;
        }
        if (r->soft && t > 0) {
            float kept[MOST] = {0};
            repaint one = *r;
            one.positions = 1;
            one.channels = r->channels < MOST ? r->channels : MOST;
            for (int c = 0; c < r->channels && c < MOST; c++)
                kept[c] = r->image[(size_t)c * r->positions + i];
            ratio = length_ratio(&one, kept, drawn, t);
        }
        for (int c = 0; c < r->channels && c < MOST; c++) {
            size_t k = (size_t)c * r->positions + i;
            float x0 = t > 0 ? (r->image[k] * (1 - t) + drawn[c] * t) * ratio : r->image[k];
            output[k] = to.of_x * x[k] + to.of_x0 * x0;
        }
    }
}

void repaint_step(const repaint *r, const sampler_plan *steps, int step, float *x, float *scratch)
{
    if (r->way != REPAINT_NOISED)
        return;
    sampler_noised_image(steps, steps->first + step, r->image, r->noise, scratch,
                         r->positions * (size_t)r->channels);
    for (int c = 0; c < r->channels; c++)
        for (size_t i = 0; i < r->positions; i++) {
            size_t k = (size_t)c * r->positions + i;
            x[k] = (1 - r->mask[i]) * scratch[k] + r->mask[i] * x[k];
        }
}

void repaint_finish(const repaint *r, float *x)
{
    for (int c = 0; c < r->channels; c++)
        for (size_t i = 0; i < r->positions; i++)
            if (r->mask[i] <= 0)
                x[(size_t)c * r->positions + i] = r->image[(size_t)c * r->positions + i];
}
