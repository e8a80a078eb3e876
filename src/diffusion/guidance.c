/* guidance.c - see guidance.h. */
#include "diffusion/guidance.h"

#include "diffusion/prediction.h"

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

bool guidance_is_on(const guidance_interval *g, int step, int steps, double sigma)
{
    if (g->early > 0 && step <= g->early * steps)
        return false;
    if (g->end > 0 && step >= g->end * steps)
        return false;
    return !(g->lowest > 0 && sigma < g->lowest && (g->every || step % 2));
}

bool guidance_pauses(const guidance_interval *g)
{
    return g->early > 0 || (g->end > 0 && g->end < 1) || g->lowest > 0;
}

void guide_perpendicular(const float *with, const float *negative, const float *empty, float scale,
                         float strength, float *out, size_t n)
{
    double along = 0, square = 0;
    for (size_t i = 0; i < n; i++) {
        double p = (double)with[i] - (double)empty[i], q = (double)negative[i] - (double)empty[i];
        along += q * p;
        square += p * p;
    }
    float share = square > 0 ? (float)(along / square) : 0;
    for (size_t i = 0; i < n; i++) {
        float p = with[i] - empty[i], q = negative[i] - empty[i], e = empty[i];
        out[i] = e + scale * (p - strength * (q - share * p));
    }
}

void guide_threshold(float *guided, const float *with, const float *without, const float *seen,
                     answer_line line, float mimic, double percentile, float *scratch, size_t n)
{
    double mean = 0, mild_mean = 0;
    float most = 0;
    for (size_t i = 0; i < n; i++) {
        guided[i] = line.of_seen * seen[i] + line.of_answer * guided[i];
        scratch[i] = line.of_seen * seen[i] + line.of_answer * (without[i] + mimic * (with[i] - without[i]));
        mean += (double)guided[i] / (double)n;
        mild_mean += (double)scratch[i] / (double)n;
    }
    for (size_t i = 0; i < n; i++) {
        most = fmaxf(most, fabsf(scratch[i] - (float)mild_mean));
        guided[i] -= (float)mean;
    }
    float limit = fmaxf(most, magnitude_quantile(guided, percentile, scratch, n));
    for (size_t i = 0; i < n; i++) {
        float x0 = limit > 0 ? fminf(fmaxf(guided[i], -limit), limit) / limit * most : 0;
        guided[i] = (x0 + (float)mean - line.of_seen * seen[i]) / line.of_answer;
    }
}
