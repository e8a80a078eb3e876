/* parameters.c - see parameters.h. */
#include "train/parameters.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------------ patterns */

static bool fits(const char *pattern, size_t length, const char *name)
{
    if (!length)
        return !*name;
    if (*pattern == '*')
        return fits(pattern + 1, length - 1, name) || (*name && fits(pattern, length, name + 1));
    return *name == *pattern && fits(pattern + 1, length - 1, name + 1);
}

bool pattern_list_fits(const char *patterns, const char *name)
{
    while (*patterns) {
        patterns += strspn(patterns, ", \t");
        size_t length = strcspn(patterns, ", \t");
        if (length && fits(patterns, length, name))
            return true;
        patterns += length;
    }
    return false;
}

static bool pattern_is_empty(const char *patterns)
{
    return !patterns[strspn(patterns, ", \t")];
}

/* ------------------------------------------------------------------------------------ collecting */

static const network_kind kinds[] = {NETWORK_UNET,        NETWORK_TEXT_1,      NETWORK_TEXT_2,
                                     NETWORK_VAE_ENCODER, NETWORK_VAE_DECODER, NETWORK_UPSCALER};
enum { KINDS = sizeof kinds / sizeof *kinds };

static kiln_status draw_small(const kiln_model *m, network_kind kind, graph **out, kiln_error *err)
{
    part_kind part = kind == NETWORK_UNET       ? PART_UNET
                     : kind == NETWORK_UPSCALER ? PART_UPSCALER
                     : kind == NETWORK_TEXT_1   ? PART_TEXT
                     : kind == NETWORK_TEXT_2   ? PART_TEXT_2
                                                : PART_VAE;
    *out = probe_draw(m->parts, part, kind == NETWORK_VAE_ENCODER, err);
    return *out ? KILN_OK : err ? err->status : KILN_MISMATCH;
}

const char *parameters_place(network_kind kind)
{
    return kind == NETWORK_TEXT_2 ? "text_encoder_2" : "";
}

/* The name of a parameter of the network at a place. */
static const char *full_name(const char *place, const char *canonical, char text[2 * PATH_TEXT])
{
    if (!place || !place[0])
        return canonical;
    snprintf(text, 2 * PATH_TEXT, "%s.%s", place, canonical);
    return text;
}

static kiln_status add_entry(parameters *p, const side_parameter *from, int index, kiln_error *err)
{
    parameter_entry *e = &p->entries[p->count];
    *e = (parameter_entry){.name = arena_text(&p->memory, from->name),
                           .network = from->network,
                           .shape = from->shape,
                           .role = from->role,
                           .offset = p->size,
                           .count = shape_count(from->shape),
                           .index = index};
    if (!e->name || !name_index_put(&p->index, e->name, (uint32_t)p->count))
        return fail(err, KILN_NO_MEMORY, "out of memory for a list of parameters");
    p->size += e->count;
    p->count++;
    return KILN_OK;
}

/* The entries of one network: those that are trainable, or those that are not. */
static kiln_status collect(parameters *p, const graph *g, network_kind kind, const parameters_choice *choice,
                           bool trainable, kiln_error *err)
{
    for (int i = 0; i < g->parameter_count; i++) {
        const parameter *from = &g->parameters[i];
        char text[2 * PATH_TEXT];
        const char *name = full_name(parameters_place(kind), from->canonical, text);
        bool train = choice->trained >> kind & 1 &&
                     (pattern_is_empty(choice->trainable) || pattern_list_fits(choice->trainable, name)) &&
                     !pattern_list_fits(choice->frozen, name);
        if (train != trainable)
            continue;
        kiln_status status = add_entry(p, &(side_parameter){name, kind, from->shape, from->role}, i, err);
        if (status)
            return status;
    }
    return KILN_OK;
}

static kiln_status collect_all(parameters *p, graph *const graphs[KINDS], const parameters_choice *choice,
                               kiln_error *err)
{
    int total = choice->side_count;
    kiln_status status = KILN_OK;
    for (int k = 0; k < KINDS; k++)
        total += graphs[k] ? graphs[k]->parameter_count : 0;
    p->entries = calloc((size_t)total + 1, sizeof *p->entries);
    if (!p->entries)
        return fail(err, KILN_NO_MEMORY, "out of memory for a list of parameters");
    for (int i = 0; i < choice->side_count && !status; i++)
        status = add_entry(p, &choice->side[i], -1, err);
    for (int pass = 0; pass < 2 && !status; pass++) {
        for (int k = 0; k < KINDS && !status; k++)
            if (graphs[k])
                status = collect(p, graphs[k], kinds[k], choice, pass == 0, err);
        if (pass == 0) {
            p->trainable = p->count;
            p->trainable_size = p->size;
        }
    }
    if (!status && !p->trainable)
        status = fail(err, KILN_BAD_ARGUMENT, "there is nothing to train: no parameter fits '%s'%s%s%s",
                      choice->trainable[0] ? choice->trainable : "*", choice->frozen[0] ? " without '" : "",
                      choice->frozen, choice->frozen[0] ? "'" : "");
    return status;
}

/* From the model's files. */
static kiln_status read_entry(const parameters *p, const parameter_entry *e, float *to, kiln_error *err)
{
    parameter_source source = weights_source(p->model->networks[e->network].bound);
    const parameter from = {.canonical = e->name, .original = e->name, .shape = e->shape, .role = e->role};
    return source.read(source.self, &from, e->index, to, err);
}

static kiln_status read_values(parameters *p, kiln_error *err)
{
    kiln_status status = KILN_OK;
    p->values = calloc((size_t)p->trainable_size, sizeof *p->values);
    if (!p->values)
        return fail(err, KILN_NO_MEMORY, "out of memory: %lld MB for the weights",
                    (long long)(p->trainable_size >> 18));
    for (int i = 0; i < p->trainable && !status; i++)
        if (p->entries[i].index >= 0)
            status = read_entry(p, &p->entries[i], p->values + p->entries[i].offset, err);
    return status;
}

kiln_status parameters_open(const kiln_model *m, const parameters_choice *choice, parameters **out,
                            kiln_error *err)
{
    graph *graphs[KINDS] = {NULL};
    kiln_status status = KILN_OK;
    parameters *p = *out = calloc(1, sizeof *p);
    if (!p)
        return fail(err, KILN_NO_MEMORY, "out of memory for a list of parameters");
    p->model = m;
    for (int k = 0; k < KINDS && !status; k++)
        if (choice->networks >> kinds[k] & 1) {
            status = model_need(m, kinds[k], err);
            if (!status)
                status = draw_small(m, kinds[k], &graphs[k], err);
        }
    if (!status)
        status = collect_all(p, graphs, choice, err);
    if (!status)
        status = read_values(p, err);
    for (int k = 0; k < KINDS; k++)
        graph_free(graphs[k]);
    if (status) {
        parameters_free(p);
        *out = NULL;
    }
    return status;
}

void parameters_free(parameters *p)
{
    if (!p)
        return;
    name_index_fini(&p->index);
    arena_fini(&p->memory);
    free(p->entries);
    free(p->values);
    free(p);
}

const parameter_entry *parameters_find(const parameters *p, const char *name)
{
    int64_t i = name_index_find(&p->index, name);
    return i == NAME_MISSING ? NULL : &p->entries[i];
}

static kiln_status read_parameter(void *self, const parameter *wanted, int index, float *to, kiln_error *err)
{
    (void)index;
    const parameters_reader *r = self;
    char text[2 * PATH_TEXT];
    const parameter_entry *e = parameters_find(r->parameters, full_name(r->place, wanted->canonical, text));
    if (!e || !shape_equal(e->shape, wanted->shape))
        return fail(err, KILN_INTERNAL, "the parameter '%s' is not among those of the training",
                    wanted->canonical);
    if (e->offset >= r->parameters->trainable_size)
        return read_entry(r->parameters, e, to, err);
    memcpy(to, (r->block ? r->block : r->parameters->values) + e->offset, (size_t)e->count * sizeof *to);
    return KILN_OK;
}

parameter_source parameters_source(const parameters_reader *reader)
{
    return (parameter_source){.read = read_parameter, .self = (void *)reader};
}
