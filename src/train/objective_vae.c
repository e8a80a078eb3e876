/* objective_vae.c - method vae: pictures through the encoder, a sample of its distribution, and the decoder.
 *
 *   loss = reconstruction + gradient_weight * edges + kl_weight * (latent numbers / picture numbers) * KL
 *
 *   reconstruction   mean |x - y| or (x - y)^2
 *   edges            mean |dx - dy| of differences between neighbouring pixels, at gradient_scales sizes
 *   KL               mean (mu^2 + sigma^2 - 1 - log sigma^2) / 2   (Kingma and Welling 2014, appendix B)
 *
 * The factor of KL makes kl_weight what it is in Rombach et al. 2022, who sum both terms over a picture. */
#include "train/objective.h"

#include "diffusion/noise.h"
#include "ops/ops.h"
#include "train/mix.h"

#include <stdlib.h>
#include <string.h>

enum { MIX_POSTERIOR = MIX_OBJECTIVE + 20 };

static value subtract(at a, value x, value y)
{
    return op_add(a, x, op_scale(a, y, -1, 0));
}

/* mean |x| */
static value mean_absolute(at a, value x)
{
    value positive = op_activation(a, x, ACTIVATION_RELU, 0);
    value negative = op_activation(a, op_scale(a, x, -1, 0), ACTIVATION_RELU, 0);
    return op_mean(a, op_add(a, positive, negative));
}

static value mean_square(at a, value x)
{
    return op_mean(a, op_multiply(a, x, x));
}

/* Differences between neighbours along an axis. */
static value differences(at a, value x, int axis)
{
    int64_t n = value_shape(a, x).dim[axis] - 1;
    return subtract(a, op_slice(a, x, axis, 1, n), op_slice(a, x, axis, 0, n));
}

/* Every second row or column, beginning with `first`, by way of a view with pairs as an axis. */
static value half(at a, value x, shape pairs, int axis, int first, shape halved)
{
    return op_reshape(a, op_slice(a, op_reshape(a, x, pairs), axis, first, 1), halved);
}

/* Means of 2x2 pixels; x [N,H,W,C] with even sides. */
static value halved(at a, value x)
{
    shape s = value_shape(a, x);
    shape rows = SHAPE3(s.dim[0] * s.dim[1] / 2, 2, s.dim[2] * s.dim[3]),
          less = SHAPE4(s.dim[0], s.dim[1] / 2, s.dim[2], s.dim[3]);
    value y = op_add(a, half(a, x, rows, 1, 0, less), half(a, x, rows, 1, 1, less));
    shape columns = SHAPE3(s.dim[0] * s.dim[1] / 2 * s.dim[2] / 2, 2, s.dim[3]),
          least = SHAPE4(s.dim[0], s.dim[1] / 2, s.dim[2] / 2, s.dim[3]);
    return op_scale(a, op_add(a, half(a, y, columns, 1, 0, least), half(a, y, columns, 1, 1, least)), 0.25f,
                    0);
}

value objective_picture_loss(const objective *o, at a, value error)
{
    bool l2 = strcmp(o->recipe->reconstruction_loss, "l2") == 0;
    value loss = l2 ? mean_square(a, error) : mean_absolute(a, error);
    int scales = o->recipe->gradient_scales;
    for (int k = 0; k < scales && o->recipe->gradient_weight > 0; k++) {
        float weight = (float)(o->recipe->gradient_weight / (2 * scales));
        shape s = value_shape(a, error);
        if (s.dim[1] < 2 || s.dim[2] < 2)
            break;
        value edges =
            op_add(a, mean_absolute(a, differences(a, error, 1)), mean_absolute(a, differences(a, error, 2)));
        loss = op_add(a, loss, op_scale(a, edges, weight, 0));
        if (k + 1 < scales && s.dim[1] % 2 == 0 && s.dim[2] % 2 == 0)
            error = halved(a, error);
        else
            break;
    }
    return loss;
}

static value draw(const objective *o, graph *g, const objective_shape *s)
{
    const vae_config *v = &o->model->parts->vae;
    at a = graph_root(g);
    int f = vae_factor(v), channels = v->latent_channels;
    vae_draw_encoder(g, v, s->batch, s->height_px, s->width_px);
    value moments = graph_take_output(g, "moments"), image = NO_VALUE;
    for (int i = 0; i < g->input_count; i++)
        if (strcmp(g->inputs[i].name, "image") == 0)
            image = g->inputs[i].value;
    shape latent = SHAPE4(s->batch, s->height_px / f, s->width_px / f, channels);
    value mean = op_slice(a, moments, 3, 0, channels),
          logvar = op_clamp(a, op_slice(a, moments, 3, channels, channels), -30, 20);
    value deviation = op_exp(a, op_scale(a, logvar, 0.5f, 0));
    value z = op_add(a, mean, op_multiply(a, deviation, graph_input(g, "noise", latent, DTYPE_F32)));
    vae_draw_decoder(g, v, s->batch, s->height_px / f, s->width_px / f);
    graph_join(g, "latents", z);
    value picture = graph_take_output(g, "image"),
          loss = objective_picture_loss(o, a, subtract(a, picture, image));
    graph_output(g, "reconstruction", picture); /* for the validation */
    double share =
        (double)shape_count(latent) / ((double)s->batch * s->height_px * s->width_px * v->in_channels);
    value spread = op_add(a, op_multiply(a, mean, mean), op_exp(a, logvar));
    value divergence = op_mean(a, op_scale(a, subtract(a, spread, logvar), 0.5f, -0.5f));
    return op_add(a, loss, op_scale(a, divergence, (float)(o->recipe->kl_weight * share), 0));
}

static kiln_status fill(objective *o, const objective_batch *b, run *r, kiln_error *err)
{
    const vae_config *v = &o->model->parts->vae;
    int f = vae_factor(v);
    size_t pixels = (size_t)b->shape.height_px * (size_t)b->shape.width_px * 3;
    size_t count =
        (size_t)(b->shape.height_px / f) * (size_t)(b->shape.width_px / f) * (size_t)v->latent_channels;
    float *image = run_input(r, "image"), *noise = run_input(r, "noise");
    kiln_status status = KILN_OK;
    for (int i = 0; i < b->shape.batch && !status; i++) {
        noise_source source;
        if (b->pixels)
            memcpy(image + (size_t)i * pixels, b->pixels + (size_t)i * pixels, pixels * sizeof(float));
        else
            status = loader_read_picture(o->data, &b->samples[i], image + (size_t)i * pixels, err);
        noise_init(&source, NOISE_PHILOX, mix(b->samples[i].noise_seed, MIX_POSTERIOR, 0, 0));
        noise_fill(&source, noise + (size_t)i * count, count);
    }
    return status;
}

const objective_kind objective_vae = {draw, fill};
