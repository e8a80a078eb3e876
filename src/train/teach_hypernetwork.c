/* teach_hypernetwork.c - method hypernetwork: small networks beside all attention layers learn, the model stays. Options and
 * initial values are A1111's (modules/hypernetworks); see model/hypernetwork.h. */
#include "train/teach.h"

#include "diffusion/noise.h"
#include "train/mix.h"
#include "weights/hypernetwork_file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PLACE "hypernetwork"

enum { MIX_HYPERNETWORK = MIX_OBJECTIVE + 60 };

typedef struct parameter_name {
    char text[sizeof PLACE + HYPERNETWORK_NAME];
} parameter_name;

typedef struct learner {
    const recipe *recipe;
    hypernetwork network;
    hypernetwork_chain chain[2]; /* in use, in training */
    graph_hooks hooks[2];
    hypernetwork_file *before; /* what is trained on; NULL: from nothing */
    bool last_layer_dropout;
    parameter_name *names;
} learner;

/* ------------------------------------------------------------------------------------ the recipe */

static void add_width(hypernetwork_config *c, int width)
{
    int place = c->width_count;
    for (int i = 0; i < c->width_count; i++)
        if (c->widths[i] == width)
            return;
    if (place == HYPERNETWORK_MAX_WIDTHS)
        return;
    for (; place > 0 && c->widths[place - 1] > width; place--)
        c->widths[place] = c->widths[place - 1];
    c->widths[place] = width;
    c->width_count++;
}

/* All widths that attention layers of the UNet see. */
static void find_widths(const unet_config *u, hypernetwork_config *all)
{
    add_width(all, u->context_channels);
    for (int i = 0; i < u->levels; i++) {
        bool any = i == u->levels - 1 && u->middle == UNET_MIDDLE_ATTENTION;
        for (int j = 0; j <= u->layers[i]; j++)
            any |= (j < u->layers[i] && u->depth[i][j]) || u->up_depth[i][j];
        if (any)
            add_width(all, u->channels[i]);
    }
}

static kiln_status fit_widths(const hypernetwork_config *all, const hypernetwork_config *wanted,
                              const char *what, kiln_error *err)
{
    char list[200] = "";
    for (int i = 0; i < all->width_count; i++) {
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%d", i ? ", " : "", all->widths[i]);
    }
    for (int k = 0; k < wanted->width_count; k++) {
        bool found = false;
        for (int i = 0; i < all->width_count; i++)
            found |= all->widths[i] == wanted->widths[k];
        if (!found)
            return fail(
                err, KILN_MISMATCH,
                "%s: there is a network for the width %d, but the attention layers of this model see %s",
                what, wanted->widths[k], list);
    }
    return KILN_OK;
}

static kiln_status read_structure(learner *l, hypernetwork_config *c, kiln_error *err)
{
    const recipe_hypernetwork *r = &l->recipe->hypernetwork;
    int count = hypernetwork_read_list(r->layer_structure, c->structure), dropouts = 0;
    if (count < 2)
        return fail(err, KILN_BAD_ARGUMENT,
                    "layer_structure is a list of 2 to %d numbers like 1, 2, 1, not '%.60s'",
                    HYPERNETWORK_MAX_LAYERS + 1, r->layer_structure);
    c->layers = count - 1;
    if (r->dropout_structure[0]) {
        dropouts = hypernetwork_read_list(r->dropout_structure, c->dropout);
        if (dropouts != count)
            return fail(err, KILN_BAD_ARGUMENT,
                        "dropout_structure is a list of as many numbers as layer_structure (%d), not '%.60s'",
                        count, r->dropout_structure);
    } else if (r->use_dropout)
        hypernetwork_standard_dropout(count, r->last_layer_dropout, c->dropout);
    return KILN_OK;
}

static kiln_status read_recipe(learner *l, const hypernetwork_config *all, kiln_error *err)
{
    const recipe_hypernetwork *r = &l->recipe->hypernetwork;
    hypernetwork_config *c = &l->network.config;
    *c = hypernetwork_defaults();
    kiln_status status = read_structure(l, c, err);
    if (!status)
        status = hypernetwork_activation_of(r->activation_func, "activation_func", &c->activation, err);
    c->layer_norm = r->is_layer_norm;
    c->activate_output = r->activate_output;
    l->last_layer_dropout = r->last_layer_dropout;
    for (int i = 0; i < r->modules.count; i++)
        if (r->modules.number[i])
            add_width(c, r->modules.number[i]);
    for (int i = 0; i < all->width_count && !r->modules.number[0]; i++)
        add_width(c, all->widths[i]);
    return status ? status : hypernetwork_check(c, "the recipe", err);
}

static kiln_status read_before(learner *l, kiln_error *err)
{
    kiln_status status = hypernetwork_file_open(l->recipe->network_weights, &l->before, err);
    if (status)
        return status;
    l->network.config = l->before->config;
    l->last_layer_dropout = l->before->words.last_layer_dropout;
    return KILN_OK;
}

/* ------------------------------------------------------------------------------------ open, close */

static void close_learner(void *self)
{
    learner *l = self;
    hypernetwork_file_close(l->before);
    free(l->names);
    free(l);
}

static kiln_status name_parameters(learner *l, kiln_error *err)
{
    hypernetwork_parameter p;
    int count = 0;
    while (hypernetwork_parameter_at(&l->network.config, count, &p))
        count++;
    l->names = calloc((size_t)count + 1, sizeof *l->names);
    if (!l->names)
        return fail(err, KILN_NO_MEMORY, "out of memory for a hypernetwork");
    for (int i = 0; i < count && hypernetwork_parameter_at(&l->network.config, i, &p); i++)
        snprintf(l->names[i].text, sizeof l->names[i].text, PLACE ".%s", p.name);
    return KILN_OK;
}

static kiln_status open_learner(const recipe *r, const kiln_model *m, void **self, kiln_error *err)
{
    hypernetwork_config all = {0};
    learner *l = *self = calloc(1, sizeof *l);
    if (!l)
        return fail(err, KILN_NO_MEMORY, "out of memory for a hypernetwork");
    l->recipe = r;
    find_widths(&m->parts->unet, &all);
    kiln_status status = r->network_weights[0] ? read_before(l, err) : read_recipe(l, &all, err);
    if (!status)
        status =
            fit_widths(&all, &l->network.config, r->network_weights[0] ? r->network_weights : "modules", err);
    if (!status)
        status = name_parameters(l, err);
    snprintf(l->network.place, sizeof l->network.place, "%s", PLACE);
    l->network.strength = 1;
    for (int i = 0; i < 2; i++) {
        l->chain[i] = (hypernetwork_chain){.networks = &l->network, .count = 1, .training = i == 1};
        l->hooks[i] = (graph_hooks){.self = &l->chain[i], .context = hypernetwork_bend};
    }
    return status;
}

/* ------------------------------------------------------------------------------------ parameters */

static bool parameter_of(const void *self, int i, side_parameter *out)
{
    const learner *l = self;
    hypernetwork_parameter p;
    if (!hypernetwork_parameter_at(&l->network.config, i, &p))
        return false;
    *out =
        (side_parameter){.name = l->names[i].text, .network = NETWORK_UNET, .shape = p.shape, .role = p.role};
    return true;
}

static void fill_normal(float *to, int64_t count, uint64_t bits, double deviation)
{
    noise_source source;
    noise_init(&source, NOISE_PHILOX, bits);
    noise_fill(&source, to, (size_t)count);
    for (int64_t i = 0; i < count; i++)
        to[i] *= (float)deviation;
}

/* Glorot and Bengio 2010; He et al. 2015, with the gain of a leaky ReLU of 0 where A1111 has that. "Normal" and the weights of
 * layer norms: a deviation of 0.01, so that the networks begin by changing little. */
static void fill_weight(const learner *l, const hypernetwork_parameter *p, uint64_t bits, float *to)
{
    const char *how = l->recipe->hypernetwork.weight_initialization;
    int64_t count = shape_count(p->shape);
    bool plain = p->kind == HYPERNETWORK_NORM_WEIGHT || strcmp(how, "Normal") == 0;
    double in = (double)p->shape.dim[p->shape.rank - 1], out = (double)p->shape.dim[0];
    double variance = strncmp(how, "Xavier", 6) == 0 ? 2 / (in + out) : 2 / in;
    if (plain || strstr(how, "Normal")) {
        fill_normal(to, count, bits, plain ? 0.01 : sqrt(variance));
        return;
    }
    for (int64_t i = 0; i < count; i++)
        to[i] = (float)((2 * mix_unit(mix_word(bits + (uint64_t)i)) - 1) * sqrt(3 * variance));
}

static kiln_status initial(const void *self, int i, float *to, kiln_error *err)
{
    const learner *l = self;
    hypernetwork_parameter p;
    int64_t count;
    if (!hypernetwork_parameter_at(&l->network.config, i, &p))
        return fail(err, KILN_INTERNAL, "a hypernetwork has no parameter %d", i);
    if (l->before) {
        const float *from = hypernetwork_file_find(l->before, p.name, &count);
        memcpy(to, from, (size_t)count * sizeof *to);
        return KILN_OK;
    }
    count = shape_count(p.shape);
    for (int64_t k = 0; k < count; k++)
        to[k] = p.kind == HYPERNETWORK_SLOPE ? 0.25f : 0.0f;
    if (p.kind == HYPERNETWORK_WEIGHT || p.kind == HYPERNETWORK_NORM_WEIGHT)
        fill_weight(l, &p, mix(l->recipe->seed, MIX_HYPERNETWORK, (uint64_t)i, 0), to);
    return KILN_OK;
}

static const graph_hooks *hooks_of(void *self, const teach_graph *g)
{
    learner *l = self;
    return g->whole || g->network == NETWORK_UNET ? &l->hooks[g->training] : NULL;
}

/* ------------------------------------------------------------------------------------ the file */

static kiln_status save(const void *self, const teach_artefact *a, const char *path, kiln_error *err)
{
    const learner *l = self;
    const hypernetwork_words words = {.name = a->name,
                                      .weight_initialization = l->recipe->hypernetwork.weight_initialization,
                                      .sd_checkpoint = a->base_hash,
                                      .sd_checkpoint_name = a->base_name,
                                      .step = a->step,
                                      .last_layer_dropout = l->last_layer_dropout};
    int64_t size = 0, done = 0;
    hypernetwork_parameter p;
    for (int i = 0; hypernetwork_parameter_at(&l->network.config, i, &p); i++)
        size += shape_count(p.shape);
    float *values = malloc((size_t)(size > 0 ? size : 1) * sizeof *values);
    kiln_status status = values ? KILN_OK : fail(err, KILN_NO_MEMORY, "out of memory for a hypernetwork");
    for (int i = 0; !status && hypernetwork_parameter_at(&l->network.config, i, &p); i++) {
        const parameter_entry *e = parameters_find(a->parameters, l->names[i].text);
        memcpy(values + done, a->values + e->offset, (size_t)e->count * sizeof *values);
        done += e->count;
    }
    if (!status)
        status = hypernetwork_file_write(path,
                                         &(hypernetwork_content){.config = &l->network.config,
                                                                 .words = &words,
                                                                 .values = values,
                                                                 .metadata = a->metadata,
                                                                 .metadata_count = a->metadata_count},
                                         err);
    free(values);
    return status;
}

const teach_kind teach_hypernetwork = {.method = "hypernetwork",
                                       .open = open_learner,
                                       .close = close_learner,
                                       .parameter = parameter_of,
                                       .initial = initial,
                                       .hooks = hooks_of,
                                       .save = save};
