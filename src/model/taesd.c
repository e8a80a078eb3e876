/* taesd.c - the tiny autoencoders: structure told from numbered tensors, then drawn. See taesd.h. */
#include "model/taesd.h"

#include "nn/nn.h"

/* ------------------------------------------------------------------------------------ from tensors */

typedef struct probe {
    const tensor_finder *finder;
    const char *prefix;
    int shift; /* file number = plain number - shift */
} probe;

static int dim(const probe *p, int axis, int number, const char *leaf)
{
    return find_dim(p->finder, axis, "%s%d.%s", p->prefix, number - p->shift, leaf);
}

static bool is_module(const probe *p, int number)
{
    return dim(p, 0, number, "weight") || dim(p, 0, number, "conv.0.weight");
}

static taesd_module read_block(const probe *p, int number)
{
    taesd_module m = {.kind = TAESD_BLOCK, .number = number, .stride = 1, .bias = true};
    m.channels = dim(p, 0, number, "conv.4.weight");
    m.skip = dim(p, 0, number, "skip.weight") != 0;
    m.pool_channels = dim(p, 0, number, "pool.0.weight");
    m.pooled = m.pool_channels != 0;
    return m;
}

/* Strides leave no trace in shapes. In an encoder the convolutions without a bias halve, and so do those that
 * an activation follows (the stem of the 32-fold encoder); a decoder has none. */
static taesd_module read_convolution(const probe *p, int number, bool decoder)
{
    taesd_module m = {.kind = TAESD_CONVOLUTION, .number = number, .stride = 1};
    m.channels = dim(p, 0, number, "weight");
    m.bias = dim(p, 0, number, "bias") != 0;
    bool followed_by_relu = !is_module(p, number + 1) && is_module(p, number + 2);
    if (!decoder && (!m.bias || followed_by_relu))
        m.stride = 2;
    return m;
}

/* A number without tensors is an activation, or, before a convolution without bias, an enlargement. */
static taesd_module read_hole(const probe *p, int number, int channels, bool decoder)
{
    bool enlarges = decoder && dim(p, 0, number + 1, "weight") && !dim(p, 0, number + 1, "bias");
    return (taesd_module){
        .kind = enlarges ? TAESD_UPSAMPLE : TAESD_RELU, .number = number, .stride = 1, .channels = channels};
}

static void read_modules(const probe *p, taesd_config *c)
{
    int channels = 0;
    c->factor = 1;
    for (int number = c->decoder ? 1 : 0; c->module_count < TAESD_MAX_MODULES; number++) {
        taesd_module m;
        if (dim(p, 0, number, "conv.0.weight"))
            m = read_block(p, number);
        else if (dim(p, 0, number, "weight"))
            m = read_convolution(p, number, c->decoder);
        else if (is_module(p, number + 1))
            m = read_hole(p, number, channels, c->decoder);
        else
            break;
        channels = m.channels;
        c->modules[c->module_count++] = m;
        if ((m.stride == 2 || m.kind == TAESD_UPSAMPLE) && c->factor < 1024)
            c->factor *= 2;
    }
    c->out_channels = channels;
}

kiln_status taesd_config_from_tensors(const tensor_finder *f, bool decoder, taesd_config *out, bool *plain,
                                      kiln_error *err)
{
    taesd_config c = {.decoder = decoder};
    const char *half = decoder ? "decoder" : "encoder";
    int first = decoder ? 1 : 0;
    probe p = {f, decoder ? "decoder.layers." : "encoder.layers.", first};
    *out = (taesd_config){0};
    bool numbers = !dim(&p, 0, first, "weight");
    if (numbers)
        p = (probe){f, "", 0};
    c.in_channels = dim(&p, 1, first, "weight");
    if (!c.in_channels)
        return fail(err, KILN_NOT_FOUND,
                    "there is no TAESD %s here: neither '%s.layers.0.weight' nor '%d.weight'", half, half,
                    first);
    read_modules(&p, &c);
    const taesd_module *last = &c.modules[c.module_count - 1];
    int picture = decoder ? c.out_channels : c.in_channels;
    if (picture != 3 || c.module_count < 3 || last->kind != TAESD_CONVOLUTION || c.factor < 2)
        return fail(err, KILN_UNSUPPORTED,
                    "these tensors are no TAESD %s: %d numbered modules between %d and %d "
                    "channels",
                    half, c.module_count, c.in_channels, c.out_channels);
    if (plain)
        *plain = numbers;
    *out = c;
    return KILN_OK;
}

/* ------------------------------------------------------------------------------------ drawing */

static value relu(at a, value x)
{
    return op_activation(a, x, ACTIVATION_RELU, 0.0f);
}

static value pool(at a, value x, int channels)
{
    value h =
        relu(a, nn_group_norm(same(a, "1"), nn_pointwise(same(a, "0"), x, channels, NN_NO_BIAS), 4, 1e-5f));
    return op_add(a, x, nn_pointwise(same(a, "3"), h, value_channels(a, x), NN_NO_BIAS));
}

static value block(at a, value x, const taesd_module *m)
{
    if (m->pooled)
        x = pool(same(a, "pool"), x, m->pool_channels);
    value h = relu(a, nn_conv2d(same(a, "conv.0"), x, m->channels, 3));
    h = relu(a, nn_conv2d(same(a, "conv.2"), h, m->channels, 3));
    h = nn_conv2d(same(a, "conv.4"), h, m->channels, 3);
    if (m->skip)
        x = nn_pointwise(same(a, "skip"), x, m->channels, NN_NO_BIAS);
    return relu(a, op_add(a, h, x));
}

static value convolution(at a, value x, const taesd_module *m, bool enlarge)
{
    conv2d_attributes attributes = {.stride = m->stride,
                                    .upsample = enlarge ? 2 : 1,
                                    .pad_top = 1,
                                    .pad_bottom = 1,
                                    .pad_left = 1,
                                    .pad_right = 1};
    return nn_conv2d_with(a, x, m->channels, 3, &attributes, m->bias ? NN_BIAS : NN_NO_BIAS);
}

static value modules(at half, const taesd_config *c, value x)
{
    bool enlarge = false; /* an enlargement is drawn as part of the convolution after it */
    for (int i = 0; i < c->module_count; i++) {
        const taesd_module *m = &c->modules[i];
        at a = in_numbered(half, "layers.%d", m->number - (c->decoder ? 1 : 0), "%d", m->number);
        if (m->kind == TAESD_BLOCK)
            x = graph_tap(a, block(a, x, m));
        else if (m->kind == TAESD_CONVOLUTION)
            x = graph_tap(a, convolution(a, x, m, enlarge));
        else if (m->kind == TAESD_RELU)
            x = relu(a, x);
        enlarge = m->kind == TAESD_UPSAMPLE;
    }
    return x;
}

void taesd_draw(graph *g, const taesd_config *c, int batch, int height, int width)
{
    at root = graph_root(g);
    if (batch < 1 || height < 1 || width < 1 || (!c->decoder && (height % c->factor || width % c->factor))) {
        graph_fail(root, "batch %d of %dx%d does not fit a TAESD of factor %d", batch, width, height,
                   c->factor);
        return;
    }
    value x = graph_input(g, c->decoder ? "latents" : "image", SHAPE4(batch, height, width, c->in_channels),
                          DTYPE_F32);
    at half = in(root, c->decoder ? "decoder" : "encoder", "");
    if (c->decoder) { /* keep wild latents in range: 3 tanh(x / 3) */
        x = op_activation(half, op_scale(half, x, 1.0f / 3.0f, 0.0f), ACTIVATION_TANH, 0.0f);
        x = op_scale(half, x, 3.0f, 0.0f);
    }
    x = modules(half, c, x);
    graph_output(g, c->decoder ? "image" : "latents", x);
}
