/* guidance.c - see guidance.h. */
#include "diffusion/guidance.h"

#include <math.h>

void guide(const float *with, const float *without, float scale, float *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = without[i] + scale * (with[i] - without[i]);
}

/* Sample standard deviation (n - 1), as torch's. */
static double spread(const float *x, size_t n)
{
    double mean = 0, sum = 0;
    for (size_t i = 0; i < n; i++)
        mean += (double)x[i];
    mean /= (double)n;
    for (size_t i = 0; i < n; i++)
        sum += ((double)x[i] - mean) * ((double)x[i] - mean);
    return sqrt(sum / (double)(n - 1));
}

void guide_rescale(float *guided, const float *with, float rescale, size_t n)
{
    if (n < 2 || rescale == 0)
        return;
    double of_guided = spread(guided, n);
    if (!(of_guided > 0))
        return;
    float ratio = (float)(spread(with, n) / of_guided);
    for (size_t i = 0; i < n; i++)
        guided[i] = rescale * (guided[i] * ratio) + (1 - rescale) * guided[i];
}
