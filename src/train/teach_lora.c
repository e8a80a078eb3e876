/* teach_lora.c - method lora: low-rank and related changes of a model's layers learn, the model stays. Kinds, targets and names
 * are kohya's (networks/lora.py) and LyCORIS's; see weights/lora_draw.h for the arithmetic.
 *
 * Without conv_dim the layers of the UNet's transformers and of the text encoder's attention and MLPs are adapted; with it those
 * of residual blocks and of resampling as well. */
#include "train/teach.h"

#include "train/mix.h"
#include "train/teach_lora_parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MIX_LORA = MIX_OBJECTIVE + 61 };

/* ------------------------------------------------------------------------------------ which layers */

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n > m && strcmp(text + n - m, end) == 0;
}

/* Of block_dims, "mid_block*:16, up_blocks.3*:4": the number behind the first pattern that fits; 0: none does. */
static int block_rank(const char *text, const char *name)
{
    while (*text) {
        size_t length = strcspn(text, ",");
        char pattern[200];
        int used = snprintf(pattern, sizeof pattern, "%.*s", (int)length, text);
        char *colon = strrchr(pattern, ':');
        long rank = colon ? strtol(colon + 1, NULL, 10) : 0;
        if (colon)
            *colon = '\0';
        if (used < (int)sizeof pattern && rank > 0 && rank <= 4096 && pattern_list_fits(pattern, name))
            return (int)rank;
        text += length + (text[length] == ',');
    }
    return 0;
}

/* kohya's choice of layers; the rank that one is to have, or 0. */
static int wanted_rank(const lora_learner *l, network_kind which, const parameter *p)
{
    const recipe_lora *r = &l->recipe->lora;
    const char *name = p->canonical;
    shape s = p->shape;
    if (p->role != ROLE_WEIGHT || (s.rank != 2 && s.rank != 4) || !ends_with(name, ".weight"))
        return 0;
    bool window = s.rank == 4 && s.dim[2] * s.dim[3] > 1;
    bool blocks = strstr(name, ".resnets.") || strstr(name, ".downsamplers.") || strstr(name, ".upsamplers.");
    bool mine = which == NETWORK_UNET ? strstr(name, ".attentions.") != NULL
                                      : strstr(name, ".self_attn.") || strstr(name, ".mlp.");
    if (which == NETWORK_UNET && blocks && l->window_rank)
        mine = true;
    if (!mine || (window && !l->window_rank))
        return 0;
    int own = block_rank(r->block_dims, name);
    return own ? own : window ? l->window_rank : r->network_dim;
}

static bool is_kind(const lora_learner *l, const char *kind)
{
    return strcmp(l->recipe->lora.network_type, kind) == 0;
}

static lora_form form_of(const lora_learner *l, const parameter *p, int rank)
{
    const recipe_lora *r = &l->recipe->lora;
    bool window = p->shape.rank == 4 && p->shape.dim[2] * p->shape.dim[3] > 1;
    double alpha = window ? l->window_alpha : r->network_alpha;
    lora_form f = {.kind = is_kind(l, "loha")   ? LORA_HADAMARD
                           : is_kind(l, "lokr") ? LORA_KRONECKER
                                                : LORA_LOW_RANK,
                   .rank = rank,
                   .scale = (float)(alpha / rank),
                   .factor = r->network_factor,
                   .magnitude = is_kind(l, "dora"),
                   .dropout = (float)r->network_dropout};
    if (f.kind == LORA_KRONECKER) {
        /* As LyCORIS: the second factor is whole where low rank would not be smaller. */
        int64_t rows = p->shape.dim[0] / lora_split(p->shape.dim[0], f.factor);
        int64_t in = p->shape.dim[1] / lora_split(p->shape.dim[1], f.factor);
        f.whole = rank >= (rows > in ? rows : in) / 2;
        if (f.whole)
            f.scale = 1;
    }
    return f;
}

/* ------------------------------------------------------------------------------------ the list */

/* Draw the layer by itself, and note what it declares: so the list never differs from what is drawn. */
static kiln_status list_factors(lora_learner *l, int index, kiln_error *err)
{
    lora_layer_taught *layer = &l->layers[index];
    graph *g = graph_new();
    if (!g)
        return fail(err, KILN_NO_MEMORY, "out of memory for a LoRA");
    at a = same(graph_root(g), layer->name);
    graph_input(g, "sample", SHAPE1(1), DTYPE_F32);
    lora_draw(&layer->form, a, graph_parameter(a, "weight", layer->shape, ROLE_WEIGHT));
    kiln_status status = graph_finish(g, err);
    for (int i = 1; status == KILN_OK && i < g->parameter_count; i++) {
        const parameter *p = &g->parameters[i];
        lora_factor_taught *larger = realloc(l->factors, (size_t)(l->factor_count + 1) * sizeof *larger);
        if (larger)
            l->factors = larger;
        char *name = larger ? arena_text(&l->memory, p->canonical) : NULL;
        if (!name)
            status = fail(err, KILN_NO_MEMORY, "out of memory for a LoRA");
        else
            larger[l->factor_count++] = (lora_factor_taught){
                .name = name, .leaf = name + strlen(layer->name) + 1, .layer = index, .shape = p->shape};
    }
    graph_free(g);
    return status;
}

static kiln_status add_layer(lora_learner *l, network_kind which, const parameter *p, int index, int rank,
                             kiln_error *err)
{
    lora_layer_taught *larger = realloc(l->layers, (size_t)(l->layer_count + 1) * sizeof *larger);
    if (larger)
        l->layers = larger;
    const char *place = parameters_place(which);
    size_t length = strlen(p->canonical) - strlen(".weight");
    char *name =
        larger ? arena_format(&l->memory, "%s%s%.*s", place, *place ? "." : "", (int)length, p->canonical)
               : NULL;
    if (!name || !name_index_put(&l->index, name, (uint32_t)l->layer_count))
        return fail(err, KILN_NO_MEMORY, "out of memory for a LoRA");
    larger[l->layer_count++] = (lora_layer_taught){
        .name = name, .network = which, .parameter = index, .shape = p->shape, .form = form_of(l, p, rank)};
    return list_factors(l, l->layer_count - 1, err);
}

static kiln_status add_network(lora_learner *l, network_kind which, part_kind part, kiln_error *err)
{
    if (!model_has(l->model, which))
        return KILN_OK;
    graph *g = probe_draw(l->model->parts, part, false, err);
    if (!g)
        return err ? err->status : KILN_INTERNAL;
    kiln_status status = KILN_OK;
    for (int i = 0; status == KILN_OK && i < g->parameter_count; i++) {
        int rank = wanted_rank(l, which, &g->parameters[i]);
        if (rank)
            status = add_layer(l, which, &g->parameters[i], i, rank, err);
    }
    graph_free(g);
    return status;
}

/* ------------------------------------------------------------------------------------ open, close */

static void close_learner(void *self)
{
    lora_learner *l = self;
    lora_close(l->before);
    name_index_fini(&l->index);
    arena_fini(&l->memory);
    free(l->layers);
    free(l->factors);
    free(l);
}

/* The form that the layer of a place is drawn with; false: it is not adapted. */
static bool form_at(const lora_graph_taught *g, at a, lora_form *form)
{
    char name[2 * PATH_TEXT];
    snprintf(name, sizeof name, "%s%s%s", g->place, *g->place ? "." : "", a.canonical);
    int64_t found = name_index_find(&g->learner->index, name);
    if (found == NAME_MISSING)
        return false;
    *form = g->learner->layers[found].form;
    if (!g->training)
        form->dropout = 0;
    return true;
}

static value change_weight(void *self, at a, value weight)
{
    lora_form form;
    return form_at(self, a, &form) && !lora_is_branch(&form) ? lora_draw(&form, a, weight) : weight;
}

static value add_branch(void *self, at a, value x, value weight, const conv2d_attributes *window,
                        value result)
{
    lora_form form;
    return form_at(self, a, &form) && lora_is_branch(&form) ? lora_branch(&form, a, x, weight, window, result)
                                                            : result;
}

/* The same for the graph of a step, where places are in the names, and for that of each network. */
static void make_hooks(lora_learner *l)
{
    for (int k = 0; k <= NETWORK_COUNT; k++)
        for (int training = 0; training < 2; training++) {
            lora_graph_taught *g = &l->graphs[k][training];
            *g = (lora_graph_taught){.learner = l,
                                     .place = k == NETWORK_COUNT ? "" : parameters_place((network_kind)k),
                                     .training = training == 1};
            g->hooks = (graph_hooks){.self = g, .weight = change_weight, .result = add_branch};
        }
}

static kiln_status open_learner(const recipe *r, const kiln_model *m, void **self, kiln_error *err)
{
    lora_learner *l = *self = calloc(1, sizeof *l);
    if (!l)
        return fail(err, KILN_NO_MEMORY, "out of memory for a LoRA");
    l->recipe = r;
    l->model = m;
    l->window_rank = r->lora.conv_dim ? r->lora.conv_dim : is_kind(l, "locon") ? r->lora.network_dim : 0;
    l->window_alpha = r->lora.conv_dim ? r->lora.conv_alpha : r->lora.network_alpha;
    make_hooks(l);
    kiln_status status = KILN_OK;
    if (r->network_weights[0])
        status = lora_open(r->network_weights, &l->before, err);
    if (status == KILN_OK && r->train_text_encoder)
        status = add_network(l, NETWORK_TEXT_1, PART_TEXT, err);
    if (status == KILN_OK && r->train_text_encoder)
        status = add_network(l, NETWORK_TEXT_2, PART_TEXT_2, err);
    if (status == KILN_OK && r->train_unet)
        status = add_network(l, NETWORK_UNET, PART_UNET, err);
    if (status == KILN_OK && !l->factor_count)
        status =
            fail(err, KILN_BAD_ARGUMENT, "the model has no layers that a LoRA of this recipe would change");
    return status;
}

static unsigned networks_of(const recipe *r, const kiln_model *m)
{
    unsigned two = model_has(m, NETWORK_TEXT_2) ? 1u << NETWORK_TEXT_2 : 0;
    return r->train_text_encoder ? 1u << NETWORK_TEXT_1 | two : 0;
}

static bool parameter_of(const void *self, int i, side_parameter *out)
{
    const lora_learner *l = self;
    if (i >= l->factor_count)
        return false;
    const lora_factor_taught *f = &l->factors[i];
    *out = (side_parameter){
        .name = f->name, .network = l->layers[f->layer].network, .shape = f->shape, .role = ROLE_WEIGHT};
    return true;
}

/* ------------------------------------------------------------------------------------ how they begin */

/* Uniform within 1 / sqrt(inputs): what torch's Linear begins with, and kohya's down matrices. */
static void fill_uniform(float *to, int64_t count, int64_t inputs, uint64_t bits)
{
    double limit = 1 / sqrt((double)inputs);
    for (int64_t k = 0; k < count; k++)
        to[k] = (float)((2 * mix_unit(mix_word(bits + (uint64_t)k)) - 1) * limit);
}

/* Box and Muller 1958. */
static void fill_normal(float *to, int64_t count, double deviation, uint64_t bits)
{
    for (int64_t k = 0; k < count; k++) {
        double u = mix_unit(mix_word(bits + 2 * (uint64_t)k)),
               v = mix_unit(mix_word(bits + 2 * (uint64_t)k + 1));
        to[k] = (float)(deviation * sqrt(-2 * log(1 - u)) * cos(6.28318530717958648 * v));
    }
}

/* The base's rows as long as they are. */
static kiln_status fill_magnitude(const lora_learner *l, const lora_layer_taught *layer, float *to,
                                  kiln_error *err)
{
    parameter_source base = packed_store_source(l->model->networks[layer->network].store);
    int64_t rows = layer->shape.dim[0], columns = shape_count(layer->shape) / rows;
    float *weight = malloc((size_t)(rows * columns) * sizeof *weight);
    if (!weight)
        return fail(err, KILN_NO_MEMORY, "out of memory for a LoRA");
    const char *place = parameters_place(layer->network);
    char name[2 * PATH_TEXT];
    snprintf(name, sizeof name, "%s.weight", layer->name + (*place ? strlen(place) + 1 : 0));
    const parameter p = {.canonical = name, .original = name, .shape = layer->shape, .role = ROLE_WEIGHT};
    kiln_status status = base.read(base.self, &p, layer->parameter, weight, err);
    for (int64_t i = 0; status == KILN_OK && i < rows; i++) {
        double sum = 0;
        for (int64_t k = 0; k < columns; k++)
            sum += (double)weight[i * columns + k] * (double)weight[i * columns + k];
        to[i] = (float)sqrt(sum);
    }
    free(weight);
    return status;
}

static kiln_status no_base(void *self, const parameter *p, int index, float *to, kiln_error *err)
{
    (void)self;
    (void)index;
    (void)to;
    return fail(err, KILN_INTERNAL, "'%s' is no factor of a LoRA", p->canonical);
}

static kiln_status read_before(const lora_learner *l, const lora_factor_taught *f, float *to, kiln_error *err)
{
    const lora_layer_taught *layer = &l->layers[f->layer];
    const char *place = parameters_place(layer->network);
    const lora_factors file = {
        .file = l->before, .network = lora_network_taught(layer->network), .base = {.read = no_base}};
    const parameter p = {
        .canonical = f->name + (*place ? strlen(place) + 1 : 0), .original = "", .shape = f->shape};
    parameter_source source = lora_factor_source(&file);
    return source.read(source.self, &p, 0, to, err);
}

/* Half of the factors are noise and the other nought, so that nothing is changed at the beginning. */
static kiln_status initial(const void *self, int i, float *to, kiln_error *err)
{
    const lora_learner *l = self;
    const lora_factor_taught *f = &l->factors[i];
    int64_t count = shape_count(f->shape);
    uint64_t bits = mix(l->recipe->seed, MIX_LORA, (uint64_t)i, 0);
    if (l->before)
        return read_before(l, f, to, err);
    if (strcmp(f->leaf, "dora_scale") == 0)
        return fill_magnitude(l, &l->layers[f->layer], to, err);
    memset(to, 0, (size_t)count * sizeof *to);
    if (strcmp(f->leaf, "lora_down.weight") == 0 || strcmp(f->leaf, "lokr_w1") == 0 ||
        strcmp(f->leaf, "lokr_w2_a") == 0)
        fill_uniform(to, count, count / f->shape.dim[0], bits);
    else if (strcmp(f->leaf, "hada_w1_a") == 0)
        fill_normal(to, count, 0.1, bits);
    else if (strcmp(f->leaf, "hada_w1_b") == 0 || strcmp(f->leaf, "hada_w2_b") == 0)
        fill_normal(to, count, 1, bits);
    return KILN_OK;
}

static const graph_hooks *hooks_of(void *self, const teach_graph *g)
{
    lora_learner *l = self;
    return &l->graphs[g->whole ? NETWORK_COUNT : g->network][g->training].hooks;
}

lora_network lora_network_taught(network_kind which)
{
    return which == NETWORK_UNET ? LORA_UNET : which == NETWORK_TEXT_1 ? LORA_TEXT : LORA_TEXT_2;
}

const teach_kind teach_lora = {.method = "lora",
                               .ending = ".safetensors",
                               .networks = networks_of,
                               .open = open_learner,
                               .close = close_learner,
                               .parameter = parameter_of,
                               .initial = initial,
                               .hooks = hooks_of,
                               .save = lora_save_taught};
