/* training_run.c - the loop: batch, gradients, optimizer, average; and what happens every so many steps. */
#include "train/training.h"

#include "nn/nn.h"
#include "train/mix.h"
#include "train/model_folder.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------------ telling */

static kiln_training_event event_of(const kiln_training *t, kiln_training_event_kind kind)
{
    return (kiln_training_event){.kind = kind,
                                 .step = t->step,
                                 .steps = t->steps,
                                 .epoch = t->batches_per_epoch ? training_epoch(t, t->step) : 0,
                                 .epochs = t->batches_per_epoch ? training_epoch(t, t->steps) : 0,
                                 .loss = (double)NAN,
                                 .validation_loss = (double)NAN,
                                 .validation_psnr = (double)NAN,
                                 .class_validation_loss = (double)NAN,
                                 .images_per_second = t->images_per_second,
                                 .seconds_left = (double)NAN};
}

/* One call of the user's function at a time. */
static bool call_user(kiln_training *t, const kiln_training_event *event)
{
    pthread_mutex_lock(&t->telling);
    bool go_on = t->progress(t->user, event);
    pthread_mutex_unlock(&t->telling);
    if (!go_on)
        atomic_store(&t->stop, true);
    return go_on;
}

bool training_tell(kiln_training *t, kiln_training_event_kind kind, const char *format, ...)
{
    kiln_error sentence;
    va_list arguments;
    if (!t->progress)
        return true;
    va_start(arguments, format);
    fail_with(&sentence, KILN_OK, format, arguments);
    va_end(arguments);
    kiln_training_event event = event_of(t, kind);
    event.text = sentence.text;
    return call_user(t, &event);
}

static void tell_step(kiln_training *t, const journal_row *row)
{
    char line[JOURNAL_LINE];
    kiln_training_event event = event_of(t, KILN_TRAINING_STEP);
    if (!t->progress)
        return;
    event.loss = row->loss;
    event.validation_loss = row->validation_loss;
    event.validation_psnr = row->validation_psnr;
    event.class_validation_loss = row->class_validation_loss;
    event.learning_rate = row->learning_rate;
    event.gradient_norm = row->gradient_norm;
    double per_step = (double)t->recipe.train_batch_size * t->recipe.gradient_accumulation_steps;
    if (t->images_per_second > 0)
        event.seconds_left = (double)(t->steps - t->step) * per_step / t->images_per_second;
    const journal_progress p = {.step = t->step,
                                .steps = t->steps,
                                .epoch = event.epoch,
                                .epochs = event.epochs,
                                .loss = row->loss,
                                .learning_rate = row->learning_rate,
                                .images_per_second = t->images_per_second,
                                .seconds_left = event.seconds_left};
    event.line = journal_progress_line(&p, line);
    call_user(t, &event);
}

/* ------------------------------------------------------------------------------------ one step */

/* This process has one place where gradients are summed. */
static void add_gradients(kiln_training *t, const step_plan *p, int pass)
{
    for (int i = 0; i < t->parameters->trainable; i++) {
        const parameter_entry *e = &t->parameters->entries[i];
        if (!t->gradients || !p->gradients[i]) {
            t->gradient_of[i] = p->gradients[i];
            continue;
        }
        float *sum = t->gradients + e->offset;
        t->gradient_of[i] = sum;
        if (pass == 0)
            memcpy(sum, p->gradients[i], (size_t)e->count * sizeof *sum);
        else
            for (int64_t k = 0; k < e->count; k++)
                sum[k] += p->gradients[i][k];
    }
}

/* What dropout drops in a sample is, like its noise, a function of its seed. */
static void fill_dropout(const objective_batch *b, run *r)
{
    int32_t *seeds = run_input(r, NN_DROPOUT_SEEDS);
    for (int i = 0; seeds && i < b->shape.batch; i++)
        seeds[i] = (int32_t)(mix(b->samples[i].noise_seed, MIX_DROPOUT, 0, 0) >> 33);
}

/* The passes of one step; *loss is their mean. */
static kiln_status run_passes(kiln_training *t, double *loss, kiln_error *err)
{
    int passes = t->recipe.gradient_accumulation_steps;
    kiln_status status = KILN_OK;
    *loss = 0;
    for (int pass = 0; pass < passes && !status; pass++) {
        const loader_batch *b;
        step_plan *p;
        status = loader_next(t->loader, &b, err);
        if (status)
            break;
        const objective_batch batch = {.shape = {b->count, b->height_px, b->width_px},
                                       .pixels = b->pixels,
                                       .samples = b->samples,
                                       .captions = b->captions};
        status = step_plan_get(t, &batch.shape, true, &p, err);
        if (!status)
            status = t->objective->kind->fill(t->objective, &batch, p->run, err);
        if (!status) {
            fill_dropout(&batch, p->run);
            status = plan_run(p->plan, p->run, &t->stop, NULL, NULL, err);
        }
        if (status)
            break;
        *loss += (double)p->loss[0] / passes;
        add_gradients(t, p, pass);
    }
    return status;
}

static kiln_status refuse_loss(const kiln_training *t, double loss, double norm, kiln_error *err)
{
    char saved[80] = "there is no checkpoint yet";
    double bad = isfinite(loss) ? norm : loss;
    if (t->saved_step >= 0)
        snprintf(saved, sizeof saved, "the last checkpoint is that of step %lld", (long long)t->saved_step);
    return fail(err, KILN_BAD_FORMAT,
                "step %lld: the %s is no longer a number (%s); nothing of this step was saved, "
                "and %s. A lower learning_rate, "
                "more lr_warmup_steps or a lower max_grad_norm may help",
                (long long)t->step + 1, isfinite(loss) ? "length of the gradient" : "loss",
                isnan(bad) ? "NaN" : "infinity", saved);
}

/* *sound: what was trained before this step is worth keeping when it fails. */
static kiln_status train_step(kiln_training *t, journal_row *row, bool *sound, kiln_error *err)
{
    double started = training_now(), loss;
    int passes = t->recipe.gradient_accumulation_steps;
    *sound = true;
    kiln_status status = run_passes(t, &loss, err);
    if (status)
        return status;
    *sound = false;
    double norm =
        gradient_norm(t->gradient_of, t->gradient_counts, (size_t)t->parameters->trainable) / passes;
    if (!isfinite(loss) || !isfinite(norm))
        return refuse_loss(t, loss, norm, err);
    double scale = gradient_clip_scale(norm, t->recipe.max_grad_norm) / passes;
    status = optimizer_step(t->optimizer, t->gradient_of, learning_rate_at(&t->rate, t->step), scale, err);
    if (status)
        return status;
    t->step++;
    if (t->average)
        ema_update(t->average, t->parameters->values, (size_t)t->parameters->trainable_size,
                   ema_decay(&t->ema, t->step));
    double now = training_now(), speed = t->recipe.train_batch_size * passes / (now - started);
    t->images_per_second = t->images_per_second > 0 ? 0.9 * t->images_per_second + 0.1 * speed : speed;
    *row = (journal_row){.step = t->step,
                         .epoch = training_epoch(t, t->step),
                         .loss = loss,
                         .validation_loss = (double)NAN,
                         .validation_psnr = (double)NAN,
                         .class_validation_loss = (double)NAN,
                         .learning_rate = optimizer_rate(t->optimizer),
                         .gradient_norm = norm,
                         .images_per_second = t->images_per_second,
                         .seconds = t->seconds_before + now - t->started};
    return KILN_OK;
}

/* ------------------------------------------------------------------------------------ every so often */

/* Whether this step ends an n-th of steps, or an n-th epoch. */
static bool is_due(const kiln_training *t, int64_t steps, int epochs)
{
    if (steps && t->step % steps == 0)
        return true;
    if (!epochs)
        return false;
    double span = epochs;
    return floor(training_epoch(t, t->step) / span + 1e-9) >
           floor(training_epoch(t, t->step - 1) / span + 1e-9);
}

static kiln_status validate_if_due(kiln_training *t, journal_row *row, bool *best, kiln_error *err)
{
    *best = false;
    if (!is_due(t, t->recipe.validate_every_n_steps, t->recipe.validate_every_n_epochs) &&
        t->step != t->steps)
        return KILN_OK;
    kiln_status status =
        training_validate(t, DATASET_VALIDATION, &row->validation_loss, &row->validation_psnr, err);
    if (status || !isfinite(row->validation_loss))
        return status;
    kiln_training_event event = event_of(t, KILN_TRAINING_VALIDATION);
    event.validation_loss = row->validation_loss;
    event.validation_psnr = row->validation_psnr;
    if (t->progress)
        call_user(t, &event);
    if (!(row->validation_loss >= t->best_validation)) { /* NaN: the first one */
        *best = t->recipe.save_best;
        t->best_validation = row->validation_loss;
    }
    return KILN_OK;
}

static kiln_status save_if_due(kiln_training *t, bool best, kiln_error *err)
{
    const recipe *r = &t->recipe;
    bool late = r->save_every_n_minutes > 0 && training_now() - t->saved_at >= 60 * r->save_every_n_minutes;
    if (!best && !late && !is_due(t, r->save_every_n_steps, r->save_every_n_epochs) && t->step != t->steps)
        return KILN_OK;
    return checkpoint_save(t, best, err);
}

static kiln_status after_step(kiln_training *t, journal_row *row, kiln_error *err)
{
    const recipe *r = &t->recipe;
    bool best;
    kiln_status status = validate_if_due(t, row, &best, err);
    if (!status)
        status = class_measure(t, &row->class_validation_loss, err);
    if (!status)
        status = journal_add(t->journal, row, err);
    if (!status)
        tell_step(t, row);
    if (!status)
        status = save_if_due(t, best, err);
    if (!status && is_due(t, r->sample_every_n_steps, r->sample_every_n_epochs))
        status = training_sample(t, err);
    if (!status && (is_due(t, r->plot_every_n_steps, 0) || t->step == t->steps))
        status = journal_plot(t->journal, err);
    return status;
}

/* Stopped by the user: what is done is kept. */
static kiln_status stop(kiln_training *t, kiln_error *err)
{
    kiln_status status = KILN_OK;
    if (t->step != t->saved_step && t->step > 0)
        status = checkpoint_save(t, false, err);
    if (!status)
        status = journal_plot(t->journal, err);
    return status ? status
                  : fail(err, KILN_CANCELLED, "stopped after step %lld of %lld", (long long)t->step,
                         (long long)t->steps);
}

/* A step that cannot be made, for a picture that cannot be read, takes nothing of those before it along. */
static void keep_done(kiln_training *t)
{
    kiln_error why;
    if (t->step > 0 && t->step != t->saved_step && checkpoint_save(t, false, &why))
        training_tell(t, KILN_TRAINING_NOTE, "%s", why.text);
}

kiln_status kiln_training_run(kiln_training *t, kiln_error *err)
{
    kiln_status status = KILN_OK;
    journal_row row;
    bool sound;
    t->started = t->saved_at = training_now();
    t->seconds_before = journal_seconds(t->journal);
    if (t->step == 0)
        status = class_measure_base(t, err);
    if (!status && t->step == 0 && t->recipe.sample_at_first)
        status = training_sample(t, err);
    while (!status && t->step < t->steps) {
        if (atomic_load(&t->stop))
            return stop(t, err);
        status = train_step(t, &row, &sound, err);
        if (status == KILN_CANCELLED)
            return stop(t, err);
        if (status && sound)
            keep_done(t);
        if (!status)
            status = after_step(t, &row, err);
    }
    return status == KILN_CANCELLED ? stop(t, err) : status;
}

void kiln_training_stop(kiln_training *t)
{
    atomic_store(&t->stop, true);
}

int64_t kiln_training_step(const kiln_training *t)
{
    return t->step;
}

int64_t kiln_training_steps(const kiln_training *t)
{
    return t->steps;
}

void kiln_training_size(const kiln_training *t, int64_t *trained, int64_t *all)
{
    *trained = t->parameters->trainable_size;
    *all = t->parameters->size;
}
