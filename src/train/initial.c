/* initial.c - see initial.h. */
#include "train/initial.h"

#include "diffusion/noise.h"
#include "train/mix.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MIX_INITIAL = MIX_OBJECTIVE + 50 };

/* Of an autoencoder's posterior: a deviation of 0.05. */
#define INITIAL_LOG_VARIANCE -6.0f

/* FNV-1a over part and name. */
static uint64_t name_bits(part_kind part, const char *name)
{
    uint64_t h = 14695981039346656037u ^ (uint64_t)part;
    for (; *name; name++)
        h = (h ^ (unsigned char)*name) * 1099511628211u;
    return h;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static bool contains_layer(const char *name, const char *layer)
{
    char weight[64], bias[64];
    snprintf(weight, sizeof weight, "%s.weight", layer);
    snprintf(bias, sizeof bias, "%s.bias", layer);
    return ends_with(name, weight) || ends_with(name, bias);
}

static void fill(float *to, int64_t count, float number)
{
    for (int64_t i = 0; i < count; i++)
        to[i] = number;
}

static void fill_uniform(float *to, int64_t count, uint64_t bits, double bound)
{
    for (int64_t i = 0; i < count; i++)
        to[i] = (float)((2 * mix_unit(mix_word(bits + (uint64_t)i)) - 1) * bound);
}

static void fill_normal(float *to, int64_t count, uint64_t bits, double deviation)
{
    noise_source source;
    noise_init(&source, NOISE_PHILOX, bits);
    noise_fill(&source, to, (size_t)count);
    for (int64_t i = 0; i < count; i++)
        to[i] *= (float)deviation;
}

/* Inputs that one output of the layer sums over; a bias has those of its weight. */
static int64_t fan_in(const initial_weights *w, const parameter *p)
{
    shape s = p->shape;
    char weight[PATH_TEXT];
    size_t length = strlen(p->canonical);
    if (s.rank == 1 && ends_with(p->canonical, ".bias")) {
        snprintf(weight, sizeof weight, "%.*sweight", (int)(length - 4), p->canonical);
        int i = graph_find_parameter(w->graph, weight);
        s = i >= 0 ? w->graph->parameters[i].shape : s;
    }
    int64_t n = 1;
    for (int i = 1; i < s.rank; i++)
        n *= s.dim[i];
    return n > 0 ? n : 1;
}

static double text_deviation(const initial_weights *w, const char *name)
{
    double width = w->text_width, in = pow(width, -0.5) * pow(2.0 * w->text_layers, -0.5);
    if (ends_with(name, ".out_proj.weight") || ends_with(name, "text_projection.weight"))
        return pow(width, -0.5);
    if (ends_with(name, ".fc1.weight"))
        return pow(2 * width, -0.5);
    if (strstr(name, "_proj.weight") || ends_with(name, ".fc2.weight"))
        return in;
    return 0.02;
}

/* The last convolution of an upscaler: what is added to the enlarged picture. */
static bool is_last_layer(const initial_weights *w, const char *name)
{
    for (int i = w->graph->parameter_count - 2; i >= 0 && i < w->graph->parameter_count; i++)
        if (strcmp(w->graph->parameters[i].canonical, name) == 0)
            return true;
    return false;
}

static bool starts_at_zero(const initial_weights *w, const parameter *p)
{
    const char *name = p->canonical;
    if (w->part == PART_UPSCALER)
        return p->role == ROLE_BIAS || (w->zero_init && is_last_layer(w, name));
    if (w->part == PART_TEXT)
        return ends_with(name, ".bias");
    if (!w->zero_init)
        return false;
    return contains_layer(name, ".conv2") || (w->part == PART_UNET && (contains_layer(name, ".proj_out") ||
                                                                       strncmp(name, "conv_out.", 9) == 0));
}

/* The latents of an untrained autoencoder are small (about 0.2) beside a deviation of 1: the decoder would see noise, and
 * the encoder learn nothing until the logarithm of the variance has come down, step by step. It starts there. */
static void narrow_posterior(const initial_weights *w, const parameter *p, float *to, int64_t count)
{
    if (w->part != PART_VAE || strncmp(p->canonical, "quant_conv.", 11) != 0)
        return;
    fill(to + count / 2, count - count / 2, ends_with(p->canonical, ".bias") ? INITIAL_LOG_VARIANCE : 0.0f);
}

static kiln_status read_initial(void *self, const parameter *p, int index, float *to, kiln_error *err)
{
    (void)index;
    (void)err;
    const initial_weights *w = self;
    int64_t count = shape_count(p->shape);
    uint64_t bits = mix(w->seed, MIX_INITIAL, name_bits(w->part, p->canonical), 0);
    if (p->role == ROLE_NORM && w->part == PART_UPSCALER)
        fill(to, count, 0.25f); /* PReLU, as torch begins */
    else if (p->role == ROLE_NORM)
        fill(to, count, ends_with(p->canonical, ".weight") ? 1.0f : 0.0f);
    else if (starts_at_zero(w, p))
        fill(to, count, 0.0f);
    else if (w->part == PART_TEXT)
        fill_normal(to, count, bits, text_deviation(w, p->canonical));
    else if (p->role == ROLE_EMBEDDING)
        fill_normal(to, count, bits, 1.0);
    else if (w->part == PART_UPSCALER)
        /* Nothing goes around its convolutions: torch's own bound would leave a thousandth of the signal after twelve. He
         * et al. 2015, for PReLUs of 1/4. */
        fill_uniform(to, count, bits, sqrt(6 / ((1 + 0.0625) * (double)fan_in(w, p))));
    else
        fill_uniform(to, count, bits, 1 / sqrt((double)fan_in(w, p)));
    narrow_posterior(w, p, to, count);
    return KILN_OK;
}

parameter_source initial_source(const initial_weights *self)
{
    return (parameter_source){.read = read_initial, .self = (void *)self};
}
