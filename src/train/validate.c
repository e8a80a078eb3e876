/* validate.c - the validation loss: pictures never trained on, each at a timestep and with noise that are always the
 * same, so that the figures of two steps, and of two runs, can be compared. The averaged weights are measured where they
 * are what is saved.
 *
 * Pictures of one size go through the network together, train_batch_size at a time; a rest makes a smaller batch. Timestep
 * and noise belong to the picture, so that the grouping changes the last digits at most (sums in another order, and in
 * bf16 other roundings).
 *
 * Of an autoencoder there is the PSNR besides: the mean over the pictures of 10 log10(4 / mean (x - y)^2) with x in -1..1
 * and y clamped to it, where y comes from a sample of the encoder's distribution as in training. */
#include "train/training.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Sums over the pictures measured so far. */
typedef struct validation {
    kiln_training *training;
    dataset_part part;
    order_sample *samples; /* all, by index */
    bool *done;
    int64_t count;
    int most; /* pictures at a time */
    /* the present batch */
    order_sample *batch;
    char **captions;
    double loss, psnr;
    int64_t measured, compared;
} validation;

static void aim(const kiln_training *t, const step_plan *p)
{
    for (int i = 0; i < p->graph->parameter_count; i++) {
        const parameter_entry *e = parameters_find(t->parameters, p->graph->parameters[i].canonical);
        if (e && e->offset < t->parameters->trainable_size)
            run_parameter(p->run, i, (t->average ? t->average : t->parameters->values) + e->offset);
    }
}

static double psnr_of(const float *x, const float *y, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        double d = (double)x[i] - (double)fminf(fmaxf(y[i], -1), 1);
        sum += d * d;
    }
    return 10 * log10(4 * (double)count / fmax(sum, 1e-10 * (double)count));
}

/* `pictures`: what went in, NULL where there is nothing to compare with. */
static void add_figures(validation *v, const step_plan *p, const float *pictures, int count)
{
    const float *back = pictures ? run_output(p->run, "reconstruction") : NULL;
    size_t each = (size_t)p->shape.height_px * (size_t)p->shape.width_px * 3;
    v->loss += (double)p->loss[0] * count;
    v->measured += count;
    for (int i = 0; back && i < count; i++) {
        v->psnr += psnr_of(pictures + (size_t)i * each, back + (size_t)i * each, each);
        v->compared++;
    }
}

/* Run the first `count` of v->batch, all of one size. */
static kiln_status measure(validation *v, int count, kiln_error *err)
{
    kiln_training *t = v->training;
    const objective_batch batch = {.shape = {count, v->batch[0].height_px, v->batch[0].width_px},
                                   .samples = v->batch,
                                   .captions = (const char *const *)v->captions,
                                   .validation = true};
    step_plan *p;
    float *pictures = NULL;
    kiln_status status = step_plan_get(t, &batch.shape, false, &p, err);
    if (status)
        return status;
    aim(t, p);
    status = t->objective->kind->fill(t->objective, &batch, p->run, err);
    if (!status && run_output(p->run, "reconstruction")) {
        size_t bytes =
            (size_t)count * (size_t)batch.shape.height_px * (size_t)batch.shape.width_px * 3 * sizeof(float);
        pictures = bytes ? malloc(bytes) : NULL;
        if (pictures)
            memcpy(pictures, run_input(p->run, "image"), bytes);
        else
            status = fail(err, KILN_NO_MEMORY, "out of memory for the validation's pictures");
    }
    if (!status)
        status = plan_run(p->plan, p->run, &t->stop, NULL, NULL, err);
    if (!status)
        add_figures(v, p, pictures, count);
    free(pictures);
    return status;
}

static kiln_status take_captions(validation *v, int count, kiln_error *err)
{
    kiln_status status = KILN_OK;
    for (int i = 0; i < count && !status; i++) {
        free(v->captions[i]);
        v->captions[i] = NULL;
        status = order_caption(v->training->order, &v->batch[i], &v->captions[i], err);
    }
    return status;
}

static bool is_fatal(kiln_status status)
{
    return status == KILN_CANCELLED || status == KILN_NO_MEMORY;
}

/* The batch as a whole or, when one of it cannot be read, one by one: that one is named and left out. */
static kiln_status measure_or_name(validation *v, int count, kiln_error *err)
{
    kiln_status status = take_captions(v, count, err);
    if (!status)
        status = measure(v, count, err);
    if (!status || is_fatal(status))
        return status;
    if (count == 1) {
        dataset_tell(v->training->data, "validation: %s", err->text);
        return KILN_OK;
    }
    order_sample *all = count > 1 ? malloc((size_t)count * sizeof *all) : NULL;
    if (!all)
        return fail(err, KILN_NO_MEMORY, "out of memory for the validation");
    memcpy(all, v->batch, (size_t)count * sizeof *all);
    status = KILN_OK;
    for (int i = 0; i < count && !status; i++) {
        v->batch[0] = all[i];
        status = measure_or_name(v, 1, err);
    }
    free(all);
    return status;
}

/* The next pictures of the size of the first that is not done. */
static int gather(validation *v, int64_t first)
{
    int count = 0;
    for (int64_t i = first; i < v->count && count < v->most; i++) {
        const order_sample *s = &v->samples[i];
        if (v->done[i] || s->width_px != v->samples[first].width_px ||
            s->height_px != v->samples[first].height_px)
            continue;
        v->batch[count++] = *s;
        v->done[i] = true;
    }
    return count;
}

static kiln_status begin(validation *v, kiln_error *err)
{
    const kiln_training *t = v->training;
    v->count = order_validation_count(t->order, v->part);
    if (v->count > t->recipe.max_validation_samples)
        v->count = t->recipe.max_validation_samples;
    v->most = t->recipe.train_batch_size < v->count ? t->recipe.train_batch_size : (int)v->count;
    v->samples = calloc((size_t)v->count + 1, sizeof *v->samples);
    v->done = calloc((size_t)v->count + 1, sizeof *v->done);
    v->batch = calloc((size_t)v->most + 1, sizeof *v->batch);
    v->captions = calloc((size_t)v->most + 1, sizeof *v->captions);
    if (!v->samples || !v->done || !v->batch || !v->captions)
        return fail(err, KILN_NO_MEMORY, "out of memory for the validation");
    for (int64_t i = 0; i < v->count; i++)
        order_validation(t->order, v->part, i, &v->samples[i]);
    return KILN_OK;
}

static void end(validation *v)
{
    for (int i = 0; v->captions && i < v->most; i++)
        free(v->captions[i]);
    free(v->captions);
    free(v->batch);
    free(v->done);
    free(v->samples);
}

kiln_status training_validate(kiln_training *t, dataset_part part, double *loss, double *psnr,
                              kiln_error *err)
{
    validation v = {.training = t, .part = part};
    t->objective->bicubic_psnr = 0;
    t->objective->bicubic_count = 0;
    kiln_status status = begin(&v, err);
    for (int64_t i = 0; i < v.count && !status; i++)
        if (!v.done[i])
            status = measure_or_name(&v, gather(&v, i), err);
    *loss = v.measured ? v.loss / (double)v.measured : (double)NAN;
    if (!status && t->objective->bicubic_count)
        training_tell(t, KILN_TRAINING_INFORMATION, "bicubic resampling: PSNR %.2f dB",
                      t->objective->bicubic_psnr / (double)t->objective->bicubic_count);
    *psnr = v.compared ? v.psnr / (double)v.compared : (double)NAN;
    end(&v);
    return status;
}
