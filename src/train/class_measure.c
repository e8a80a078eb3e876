/* class_measure.c - what became of the class: the validation loss on class pictures that are never trained on, with the same
 * timesteps and noise each time, of the base before the first step and of the tuned model after. A subject that is learned
 * at the cost of its class shows here (Ruiz et al. 2023, section 4.3, call it language drift).
 *
 * Where the pictures were drawn by the base itself, the figure says how far the tuned model has gone from what the base
 * draws, not how good either is. */
#include "train/training.h"

#include "pipeline/convert.h"
#include "train/model_folder.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REPORT_NAME "class-preservation.json"

static int64_t picture_count(const kiln_training *t)
{
    int64_t count = order_validation_count(t->order, DATASET_CLASS_VALIDATION);
    return count < t->recipe.max_validation_samples ? count : t->recipe.max_validation_samples;
}

static json_t *number_or_null(double number)
{
    return isfinite(number) ? json_real(number) : json_null();
}

static kiln_status write_report(const kiln_training *t, double loss, kiln_error *err)
{
    const recipe *r = &t->recipe;
    char path[FOLDER_PATH];
    json_t *report =
        json_pack("{s:s, s:s, s:s, s:b, s:f, s:I, s:I, s:o, s:o, s:o}", "instance_prompt", r->instance_prompt,
                  "class_prompt", r->class_prompt, "base", t->base_hash, "with_prior_preservation",
                  (int)r->with_prior_preservation, "prior_loss_weight", r->prior_loss_weight, "pictures",
                  (json_int_t)picture_count(t), "step", (json_int_t)t->step, "base_loss",
                  number_or_null(t->class_base_loss), "loss", number_or_null(loss), "change",
                  number_or_null(loss / t->class_base_loss - 1));
    char *text = report ? json_dumps(report, JSON_INDENT(2) | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(report);
    kiln_status status = text ? folder_path(path, t->folder, REPORT_NAME, err)
                              : fail(err, KILN_NO_MEMORY, "out of memory for a report");
    if (!status)
        status = write_text_file(path, text, strlen(text), err);
    free(text);
    return status;
}

kiln_status class_measure_base(kiln_training *t, kiln_error *err)
{
    double psnr;
    if (picture_count(t) == 0)
        return KILN_OK;
    t->base_alone = true;
    kiln_status status = training_validate(t, DATASET_CLASS_VALIDATION, &t->class_base_loss, &psnr, err);
    t->base_alone = false;
    if (t->teach) /* what is taught may change something from the beginning on */
        step_plans_free(t);
    if (status)
        return status;
    training_tell(t, KILN_TRAINING_INFORMATION,
                  "class pictures: loss %.5f of the base, over %lld that are never trained on",
                  t->class_base_loss, (long long)picture_count(t));
    return write_report(t, t->class_base_loss, err);
}

kiln_status class_measure(kiln_training *t, double *loss, kiln_error *err)
{
    int64_t every = t->recipe.class_validate_every_n_steps;
    double psnr;
    *loss = (double)NAN;
    if (picture_count(t) == 0 || ((!every || t->step % every != 0) && t->step != t->steps))
        return KILN_OK;
    kiln_status status = training_validate(t, DATASET_CLASS_VALIDATION, loss, &psnr, err);
    if (status)
        return status;
    if (isfinite(t->class_base_loss))
        training_tell(t, KILN_TRAINING_INFORMATION,
                      "step %lld  class pictures: loss %.5f; of the base %.5f (%+.1f%%)", (long long)t->step,
                      *loss, t->class_base_loss, 100 * (*loss / t->class_base_loss - 1));
    else
        training_tell(t, KILN_TRAINING_INFORMATION, "step %lld  class pictures: loss %.5f",
                      (long long)t->step, *loss);
    return write_report(t, *loss, err);
}
