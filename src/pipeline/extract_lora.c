/* extract_lora.c - kiln_extract_lora: what a tuned model has over its base, as a LoRA.
 *
 * The factors are few, so they are kept until all are made: what a layer's rank is, and whether it has any, shows only then. */
#include "pipeline/convert.h"

#include "pipeline/lora_metadata.h"
#include "tensor/low_rank.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEY = 2 * PATH_TEXT };

/* A layer's factors in their own names. */
typedef struct layer {
    char key[KEY]; /* "lora_unet_..." */
    shape down_shape, up_shape;
    float *up, *down;
} layer;

typedef struct extraction {
    conversion conversion;
    kiln_extract_options options;
    model_parts *tuned_parts, *base_parts;
    bound_models tuned, base;
    layer *layers;
    int count, room;
    double lost, whole; /* sums of squares */
} extraction;

kiln_extract_options kiln_extract_defaults(void)
{
    return (kiln_extract_options){.rank = 32, .type = "f16"};
}

/* ------------------------------------------------------------------------------------ one layer */

static const char *prefix_of(const extraction *x, part_kind part)
{
    bool two = x->tuned_parts->part[PART_TEXT].present && x->tuned_parts->part[PART_TEXT_2].present;
    return part == PART_UNET     ? "lora_unet_"
           : part == PART_TEXT_2 ? "lora_te2_"
           : two                 ? "lora_te1_"
                                 : "lora_te_";
}

static void name_layer(const extraction *x, part_kind part, const parameter *p, char out[KEY])
{
    size_t length = strlen(p->canonical) - strlen(".weight");
    int used = snprintf(out, KEY, "%s%.*s", prefix_of(x, part), (int)length, p->canonical);
    for (int i = 0; i < used && i < KEY; i++)
        if (out[i] == '.')
            out[i] = '_';
}

static layer *new_layer(extraction *x)
{
    if (x->count == x->room) {
        int room = x->room ? 2 * x->room : 256;
        layer *larger = realloc(x->layers, (size_t)room * sizeof *larger);
        if (!larger)
            return NULL;
        x->layers = larger;
        x->room = room;
    }
    x->layers[x->count] = (layer){.up = NULL};
    return &x->layers[x->count++];
}

static kiln_status decompose(extraction *x, part_kind part, const parameter *p, const float *difference,
                             double whole, int rank, kiln_error *err)
{
    shape s = p->shape;
    int64_t rows = s.dim[0], columns = shape_count(s) / rows;
    double kept = 0;
    layer *l = new_layer(x);
    if (!l)
        return fail(err, KILN_NO_MEMORY, "out of memory for a LoRA");
    name_layer(x, part, p, l->key);
    l->down_shape = s;
    l->down_shape.dim[0] = rank;
    l->up_shape = s.rank == 4 ? SHAPE4(rows, rank, 1, 1) : SHAPE2(rows, rank);
    l->up = malloc((size_t)(rows * rank) * sizeof *l->up);
    l->down = malloc((size_t)(columns * rank) * sizeof *l->down);
    if (!l->up || !l->down)
        return fail(err, KILN_NO_MEMORY, "out of memory for a LoRA");
    kiln_status status = low_rank_nearest(difference, rows, columns, rank, l->up, l->down, &kept, err);
    x->lost += fmax(whole - kept, 0);
    return status;
}

/* The rank that a weight is to have; 0: it is left out. */
static int rank_of(const extraction *x, const parameter *p)
{
    shape s = p->shape;
    size_t length = strlen(p->canonical), leaf = strlen(".weight");
    if (p->role != ROLE_WEIGHT || (s.rank != 2 && s.rank != 4) || length <= leaf ||
        strcmp(p->canonical + length - leaf, ".weight") != 0)
        return 0;
    int64_t side = s.dim[0], columns = shape_count(s) / side;
    int64_t rank = s.rank == 4 && s.dim[2] * s.dim[3] > 1 ? x->options.window_rank : x->options.rank;
    side = side < columns ? side : columns;
    return (int)(rank < side ? rank : side);
}

static kiln_status read_difference(const bound_model *tuned, const bound_model *base, int i, float *a,
                                   float *b, double *whole, kiln_error *err)
{
    const parameter *p = &tuned->graph->parameters[i];
    parameter_source from = weights_source(tuned->weights), under = weights_source(base->weights);
    kiln_status status = from.read(from.self, p, i, a, err);
    if (status == KILN_OK)
        status = under.read(under.self, p, i, b, err);
    int64_t count = shape_count(p->shape);
    if (status == KILN_OK && (!weights_all_finite(a, count) || !weights_all_finite(b, count)))
        status = fail(err, KILN_BAD_FORMAT, "the weights '%s' hold NaN or infinity", p->canonical);
    *whole = 0;
    for (int64_t k = 0; status == KILN_OK && k < count; k++) {
        a[k] -= b[k];
        *whole += (double)a[k] * (double)a[k];
    }
    return status;
}

static kiln_status extract_layer(extraction *x, const bound_model *tuned, const bound_model *base, int i,
                                 kiln_error *err)
{
    const parameter *p = &tuned->graph->parameters[i];
    int rank = rank_of(x, p);
    size_t bytes = (size_t)shape_count(p->shape) * sizeof(float);
    double whole = 0;
    float *a = malloc(bytes), *b = malloc(bytes);
    kiln_status status = a && b ? read_difference(tuned, base, i, a, b, &whole, err)
                                : fail(err, KILN_NO_MEMORY, "out of memory for '%s'", p->canonical);
    if (status == KILN_OK) {
        x->whole += whole;
        if (rank && whole > 0)
            status = decompose(x, tuned->part, p, a, whole, rank, err);
        else
            x->lost += whole;
    }
    free(a);
    free(b);
    return status;
}

/* ------------------------------------------------------------------------------------ both models */

static bool is_adapted(part_kind part)
{
    return part == PART_UNET || part == PART_TEXT || part == PART_TEXT_2;
}

static kiln_status compare_graphs(const extraction *x, const bound_model *a, const bound_model *b,
                                  kiln_error *err)
{
    bool same = a->part == b->part && a->graph->parameter_count == b->graph->parameter_count;
    for (int i = 0; same && i < a->graph->parameter_count; i++)
        same = strcmp(a->graph->parameters[i].canonical, b->graph->parameters[i].canonical) == 0 &&
               shape_equal(a->graph->parameters[i].shape, b->graph->parameters[i].shape);
    return same ? KILN_OK
                : fail(err, KILN_MISMATCH, "%s and %s are models of different sizes: their %ss differ",
                       x->tuned_parts->path, x->base_parts->path, part_name(a->part));
}

static kiln_status extract_model(extraction *x, const bound_model *tuned, kiln_error *err)
{
    const bound_model *base = NULL;
    for (int i = 0; i < x->base.count && !base; i++)
        if (x->base.model[i].part == tuned->part)
            base = &x->base.model[i];
    if (!base)
        return fail(err, KILN_MISMATCH, "%s has no %s to compare with that of %s", x->base_parts->path,
                    part_name(tuned->part), x->tuned_parts->path);
    kiln_status status = compare_graphs(x, tuned, base, err);
    for (int i = 0; status == KILN_OK && i < tuned->graph->parameter_count; i++) {
        status = extract_layer(x, tuned, base, i, err);
        int64_t bytes = shape_count(tuned->graph->parameters[i].shape) * (int64_t)sizeof(float);
        if (status == KILN_OK && !conversion_step(&x->conversion, bytes))
            status = fail(err, KILN_CANCELLED, "cancelled");
    }
    return status;
}

static kiln_status extract_all(extraction *x, kiln_error *err)
{
    kiln_status status = KILN_OK;
    for (int i = 0; i < x->tuned.count; i++)
        if (is_adapted(x->tuned.model[i].part))
            x->conversion.total += graph_parameter_elements(x->tuned.model[i].graph) * (int64_t)sizeof(float);
    for (int i = 0; status == KILN_OK && i < x->tuned.count; i++)
        if (is_adapted(x->tuned.model[i].part))
            status = extract_model(x, &x->tuned.model[i], err);
    if (status == KILN_OK && !x->count)
        status = fail(err, KILN_MISMATCH, "%s does not differ from %s in any layer that a LoRA can change",
                      x->tuned_parts->path, x->base_parts->path);
    return status;
}

/* ------------------------------------------------------------------------------------ the file */

static kiln_status write_tensor(safetensors_writer *w, const char *key, const char *leaf, dtype type,
                                const float *values, shape s, bool declare, kiln_error *err)
{
    char name[KEY + 32];
    size_t count = (size_t)shape_count(s);
    snprintf(name, sizeof name, "%s.%s", key, leaf);
    if (declare)
        return safetensors_writer_declare(w, name, type, s, err);
    void *bytes = malloc(count * dtype_size(type));
    kiln_status status = bytes ? weights_check_range(name, type, values, (int64_t)count, err)
                               : fail(err, KILN_NO_MEMORY, "out of memory for a LoRA");
    if (status == KILN_OK) {
        convert_from_f32(values, bytes, type, count);
        status = safetensors_writer_write(w, name, bytes, count * dtype_size(type), err);
    }
    free(bytes);
    return status;
}

static kiln_status write_layers(const extraction *x, safetensors_writer *w, bool declare, kiln_error *err)
{
    kiln_status status = KILN_OK;
    dtype type = x->conversion.type;
    for (int i = 0; status == KILN_OK && i < x->count; i++) {
        const layer *l = &x->layers[i];
        float alpha = (float)l->down_shape.dim[0];
        status = write_tensor(w, l->key, "lora_down.weight", type, l->down, l->down_shape, declare, err);
        if (status == KILN_OK)
            status = write_tensor(w, l->key, "lora_up.weight", type, l->up, l->up_shape, declare, err);
        if (status == KILN_OK)
            status = write_tensor(w, l->key, "alpha", type, &alpha, (shape){.rank = 0}, declare, err);
    }
    return status;
}

static kiln_status write_file(const extraction *x, const char *to, kiln_error *err)
{
    safetensors_writer *w;
    kiln_status status = safetensors_writer_open(to, &w, err);
    if (status != KILN_OK)
        return status;
    lora_description d = {.parts = x->tuned_parts,
                          .to = to,
                          .module = "networks.lora",
                          .rank = x->options.rank,
                          .window_rank = x->options.window_rank,
                          .alpha = x->options.rank};
    status = lora_metadata_write(w, &d, err);
    if (status == KILN_OK)
        status = write_layers(x, w, true, err);
    if (status == KILN_OK)
        status = write_layers(x, w, false, err);
    if (status == KILN_OK)
        return safetensors_writer_finish(w, err);
    safetensors_writer_abort(w);
    return status;
}

/* ------------------------------------------------------------------------------------ the interface */

static kiln_status open_models(extraction *x, const char *tuned, const char *base, kiln_error *err)
{
    const probe_options options = {.hints = x->options.hints};
    kiln_status status = probe_open(tuned, &options, &x->tuned_parts, err);
    if (status == KILN_OK)
        status = probe_open(base, &options, &x->base_parts, err);
    if (status == KILN_OK)
        status = bound_models_open(&x->tuned, x->tuned_parts, err);
    return status == KILN_OK ? bound_models_open(&x->base, x->base_parts, err) : status;
}

static kiln_status check_options(extraction *x, const char *to, kiln_error *err)
{
    const kiln_extract_options *o = &x->options;
    size_t length = strlen(to), end = strlen(".safetensors");
    if (o->rank < 1 || o->rank > 1024 || o->window_rank < 0 || o->window_rank > 1024)
        return fail(err, KILN_BAD_ARGUMENT, "the rank is 1 to 1024, and that of convolutions 0 to 1024");
    if (length <= end || strcmp(to + length - end, ".safetensors") != 0)
        return fail(err, KILN_BAD_ARGUMENT, "%s: a LoRA is written as .safetensors", to);
    return convert_read_type(o->type ? o->type : "f16", &x->conversion, err);
}

static void close_all(extraction *x)
{
    for (int i = 0; i < x->count; i++) {
        free(x->layers[i].up);
        free(x->layers[i].down);
    }
    free(x->layers);
    bound_models_fini(&x->tuned);
    bound_models_fini(&x->base);
    probe_close(x->tuned_parts);
    probe_close(x->base_parts);
}

kiln_status kiln_extract_lora(const char *tuned, const char *base, const char *to,
                              const kiln_extract_options *options, double *error, kiln_error *err)
{
    kiln_error own;
    err = err ? err : &own;
    if (!tuned || !base || !to)
        return fail(err, KILN_BAD_ARGUMENT, "a tuned model, its base and a name to write are needed");
    extraction x = {.options = options ? *options : kiln_extract_defaults()};
    x.conversion.progress = x.options.progress;
    x.conversion.user = x.options.user;
    kiln_status status = check_options(&x, to, err);
    if (status == KILN_OK)
        status = open_models(&x, tuned, base, err);
    if (status == KILN_OK)
        status = extract_all(&x, err);
    if (status == KILN_OK)
        status = write_file(&x, to, err);
    if (status == KILN_OK && error)
        *error = x.whole > 0 ? sqrt(x.lost / x.whole) : 0;
    close_all(&x);
    return status;
}
