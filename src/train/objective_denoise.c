/* objective_denoise.c - methods text_to_image and pixel: the denoiser learns to tell noise from picture.
 *
 *   x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) noise      (Ho et al. 2020, eq. 4)
 *   target: the noise; or the velocity (Salimans and Ho 2022)
 *   flow:   x_s = (1 - s) x_0 + s noise, target noise - x_0        (Lipman et al. 2023; Esser et al. 2024)
 *   loss:   mean of weight_n * (prediction - target)^2, with min-SNR weights (Hang et al. 2023, section 3.4)
 *
 * x_0 is a sample of the VAE's distribution, scaled, or the picture itself. */
#include "train/objective.h"

#include "diffusion/noise.h"
#include "diffusion/prediction.h"
#include "ops/ops.h"
#include "text/chunks.h"
#include "train/mix.h"
#include "train/parameters.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MIX_TIMESTEP = MIX_OBJECTIVE, MIX_TIMESTEP_2, MIX_OFFSET, MIX_PICTURE, MIX_POSTERIOR };

static int latent_factor(const objective *o)
{
    return o->latent ? vae_factor(&o->model->parts->vae) : 1;
}

static value draw_encoder(const objective *o, graph *g, int batch)
{
    clip_text_draw(
        g, &o->model->parts->text,
        &(clip_text_shape){
            .batch = batch, .tokens = CHUNK_LENGTH, .outputs = CLIP_HIDDEN_LN, .skip = o->recipe->clip_skip});
    return graph_take_output(g, "hidden_ln");
}

/* SDXL: the penultimate states of both side by side, whatever clip_skip says, and the second one's pooled state (Podell et
 * al. 2023, section 2.1). */
static value draw_both_encoders(const objective *o, graph *g, int batch, value *pooled)
{
    clip_text_shape size = {.batch = batch, .tokens = CHUNK_LENGTH, .outputs = CLIP_HIDDEN_RAW, .skip = 2};
    clip_text_draw(g, &o->model->parts->text, &size);
    value states[2] = {graph_take_output(g, "hidden_raw")};
    size.outputs |= CLIP_TEXT_EMBEDS;
    size.place = parameters_place(NETWORK_TEXT_2);
    clip_text_draw(g, &o->model->parts->text_2, &size);
    states[1] = graph_take_output(g, "text_encoder_2.hidden_raw");
    *pooled = graph_take_output(g, "text_encoder_2.text_embeds");
    return op_concat(graph_root(g), 2, states, -1);
}

static value draw(const objective *o, graph *g, const objective_shape *s)
{
    int f = latent_factor(o);
    bool ids = o->networks >> NETWORK_TEXT_1 & 1, both = o->networks >> NETWORK_TEXT_2 & 1;
    value context = NO_VALUE, pooled = NO_VALUE;
    if (ids)
        context = both ? draw_both_encoders(o, g, s->batch, &pooled) : draw_encoder(o, g, s->batch);
    unet_draw(g, &o->model->parts->unet,
              &(unet_shape){.batch = s->batch,
                            .height = s->height_px / f,
                            .width = s->width_px / f,
                            .context_tokens = o->worded ? CHUNK_LENGTH : 1});
    if (ids)
        graph_join(g, "encoder_hidden_states", context);
    if (both)
        graph_join(g, "added_text_embeds", pooled);
    at a = graph_root(g);
    value out = graph_take_output(g, "out");
    value target = graph_input(g, "target", value_shape(a, out), DTYPE_F32);
    value by_sample = graph_input(g, "weights", SHAPE1(s->batch), DTYPE_F32);
    return op_mean_squared_error(a, out, target, by_sample);
}

/* ------------------------------------------------------------------------------------ timesteps and weights */

/* Esser et al. 2024, equation 23: times move towards noise, where the words decide what the sample cannot show. */
static double shifted_time(const objective *o, double time)
{
    double s = o->recipe->timestep_shift;
    return s * time / (1 + (s - 1) * time);
}

/* A place in 0..1 of the noise schedule. */
static double draw_time(const objective *o, const objective_batch *b, int i)
{
    uint64_t seed = b->samples[i].noise_seed;
    if (b->validation) {
        double golden = 0.5 + 0.6180339887498949 * (double)b->samples[i].serial;
        return golden - floor(golden);
    }
    double u = mix_unit(mix(seed, MIX_TIMESTEP, 0, 0));
    if (strcmp(o->recipe->timestep_sampling, "logit_normal") != 0)
        return shifted_time(o, u);
    double w = mix_unit(mix(seed, MIX_TIMESTEP_2, 0, 0));
    double normal = sqrt(-2 * log(1 - u)) * cos(6.283185307179586 * w);
    return shifted_time(o, 1 / (1 + exp(-normal)));
}

static int discrete_time(const objective *o, double time)
{
    int low = o->recipe->min_timestep,
        high = o->recipe->max_timestep ? o->recipe->max_timestep : o->schedule->count;
    high = high < o->schedule->count ? high : o->schedule->count;
    int t = low + (int)(time * (high - low));
    return t < high ? t : high - 1;
}

/* The weight of a sample's squared error. */
static double snr_weight(const objective *o, double alpha_bar)
{
    double gamma = o->recipe->min_snr_gamma;
    if (gamma <= 0)
        return 1;
    double snr = alpha_bar / (1 - alpha_bar);
    double least = snr < gamma ? snr : gamma;
    if (o->schedule->config.prediction == PREDICTION_V)
        return least / (snr + 1);
    return o->schedule->config.prediction == PREDICTION_SAMPLE ? least : snr > 0 ? least / snr : 1;
}

/* ------------------------------------------------------------------------------------ one sample */

/* One sample's arrays, [positions,channels] each. */
typedef struct noising {
    float *x0, *noise, *sample, *target;
    size_t count;
    int channels;
    int places; /* of 2x2 latents: what a shift may depend on */
} noising;

static void fill_noise(const objective *o, const order_sample *s, const noising *n)
{
    noise_source source;
    float offset[VAE_MAX_LATENT_CHANNELS];
    noise_init(&source, NOISE_PHILOX, mix(s->noise_seed, MIX_PICTURE, 0, 0));
    noise_fill(&source, n->noise, n->count);
    if (o->recipe->noise_offset <= 0)
        return;
    noise_init(&source, NOISE_PHILOX, mix(s->noise_seed, MIX_OFFSET, 0, 0));
    noise_fill(&source, offset, (size_t)n->channels);
    for (size_t i = 0; i < n->count; i++)
        n->noise[i] += (float)o->recipe->noise_offset * offset[i % (size_t)n->channels];
}

/* moments [positions,2C] to scaled latents; sampled, or (validation) their mean. */
static void sample_posterior(const objective *o, const objective_batch *b, int i, const float *moments,
                             const noising *n)
{
    const vae_config *v = &o->model->parts->vae;
    noise_source source;
    size_t channels = (size_t)n->channels;
    noise_init(&source, NOISE_PHILOX, mix(b->samples[i].noise_seed, MIX_POSTERIOR, 0, 0));
    noise_fill(&source, n->sample, n->count);
    for (size_t k = 0; k < n->count; k++) {
        size_t c = k % channels, at_position = k / channels * 2 * channels;
        float mean = moments[at_position + c],
              logvar = fminf(fmaxf(moments[at_position + channels + c], -30), 20);
        float z = b->validation ? mean : mean + expf(0.5f * logvar) * n->sample[k];
        float shift = v->statistics ? v->latents_mean[c] : v->shift_factor;
        n->x0[k] = (z - shift) * v->scaling_factor / (v->statistics ? v->latents_deviation[c] : 1);
    }
}

static kiln_status find_x0(objective *o, const objective_batch *b, int i, float *moments, const noising *n,
                           kiln_error *err)
{
    size_t pixels = (size_t)b->shape.height_px * (size_t)b->shape.width_px * 3;
    const float *picture = b->pixels ? b->pixels + (size_t)i * pixels : NULL;
    if (o->latent) {
        kiln_status status = objective_moments(o, &b->samples[i], picture, moments, err);
        if (!status)
            sample_posterior(o, b, i, moments, n);
        return status;
    }
    if (!picture)
        return loader_read_picture(o->data, &b->samples[i], n->x0, err);
    memcpy(n->x0, picture, pixels * sizeof(float));
    return KILN_OK;
}

/* Flow matching: how much of the sample is noise, at a time of 0..1. */
static double flow_level(const objective *o, double time, int places)
{
    const schedule_config *c = &o->schedule->config;
    return c->use_dynamic_shifting ? schedule_dynamic_shift(c, places, time) : schedule_shift(c->shift, time);
}

/* The network's inputs and target; gives timestep and weight. */
static void noise_sample(const objective *o, double time, const noising *n, float *timestep, float *weight)
{
    *weight = 1;
    if (o->flow) {
        double s = flow_level(o, time, n->places);
        *timestep = (float)(s * o->schedule->count);
        for (size_t i = 0; i < n->count; i++) {
            n->sample[i] = (float)((1 - s) * (double)n->x0[i] + s * (double)n->noise[i]);
            n->target[i] = n->noise[i] - n->x0[i];
        }
        return;
    }
    int t = discrete_time(o, time);
    float alpha_bar = o->schedule->alpha_bar[t];
    *timestep = (float)t;
    *weight = (float)snr_weight(o, (double)alpha_bar);
    add_noise_vp(n->x0, n->noise, alpha_bar, n->sample, n->count);
    prediction_target(o->schedule->config.prediction, n->x0, n->noise, alpha_bar, n->target, n->count);
}

/* Class pictures weigh prior_loss_weight. In pairs each half of the batch has its own mean, and the loss is
 * mean(pictures) + prior_loss_weight mean(class), where the graph takes one mean of both (Ruiz et al. 2023, eq. 2). */
static float prior_factor(const objective *o, const order_sample *s)
{
    double share = recipe_pairs(o->recipe) ? 2 : 1;
    return (float)(s->regularisation ? share * o->recipe->prior_loss_weight : share);
}

static kiln_status fill(objective *o, const objective_batch *b, run *r, kiln_error *err)
{
    int f = latent_factor(o), channels = o->model->parts->unet.in_channels;
    size_t count = (size_t)(b->shape.height_px / f) * (size_t)(b->shape.width_px / f) * (size_t)channels;
    float *scratch = malloc(4 * count * sizeof *scratch), *sample = run_input(r, "sample"),
          *target = run_input(r, "target");
    float *timestep = run_input(r, "timestep"), *factors = run_input(r, "weights");
    kiln_status status = scratch ? KILN_OK : fail(err, KILN_NO_MEMORY, "out of memory for a batch");
    for (int i = 0; i < b->shape.batch && !status; i++) {
        noising n = {.x0 = scratch,
                     .noise = scratch + count,
                     .sample = sample + (size_t)i * count,
                     .target = target + (size_t)i * count,
                     .count = count,
                     .channels = channels,
                     .places = (b->shape.height_px / f / 2) * (b->shape.width_px / f / 2)};
        status = find_x0(o, b, i, scratch + 2 * count, &n, err);
        if (status)
            break;
        fill_noise(o, &b->samples[i], &n);
        noise_sample(o, draw_time(o, b, i), &n, &timestep[i], &factors[i]);
        factors[i] = b->validation ? 1 : factors[i] * prior_factor(o, &b->samples[i]);
    }
    free(scratch);
    return status ? status : objective_fill_words(o, b, r, err);
}

const objective_kind objective_denoise = {draw, fill};
