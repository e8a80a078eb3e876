/* checkpoint.c - a checkpoint: a model folder to draw with, and everything that going on takes.
 *
 *   checkpoints/step-00001000/
 *       model_index.json, unet/, vae/, text_encoder/, tokenizer/, scheduler/     the model (averaged weights, if there are)
 *       training_state/state.safetensors    masters, average, optimizer, and the figures as metadata
 *       training_state/recipe.txt
 *       checksums.sha256                    of every other file, in the form that sha256sum -c reads
 *   checkpoints/latest, checkpoints/best    links
 *
 * It is filled under another name, every file and folder synced, and renamed: it is there as a whole or not at all. The
 * place in the data, the noise and the learning rate are functions of the step number, so that the step is all there is to
 * keep of them. */
#include "train/training.h"

#include "formats/hash.h"
#include "train/checkpoint_files.h"
#include "train/model_folder.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STATE_VERSION "1"

static kiln_status checkpoints_folder(const kiln_training *t, char path[FOLDER_PATH], kiln_error *err)
{
    return folder_path(path, t->folder, "checkpoints", err);
}

/* ------------------------------------------------------------------------------------ the model */

static dtype saved_type(const recipe *r)
{
    return strcmp(r->save_precision, "fp16") == 0   ? DTYPE_F16
           : strcmp(r->save_precision, "bf16") == 0 ? DTYPE_BF16
                                                    : DTYPE_F32;
}

/* Networks in training from the masters, the others as the base has them. */
static kiln_status add_networks(const kiln_training *t, model_folder *f, graph *graphs[CONVERT_MAX_MODELS],
                                parameters_reader readers[NETWORK_COUNT], kiln_error *err)
{
    static const struct {
        part_kind part;
        network_kind network;
    } all[] = {{PART_UNET, NETWORK_UNET},       {PART_VAE, NETWORK_VAE_DECODER},
               {PART_VAE, NETWORK_VAE_ENCODER}, {PART_TEXT, NETWORK_TEXT_1},
               {PART_TEXT_2, NETWORK_TEXT_2},   {PART_UPSCALER, NETWORK_UPSCALER}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (!f->parts->part[all[i].part].present)
            continue;
        graph *g = graphs[f->count] =
            probe_draw(f->parts, all[i].part, all[i].network == NETWORK_VAE_ENCODER, err);
        if (!g)
            return err ? err->status : KILN_MISMATCH;
        weights *bound = t->model->networks[all[i].network].bound;
        bool trained = t->objective->trained >> all[i].network & 1;
        parameters_reader *reader = &readers[all[i].network];
        *reader = (parameters_reader){t->parameters, t->average, parameters_place(all[i].network)};
        f->network[f->count++] =
            (folder_network){.part = all[i].part,
                             .graph = g,
                             .type = saved_type(&t->recipe),
                             .source = trained ? parameters_source(reader) : weights_source(bound),
                             .as = trained ? NULL : bound};
    }
    return KILN_OK;
}

/* A VAE made from nothing is saved with the factor that gives its latents a deviation of 1 (Rombach et al. 2022, section
 * D.1), unless the recipe gives one. */
static kiln_status scale_latents(kiln_training *t, kiln_error *err)
{
    const recipe *r = &t->recipe;
    double deviation;
    model_parts *parts = t->model->parts;
    if (strcmp(r->method, "vae") != 0 || r->base[0] || r->vae.base[0] || r->vae.scaling_factor > 0)
        return KILN_OK;
    kiln_status status = training_measure_latents(t, &deviation, err);
    if (!status && deviation > 1e-6 && isfinite(deviation)) {
        parts->vae.scaling_factor = (float)(1 / deviation);
        parts->part[PART_VAE].config = NULL; /* written anew from the configuration */
    }
    return status;
}

static kiln_status write_model(const kiln_training *t, const char *folder, kiln_error *err)
{
    const model_parts *parts = t->model->parts;
    parameters_reader readers[NETWORK_COUNT];
    graph *graphs[CONVERT_MAX_MODELS] = {NULL};
    model_folder f = {.parts = parts, .tokenizer = {parts->tokenizer, parts->tokenizer_2}};
    kiln_status status = add_networks(t, &f, graphs, readers, err);
    if (!status)
        status = model_folder_write(&f, folder, err);
    for (int i = 0; i < CONVERT_MAX_MODELS; i++)
        graph_free(graphs[i]);
    return status;
}

/* ------------------------------------------------------------------------------------ the state */

static kiln_status declare_state(const kiln_training *t, safetensors_writer *w, kiln_error *err)
{
    shape size = SHAPE1(t->parameters->trainable_size);
    kiln_status status = safetensors_writer_declare(w, "values", DTYPE_F32, size, err);
    if (!status && t->average)
        status = safetensors_writer_declare(w, "average", DTYPE_F32, size, err);
    for (size_t i = 0; i < optimizer_state_count(t->optimizer) && !status; i++) {
        optimizer_state s = optimizer_state_at(t->optimizer, i);
        char name[512];
        snprintf(name, sizeof name, "optimizer.%s", s.name);
        status = safetensors_writer_declare(w, name, s.type, s.shape, err);
    }
    return status;
}

static kiln_status write_tensors(const kiln_training *t, safetensors_writer *w, kiln_error *err)
{
    size_t bytes = (size_t)t->parameters->trainable_size * sizeof(float);
    kiln_status status = safetensors_writer_write(w, "values", t->parameters->values, bytes, err);
    if (!status && t->average)
        status = safetensors_writer_write(w, "average", t->average, bytes, err);
    for (size_t i = 0; i < optimizer_state_count(t->optimizer) && !status; i++) {
        optimizer_state s = optimizer_state_at(t->optimizer, i);
        char name[512];
        snprintf(name, sizeof name, "optimizer.%s", s.name);
        status =
            safetensors_writer_write(w, name, s.data, (size_t)shape_count(s.shape) * dtype_size(s.type), err);
    }
    return status;
}

static kiln_status add_figures(const kiln_training *t, safetensors_writer *w, kiln_error *err)
{
    char step[32], best[32], best_step[32], of_class[32], layout[65];
    kiln_status status = checkpoint_layout_hash(t, layout, err);
    snprintf(step, sizeof step, "%lld", (long long)t->step);
    snprintf(best, sizeof best, "%.17g", t->best_validation);
    snprintf(of_class, sizeof of_class, "%.17g", t->class_base_loss);
    snprintf(best_step, sizeof best_step, "%lld", (long long)t->best_step);
    const char *const entries[][2] = {{"kiln.training_state", STATE_VERSION},
                                      {"step", step},
                                      {"best_validation", best},
                                      {"best_step", best_step},
                                      {"class_base_loss", of_class},
                                      {"dataset", dataset_hash(t->data)},
                                      {"base", t->base_hash},
                                      {"layout", layout},
                                      {"optimizer", t->recipe.optimizer},
                                      {"method", t->recipe.method}};
    for (size_t i = 0; i < sizeof entries / sizeof *entries && !status; i++)
        status = safetensors_writer_metadata(w, entries[i][0], entries[i][1], err);
    return status;
}

static kiln_status write_state(const kiln_training *t, const char *folder, kiln_error *err)
{
    char inner[FOLDER_PATH], path[FOLDER_PATH];
    safetensors_writer *w = NULL;
    kiln_status status = folder_path(inner, folder, "training_state", err);
    if (!status)
        status = folder_make(inner, err);
    if (!status)
        status = folder_path(path, inner, "state.safetensors", err);
    if (!status)
        status = safetensors_writer_open(path, &w, err);
    if (!status)
        status = add_figures(t, w, err);
    if (!status)
        status = declare_state(t, w, err);
    if (!status)
        status = write_tensors(t, w, err);
    if (!status)
        status = safetensors_writer_finish(w, err);
    else
        safetensors_writer_abort(w);
    char *text = status ? NULL : recipe_text_of(&t->recipe);
    if (!status)
        status = text ? folder_path(path, inner, "recipe.txt", err)
                      : fail(err, KILN_NO_MEMORY, "out of memory for a recipe");
    if (!status)
        status = write_text_file(path, text, strlen(text), err);
    free(text);
    return status ? status : folder_sync(inner, err);
}

/* ------------------------------------------------------------------------------------ saving */

static kiln_status put_in_place(const char *made, const char *target, const char *parent, kiln_error *err)
{
    char aside[FOLDER_PATH];
    if (snprintf(aside, sizeof aside, "%s.replaced", target) >= (int)sizeof aside)
        return fail(err, KILN_BAD_ARGUMENT, "%s: the name is too long", target);
    /* One of that step is there when it was damaged, and the steps since the one before it were done again. */
    folder_remove(aside);
    if (rename(target, aside) != 0 && errno != ENOENT)
        return fail_system(err, "%s: cannot be replaced", target);
    if (rename(made, target) != 0)
        return fail_system(err, "%s: cannot be written", target);
    kiln_status status = folder_sync(parent, err);
    folder_remove(aside);
    return status;
}

static kiln_status write_checkpoint(const kiln_training *t, const char *parent, const char *target,
                                    kiln_error *err)
{
    char made[FOLDER_PATH];
    kiln_status status = folder_path(made, parent, CHECKPOINT_UNFINISHED, err);
    if (status)
        return status;
    folder_remove(made);
    status = folder_make(made, err);
    if (!status)
        status = t->teach ? training_save_taught(t, made, err) : write_model(t, made, err);
    if (!status)
        status = write_state(t, made, err);
    if (!status)
        status = checkpoint_seal(made, err);
    if (!status)
        status = put_in_place(made, target, parent, err);
    if (status)
        folder_remove(made);
    return status;
}

/* The links lead to the latest and the best, and what is too old goes. */
static void link_and_prune(const kiln_training *t, const char *parent, const char *latest)
{
    char name[CHECKPOINT_NAME], best[FOLDER_PATH];
    kiln_error err;
    checkpoint_link(parent, "latest", latest);
    checkpoint_name(t->best_step, name);
    if (t->best_step >= 0 && !folder_path(best, parent, name, &err) && access(best, F_OK) == 0)
        checkpoint_link(parent, "best", name);
    checkpoint_prune(parent, t->recipe.save_last_n, t->best_step, t->opened_step);
}

void checkpoint_settle(const kiln_training *t)
{
    char parent[FOLDER_PATH], name[CHECKPOINT_NAME];
    kiln_error err;
    checkpoint_name(t->step, name);
    if (!checkpoints_folder(t, parent, &err))
        link_and_prune(t, parent, name);
}

kiln_status checkpoint_save(kiln_training *t, bool best, kiln_error *err)
{
    char parent[FOLDER_PATH], target[FOLDER_PATH], name[CHECKPOINT_NAME];
    int64_t best_before = t->best_step;
    checkpoint_name(t->step, name);
    kiln_status status = checkpoints_folder(t, parent, err);
    if (!status)
        status = folder_make(parent, err);
    if (!status)
        status = folder_path(target, parent, name, err);
    if (best)
        t->best_step = t->step;
    if (!status)
        status = scale_latents(t, err);
    if (!status)
        status = write_checkpoint(t, parent, target, err);
    if (!status && t->teach)
        status = training_save_taught(t, t->folder, err);
    if (status) {
        t->best_step = best_before;
        return fail_within(
            err, status, "the checkpoint of step %lld could not be written, those before it are as they were",
            (long long)t->step);
    }
    t->saved_step = t->step;
    t->saved_at = training_now();
    link_and_prune(t, parent, name);
    training_tell(t, KILN_TRAINING_SAVED, "%s", target);
    return KILN_OK;
}

/* ------------------------------------------------------------------------------------ finding and checking */

bool checkpoint_any(const kiln_training *t)
{
    char parent[FOLDER_PATH];
    kiln_error err;
    checkpoint_list list;
    if (checkpoints_folder(t, parent, &err) || checkpoint_list_read(parent, &list, &err))
        return false;
    bool any = list.count > 0;
    checkpoint_list_fini(&list);
    return any;
}

static kiln_status find_latest(kiln_training *t, char **path, kiln_error *err)
{
    char parent[FOLDER_PATH], candidate[FOLDER_PATH], name[CHECKPOINT_NAME];
    checkpoint_list list;
    kiln_status status = checkpoints_folder(t, parent, err);
    if (!status)
        status = checkpoint_list_read(parent, &list, err);
    if (status)
        return status;
    int damaged = 0;
    for (int i = 0; i < list.count && !*path && !status; i++) {
        kiln_error why;
        checkpoint_name(list.step[i], name);
        status = folder_path(candidate, parent, name, err);
        if (!status && checkpoint_verify(candidate, &why) == KILN_OK) {
            *path = strdup(candidate);
            status = *path ? KILN_OK : fail(err, KILN_NO_MEMORY, "out of memory");
        } else if (!status) {
            damaged++;
            training_tell(t, KILN_TRAINING_NOTE, "%s; %s", why.text,
                          i + 1 < list.count ? "the one before it is used" : "there is none before it");
        }
    }
    checkpoint_list_fini(&list);
    if (!status && !*path && damaged)
        status = fail(err, KILN_BAD_FORMAT,
                      "%s: no checkpoint here is whole (%d damaged); begin in another output_dir", parent,
                      damaged);
    return status;
}

kiln_status checkpoint_find(kiln_training *t, const char *wanted, char **path, kiln_error *err)
{
    *path = NULL;
    if (strcmp(wanted, "latest") == 0)
        return find_latest(t, path, err);
    kiln_status status = checkpoint_verify(wanted, err);
    if (!status && !(*path = strdup(wanted)))
        status = fail(err, KILN_NO_MEMORY, "out of memory");
    return status;
}

static kiln_status open_state(const char *checkpoint, tensor_file **file, kiln_error *err)
{
    char path[FOLDER_PATH];
    *file = NULL;
    kiln_status status = folder_path(path, checkpoint, "training_state/state.safetensors", err);
    if (!status)
        status = tensor_file_open(path, file, err);
    const char *version = status ? NULL : tensor_file_metadata(*file, "kiln.training_state");
    if (!status && (!version || strcmp(version, STATE_VERSION) != 0)) {
        status = fail(err, KILN_UNSUPPORTED,
                      "%s: a training state of version %s; this program knows " STATE_VERSION, path,
                      version ? version : "none");
        tensor_file_close(*file);
        *file = NULL;
    }
    return status;
}

/* Keys that say what a network made from nothing is like: changing them does not change the one that is there. */
static bool is_of_network(const recipe *r, const char *key)
{
    static const char *const of_schedule[] = {"num_train_timesteps", "beta_schedule", "beta_start",
                                              "beta_end"};
    const char *dot = strchr(key, '.');
    if (r->base[0])
        return false;
    for (int i = 0; i < 4; i++)
        if (strcmp(key, of_schedule[i]) == 0)
            return !r->unet.base[0];
    if (!dot || strcmp(dot, ".base") == 0 || strcmp(dot, ".tokenizer") == 0)
        return false;
    const char *base = strncmp(key, "unet.", 5) == 0  ? r->unet.base
                       : strncmp(key, "vae.", 4) == 0 ? r->vae.base
                                                      : r->text_encoder.base;
    return !base[0];
}

/* Keys that say what form the thing has that is taught. */
static bool is_of_taught(const recipe *r, const char *key)
{
    static const char *const keys[] = {
        "layer_structure", "activation_func",    "is_layer_norm",     "activate_output",
        "use_dropout",     "last_layer_dropout", "dropout_structure", "modules",
        "num_vectors",     "network_type",       "network_dim",       "network_alpha",
        "conv_dim",        "conv_alpha",         "block_dims",        "network_factor"};
    for (size_t i = 0; recipe_teaches(r) && i < sizeof keys / sizeof *keys; i++)
        if (strcmp(key, keys[i]) == 0)
            return true;
    return false;
}

static kiln_status compare_recipes(const recipe *then, const recipe *now, bool taught, const char *checkpoint,
                                   kiln_error *err)
{
    char was[RECIPE_VALUE], is[RECIPE_VALUE];
    for (int i = 0; recipe_key_at(i); i++) {
        const recipe_key *key = recipe_key_at(i);
        if (taught ? !is_of_taught(then, key->name) : !is_of_network(then, key->name))
            continue;
        recipe_value_text(then, key, was);
        recipe_value_text(now, key, is);
        if (strcmp(was, is) != 0)
            return fail(err, KILN_MISMATCH,
                        "%s: %s was '%s' when this was saved, and is '%s' now: %s keeps its form as long as "
                        "it is trained; another one needs another output_dir",
                        checkpoint, key->name, was, is, taught ? "what is taught" : "a network");
    }
    return KILN_OK;
}

/* A recipe that cannot be read (of another version, say) stands in nobody's way. */
static kiln_status check_recipe(const kiln_training *t, bool taught, const char *checkpoint, kiln_error *err)
{
    char path[FOLDER_PATH];
    kiln_error why;
    recipe then;
    kiln_status status = folder_path(path, checkpoint, "training_state/recipe.txt", err);
    if (status || recipe_init(&then, &why))
        return status;
    if (!recipe_read_file(&then, path, &why) && !recipe_check(&then, &why))
        status = compare_recipes(&then, &t->recipe, taught, checkpoint, err);
    recipe_fini(&then);
    return status;
}

kiln_status checkpoint_check(const kiln_training *t, const char *checkpoint, kiln_error *err)
{
    tensor_file *file;
    kiln_status status = open_state(checkpoint, &file, err);
    if (status)
        return status;
    const char *data = tensor_file_metadata(file, "dataset"), *base = tensor_file_metadata(file, "base"),
               *method = tensor_file_metadata(file, "method");
    if (!data || strcmp(data, dataset_hash(t->data)) != 0)
        status = fail(err, KILN_MISMATCH,
                      "%s: the pictures or captions of %s are not those that this checkpoint was trained on; "
                      "--accept-changes goes on with them",
                      checkpoint, t->recipe.train_data_dir);
    else if (!base || strcmp(base, t->base_hash) != 0)
        status = fail(err, KILN_MISMATCH,
                      "%s: the base is not the one that this checkpoint was trained from; --accept-changes "
                      "goes on all the same",
                      checkpoint);
    else if (!method || strcmp(method, t->recipe.method) != 0)
        status = fail(err, KILN_MISMATCH, "%s: the method of this checkpoint is %s, the recipe's is %s",
                      checkpoint, method ? method : "unknown", t->recipe.method);
    tensor_file_close(file);
    return status ? status : check_recipe(t, false, checkpoint, err);
}

/* ------------------------------------------------------------------------------------ restoring */

static kiln_status read_tensor(const tensor_file *file, const char *name, dtype type, shape size, void *to,
                               kiln_error *err)
{
    const tensor_entry *e = tensor_file_find(file, name);
    char found[SHAPE_TEXT], expected[SHAPE_TEXT];
    if (!e)
        return fail(err, KILN_MISMATCH, "%s: '%s' is missing: was optimizer or ema_decay changed?",
                    tensor_file_path(file), name);
    if (e->type != type || !shape_equal(e->shape, size))
        return fail(err, KILN_MISMATCH, "%s: '%s' is %s %s, expected %s %s", tensor_file_path(file), name,
                    dtype_name(e->type), shape_text(e->shape, found), dtype_name(type),
                    shape_text(size, expected));
    return tensor_file_read(file, e, to, err);
}

static kiln_status read_tensors(kiln_training *t, const tensor_file *file, kiln_error *err)
{
    shape size = SHAPE1(t->parameters->trainable_size);
    kiln_status status = read_tensor(file, "values", DTYPE_F32, size, t->parameters->values, err);
    /* A mean that was not kept before begins with the weights. */
    if (!status && t->average)
        status = read_tensor(file, tensor_file_find(file, "average") ? "average" : "values", DTYPE_F32, size,
                             t->average, err);
    for (size_t i = 0; i < optimizer_state_count(t->optimizer) && !status; i++) {
        optimizer_state s = optimizer_state_at(t->optimizer, i);
        char name[512];
        snprintf(name, sizeof name, "optimizer.%s", s.name);
        status = read_tensor(file, name, s.type, s.shape, s.data, err);
    }
    return status;
}

static kiln_status check_layout(const kiln_training *t, const tensor_file *file, kiln_error *err)
{
    char layout[65];
    const char *optimizer_name = tensor_file_metadata(file, "optimizer"),
               *kept = tensor_file_metadata(file, "layout");
    kiln_status status = checkpoint_layout_hash(t, layout, err);
    if (status)
        return status;
    if (!kept || strcmp(kept, layout) != 0)
        return fail(err, KILN_MISMATCH,
                    "%s: other parameters are trained now than when this was saved (sizes, trainable, frozen "
                    "or train_text_encoder)",
                    tensor_file_path(file));
    if (!optimizer_name || strcmp(optimizer_name, t->recipe.optimizer) != 0)
        return fail(err, KILN_MISMATCH,
                    "%s: the optimizer was %s, the recipe says %s; to change it, start a new training with "
                    "this checkpoint as base",
                    tensor_file_path(file), optimizer_name ? optimizer_name : "unknown", t->recipe.optimizer);
    return KILN_OK;
}

kiln_status checkpoint_restore(kiln_training *t, const char *checkpoint, kiln_error *err)
{
    tensor_file *file;
    kiln_status status = check_recipe(t, true, checkpoint, err);
    if (!status)
        status = open_state(checkpoint, &file, err);
    if (status)
        return status;
    status = check_layout(t, file, err);
    if (!status)
        status = read_tensors(t, file, err);
    const char *step = tensor_file_metadata(file, "step"),
               *best = tensor_file_metadata(file, "best_validation");
    const char *best_step = tensor_file_metadata(file, "best_step");
    if (!status && (!step || !best || !best_step))
        status = fail(err, KILN_BAD_FORMAT, "%s: the step is missing", tensor_file_path(file));
    if (!status) {
        t->step = t->saved_step = t->opened_step = strtoll(step, NULL, 10);
        t->best_validation = strtod(best, NULL);
        t->best_step = strtoll(best_step, NULL, 10);
        const char *of_class = tensor_file_metadata(file, "class_base_loss");
        t->class_base_loss = of_class ? strtod(of_class, NULL) : (double)NAN;
    }
    tensor_file_close(file);
    return status;
}
