/* lora_file.c - opening a LoRA: its tensors gathered by module, each module of a known kind; see lora.h. */
#include "weights/lora_parts.h"

#include "formats/identify.h"
#include "formats/name_index.h"
#include "weights/small_file.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *path_of(const lora *l)
{
    return tensor_file_path(l->file);
}

/* ------------------------------------------------------------------------------------ gathering */

static const char *const network_marks[LORA_NETWORKS] = {"1:", "2:", "u:"};

static kiln_status add_factor(lora *l, name_index *index, const lora_key *key, const tensor_entry *entry,
                              kiln_error *err)
{
    char name[LORA_NAME + 2];
    snprintf(name, sizeof name, "%s%s", network_marks[key->network], key->module);
    int64_t number = name_index_find(index, name);
    if (number == NAME_MISSING) {
        char *kept = arena_text(&l->memory, name);
        number = l->count;
        if (!kept || !name_index_put(index, kept, (uint32_t)number))
            return fail(err, KILN_NO_MEMORY, "out of memory for a LoRA");
        l->modules[l->count++] = (lora_module){.network = key->network, .name = kept + 2, .scale = 1};
    }
    lora_module *m = &l->modules[number];
    if (m->factor[key->role])
        return fail(err, KILN_BAD_FORMAT, "%s: '%s' and '%s' are the same factor of one module", path_of(l),
                    m->factor[key->role]->name, entry->name);
    m->factor[key->role] = entry;
    return KILN_OK;
}

static kiln_status refuse(const lora *l, const char *key, lora_key_kind kind, const char *what,
                          kiln_error *err)
{
    identity id;
    identify(l->file, &id);
    if (id.kind != WEIGHTS_LORA && id.kind != WEIGHTS_UNKNOWN)
        return fail(err, KILN_BAD_FORMAT, "%s is no LoRA: it is a %s", path_of(l),
                    weights_kind_text(id.kind));
    if (kind == LORA_KEY_UNSUPPORTED)
        return fail(err, KILN_UNSUPPORTED, "%s: '%s' is of %s, which is not applied", path_of(l), key, what);
    if (id.family == WEIGHTS_FAMILY_OTHER)
        return fail(err, KILN_UNSUPPORTED, "%s is a LoRA for %s, which is not supported", path_of(l),
                    id.family_text);
    return fail(err, KILN_BAD_FORMAT, "%s: '%s' is no tensor of a LoRA that is known here", path_of(l), key);
}

static kiln_status gather(lora *l, kiln_error *err)
{
    size_t count = tensor_file_count(l->file);
    name_index index = {0};
    l->modules = calloc(count + 1, sizeof *l->modules);
    kiln_status status = l->modules ? KILN_OK : fail(err, KILN_NO_MEMORY, "out of memory for a LoRA");
    for (size_t i = 0; status == KILN_OK && i < count; i++) {
        const tensor_entry *entry = tensor_file_entry(l->file, i);
        lora_key key;
        const char *what = "";
        lora_key_kind kind = lora_key_of(entry->name, &key, &what);
        if (kind == LORA_KEY_FACTOR)
            status = add_factor(l, &index, &key, entry, err);
        else if (kind == LORA_KEY_EMBEDDING)
            l->words++;
        else
            status = refuse(l, entry->name, kind, what, err);
    }
    name_index_fini(&index);
    return status;
}

/* ------------------------------------------------------------------------------------ scales */

/* PEFT keeps alpha beside the tensors: in newer diffusers' metadata, as JSON with a prefix for each network. */
static kiln_status read_peft(const lora *l, double alpha[LORA_NETWORKS], kiln_error *err)
{
    static const char *const prefixes[LORA_NETWORKS] = {"text_encoder.", "text_encoder_2.", "unet."};
    const char *text = tensor_file_metadata(l->file, "lora_adapter_metadata");
    json_t *root = text ? json_loads(text, 0, NULL) : NULL;
    kiln_status status = KILN_OK;
    for (int k = 0; root && status == KILN_OK && k < LORA_NETWORKS; k++) {
        char key[64];
        snprintf(key, sizeof key, "%slora_alpha", prefixes[k]);
        const json_t *v = json_object_get(root, key);
        if (json_is_number(v))
            alpha[k] = json_number_value(v);
        snprintf(key, sizeof key, "%salpha_pattern", prefixes[k]);
        bool patterns = json_object_size(json_object_get(root, key)) > 0;
        snprintf(key, sizeof key, "%suse_rslora", prefixes[k]);
        if (patterns || json_is_true(json_object_get(root, key)))
            status = fail(err, KILN_UNSUPPORTED,
                          "%s: its metadata asks for alpha_pattern or use_rslora of PEFT, which are not read",
                          path_of(l));
    }
    json_decref(root);
    return status;
}

/* PEFT's own files, adapter_model.*, have it in adapter_config.json beside them. */
static kiln_status read_adapter_config(lora *l, double alpha[LORA_NETWORKS], kiln_error *err)
{
    const char *path = path_of(l), *slash = strrchr(path, '/'), *file = slash ? slash + 1 : path,
               *text = NULL;
    size_t length = 0;
    char *beside = arena_format(&l->memory, "%.*sadapter_config.json", (int)(file - path), path);
    if (!beside)
        return fail(err, KILN_NO_MEMORY, "out of memory for a LoRA");
    if (strncmp(file, "adapter_model", strlen("adapter_model")) != 0 || !path_is_file(beside))
        return KILN_OK;
    kiln_status status = small_file_read(beside, &l->memory, &text, &length, err);
    if (status != KILN_OK)
        return status;
    json_t *root = json_loadb(text, length, 0, NULL);
    const json_t *v = json_object_get(root, "lora_alpha");
    for (int k = 0; json_is_number(v) && k < LORA_NETWORKS; k++)
        alpha[k] = json_number_value(v);
    bool known = root && !json_object_size(json_object_get(root, "alpha_pattern")) &&
                 !json_is_true(json_object_get(root, "use_rslora"));
    json_decref(root);
    return known
               ? KILN_OK
               : fail(
                     err, KILN_UNSUPPORTED,
                     "%s: it is no JSON, or asks for alpha_pattern or use_rslora of PEFT, which are not read",
                     beside);
}

static kiln_status read_number(const lora *l, const tensor_entry *e, double *out, kiln_error *err)
{
    float v = 0;
    if (shape_count(e->shape) != 1)
        return fail(err, KILN_BAD_FORMAT, "%s: '%s' should be one number", path_of(l), e->name);
    kiln_status status = tensor_file_read_f32(l->file, e, 0, 1, &v, err);
    if (status == KILN_OK && !isfinite(v))
        status = fail(err, KILN_BAD_FORMAT, "%s: '%s' is NaN or infinite", path_of(l), e->name);
    *out = (double)v;
    return status;
}

static kiln_status finish_module(const lora *l, lora_module *m, const double peft_alpha[LORA_NETWORKS],
                                 kiln_error *err)
{
    kiln_status status = lora_module_check(l, m, err);
    double alpha = peft_alpha[m->network];
    if (status == KILN_OK && m->factor[LORA_ALPHA])
        status = read_number(l, m->factor[LORA_ALPHA], &alpha, err);
    m->alpha = alpha;
    if (status == KILN_OK && m->rank && !isnan(alpha))
        m->scale = alpha / m->rank;
    return status;
}

/* ------------------------------------------------------------------------------------ the interface */

static kiln_status read_file(lora *l, kiln_error *err)
{
    double peft_alpha[LORA_NETWORKS] = {(double)NAN, (double)NAN, (double)NAN};
    kiln_status status = gather(l, err);
    if (status == KILN_OK)
        status = read_adapter_config(l, peft_alpha, err);
    if (status == KILN_OK)
        status = read_peft(l, peft_alpha, err);
    for (int i = 0; status == KILN_OK && i < l->count; i++)
        status = finish_module(l, &l->modules[i], peft_alpha, err);
    if (status == KILN_OK && !l->count)
        status = refuse(l, "", LORA_KEY_UNKNOWN, "", err);
    return status;
}

kiln_status lora_open(const char *path, lora **out, kiln_error *err)
{
    lora *l = *out = calloc(1, sizeof *l);
    if (!l)
        return fail(err, KILN_NO_MEMORY, "out of memory for a LoRA");
    kiln_status status = tensor_file_open(path, &l->file, err);
    if (status == KILN_OK)
        status = read_file(l, err);
    if (status != KILN_OK) {
        lora_close(l);
        *out = NULL;
    }
    return status;
}

void lora_close(lora *l)
{
    if (!l)
        return;
    tensor_file_close(l->file);
    arena_fini(&l->memory);
    free(l->modules);
    free(l);
}

int lora_count(const lora *l, lora_network network)
{
    int count = 0;
    for (int i = 0; i < l->count; i++)
        count += l->modules[i].network == network;
    return count;
}
