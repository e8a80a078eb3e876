/* training_open.c - from a recipe to a run that is ready for its next step. */
#include "train/training.h"
#include "train/word_captions.h"

#include "formats/hash.h"
#include "train/leftovers.h"
#include "train/model_folder.h"
#include "train/starting.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

double training_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double training_epoch(const kiln_training *t, int64_t step)
{
    return (double)step * t->recipe.gradient_accumulation_steps / (double)t->batches_per_epoch;
}

static void on_log(void *self, const char *sentence)
{
    training_tell(self, KILN_TRAINING_NOTE, "%s", sentence);
}

/* ------------------------------------------------------------------------------------ the run's folder */

/* The lock ends with the process, however it ends. */
static kiln_status lock_folder(kiln_training *t, kiln_error *err)
{
    char path[FOLDER_PATH];
    kiln_status status = folder_make(t->folder, err);
    if (!status)
        status = folder_path(path, t->folder, "lock", err);
    if (status)
        return status;
    t->lock = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0666);
    if (t->lock < 0)
        return fail_system(err, "%s: cannot be written", path);
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(t->lock, F_SETLK, &whole) != 0)
        return errno == EACCES || errno == EAGAIN
                   ? fail(err, KILN_BUSY, "%s: another training works in this folder", t->folder)
                   : fail_system(err, "%s: cannot be locked", path);
    return KILN_OK;
}

static kiln_status copy_recipe(kiln_training *t, const recipe *from, kiln_error *err)
{
    char *text = recipe_text_of(from);
    kiln_status status = recipe_init(&t->recipe, err);
    if (!status)
        status = text ? recipe_read_text(&t->recipe, "the recipe", text, strlen(text), err)
                      : fail(err, KILN_NO_MEMORY, "out of memory for a recipe");
    free(text);
    if (!status && from->name)
        t->recipe.name = arena_text(&t->recipe.memory, from->name);
    if (!status)
        status = recipe_check(&t->recipe, err);
    if (!status && !(t->folder = strdup(t->recipe.output_dir)))
        status = fail(err, KILN_NO_MEMORY, "out of memory for a recipe");
    return status;
}

static kiln_status write_recipe(const kiln_training *t, kiln_error *err)
{
    char path[FOLDER_PATH];
    char *text = recipe_text_of(&t->recipe);
    kiln_status status = text ? folder_path(path, t->folder, "recipe.txt", err)
                              : fail(err, KILN_NO_MEMORY, "out of memory for a recipe");
    if (!status)
        status = write_text_file(path, text, strlen(text), err);
    free(text);
    return status;
}

/* ------------------------------------------------------------------------------------ the model */

/* What identifies the base: the hashes of its files, or nothing when the model is made from nothing. */
static kiln_status hash_base(kiln_training *t, kiln_error *err)
{
    const recipe *r = &t->recipe;
    const char *const bases[] = {r->base, r->unet.base, r->vae.base, r->text_encoder.base};
    char digits[4 * PART_COUNT * 64 + 1] = "";
    kiln_status status = KILN_OK;
    for (int i = 0; i < 4 && !status; i++) {
        model_parts *parts = NULL;
        if (!bases[i][0])
            continue;
        status = probe_open(bases[i], NULL, &parts, err);
        for (int k = 0; !status && k < PART_COUNT; k++) {
            file_hashes hashes;
            const tensor_file *file = parts->part[k].present ? parts->part[k].place.file : NULL;
            if (!file || (k && parts->part[0].present && file == parts->part[0].place.file))
                continue;
            status = hash_file_some(tensor_file_path(file), HASH_SHA256, &hashes, NULL, NULL, err);
            if (!status)
                memcpy(digits + strlen(digits), hashes.sha256, 65);
        }
        probe_close(parts);
    }
    return status ? status : hash_memory(digits, strlen(digits), t->base_hash, err);
}

/* The folder or file that the run's model is opened from. *path is the caller's. */
static kiln_status choose_model(const kiln_training *t, const char *checkpoint, char **path, kiln_error *err)
{
    char made[FOLDER_PATH];
    kiln_status status = KILN_OK;
    if (recipe_teaches(&t->recipe)) /* checkpoints hold what is taught; the model stays the base */
        checkpoint = NULL;
    const char *from = checkpoint ? checkpoint : t->recipe.base;
    if (!checkpoint && !starting_is_base(&t->recipe)) {
        status = folder_path(made, t->folder, "initial", err);
        if (!status)
            status = starting_make(&t->recipe, made, err);
        from = made;
    }
    *path = status ? NULL : strdup(from);
    return status || *path ? status : fail(err, KILN_NO_MEMORY, "out of memory for a model");
}

kiln_status training_open_model(kiln_training *t, const char *checkpoint, kiln_error *err)
{
    char *path = NULL;
    kiln_model_options options = kiln_model_defaults();
    const char *precision = t->recipe.mixed_precision;
    options.threads = t->recipe.threads;
    options.precision = strcmp(precision, "no") == 0     ? KILN_PRECISION_F32
                        : strcmp(precision, "bf16") == 0 ? KILN_PRECISION_BF16
                                                         : KILN_PRECISION_AUTO;
    kiln_status status = choose_model(t, checkpoint, &path, err);
    if (!status)
        status = kiln_model_open(path, &options, &t->model, err);
    if (!status)
        status = kiln_session_new(t->model, &t->session, err);
    free(path);
    return status;
}

void training_close_model(kiln_training *t)
{
    kiln_session_free(t->session);
    kiln_model_close(t->model);
    t->session = NULL;
    t->model = NULL;
}

/* From here on the model is drawn with, and saved with, what the recipe says about prediction and schedule. */
static kiln_status adopt_scheduler(kiln_training *t, kiln_error *err)
{
    schedule_config config;
    schedule *made = NULL;
    model_parts *parts = t->model->parts;
    parts->scheduler = t->objective->scheduler;
    parts->scheduler_assumed = false;
    kiln_status status =
        schedule_config_read(&config, parts->scheduler, strlen(parts->scheduler), NULL, "the recipe", err);
    if (status)
        return status;
    if (parts->family != FAMILY_SDXL && parts->family != FAMILY_SDXL_REFINER)
        schedule_config_repair(&config);
    status = schedule_new(&made, &config, err);
    schedule_config_fini(&config);
    if (!status) {
        schedule_free(t->model->schedule);
        t->model->schedule = made;
    }
    return status;
}

/* ------------------------------------------------------------------------------------ the data */

static const char *or_null(const char *text)
{
    return text[0] ? text : NULL;
}

static kiln_status open_data(kiln_training *t, kiln_error *err)
{
    const recipe *r = &t->recipe;
    char sizes[FOLDER_PATH];
    dataset_options o = dataset_defaults();
    kiln_status status = folder_path(sizes, t->folder, "picture-sizes", err);
    if (status)
        return status;
    bool worded = strcmp(r->method, "vae") != 0 && strcmp(r->method, "upscaler") != 0 &&
                  (strcmp(r->method, "pixel") != 0 || r->conditional);
    o.folder = r->train_data_dir;
    o.reg_folder = r->with_prior_preservation ? t->class_folder : or_null(r->reg_data_dir);
    o.class_validation_folder = t->class_validation_folder;
    o.instance_prompt = or_null(r->instance_prompt);
    o.class_prompt = or_null(r->class_prompt);
    o.paired = recipe_pairs(r);
    o.validation_folder = or_null(r->validation_data_dir);
    o.caption_extension = or_null(r->caption_extension);
    o.size_cache = sizes;
    o.width_px = r->resolution.number[0];
    o.height_px = r->resolution.number[1];
    o.captions_needed = worded && (strcmp(r->method, "textual_inversion") != 0 || word_captions_own(r));
    o.enable_bucket = r->enable_bucket;
    o.min_bucket_reso = r->min_bucket_reso;
    o.max_bucket_reso = r->max_bucket_reso;
    o.bucket_reso_steps = r->bucket_reso_steps;
    o.bucket_no_upscale = r->bucket_no_upscale;
    o.random_crop = r->random_crop;
    o.crop_unscaled = r->crop_unscaled;
    o.flip_aug = r->flip_aug;
    o.num_repeats = r->dataset_repeats;
    o.validation_split = r->validation_split;
    o.validation_seed = r->validation_seed;
    o.captions.shuffle_caption = r->shuffle_caption;
    o.captions.keep_tokens = r->keep_tokens;
    o.captions.keep_tokens_separator = or_null(r->keep_tokens_separator);
    o.captions.caption_dropout_rate = r->caption_dropout_rate;
    o.captions.caption_tag_dropout_rate = r->caption_tag_dropout_rate;
    o.captions.caption_prefix = or_null(r->caption_prefix);
    o.captions.caption_suffix = or_null(r->caption_suffix);
    o.log = on_log;
    o.log_self = t;
    status = dataset_open(&o, &t->data, err);
    return status ? status : order_new(t->data, r->seed, &t->order, err);
}

/* Every bucket must be a size that the networks take. */
static kiln_status check_sizes(const kiln_training *t, kiln_error *err)
{
    const model_parts *parts = t->model->parts;
    int step =
        parts->part[PART_VAE].present && strcmp(t->recipe.method, "pixel") != 0 ? vae_factor(&parts->vae) : 1;
    if (parts->part[PART_UNET].present && strcmp(t->recipe.method, "vae") != 0)
        step <<= parts->unet.levels - 1;
    if (parts->part[PART_UPSCALER].present)
        step = parts->upscaler.scale * parts->upscaler.multiple;
    for (int i = 0; i < dataset_bucket_count(t->data); i++) {
        const dataset_bucket *b = dataset_bucket_at(t->data, i);
        if (b->width_px % step || b->height_px % step)
            return fail(
                err, KILN_BAD_ARGUMENT,
                "pictures of %dx%d cannot be trained on: both sides must be multiples of %d for this model",
                b->width_px, b->height_px, step);
    }
    return KILN_OK;
}

static kiln_status open_objective(kiln_training *t, kiln_error *err)
{
    char folder[FOLDER_PATH], keys[FOLDER_PATH];
    kiln_status status = folder_path(keys, t->folder, "picture-hashes", err);
    if (!status && t->recipe.cache_dir[0])
        snprintf(folder, sizeof folder, "%s", t->recipe.cache_dir);
    else if (!status)
        status = folder_path(folder, t->folder, "cache", err);
    if (!status)
        status = objective_new(&t->recipe, t->model, t->session, t->data, folder, keys, &t->objective, err);
    return status ? status : adopt_scheduler(t, err);
}

static kiln_status open_loader(kiln_training *t, kiln_error *err)
{
    loader_options o = loader_defaults();
    o.order = t->order;
    o.data = t->data;
    o.batch_size = t->recipe.train_batch_size;
    o.first_step = t->step * t->recipe.gradient_accumulation_steps;
    o.threads = t->recipe.workers > 1 ? t->recipe.workers : 1;
    o.without_pixels = !objective_needs_pixels(t->objective);
    return loader_open(&o, &t->loader, err);
}

/* ------------------------------------------------------------------------------------ parameters and optimizer */

static kiln_status open_parameters(kiln_training *t, kiln_error *err)
{
    kiln_status status = teach_open(&t->recipe, t->model, &t->teach, err);
    if (status)
        return status;
    const parameters_choice choice = {.networks = t->objective->networks,
                                      .trained = t->objective->trained,
                                      .trainable = t->recipe.trainable,
                                      .frozen = t->recipe.frozen,
                                      .side = t->teach ? t->teach->list : NULL,
                                      .side_count = t->teach ? t->teach->count : 0};
    status = parameters_open(t->model, &choice, &t->parameters, err);
    if (!status && t->teach)
        status = teach_begin(t->teach, t->parameters, err);
    if (!status)
        status = teach_show(t->teach, t->model, t->parameters, t->parameters->values, err);
    if (status)
        return status;
    size_t count = (size_t)t->parameters->trainable, size = (size_t)t->parameters->trainable_size;
    t->frozen_reader = (parameters_reader){.parameters = t->parameters};
    t->frozen = packed_store_new(parameters_source(&t->frozen_reader));
    t->gradient_of = calloc(count, sizeof *t->gradient_of);
    t->gradient_counts = calloc(count, sizeof *t->gradient_counts);
    if (t->recipe.gradient_accumulation_steps > 1)
        t->gradients = malloc(size * sizeof *t->gradients);
    if (t->recipe.ema_decay > 0)
        t->average = malloc(size * sizeof *t->average);
    if (!t->frozen || !t->gradient_of || !t->gradient_counts ||
        (t->recipe.gradient_accumulation_steps > 1 && !t->gradients) ||
        (t->recipe.ema_decay > 0 && !t->average))
        return fail(err, KILN_NO_MEMORY, "out of memory: %zu MB for gradients and averages", size >> 18);
    for (size_t i = 0; i < count; i++)
        t->gradient_counts[i] = t->parameters->entries[i].count;
    if (t->average)
        memcpy(t->average, t->parameters->values, size * sizeof *t->average);
    return KILN_OK;
}

static void take_if_given(double given, double *to)
{
    if (given >= 0)
        *to = given;
}

static kiln_status open_optimizer(kiln_training *t, kiln_error *err)
{
    const recipe *r = &t->recipe;
    optimizer_kind kind;
    kiln_status status = optimizer_kind_of_name(r->optimizer, &kind, err);
    if (status)
        return status;
    optimizer_options o = optimizer_defaults(kind);
    take_if_given(r->adam_beta1, &o.beta1);
    take_if_given(r->adam_beta2, &o.beta2);
    take_if_given(r->adam_epsilon, &o.epsilon);
    take_if_given(r->weight_decay, &o.weight_decay);
    o.relative_step = kind == OPTIMIZER_ADAFACTOR && r->relative_step;
    o.scale_parameter = r->scale_parameter;
    optimizer_parameter *list = calloc((size_t)t->parameters->trainable, sizeof *list);
    if (!list)
        return fail(err, KILN_NO_MEMORY, "out of memory for the optimizer");
    double base_rate = strtod(r->learning_rate, NULL);
    for (int i = 0; i < t->parameters->trainable; i++) {
        const parameter_entry *e = &t->parameters->entries[i];
        bool text = (e->network == NETWORK_TEXT_1 || e->network == NETWORK_TEXT_2) &&
                    r->text_encoder_lr > 0 && base_rate > 0;
        list[i] = (optimizer_parameter){.name = e->name,
                                        .values = t->parameters->values + e->offset,
                                        .shape = e->shape,
                                        .decay = e->role == ROLE_WEIGHT,
                                        .rate_factor = text ? r->text_encoder_lr / base_rate : 1};
    }
    status = optimizer_new(&o, list, (size_t)t->parameters->trainable, &t->optimizer, err);
    free(list);
    return status;
}

static kiln_status open_schedules(kiln_training *t, kiln_error *err)
{
    const recipe *r = &t->recipe;
    t->batches_per_epoch = order_steps_per_epoch(t->order, r->train_batch_size);
    int64_t per_step = r->gradient_accumulation_steps;
    t->steps = r->max_train_epochs ? (r->max_train_epochs * t->batches_per_epoch + per_step - 1) / per_step
                                   : r->max_train_steps;
    learning_rate_options o = learning_rate_defaults();
    o.learning_rate = r->learning_rate;
    o.lr_scheduler = r->lr_scheduler;
    o.lr_warmup_steps = r->lr_warmup_steps;
    o.lr_decay_steps = r->lr_decay_steps;
    o.lr_scheduler_num_cycles = r->lr_num_cycles;
    o.lr_scheduler_power = r->lr_power;
    o.lr_scheduler_min_lr_ratio = r->lr_min_ratio;
    o.train_steps = t->steps;
    kiln_status status = learning_rate_init(&t->rate, &o, err);
    if (status)
        return status;
    t->ema = ema_defaults();
    t->ema.kind = r->ema_decay <= 0                      ? EMA_OFF
                  : strcmp(r->ema_kind, "constant") == 0 ? EMA_CONSTANT
                  : strcmp(r->ema_kind, "warmup") == 0   ? EMA_WARMUP
                                                         : EMA_GROWING;
    t->ema.decay = r->ema_decay > 0 ? r->ema_decay : t->ema.decay;
    t->ema.update_every = r->ema_update_every > 0 ? r->ema_update_every : 1;
    return ema_options_check(&t->ema, err);
}

/* ------------------------------------------------------------------------------------ all together */

static kiln_status find_checkpoint(kiln_training *t, const kiln_training_options *o, char **path,
                                   kiln_error *err)
{
    *path = NULL;
    if (o->resume)
        return checkpoint_find(t, o->resume, path, err);
    if (checkpoint_any(t))
        return fail(
            err, KILN_BAD_ARGUMENT,
            "%s: there are checkpoints already; resume them (--resume latest) or choose another output_dir",
            t->folder);
    return KILN_OK;
}

static kiln_status open_rest(kiln_training *t, const char *checkpoint, bool accept_changes, kiln_error *err)
{
    kiln_status status = hash_base(t, err);
    if (!status)
        status = class_pictures_prepare(t, err);
    if (!status)
        status = open_data(t, err);
    if (!status && checkpoint && !accept_changes)
        status = checkpoint_check(t, checkpoint, err);
    if (!status)
        status = training_open_model(t, checkpoint, err);
    if (!status)
        status = check_sizes(t, err);
    if (!status)
        status = open_objective(t, err);
    if (!status)
        status = open_parameters(t, err);
    if (!status)
        status = open_schedules(t, err);
    if (!status)
        status = open_optimizer(t, err);
    if (!status && checkpoint)
        status = checkpoint_restore(t, checkpoint, err);
    if (!status)
        status = open_loader(t, err);
    if (!status)
        status = journal_open(t->folder, t->step, &t->journal, err);
    if (!status)
        status = write_recipe(t, err);
    return status;
}

kiln_training_options kiln_training_defaults(void)
{
    return (kiln_training_options){0};
}

kiln_status kiln_training_open(const kiln_training_recipe *r, const kiln_training_options *options,
                               kiln_training **out, kiln_error *err)
{
    const kiln_training_options plain = kiln_training_defaults(), *o = options ? options : &plain;
    kiln_error own;
    char *checkpoint = NULL;
    err = err ? err : &own;
    kiln_training *t = *out = calloc(1, sizeof *t);
    if (!t || pthread_mutex_init(&t->telling, NULL) != 0) {
        free(t);
        *out = NULL;
        return fail(err, KILN_NO_MEMORY, "out of memory for a training");
    }
    t->lock = -1;
    t->saved_step = t->best_step = t->opened_step = -1;
    t->best_validation = t->class_base_loss = (double)NAN;
    t->progress = o->progress;
    t->user = o->user;
    kiln_status status = copy_recipe(t, &r->recipe, err);
    if (!status)
        status = lock_folder(t, err);
    if (!status) {
        leftovers_remove(t->folder);
        status = find_checkpoint(t, o, &checkpoint, err);
    }
    if (!status)
        status = open_rest(t, checkpoint, o->accept_changes, err);
    if (!status && checkpoint && strcmp(o->resume, "latest") == 0)
        checkpoint_settle(t);
    free(checkpoint);
    if (status) {
        kiln_training_close(t);
        *out = NULL;
    }
    return status;
}

void kiln_training_close(kiln_training *t)
{
    if (!t)
        return;
    loader_close(t->loader);
    step_plans_free(t);
    packed_store_free(t->frozen);
    objective_free(t->objective);
    optimizer_free(t->optimizer);
    parameters_free(t->parameters);
    teach_close(t->teach);
    journal_close(t->journal);
    order_free(t->order);
    dataset_close(t->data);
    training_close_model(t);
    free(t->class_folder);
    free(t->class_validation_folder);
    free(t->gradients);
    free(t->gradient_of);
    free(t->gradient_counts);
    free(t->average);
    free(t->folder);
    recipe_fini(&t->recipe);
    pthread_mutex_destroy(&t->telling);
    if (t->lock >= 0)
        close(t->lock);
    free(t);
}
