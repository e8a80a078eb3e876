/* hypernetwork.c - see hypernetwork.h. */
#include "model/hypernetwork.h"

#include "model/hypernetwork_parts.h"
#include "nn/nn.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

hypernetwork_config hypernetwork_defaults(void)
{
    return (hypernetwork_config){.layers = 2, .structure = {1, 2, 1}};
}

/* ------------------------------------------------------------------------------------ the sequence */

static int64_t width_of(const hypernetwork_config *c, int width, int i)
{
    return (int64_t)((double)width * c->structure[i]);
}

static bool has_activation(const hypernetwork_config *c, int layer)
{
    return !hypernetwork_activation_is_linear(c->activation) && (layer + 1 < c->layers || c->activate_output);
}

/* Every module of torch's Sequential has a number, whether it has parameters or not. */
typedef struct positions {
    int linear, activation, norm, next;
} positions;

static positions positions_of(const hypernetwork_config *c, int layer, int first)
{
    positions p = {.linear = first, .next = first + 1};
    if (has_activation(c, layer))
        p.activation = p.next++;
    if (c->layer_norm)
        p.norm = p.next++;
    if (c->dropout[layer + 1] > 0)
        p.next++;
    return p;
}

/* ------------------------------------------------------------------------------------ parameters */

/* Parameter k of a layer, false past its last. */
static bool layer_parameter(const hypernetwork_config *c, int width, int layer, const positions *p, int k,
                            hypernetwork_parameter *out)
{
    int64_t from = width_of(c, width, layer), to = width_of(c, width, layer + 1);
    bool slope = has_activation(c, layer) && hypernetwork_activation_is_prelu(c->activation);
    const hypernetwork_parameter weight = {.shape = SHAPE2(to, from), .role = ROLE_WEIGHT},
                                 bias = {.shape = SHAPE1(to), .role = ROLE_BIAS, .kind = HYPERNETWORK_BIAS};
    *out = k == 0 ? weight : bias;
    int position = p->linear;
    if (k >= 2 && slope && k == 2) {
        *out = (hypernetwork_parameter){.shape = SHAPE1(1), .role = ROLE_NORM, .kind = HYPERNETWORK_SLOPE};
        position = p->activation;
    } else if (k >= 2) {
        k -= slope;
        if (k > 3 || !c->layer_norm)
            return false;
        out->role = ROLE_NORM;
        out->kind = k == 2 ? HYPERNETWORK_NORM_WEIGHT : HYPERNETWORK_BIAS;
        position = p->norm;
    }
    bool is_weight = out->kind != HYPERNETWORK_BIAS;
    snprintf(out->name, sizeof out->name, "linear.%d.%s", position, is_weight ? "weight" : "bias");
    return true;
}

static bool branch_parameter(const hypernetwork_config *c, int width, int *i, hypernetwork_parameter *out)
{
    for (int layer = 0, first = 0; layer < c->layers; layer++) {
        positions p = positions_of(c, layer, first);
        for (int k = 0; layer_parameter(c, width, layer, &p, k, out); k++)
            if ((*i)-- == 0)
                return true;
        first = p.next;
    }
    return false;
}

bool hypernetwork_parameter_at(const hypernetwork_config *c, int i, hypernetwork_parameter *out)
{
    for (int w = 0; w < c->width_count; w++)
        for (int branch = 0; branch < 2; branch++)
            if (branch_parameter(c, c->widths[w], &i, out)) {
                char rest[HYPERNETWORK_NAME];
                memcpy(rest, out->name, sizeof rest);
                snprintf(out->name, sizeof out->name, "%d.%d.%.40s", c->widths[w], branch, rest);
                return true;
            }
    return false;
}

/* ------------------------------------------------------------------------------------ drawing */

static value draw_network(const hypernetwork_chain *chain, const hypernetwork *h, at layer, value context,
                          bool for_values)
{
    const hypernetwork_config *c = &h->config;
    int width = (int)value_channels(layer, context), first = 0;
    at a = same(graph_root(layer.graph), h->place);
    a = in_numbered(a, "%d", width, "%d", width);
    a = same(a, for_values ? "1" : "0");
    value y = context;
    for (int i = 0; i < c->layers; i++) {
        positions p = positions_of(c, i, first);
        y = nn_linear(in_numbered(a, "linear.%d", p.linear, "linear.%d", p.linear), y,
                      width_of(c, width, i + 1), NN_BIAS);
        if (has_activation(c, i))
            y = hypernetwork_activate(in_numbered(a, "linear.%d", p.activation, "linear.%d", p.activation), y,
                                      c->activation);
        if (c->layer_norm)
            y = nn_layer_norm(in_numbered(a, "linear.%d", p.norm, "linear.%d", p.norm), y, 1e-5f);
        if (chain->training)
            y = nn_dropout(layer, y, (float)c->dropout[i + 1], 2 * i + for_values);
        first = p.next;
    }
    return y;
}

static bool has_width(const hypernetwork_config *c, int64_t width)
{
    for (int i = 0; i < c->width_count; i++)
        if (c->widths[i] == width)
            return true;
    return false;
}

value hypernetwork_bend(void *self, at a, value context, bool for_values)
{
    const hypernetwork_chain *chain = self;
    for (int i = 0; context.index && i < chain->count; i++) {
        const hypernetwork *h = &chain->networks[i];
        if (h->strength == 0 || !has_width(&h->config, value_channels(a, context)))
            continue;
        value more = draw_network(chain, h, a, context, for_values);
        if (h->strength != 1)
            more = op_scale(a, more, h->strength, 0);
        context = op_add(a, context, more);
    }
    return context;
}
