/* schedule.c - the tables: betas, their cumulative product, sigmas, and the way between sigma and timestep.
 *
 * Easy to get wrong:
 *  - scaled_linear is linear in the square root of beta, in float, and squared in float;
 *  - the product accumulates in double and is rounded at each entry (torch's cumprod on the CPU);
 *  - zero terminal SNR leaves alpha_bar[T-1] = 0 for DDIM, and 2^-24 where a finite sigma is needed. */
#include "diffusion/schedule.h"

#include "diffusion/linspace.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static double cosine_alpha_bar(double t)
{
    double c = cos((t + 0.008) / 1.008 * 3.14159265358979323846 / 2);
    return c * c;
}

static void fill_betas(const schedule_config *config, float *beta)
{
    int count = config->num_train_timesteps;
    if (config->trained_betas) {
        memcpy(beta, config->trained_betas, (size_t)count * sizeof *beta);
        return;
    }
    float span = (float)(config->beta_end - config->beta_start), start = (float)config->beta_start;
    for (int i = 0; i < count; i++) {
        switch (config->beta_schedule) {
        case BETA_LINEAR:
            beta[i] = linspace_f32((float)config->beta_start, (float)config->beta_end, count, i);
            break;
        case BETA_SCALED_LINEAR: {
            float root =
                linspace_f32((float)sqrt(config->beta_start), (float)sqrt(config->beta_end), count, i);
            beta[i] = root * root;
            break;
        }
        case BETA_SQUARED_COS:
            beta[i] = (float)fmin(
                1 - cosine_alpha_bar((double)(i + 1) / count) / cosine_alpha_bar((double)i / count), 0.999);
            break;
        case BETA_SIGMOID: {
            float logit = linspace_f32(-6, 6, count, i);
            beta[i] = 1 / (1 + expf(-logit)) * span + start;
            break;
        }
        }
    }
}

static void cumulative_product(const float *beta, float *alpha_bar, int count)
{
    double product = 1;
    for (int i = 0; i < count; i++) {
        product *= (double)(1.0f - beta[i]);
        alpha_bar[i] = (float)product;
    }
}

/* Lin et al. 2023, arXiv:2305.08891, algorithm 1: shift and scale sqrt(alpha_bar) so that it ends at 0. */
static void rescale_to_zero_terminal_snr(float *beta, float *alpha_bar, int count)
{
    float first = sqrtf(alpha_bar[0]), last = sqrtf(alpha_bar[count - 1]);
    float scale = first / (first - last);
    for (int i = 0; i < count; i++) {
        float root = (sqrtf(alpha_bar[i]) - last) * scale;
        alpha_bar[i] = root * root;
    }
    for (int i = count - 1; i > 0; i--)
        beta[i] = 1 - alpha_bar[i] / alpha_bar[i - 1];
    beta[0] = 1 - alpha_bar[0];
    cumulative_product(beta, alpha_bar, count);
}

static kiln_status check_betas(const float *beta, int count, kiln_error *err)
{
    for (int i = 0; i < count; i++)
        if (!(beta[i] > 0 && beta[i] < 1))
            return fail(err, KILN_BAD_ARGUMENT,
                        "noise schedule: beta at timestep %d is %g, expected 0 < beta < 1", i,
                        (double)beta[i]);
    return KILN_OK;
}

static kiln_status fill_tables(schedule *s, float *beta, float *alpha_bar, float *sigma, float *log_sigma,
                               kiln_error *err)
{
    int count = s->count;
    fill_betas(&s->config, beta);
    kiln_status status = check_betas(beta, count, err);
    if (status)
        return status;
    cumulative_product(beta, alpha_bar, count);
    if (s->config.rescale_betas_zero_snr) {
        if (!(alpha_bar[0] > alpha_bar[count - 1]))
            return fail(err, KILN_BAD_ARGUMENT,
                        "noise schedule: rescale_betas_zero_snr needs betas above rounding");
        rescale_to_zero_terminal_snr(beta, alpha_bar, count);
    }
    for (int i = 0; i < count; i++) {
        float a = alpha_bar[i];
        if (s->config.rescale_betas_zero_snr && i == count - 1)
            a = 0x1p-24f;
        if (!(a > 0 && a < 1))
            return fail(
                err, KILN_BAD_ARGUMENT,
                "noise schedule: the share of signal at timestep %d of %d is %g, expected between 0 and 1", i,
                count, (double)a);
        sigma[i] = sqrtf((1 - a) / a);
        log_sigma[i] = logf(sigma[i]);
    }
    return KILN_OK;
}

schedule_kind schedule_kind_of(const schedule_config *config)
{
    if (strncmp(config->class_name, "FlowMatch", 9) == 0 || config->use_flow_sigmas)
        return SCHEDULE_FLOW;
    return strncmp(config->class_name, "EDM", 3) == 0 ? SCHEDULE_EDM : SCHEDULE_VP;
}

double schedule_shift(double shift, double u)
{
    return shift * u / (1 + (shift - 1) * u);
}

double schedule_dynamic_shift(const schedule_config *config, int tokens, double u)
{
    if (!config->use_dynamic_shifting)
        return u;
    double span = config->max_image_seq_len - config->base_image_seq_len;
    double slope = span > 0 ? (config->max_shift - config->base_shift) / span : 0;
    double mu = config->base_shift + (tokens - config->base_image_seq_len) * slope;
    return schedule_shift(config->shift_kind == SHIFT_LINEAR ? mu : exp(mu), u);
}

/* Flow and EDM: levels first; alpha_bar is what a VP latent of the same ratio of signal and noise has. */
static kiln_status fill_levels(schedule *s, float *alpha_bar, float *sigma, float *log_sigma, kiln_error *err)
{
    const schedule_config *c = &s->config;
    for (int i = 0; i < s->count; i++) {
        float alpha = 1;
        if (s->kind == SCHEDULE_FLOW) {
            float u = (float)(i + 1) / (float)s->count, shift = (float)c->shift;
            sigma[i] = c->use_dynamic_shifting ? u : shift * u / (1 + (shift - 1) * u);
            alpha = 1 - sigma[i];
        } else {
            double ramp = 1 - (double)i / (s->count - 1);
            double high = pow(c->sigma_max, 1 / c->rho), low = pow(c->sigma_min, 1 / c->rho);
            sigma[i] = (float)(c->edm_sigmas == EDM_KARRAS
                                   ? pow(high + ramp * (low - high), c->rho)
                                   : exp(log(c->sigma_max) + ramp * log(c->sigma_min / c->sigma_max)));
        }
        alpha_bar[i] = alpha * alpha / (alpha * alpha + sigma[i] * sigma[i]);
        log_sigma[i] = logf(sigma[i]);
        if (!(sigma[i] > 0 && isfinite(log_sigma[i])) || (i > 0 && !(sigma[i] > sigma[i - 1])))
            return fail(err, KILN_BAD_ARGUMENT,
                        "noise schedule: the level at timestep %d is %g: shift %g, "
                        "sigma_min %g and sigma_max %g do not fit",
                        i, (double)sigma[i], c->shift, c->sigma_min, c->sigma_max);
    }
    return KILN_OK;
}

kiln_status schedule_new(schedule **out, const schedule_config *config, kiln_error *err)
{
    *out = NULL;
    int count = config->num_train_timesteps;
    if (count < 2 || count > SCHEDULE_MAX_TIMESTEPS)
        return fail(err, KILN_BAD_ARGUMENT, "noise schedule: num_train_timesteps is %d, expected 2 to %d",
                    count, SCHEDULE_MAX_TIMESTEPS);
    schedule *s = calloc(1, sizeof *s);
    if (s)
        s->storage = calloc((size_t)count * 4, sizeof(float));
    if (!s || !s->storage) {
        schedule_free(s);
        return fail(err, KILN_NO_MEMORY, "noise schedule: no memory for %d timesteps", count);
    }
    s->config = *config;
    s->kind = schedule_kind_of(config);
    s->count = count;
    float *beta = s->storage, *alpha_bar = beta + count, *sigma = alpha_bar + count,
          *log_sigma = sigma + count;
    s->alpha_bar = alpha_bar;
    s->sigma = sigma;
    s->log_sigma = log_sigma;
    kiln_status status = s->kind == SCHEDULE_VP ? fill_tables(s, beta, alpha_bar, sigma, log_sigma, err)
                                                : fill_levels(s, alpha_bar, sigma, log_sigma, err);
    s->config.trained_betas = NULL;
    if (status) {
        schedule_free(s);
        return status;
    }
    *out = s;
    return KILN_OK;
}

void schedule_free(schedule *s)
{
    if (!s)
        return;
    free(s->storage);
    free(s);
}

/* The last index whose log sigma is not above, at most T-2 so that there is a right neighbour. */
static int left_neighbour(const schedule *s, double log_sigma)
{
    int low = 0, high = s->count - 1;
    while (high - low > 1) {
        int middle = low + (high - low) / 2;
        if (log_sigma >= (double)s->log_sigma[middle])
            low = middle;
        else
            high = middle;
    }
    return low;
}

double schedule_timestep(const schedule *s, double sigma)
{
    if (s->kind == SCHEDULE_FLOW)
        return fmax(sigma, 0) * s->count;
    if (s->kind == SCHEDULE_EDM)
        return 0.25 * log(fmax(sigma, 1e-10));
    double log_sigma = log(fmax(sigma, 1e-10));
    int low_index = left_neighbour(s, log_sigma);
    double low = (double)s->log_sigma[low_index], high = (double)s->log_sigma[low_index + 1];
    double w = low == high ? 0 : (low - log_sigma) / (low - high);
    w = fmin(fmax(w, 0), 1);
    return (1 - w) * low_index + w * (low_index + 1);
}

float schedule_timestep_f32(const schedule *s, float sigma)
{
    if (s->kind != SCHEDULE_VP)
        return (float)schedule_timestep(s, (double)sigma);
    float log_sigma = logf(fmaxf(sigma, 1e-10f));
    int low_index = left_neighbour(s, (double)log_sigma);
    float low = s->log_sigma[low_index], high = s->log_sigma[low_index + 1];
    float w = low == high ? 0 : (low - log_sigma) / (low - high);
    w = fminf(fmaxf(w, 0), 1);
    return (1 - w) * (float)low_index + w * (float)(low_index + 1);
}

float schedule_sigma(const schedule *s, float timestep)
{
    if (s->kind == SCHEDULE_FLOW) {
        double u = fmin(fmax((double)timestep / s->count, 0), 1);
        return (float)(s->config.use_dynamic_shifting ? u : schedule_shift(s->config.shift, u));
    }
    if (s->kind == SCHEDULE_EDM)
        return expf(4 * timestep);
    float t = fminf(fmaxf(timestep, 0), (float)(s->count - 1));
    int low = (int)floorf(t), high = (int)ceilf(t);
    float w = t - (float)low;
    return expf((1 - w) * s->log_sigma[low] + w * s->log_sigma[high]);
}

float schedule_alpha_bar(const schedule *s, int timestep, float final)
{
    if (timestep < 0)
        return final;
    return s->alpha_bar[timestep < s->count ? timestep : s->count - 1];
}
