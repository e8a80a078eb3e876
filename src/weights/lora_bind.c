/* lora_bind.c - which parameter each module of a LoRA changes; see lora.h. */
#include "weights/lora_parts.h"

#include "formats/identify.h"
#include "formats/name_index.h"
#include "weights/binding.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct lora_binding {
    const lora *lora;
    int *module; /* by parameter: which module changes it, -1: none */
    bool *bias;
    int count;
};

/* Parameters by the flattened names of their modules, in both dialects. */
typedef struct places {
    arena memory;
    name_index index;
} places;

static const char weight_leaf[] = ".weight";

static bool put_place(places *p, const char *name, size_t length, int number)
{
    size_t leaf = sizeof weight_leaf - 1;
    char flat[LORA_NAME];
    if (length <= leaf || memcmp(name + length - leaf, weight_leaf, leaf) != 0 ||
        !lora_flatten(name, length - leaf, flat))
        return true;
    if (name_index_find(&p->index, flat) != NAME_MISSING)
        return true;
    const char *kept = arena_text(&p->memory, flat);
    return kept && name_index_put(&p->index, kept, (uint32_t)number);
}

static kiln_status list_places(places *p, const graph *g, kiln_error *err)
{
    bool good = true;
    for (int i = 0; good && i < g->parameter_count; i++) {
        const parameter *one = &g->parameters[i];
        storage_marks marks = storage_marks_of(one->original);
        good = put_place(p, one->canonical, strlen(one->canonical), i);
        if (good && marks.parts == 1 && !marks.transposed)
            good = put_place(p, one->original, (size_t)marks.name_length, i);
    }
    return good ? KILN_OK : fail(err, KILN_NO_MEMORY, "out of memory for a LoRA");
}

static int find_place(const places *p, const char *name)
{
    char variant[LORA_NAME];
    for (int i = 0; lora_name_variant(name, i, variant); i++) {
        int64_t found = variant[0] ? name_index_find(&p->index, variant) : NAME_MISSING;
        if (found != NAME_MISSING)
            return (int)found;
    }
    return -1;
}

/* The layer after the last: SD 2.x has it in its files and never runs it. */
static bool is_unused_layer(const places *p, const lora_module *m)
{
    int layer, length = 0;
    char before[LORA_NAME];
    if (m->network == LORA_UNET ||
        /* At most four digits: NOLINTNEXTLINE(cert-err34-c) */
        sscanf(m->name, "text_model_encoder_layers_%4d_%n", &layer, &length) != 1 || !length || layer < 1 ||
        layer > 1000)
        return false;
    snprintf(before, sizeof before, "text_model_encoder_layers_%d_mlp_fc1", layer - 1);
    return name_index_find(&p->index, before) != NAME_MISSING;
}

static const char *family_of(const lora *l, identity *id)
{
    identify(l->file, id);
    return id->family_text[0] ? id->family_text : "another model";
}

static const char *network_text(lora_network network)
{
    return network == LORA_UNET ? "UNet" : network == LORA_TEXT ? "text encoder" : "second text encoder";
}

static kiln_status refuse_place(const lora *l, const lora_module *m, kiln_error *err)
{
    identity id;
    return fail(err, KILN_MISMATCH, "%s: the model's %s has no module '%s'; the LoRA was made for %s",
                tensor_file_path(l->file), network_text(m->network), m->name, family_of(l, &id));
}

static kiln_status refuse_size(const lora *l, const lora_module *m, const parameter *p, kiln_error *err)
{
    identity id;
    char text[SHAPE_TEXT];
    return fail(err, KILN_MISMATCH,
                "%s: module '%s' does not fit the model's weight '%s' %s; the LoRA was made for %s",
                tensor_file_path(l->file), m->name, p->canonical, shape_text(p->shape, text),
                family_of(l, &id));
}

static int bias_of(const graph *g, int weight)
{
    const char *name = g->parameters[weight].canonical;
    char bias[PATH_TEXT + 64];
    int length =
        snprintf(bias, sizeof bias, "%.*s.bias", (int)(strlen(name) - (sizeof weight_leaf - 1)), name);
    return length < (int)sizeof bias ? graph_find_parameter(g, bias) : -1;
}

static kiln_status take(lora_binding *b, int index, int module, bool bias, kiln_error *err)
{
    if (b->module[index] >= 0)
        return fail(err, KILN_BAD_FORMAT, "%s: the modules '%s' and '%s' are one in the model",
                    tensor_file_path(b->lora->file), b->lora->modules[b->module[index]].name,
                    b->lora->modules[module].name);
    b->module[index] = module;
    b->bias[index] = bias;
    return KILN_OK;
}

static kiln_status bind_module(lora_binding *b, const graph *g, const places *p, int module, kiln_error *err)
{
    const lora_module *m = &b->lora->modules[module];
    int weight = find_place(p, m->name), bias = -1;
    if (weight < 0)
        return is_unused_layer(p, m) ? KILN_OK : refuse_place(b->lora, m, err);
    const tensor_entry *of_bias = m->factor[LORA_BIAS_DIFFERENCE];
    if (!lora_module_fits(m, g->parameters[weight].shape))
        return refuse_size(b->lora, m, &g->parameters[weight], err);
    if (of_bias) {
        bias = bias_of(g, weight);
        if (bias < 0 || shape_count(of_bias->shape) != shape_count(g->parameters[bias].shape))
            return refuse_size(b->lora, m, &g->parameters[weight], err);
    }
    kiln_status status = KILN_OK;
    if (m->kind != LORA_FULL || m->factor[LORA_DIFFERENCE])
        status = take(b, weight, module, false, err);
    return status == KILN_OK && of_bias ? take(b, bias, module, true, err) : status;
}

static kiln_status bind_all(lora_binding *b, lora_network network, const graph *g, kiln_error *err)
{
    places p = {0};
    kiln_status status = list_places(&p, g, err);
    for (int i = 0; status == KILN_OK && i < b->lora->count; i++)
        if (b->lora->modules[i].network == network)
            status = bind_module(b, g, &p, i, err);
    name_index_fini(&p.index);
    arena_fini(&p.memory);
    return status;
}

kiln_status lora_bind(const lora *l, lora_network network, const graph *g, lora_binding **out,
                      kiln_error *err)
{
    lora_binding *b = *out = calloc(1, sizeof *b);
    size_t count = (size_t)g->parameter_count + 1;
    if (b) {
        *b = (lora_binding){.lora = l, .count = g->parameter_count};
        b->module = malloc(count * sizeof *b->module);
        b->bias = calloc(count, sizeof *b->bias);
    }
    kiln_status status =
        b && b->module && b->bias ? KILN_OK : fail(err, KILN_NO_MEMORY, "out of memory for a LoRA");
    for (int i = 0; status == KILN_OK && i < b->count; i++)
        b->module[i] = -1;
    if (status == KILN_OK)
        status = bind_all(b, network, g, err);
    if (status != KILN_OK) {
        lora_binding_free(b);
        *out = NULL;
    }
    return status;
}

void lora_binding_free(lora_binding *b)
{
    if (!b)
        return;
    free(b->module);
    free(b->bias);
    free(b);
}

const lora_module *lora_binding_module(const lora_binding *b, int index, bool *bias)
{
    if (index < 0 || index >= b->count || b->module[index] < 0)
        return NULL;
    *bias = b->bias[index];
    return &b->lora->modules[b->module[index]];
}

const lora *lora_binding_file(const lora_binding *b)
{
    return b->lora;
}
