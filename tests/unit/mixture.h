/* mixture.h - a network whose answers are known: the exact denoiser of a mixture of Gaussians in the plane, told of x
 * and timestep as a trained network is, in any prediction and for any kind of schedule. Pairs of elements are points. */
#ifndef KILN_TESTS_MIXTURE_H
#define KILN_TESTS_MIXTURE_H

#include "diffusion/sampler.h"

#include <math.h>

typedef struct component {
    double weight, mean[2], covariance[3]; /* xx, xy, yy */
} component;

enum { MOST_COMPONENTS = 4 };

/* The VE level that the network is at, from what it is told. */
static inline double level_told(const schedule *t, float timestep)
{
    if (t->kind == SCHEDULE_EDM)
        return exp(4 * (double)timestep);
    if (t->kind == SCHEDULE_FLOW) {
        double time = fmin((double)timestep / t->count, 1 - 1e-7);
        return time / (1 - time);
    }
    double at = fmin(fmax((double)timestep, 0), t->count - 1);
    int low = at >= t->count - 1 ? t->count - 2 : (int)at;
    double w = at - low;
    return exp((1 - w) * (double)t->log_sigma[low] + w * (double)t->log_sigma[low + 1]);
}

/* E[x_0 | x_0 + sigma noise = x]. */
static inline void mixture_denoise(const component *parts, int count, const double x[2], double sigma,
                                   double out[2])
{
    double total = 0, most = -INFINITY, log_weight[MOST_COMPONENTS], mean[MOST_COMPONENTS][2];
    for (int i = 0; i < count; i++) {
        const component *p = &parts[i];
        double a = p->covariance[0] + sigma * sigma, b = p->covariance[1],
               d = p->covariance[2] + sigma * sigma;
        double det = a * d - b * b, u = x[0] - p->mean[0], v = x[1] - p->mean[1];
        double su = (d * u - b * v) / det, sv = (a * v - b * u) / det;
        log_weight[i] = log(p->weight) - 0.5 * log(det) - 0.5 * (u * su + v * sv);
        mean[i][0] = p->mean[0] + p->covariance[0] * su + b * sv;
        mean[i][1] = p->mean[1] + b * su + p->covariance[2] * sv;
        most = fmax(most, log_weight[i]);
    }
    out[0] = out[1] = 0;
    for (int i = 0; i < count; i++) {
        double w = exp(log_weight[i] - most);
        total += w;
        out[0] += w * mean[i][0];
        out[1] += w * mean[i][1];
    }
    out[0] /= total;
    out[1] /= total;
}

/* The network's output that says x_0, at the VE latent x of level sigma. */
static inline double said(const schedule *table, double x, double x0, double sigma)
{
    double root = sqrt(sigma * sigma + 1), noise = (x - x0) / sigma, data = table->config.sigma_data;
    if (table->kind == SCHEDULE_FLOW)
        return noise - x0;
    if (table->kind == SCHEDULE_EDM) {
        double square = sigma * sigma + data * data;
        return (x0 - data * data / square * x) / (sigma * data / sqrt(square));
    }
    switch (table->config.prediction) {
    case PREDICTION_V:
        return noise / root - sigma / root * x0;
    case PREDICTION_SAMPLE:
        return x0;
    default:
        return noise;
    }
}

/* How much smaller than the VE latent the network sees it. */
static inline double seen_scale(const schedule *table, double sigma)
{
    double data = table->config.sigma_data;
    if (table->kind == SCHEDULE_FLOW)
        return 1 / (1 + sigma);
    return 1 / sqrt(sigma * sigma + (table->kind == SCHEDULE_EDM ? data * data : 1));
}

#endif
