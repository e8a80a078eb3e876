/* objective_upscaler.c - method upscaler: pictures are made small (degrade.h), and the network makes them large again.
 *
 *   loss = reconstruction + gradient_weight * edges
 *
 * with the terms of objective_vae.c. Pictures are -1..1 in the loss, so that figures compare with those of an autoencoder.
 * The validation compares with what bicubic resampling makes of the same small pictures. */
#include "train/objective.h"

#include "image/resize.h"
#include "ops/ops.h"
#include "train/degrade.h"
#include "train/mix.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static value draw(const objective *o, graph *g, const objective_shape *s)
{
    const upscale_config *c = &o->model->parts->upscaler;
    at a = graph_root(g);
    value large = graph_input(g, "image", SHAPE4(s->batch, s->height_px, s->width_px, 3), DTYPE_F32);
    value small = graph_input(
        g, "small", SHAPE4(s->batch, s->height_px / c->scale, s->width_px / c->scale, 3), DTYPE_F32);
    value picture = op_scale(a, upscale_apply(a, c, false, small), 2, -1);
    value error = op_add(a, picture, op_scale(a, large, -1, 0));
    graph_output(g, "reconstruction", picture); /* for the validation */
    return objective_picture_loss(o, a, error);
}

/* PSNR in dB of the small picture enlarged by bicubic resampling. */
static kiln_status bicubic(const float *small, const float *large, int width, int height, int scale,
                           double *psnr, kiln_error *err)
{
    size_t count = (size_t)width * (size_t)height * 3;
    float *enlarged = malloc(count * sizeof *enlarged);
    double sum = 0;
    kiln_status status = enlarged ? resize_floats(small, width / scale, height / scale, 3, enlarged, width,
                                                  height, RESIZE_BICUBIC, err)
                                  : fail(err, KILN_NO_MEMORY, "out of memory for a picture");
    for (size_t i = 0; status == KILN_OK && i < count; i++) {
        double d = (double)(fminf(fmaxf(enlarged[i], 0), 1) * 2 - 1) - (double)large[i];
        sum += d * d;
    }
    *psnr = 10 * log10(4 * (double)count / fmax(sum, 1e-10 * (double)count));
    free(enlarged);
    return status;
}

static kiln_status fill(objective *o, const objective_batch *b, run *r, kiln_error *err)
{
    const recipe *p = o->recipe;
    const degradation how = {.scale = o->model->parts->upscaler.scale,
                             .blur = p->degrade_blur,
                             .noise = p->degrade_noise,
                             .jpeg = p->degrade_jpeg,
                             .second_order = p->degrade_second_order};
    int width = b->shape.width_px, height = b->shape.height_px;
    size_t pixels = (size_t)width * (size_t)height * 3, fewer = pixels / (size_t)(how.scale * how.scale);
    float *large = run_input(r, "image"), *small = run_input(r, "small");
    kiln_status status = KILN_OK;
    for (int i = 0; i < b->shape.batch && !status; i++, large += pixels, small += fewer) {
        double psnr = 0;
        if (b->pixels)
            memcpy(large, b->pixels + (size_t)i * pixels, pixels * sizeof(float));
        else
            status = loader_read_picture(o->data, &b->samples[i], large, err);
        if (!status)
            status = degrade(&how, large, width, height, b->samples[i].noise_seed, small, err);
        if (!status && b->validation) {
            status = bicubic(small, large, width, height, how.scale, &psnr, err);
            o->bicubic_psnr += psnr;
            o->bicubic_count++;
        }
    }
    return status;
}

const objective_kind objective_upscaler = {draw, fill};
