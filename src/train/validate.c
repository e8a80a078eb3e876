/* validate.c - the validation loss: pictures never trained on, each at a timestep and with noise that are always the
 * same, so that the figures of two steps, and of two runs, can be compared. The averaged weights are measured where they
 * are what is saved. */
#include "train/training.h"

#include <math.h>
#include <stdlib.h>

static void aim(const kiln_training *t, const step_plan *p)
{
    for (int i = 0; i < p->graph->parameter_count; i++) {
        const parameter_entry *e = parameters_find(t->parameters, p->graph->parameters[i].canonical);
        if (e && e->offset < t->parameters->trainable_size)
            run_parameter(p->run, i, (t->average ? t->average : t->parameters->values) + e->offset);
    }
}

static kiln_status measure(kiln_training *t, int64_t index, int64_t count, double *loss, kiln_error *err)
{
    order_sample sample;
    char *caption = NULL;
    step_plan *p;
    order_validation(t->order, index, &sample);
    kiln_status status = order_caption(t->order, &sample, &caption, err);
    if (status)
        return status;
    const objective_batch batch = {.shape = {1, sample.height_px, sample.width_px},
                                   .samples = &sample,
                                   .captions = (const char *const[]){caption},
                                   .validation = true,
                                   .validation_index = index,
                                   .validation_count = count};
    status = step_plan_get(t, &batch.shape, false, &p, err);
    if (!status) {
        aim(t, p);
        status = t->objective->kind->fill(t->objective, &batch, p->run, err);
    }
    if (!status)
        status = plan_run(p->plan, p->run, &t->stop, NULL, NULL, err);
    if (!status)
        *loss = (double)p->loss[0];
    free(caption);
    return status;
}

kiln_status training_validate(kiln_training *t, double *loss, kiln_error *err)
{
    int64_t count = order_validation_count(t->order), measured = 0;
    double sum = 0;
    kiln_status status = KILN_OK;
    if (count > t->recipe.max_validation_samples)
        count = t->recipe.max_validation_samples;
    for (int64_t i = 0; i < count && !status; i++) {
        double one = 0;
        kiln_error why;
        status = measure(t, i, count, &one, &why);
        if (status == KILN_CANCELLED || status == KILN_NO_MEMORY)
            return fail(err, status, "%s", why.text);
        if (status == KILN_OK) {
            sum += one;
            measured++;
        } else {
            dataset_tell(t->data, "validation: %s", why.text);
            status = KILN_OK;
        }
    }
    *loss = measured ? sum / (double)measured : (double)NAN;
    return status;
}
