/* hypernetwork_config.c - what may be asked of a hypernetwork: activations, structures, dropout. */
#include "model/hypernetwork_parts.h"
#include "nn/nn.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LINEAR, PRELU, PLAIN };

/* torch.nn's, with the arguments that they have when none are given; the last name of a kind is the one that is written. */
static const struct {
    const char *name;
    int form;
    activation_kind kind;
    float slope;
} activations[] = {
    {"linear", LINEAR, ACTIVATION_NONE, 0},
    {"identity", LINEAR, ACTIVATION_NONE, 0},
    {"relu", PLAIN, ACTIVATION_RELU, 0},
    {"leakyrelu", PLAIN, ACTIVATION_LEAKY_RELU, 0.01f},
    {"elu", PLAIN, ACTIVATION_ELU, 1},
    {"swish", PLAIN, ACTIVATION_HARD_SWISH, 0},
    {"tanh", PLAIN, ACTIVATION_TANH, 0},
    {"sigmoid", PLAIN, ACTIVATION_SIGMOID, 0},
    {"celu", PLAIN, ACTIVATION_ELU, 1}, /* alpha 1: the same function */
    {"gelu", PLAIN, ACTIVATION_GELU, 0},
    {"hardshrink", PLAIN, ACTIVATION_HARD_SHRINK, 0},
    {"hardsigmoid", PLAIN, ACTIVATION_HARD_SIGMOID, 0},
    {"hardswish", PLAIN, ACTIVATION_HARD_SWISH, 0},
    {"hardtanh", PLAIN, ACTIVATION_HARD_TANH, 0},
    {"logsigmoid", PLAIN, ACTIVATION_LOG_SIGMOID, 0},
    {"mish", PLAIN, ACTIVATION_MISH, 0},
    {"prelu", PRELU, ACTIVATION_NONE, 0},
    {"relu6", PLAIN, ACTIVATION_RELU6, 0},
    {"rrelu", PLAIN, ACTIVATION_LEAKY_RELU,
     11.0f / 48}, /* the mean of 1/8 and 1/3, as torch has it after training */
    {"selu", PLAIN, ACTIVATION_SELU, 0},
    {"silu", PLAIN, ACTIVATION_SILU, 0},
    {"softplus", PLAIN, ACTIVATION_SOFT_PLUS, 0},
    {"softshrink", PLAIN, ACTIVATION_SOFT_SHRINK, 0},
    {"softsign", PLAIN, ACTIVATION_SOFT_SIGN, 0},
    {"tanhshrink", PLAIN, ACTIVATION_TANH_SHRINK, 0},
};
enum { ACTIVATIONS = sizeof activations / sizeof *activations };

static const struct {
    const char *name, *reason;
} impossible[] = {
    {"glu", "it halves the width, which the next layer does not expect"},
    {"softmax", "without a dimension it would mix the pictures of a batch"},
    {"logsoftmax", "without a dimension it would mix the pictures of a batch"},
    {"softmin", "without a dimension it would mix the pictures of a batch"},
    {"softmax2d", "it is for pictures, not for tokens"},
    {"threshold", "its threshold is in no file"},
    {"multiheadattention", "it is no function of one value"},
};

kiln_status hypernetwork_activation_of(const char *name, const char *what, int *out, kiln_error *err)
{
    *out = 0;
    if (!name || !*name || strcmp(name, "None") == 0)
        return KILN_OK;
    for (int i = 0; i < ACTIVATIONS; i++)
        if (strcmp(activations[i].name, name) == 0) {
            *out = i;
            return KILN_OK;
        }
    for (size_t i = 0; i < sizeof impossible / sizeof *impossible; i++)
        if (strcmp(impossible[i].name, name) == 0)
            return fail(err, KILN_UNSUPPORTED, "%s: the activation '%s' cannot be used: %s", what, name,
                        impossible[i].reason);
    return fail(err, KILN_UNSUPPORTED,
                "%s: '%.40s' is no activation; there are linear, relu, leakyrelu, elu, swish, tanh, sigmoid, "
                "celu, gelu, hardshrink, hardsigmoid, hardswish, hardtanh, logsigmoid, mish, prelu, relu6, "
                "rrelu, selu, silu, softplus, softshrink, softsign and tanhshrink",
                what, name);
}

const char *hypernetwork_activation_name(int i)
{
    return i >= 0 && i < ACTIVATIONS ? activations[i].name : "linear";
}

bool hypernetwork_activation_is_linear(int i)
{
    return activations[i].form == LINEAR;
}

bool hypernetwork_activation_is_prelu(int i)
{
    return activations[i].form == PRELU;
}

/* relu(x) + slope * (x - relu(x)); the slope is a matrix of one element. */
static value draw_prelu(at a, value x)
{
    shape X = value_shape(a, x);
    value slope = graph_parameter(a, "weight", SHAPE1(1), ROLE_NORM);
    value positive = op_activation(a, x, ACTIVATION_RELU, 0);
    value negative = op_add(a, x, op_scale(a, positive, -1, 0));
    negative = op_reshape(a, negative, SHAPE2(shape_count(X), 1));
    negative = op_linear(a, negative, op_reshape(a, slope, SHAPE2(1, 1)), NO_VALUE);
    return op_add(a, positive, op_reshape(a, negative, X));
}

value hypernetwork_activate(at a, value x, int i)
{
    if (!x.index)
        return NO_VALUE;
    return activations[i].form == PRELU ? draw_prelu(a, x)
                                        : op_activation(a, x, activations[i].kind, activations[i].slope);
}

/* ------------------------------------------------------------------------------------ numbers */

int hypernetwork_read_list(const char *text, double numbers[HYPERNETWORK_MAX_LAYERS + 1])
{
    int count = 0;
    text += strspn(text, " \t[(");
    while (*text && *text != ']' && *text != ')') {
        char *end;
        double v = strtod(text, &end);
        if (end == text || count > HYPERNETWORK_MAX_LAYERS || !isfinite(v))
            return -1;
        numbers[count++] = v;
        end += strspn(end, " \t");
        if (*end == ',')
            end++;
        else if (*end && *end != ']' && *end != ')')
            return -1;
        text = end + strspn(end, " \t");
    }
    return count;
}

void hypernetwork_standard_dropout(int count, bool last_layer_dropout, double dropout[])
{
    for (int i = 0; i < count; i++)
        dropout[i] = i > 0 && (i < count - 2 || (i == count - 2 && last_layer_dropout)) ? 0.3 : 0;
}

kiln_status hypernetwork_check(const hypernetwork_config *c, const char *what, kiln_error *err)
{
    if (c->layers < 1 || c->layers > HYPERNETWORK_MAX_LAYERS)
        return fail(err, KILN_BAD_FORMAT, "%s: layer_structure needs 2 to %d numbers", what,
                    HYPERNETWORK_MAX_LAYERS + 1);
    if (c->structure[0] != 1 || c->structure[c->layers] != 1)
        return fail(err, KILN_BAD_FORMAT,
                    "%s: layer_structure begins and ends with 1, so that what is bent keeps its width; here "
                    "with %g and %g",
                    what, c->structure[0], c->structure[c->layers]);
    for (int i = 0; i <= c->layers; i++) {
        if (!(c->structure[i] > 0 && c->structure[i] <= 64))
            return fail(err, KILN_BAD_FORMAT,
                        "%s: layer_structure holds %g; a layer is above 0 to 64 times as wide", what,
                        c->structure[i]);
        if (!(c->dropout[i] >= 0 && c->dropout[i] < 1))
            return fail(err, KILN_BAD_FORMAT, "%s: dropout_structure holds %g; a probability is 0 to below 1",
                        what, c->dropout[i]);
        for (int w = 0; w < c->width_count; w++)
            if ((double)c->widths[w] * c->structure[i] < 1)
                return fail(err, KILN_BAD_FORMAT, "%s: a layer of %g times the width %d has no neuron", what,
                            c->structure[i], c->widths[w]);
    }
    if (c->dropout[0] != 0 || c->dropout[c->layers] != 0)
        return fail(err, KILN_BAD_FORMAT,
                    "%s: dropout_structure begins and ends with 0: what goes in and comes out is whole",
                    what);
    return KILN_OK;
}
