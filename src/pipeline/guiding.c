/* guiding.c - see guiding.h. The keys are A1111's ("Skip Early CFG", "NGMS"), those of its extension Dynamic
 * Thresholding, and for the rest what SD.Next and ComfyUI call it. */
#include "pipeline/guiding.h"

#include "pipeline/request.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

kiln_status guiding_check(const kiln_guidance *g, kiln_error *err)
{
    const struct {
        const char *name;
        double given, low, high;
    } numbers[] = {
        {"guidance.skip_early", g->skip_early, 0, 1},
        {"guidance.end", g->end, 0, 1},
        {"guidance.minimum_sigma", g->minimum_sigma, 0, 1000},
        {"guidance.mimic_scale", g->mimic_scale, 0, 1000},
        {"guidance.mimic_percentile", g->mimic_percentile == 0 ? 1 : g->mimic_percentile, 0.5, 1},
        {"guidance.perpendicular", g->perpendicular, 0, 10},
    };
    kiln_status status = KILN_OK;
    for (size_t i = 0; status == KILN_OK && i < sizeof numbers / sizeof *numbers; i++)
        status =
            request_check_number(numbers[i].name, numbers[i].given, numbers[i].low, numbers[i].high, err);
    return status;
}

guidance_interval guiding_interval(const kiln_guidance *g)
{
    return (guidance_interval){g->skip_early, g->end, g->minimum_sigma, g->minimum_every_step};
}

void guiding_request(const kiln_sampling *s, sampler_request *q)
{
    if (s->s_noise != 0)
        q->s_noise = s->s_noise;
    if (s->s_tmax != 0)
        q->s_tmax = s->s_tmax;
    q->s_churn = s->s_churn;
    q->s_tmin = s->s_tmin;
    q->sigmas.sigma_min = s->sigma_min;
    q->sigmas.sigma_max = s->sigma_max;
    q->sigmas.rho = s->rho;
}

/* A1111's keys of what is not 0. */
static const struct {
    const char *key;
    size_t offset;
} sampling_keys[] = {
    {"Sigma churn", offsetof(kiln_sampling, s_churn)},
    {"Sigma tmin", offsetof(kiln_sampling, s_tmin)},
    {"Sigma tmax", offsetof(kiln_sampling, s_tmax)},
    {"Sigma noise", offsetof(kiln_sampling, s_noise)},
    {"Schedule min sigma", offsetof(kiln_sampling, sigma_min)},
    {"Schedule max sigma", offsetof(kiln_sampling, sigma_max)},
    {"Schedule rho", offsetof(kiln_sampling, rho)},
};
enum { SAMPLING_KEYS = sizeof sampling_keys / sizeof *sampling_keys };

static void set_number(infotext *t, const char *key, double number)
{
    char text[32];
    snprintf(text, sizeof text, "%.9g", number);
    (void)!infotext_set(t, key, text, NULL);
}

void guiding_add_fields(const kiln_guidance *g, const kiln_sampling *s, infotext *t)
{
    for (int i = 0; i < SAMPLING_KEYS; i++) {
        double number = *(const double *)((const char *)s + sampling_keys[i].offset);
        if (number != 0)
            set_number(t, sampling_keys[i].key, number);
    }
    if (g->skip_early > 0)
        set_number(t, "Skip Early CFG", g->skip_early);
    if (g->end > 0 && g->end < 1)
        set_number(t, "CFG end", g->end);
    if (g->minimum_sigma > 0) {
        set_number(t, "NGMS", g->minimum_sigma);
        if (g->minimum_every_step)
            (void)!infotext_set(t, "NGMS all steps", "True", NULL);
    }
    if (g->mimic_scale > 0) {
        (void)!infotext_set(t, "Dynamic thresholding enabled", "True", NULL);
        set_number(t, "Mimic scale", g->mimic_scale);
        set_number(t, "Threshold percentile", 100 * (g->mimic_percentile == 0 ? 1 : g->mimic_percentile));
    }
    if (g->perpendicular > 0)
        set_number(t, "Perpendicular negative", g->perpendicular);
}

static double number_of(const infotext *t, const char *key)
{
    const char *text = infotext_get(t, key);
    char *end = NULL;
    double number = text ? strtod(text, &end) : 0;
    return text && end != text && isfinite(number) ? number : 0;
}

static bool is_true(const infotext *t, const char *key)
{
    const char *text = infotext_get(t, key);
    return text && strcasecmp(text, "True") == 0;
}

void guiding_read_fields(const infotext *t, kiln_guidance *g, kiln_sampling *s)
{
    for (int i = 0; i < SAMPLING_KEYS; i++)
        *(double *)((char *)s + sampling_keys[i].offset) = number_of(t, sampling_keys[i].key);
    *g = (kiln_guidance){.skip_early = number_of(t, "Skip Early CFG"),
                         .end = number_of(t, "CFG end"),
                         .minimum_sigma = number_of(t, "NGMS"),
                         .minimum_every_step = is_true(t, "NGMS all steps"),
                         .perpendicular = number_of(t, "Perpendicular negative")};
    if (is_true(t, "Dynamic thresholding enabled")) {
        g->mimic_scale = number_of(t, "Mimic scale");
        g->mimic_percentile = number_of(t, "Threshold percentile") / 100;
    }
}
