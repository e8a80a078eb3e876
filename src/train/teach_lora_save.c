/* teach_lora_save.c - a taught LoRA as kohya's sd-scripts write it: names, alpha, ss_ metadata, and Kiln's own. */
#include "train/teach_lora_parts.h"

#include "pipeline/lora_metadata.h"
#include "weights/write.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY = 2 * PATH_TEXT + 64 };

/* "lora_unet_mid_block_attentions_0_proj_in.alpha" */
static void key_of(const lora_learner *l, const lora_layer_taught *layer, const char *leaf, char out[KEY])
{
    const char *place = parameters_place(layer->network);
    bool two = model_has(l->model, NETWORK_TEXT_2);
    const char *prefix = layer->network == NETWORK_UNET     ? "lora_unet_"
                         : layer->network == NETWORK_TEXT_2 ? "lora_te2_"
                         : two                              ? "lora_te1_"
                                                            : "lora_te_";
    int used = snprintf(out, KEY, "%s%s", prefix, layer->name + (*place ? strlen(place) + 1 : 0));
    for (int i = 0; i < used && i < KEY; i++)
        out[i] = out[i] == '.' ? '_' : out[i];
    if (used < KEY)
        snprintf(out + used, (size_t)(KEY - used), ".%s", leaf);
}

static dtype type_of(const recipe *r)
{
    return strcmp(r->save_precision, "bf16") == 0   ? DTYPE_BF16
           : strcmp(r->save_precision, "fp16") == 0 ? DTYPE_F16
                                                    : DTYPE_F32;
}

static kiln_status put(safetensors_writer *w, const char *key, dtype type, shape s, const float *values,
                       bool declare, kiln_error *err)
{
    size_t count = (size_t)shape_count(s);
    if (declare)
        return safetensors_writer_declare(w, key, type, s, err);
    void *bytes = malloc(count * dtype_size(type));
    kiln_status status = bytes ? weights_check_range(key, type, values, (int64_t)count, err)
                               : fail(err, KILN_NO_MEMORY, "out of memory for a LoRA");
    if (status == KILN_OK) {
        convert_from_f32(values, bytes, type, count);
        status = safetensors_writer_write(w, key, bytes, count * dtype_size(type), err);
    }
    free(bytes);
    return status;
}

static kiln_status put_all(const lora_learner *l, const teach_artefact *a, safetensors_writer *w,
                           bool declare, kiln_error *err)
{
    kiln_status status = KILN_OK;
    dtype type = type_of(l->recipe);
    char key[KEY];
    for (int i = 0; status == KILN_OK && i < l->factor_count; i++) {
        const lora_factor_taught *f = &l->factors[i];
        const parameter_entry *e = parameters_find(a->parameters, f->name);
        key_of(l, &l->layers[f->layer], f->leaf, key);
        status = e ? put(w, key, type, f->shape, a->values + e->offset, declare, err)
                   : fail(err, KILN_INTERNAL, "'%s' is not among the parameters of the training", f->name);
    }
    for (int i = 0; status == KILN_OK && i < l->layer_count; i++) {
        float alpha = l->layers[i].form.scale * (float)l->layers[i].form.rank;
        key_of(l, &l->layers[i], "alpha", key);
        status = put(w, key, type, (shape){.rank = 0}, &alpha, declare, err);
    }
    return status;
}

static kiln_status put_metadata(const lora_learner *l, const teach_artefact *a, const char *path,
                                safetensors_writer *w, kiln_error *err)
{
    const recipe *r = l->recipe;
    const char *type = r->lora.network_type;
    char arguments[160], step[24], most[24], seed[24], dropout[32], resolution[48];
    bool plain = strcmp(type, "lora") == 0;
    snprintf(arguments, sizeof arguments,
             "{\"algo\": \"%s\", \"conv_dim\": \"%d\", \"conv_alpha\": \"%g\", \"dora_wd\": \"%s\"}",
             strcmp(type, "dora") == 0 ? "lora" : type, l->window_rank, l->window_alpha,
             strcmp(type, "dora") == 0 ? "True" : "False");
    snprintf(step, sizeof step, "%lld", (long long)a->step);
    snprintf(most, sizeof most, "%lld", (long long)r->max_train_steps);
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)r->seed);
    snprintf(dropout, sizeof dropout, "%g", r->lora.network_dropout);
    snprintf(resolution, sizeof resolution, "(%d, %d)", r->resolution.number[0],
             r->resolution.number[r->resolution.count > 1 ? 1 : 0]);
    const lora_description d = {.parts = l->model->parts,
                                .to = path,
                                .module = plain ? "networks.lora" : "lycoris.kohya",
                                .rank = r->lora.network_dim,
                                .window_rank = l->window_rank,
                                .alpha = r->lora.network_alpha,
                                .arguments = plain && !l->window_rank ? "{}" : arguments};
    const char *const entries[][2] = {{"ss_steps", step},
                                      {"ss_max_train_steps", most},
                                      {"ss_seed", seed},
                                      {"ss_network_dropout", dropout},
                                      {"ss_resolution", resolution},
                                      {"ss_learning_rate", r->learning_rate},
                                      {"ss_unet_lr", r->learning_rate},
                                      {"ss_optimizer", r->optimizer},
                                      {"ss_lr_scheduler", r->lr_scheduler},
                                      {"ss_mixed_precision", r->mixed_precision},
                                      {"ss_sd_model_name", a->base_name}};
    kiln_status status = lora_metadata_write(w, &d, err);
    for (size_t i = 0; status == KILN_OK && i < sizeof entries / sizeof *entries; i++)
        status = safetensors_writer_metadata(w, entries[i][0], entries[i][1], err);
    for (int i = 0; status == KILN_OK && i < a->metadata_count; i++)
        status = safetensors_writer_metadata(w, a->metadata[i][0], a->metadata[i][1], err);
    return status;
}

kiln_status lora_save_taught(const void *self, const teach_artefact *a, const char *path, kiln_error *err)
{
    const lora_learner *l = self;
    safetensors_writer *w;
    kiln_status status = safetensors_writer_open(path, &w, err);
    if (status != KILN_OK)
        return status;
    status = put_metadata(l, a, path, w, err);
    if (status == KILN_OK)
        status = put_all(l, a, w, true, err);
    if (status == KILN_OK)
        status = put_all(l, a, w, false, err);
    if (status == KILN_OK)
        return safetensors_writer_finish(w, err);
    safetensors_writer_abort(w);
    return status;
}
