/* convert_lora.c - LoRAs merged into what a conversion writes; see convert.h. */
#include "pipeline/convert.h"

#include <math.h>
#include <stdlib.h>

kiln_status convert_open_loras(conversion *c, const kiln_convert_options *o, kiln_error *err)
{
    c->lora_options = o->loras;
    if (!o->lora_count)
        return KILN_OK;
    c->loras = calloc((size_t)o->lora_count, sizeof *c->loras);
    if (!c->loras)
        return fail(err, KILN_NO_MEMORY, "out of memory for LoRAs");
    kiln_status status = KILN_OK;
    for (int i = 0; status == KILN_OK && i < o->lora_count; i++) {
        const kiln_lora *l = &o->loras[i];
        if (!l->path || !(fabs(l->text_strength) <= 1000) || !(fabs(l->unet_strength) <= 1000))
            return fail(err, KILN_BAD_ARGUMENT, "a LoRA has a file and strengths from -1000 to 1000");
        status = lora_open(l->path, &c->loras[i], err);
        c->lora_count++;
    }
    return status;
}

void convert_close_loras(conversion *c)
{
    for (int i = 0; i < c->lora_count; i++)
        lora_close(c->loras[i]);
    free(c->loras);
    c->loras = NULL;
    c->lora_count = 0;
}

static bool network_of(part_kind part, lora_network *out)
{
    *out = part == PART_UNET ? LORA_UNET : part == PART_TEXT ? LORA_TEXT : LORA_TEXT_2;
    return part == PART_UNET || part == PART_TEXT || part == PART_TEXT_2;
}

static kiln_status merge_into(bound_model *m, lora_network which, const conversion *c, kiln_error *err)
{
    kiln_status status = KILN_OK;
    m->layers = calloc((size_t)c->lora_count, sizeof *m->layers);
    if (!m->layers)
        return fail(err, KILN_NO_MEMORY, "out of memory for LoRAs");
    for (int i = 0; status == KILN_OK && i < c->lora_count; i++) {
        const kiln_lora *o = &c->lora_options[i];
        double strength = which == LORA_UNET ? o->unet_strength : o->text_strength;
        lora_binding *binding = NULL;
        if (strength == 0 || !lora_count(c->loras[i], which))
            continue;
        status = lora_bind(c->loras[i], which, m->graph, &binding, err);
        if (status == KILN_OK)
            m->layers[m->stack.count++] = (lora_layer){.binding = binding, .strength = strength};
    }
    m->stack.base = weights_source(m->weights);
    m->stack.layers = m->layers;
    return status;
}

/* What a LoRA would change has to be there: a merged model that lacks half of it is another one. */
static kiln_status check_parts(const bound_models *models, const conversion *c, kiln_error *err)
{
    bool there[LORA_NETWORKS] = {false};
    lora_network which;
    for (int i = 0; i < models->count; i++)
        if (network_of(models->model[i].part, &which))
            there[which] = true;
    for (int i = 0; i < c->lora_count; i++)
        for (which = LORA_TEXT; which < LORA_NETWORKS; which++) {
            const kiln_lora *o = &c->lora_options[i];
            double strength = which == LORA_UNET ? o->unet_strength : o->text_strength;
            if (strength != 0 && lora_count(c->loras[i], which) && !there[which])
                return fail(err, KILN_MISMATCH, "%s changes a %s, which the model does not have", o->path,
                            which == LORA_UNET   ? "UNet"
                            : which == LORA_TEXT ? "text encoder"
                                                 : "second text encoder");
        }
    return KILN_OK;
}

kiln_status convert_merge_loras(bound_models *models, const conversion *c, kiln_error *err)
{
    if (!c->lora_count)
        return KILN_OK;
    kiln_status status = check_parts(models, c, err);
    lora_network which;
    for (int i = 0; status == KILN_OK && i < models->count; i++)
        if (network_of(models->model[i].part, &which))
            status = merge_into(&models->model[i], which, c, err);
    return status;
}

void bound_model_forget_loras(bound_model *m)
{
    for (int i = 0; i < m->stack.count; i++)
        lora_binding_free((lora_binding *)(uintptr_t)m->layers[i].binding);
    free(m->layers);
    m->layers = NULL;
    m->stack.count = 0;
}
