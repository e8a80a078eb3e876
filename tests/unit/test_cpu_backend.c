/* test_cpu_backend.c - every fast kernel against the reference of its op, over awkward shapes; and the same
 * bytes with one thread and with two, out of place and in place.
 * floors: base tensor graph ops backend */
#include "unit/kernel_check.h"

/* Largest error allowed, as a share of the largest reference value.
 *   f32: sums of up to 12,000 products in another order: 1e-5 (5e-6 seen). Norms, activations, softmax: the
 *        vector functions are good to 2e-7 absolute, the rest is rounding.
 *   bf16: inputs and weights are rounded before both sides see them, so what is left is the rounding of the
 *        result (2^-9 of the value), of a residual that is added in bf16 twice (fusion does not round
 *        between), and for attention that of the probabilities. */
static const struct tolerance {
    op_kind op;
    double f32, bf16;
} tolerances[] = {
    {OP_CONV2D, 1e-5, 4.2e-3},
    {OP_LINEAR, 1e-5, 4.2e-3},
    {OP_ATTENTION, 5e-6, 8e-3},
    {OP_GROUP_NORM, 2e-6, 4.2e-3},
    {OP_LAYER_NORM, 2e-6, 4.2e-3},
    {OP_GEGLU, 1e-6, 4.2e-3},
    {OP_WINDOW_ATTENTION, 5e-6, 4.2e-3},
    {OP_CHANNEL_ATTENTION, 5e-6, 4.2e-3},
    {OP_NONE, 1e-6, 4.2e-3},
};

static double tolerance_of(op_kind op, dtype type)
{
    size_t i = 0;
    while (tolerances[i].op != OP_NONE && tolerances[i].op != op)
        i++;
    return type == DTYPE_BF16 ? tolerances[i].bf16 : tolerances[i].f32;
}

static void check(graph *g, value v, const char *name)
{
    op_kind op = graph_node(g, v)->op;
    check_with(g, v, name,
               &(check_options){.f32 = tolerance_of(op, DTYPE_F32), .bf16 = tolerance_of(op, DTYPE_BF16)});
    if (op == OP_LINEAR || op == OP_CONV2D)
        check_with(g, v, "    with live weights",
                   &(check_options){.f32 = tolerance_of(op, DTYPE_F32),
                                    .bf16 = tolerance_of(op, DTYPE_BF16),
                                    .live = true});
}

static void fuse(graph *g, value v, value extra)
{
    node *n = &g->nodes[v.index];
    if (extra.index) {
        n->input[3] = extra;
        n->input_count = 4;
    }
}

static void test_conv2d(void **state)
{
    (void)state;
    static const struct {
        int n, h, w, c, o, k, stride, top, bottom, left, right, upsample;
        bool bias, residual;
        activation_kind activation;
    } cases[] = {
        {1, 5, 7, 3, 5, 3, 1, 1, 1, 1, 1, 1, true, false, ACTIVATION_NONE},
        {2, 8, 8, 4, 320, 3, 1, 1, 1, 1, 1, 1, true, false, ACTIVATION_NONE},
        {2, 9, 6, 320, 4, 3, 1, 1, 1, 1, 1, 1, true, false, ACTIVATION_NONE},
        {1, 16, 16, 64, 64, 3, 1, 1, 1, 1, 1, 1, true, true, ACTIVATION_NONE},
        {2, 16, 16, 32, 48, 3, 2, 1, 1, 1, 1, 1, true, false, ACTIVATION_NONE},
        {1, 16, 16, 32, 32, 3, 2, 0, 1, 0, 1, 1, true, false, ACTIVATION_NONE},
        {2, 7, 5, 24, 40, 1, 1, 0, 0, 0, 0, 1, false, true, ACTIVATION_NONE},
        {1, 8, 8, 1280, 1280, 3, 1, 1, 1, 1, 1, 1, true, true, ACTIVATION_NONE},
        {2, 8, 8, 64, 64, 3, 1, 1, 1, 1, 1, 1, true, true, ACTIVATION_RELU},
        {1, 8, 8, 64, 64, 3, 1, 1, 1, 1, 1, 1, true, false, ACTIVATION_SILU},
        {2, 4, 4, 8, 8, 3, 1, 1, 1, 1, 1, 2, true, false, ACTIVATION_NONE},
        {1, 5, 3, 3, 6, 3, 1, 1, 1, 1, 1, 2, true, true, ACTIVATION_RELU},
        {2, 33, 64, 128, 160, 3, 1, 1, 1, 1, 1, 2, true, false, ACTIVATION_NONE},
        {1, 1, 1, 7, 9, 3, 1, 1, 1, 1, 1, 1, false, false, ACTIVATION_NONE},
        {2, 8, 8, 1280, 64, 3, 1, 1, 1, 1, 1, 1, false, false, ACTIVATION_NONE},
        {1, 7, 9, 2560, 96, 3, 1, 1, 1, 1, 1, 1, true, true, ACTIVATION_NONE},
        {2, 8, 8, 1280, 128, 3, 2, 1, 1, 1, 1, 1, true, false, ACTIVATION_NONE},
        {1, 6, 6, 64, 64, 8, 1, 3, 4, 3, 4, 1, true, false, ACTIVATION_LEAKY_RELU},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        WITH_GRAPH(g, a);
        value x = graph_input(g, "x", SHAPE4(cases[i].n, cases[i].h, cases[i].w, cases[i].c), DTYPE_F32);
        value w =
            graph_parameter(a, "w", SHAPE4(cases[i].o, cases[i].c, cases[i].k, cases[i].k), ROLE_WEIGHT);
        value b = cases[i].bias ? graph_parameter(a, "b", SHAPE1(cases[i].o), ROLE_BIAS) : NO_VALUE;
        conv2d_attributes attributes = {.stride = cases[i].stride,
                                        .pad_top = cases[i].top,
                                        .pad_bottom = cases[i].bottom,
                                        .pad_left = cases[i].left,
                                        .pad_right = cases[i].right,
                                        .upsample = cases[i].upsample,
                                        .activation = cases[i].activation,
                                        .slope = 0.2f};
        value y = op_conv2d(a, x, w, b, &attributes);
        if (cases[i].residual)
            fuse(g, y, graph_input(g, "r", value_shape(a, y), DTYPE_F32));
        char name[100];
        snprintf(name, sizeof name, "conv2d %d: [%d,%d,%d,%d] -> %d, k %d", (int)i, cases[i].n, cases[i].h,
                 cases[i].w, cases[i].c, cases[i].o, cases[i].k);
        check(g, y, name);
        graph_free(g);
    }
}

/* What is convolved comes in parts, and the result is multiplied, as fusion writes it. Large ones go by rows of AMX tiles. */
static void test_conv2d_parts(void **state)
{
    (void)state;
    static const struct {
        int n, h, w, parts, c[5], o;
        float gain;
        bool bias, residual;
        activation_kind activation;
    } cases[] = {
        {1, 64, 64, 1, {64}, 32, 0, true, false, ACTIVATION_LEAKY_RELU},
        {2, 61, 71, 3, {64, 32, 32}, 32, 0, true, false, ACTIVATION_LEAKY_RELU},
        {1, 67, 90, 5, {64, 32, 32, 32, 32}, 64, 0.2f, true, true, ACTIVATION_NONE},
        {3, 40, 103, 2, {32, 96}, 96, 0, false, true, ACTIVATION_NONE},
        {1, 9, 6, 3, {5, 8, 3}, 7, 0.3f, true, true, ACTIVATION_RELU},
        {1, 2048, 3, 1, {32}, 32, -2, false, false, ACTIVATION_NONE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int total = 0;
        for (int k = 0; k < cases[i].parts; k++)
            total += cases[i].c[k];
        WITH_GRAPH(g, a);
        value whole = graph_input(g, "whole", SHAPE4(cases[i].n, cases[i].h, cases[i].w, total), DTYPE_F32);
        value w = graph_parameter(a, "w", SHAPE4(cases[i].o, total, 3, 3), ROLE_WEIGHT);
        value b = cases[i].bias ? graph_parameter(a, "b", SHAPE1(cases[i].o), ROLE_BIAS) : NO_VALUE;
        conv2d_attributes attributes = {.stride = 1,
                                        .pad_top = 1,
                                        .pad_bottom = 1,
                                        .pad_left = 1,
                                        .pad_right = 1,
                                        .upsample = 1,
                                        .activation = cases[i].activation,
                                        .slope = 0.2f,
                                        .gain = cases[i].gain};
        value y = op_conv2d(a, whole, w, b, &attributes), part[5] = {NO_VALUE};
        if (cases[i].residual)
            fuse(g, y, graph_input(g, "r", value_shape(a, y), DTYPE_F32));
        for (int k = 0; k < cases[i].parts; k++) {
            char part_name[16];
            snprintf(part_name, sizeof part_name, "x%d", k);
            part[k] = graph_input(g, part_name, SHAPE4(cases[i].n, cases[i].h, cases[i].w, cases[i].c[k]),
                                  DTYPE_F32);
        }
        node *n = &g->nodes[y.index];
        n->input[0] = part[0];
        for (int k = 1; k < cases[i].parts; k++)
            n->input[3 + k] = part[k];
        n->input_count = cases[i].parts > 1 ? 3 + cases[i].parts : n->input_count;
        char name[100];
        snprintf(name, sizeof name, "conv2d of %d parts: [%d,%d,%d,%d] -> %d", cases[i].parts, cases[i].n,
                 cases[i].h, cases[i].w, total, cases[i].o);
        check(g, y, name);
        graph_free(g);
    }
}

static void test_linear(void **state)
{
    (void)state;
    static const struct {
        int n, t, k, o;
        bool bias, residual;
        activation_kind activation;
    } cases[] = {
        {1, 1, 4, 6, true, false, ACTIVATION_NONE},
        {2, 77, 768, 320, false, false, ACTIVATION_NONE},
        {2, 64, 320, 320, true, true, ACTIVATION_NONE},
        {1, 2, 1280, 1280, true, false, ACTIVATION_NONE},
        {2, 1, 320, 1280, true, false, ACTIVATION_SILU},
        {1, 64, 1280, 5120, true, false, ACTIVATION_NONE},
        {2, 40, 5120, 1280, true, true, ACTIVATION_NONE},
        {1, 77, 768, 3072, true, false, ACTIVATION_QUICK_GELU},
        {1, 77, 64, 128, true, true, ACTIVATION_GELU},
        {3, 5, 7, 11, true, true, ACTIVATION_NONE},
        {1, 16, 2816, 1280, true, false, ACTIVATION_NONE},
        {1, 4096, 32, 32, true, true, ACTIVATION_GELU_TANH},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        WITH_GRAPH(g, a);
        value x = graph_input(g, "x", SHAPE3(cases[i].n, cases[i].t, cases[i].k), DTYPE_F32);
        value w = graph_parameter(a, "w", SHAPE2(cases[i].o, cases[i].k), ROLE_WEIGHT);
        value b = cases[i].bias ? graph_parameter(a, "b", SHAPE1(cases[i].o), ROLE_BIAS) : NO_VALUE;
        value y = op_linear(a, x, w, b);
        g->nodes[y.index].attributes.linear.activation = cases[i].activation;
        if (cases[i].residual)
            fuse(g, y, graph_input(g, "r", value_shape(a, y), DTYPE_F32));
        char name[100];
        snprintf(name, sizeof name, "linear %d: [%d,%d,%d] -> %d", (int)i, cases[i].n, cases[i].t, cases[i].k,
                 cases[i].o);
        check(g, y, name);
        graph_free(g);
    }
}

static void test_attention(void **state)
{
    (void)state;
    static const struct {
        int n, t, s, heads, d, e;
        bool causal;
    } cases[] = {
        {1, 1, 1, 1, 4, 4, false},         {2, 5, 7, 2, 4, 4, false},         {1, 64, 64, 8, 40, 40, false},
        {2, 100, 77, 8, 40, 40, false},    {1, 77, 77, 12, 64, 64, true},     {1, 130, 257, 2, 80, 80, false},
        {2, 64, 64, 8, 160, 160, false},   {1, 150, 150, 1, 512, 512, false}, {1, 33, 65, 3, 6, 10, false},
        {1, 1000, 1000, 2, 64, 64, true},  {2, 256, 77, 8, 160, 160, false},  {1, 17, 300, 1, 33, 65, false},
        {1, 2049, 1023, 1, 40, 40, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        WITH_GRAPH(g, a);
        value q = graph_input(g, "q", SHAPE3(cases[i].n, cases[i].t, cases[i].heads * cases[i].d), DTYPE_F32);
        value k = graph_input(g, "k", SHAPE3(cases[i].n, cases[i].s, cases[i].heads * cases[i].d), DTYPE_F32);
        value v = graph_input(g, "v", SHAPE3(cases[i].n, cases[i].s, cases[i].heads * cases[i].e), DTYPE_F32);
        value y = op_attention(a, q, k, v, cases[i].heads, cases[i].causal);
        char name[100];
        snprintf(name, sizeof name, "attention %d: %d x %d heads, %d x %d, %d", (int)i, cases[i].n,
                 cases[i].heads, cases[i].t, cases[i].s, cases[i].d);
        check(g, y, name);
        graph_free(g);
    }
}

static void test_norms(void **state)
{
    (void)state;
    static const struct {
        int n, t, c, groups; /* groups 0: layer norm */
        bool shift;
        activation_kind activation;
    } cases[] = {
        {1, 1, 4, 1, false, ACTIVATION_NONE},      {2, 4096, 320, 32, true, ACTIVATION_SILU},
        {2, 50, 6, 3, false, ACTIVATION_SILU},     {1, 257, 128, 32, true, ACTIVATION_NONE},
        {2, 64, 2560, 32, false, ACTIVATION_SILU}, {1, 1000, 512, 32, false, ACTIVATION_NONE},
        {3, 7, 30, 30, true, ACTIVATION_RELU},     {1, 1, 1, 0, false, ACTIVATION_NONE},
        {2, 77, 768, 0, false, ACTIVATION_NONE},   {2, 100, 320, 0, false, ACTIVATION_NONE},
        {1, 5, 33, 0, false, ACTIVATION_NONE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        WITH_GRAPH(g, a);
        value x = graph_input(g, "x", SHAPE3(cases[i].n, cases[i].t, cases[i].c), DTYPE_F32);
        value w = graph_parameter(a, "w", SHAPE1(cases[i].c), ROLE_NORM),
              b = graph_parameter(a, "b", SHAPE1(cases[i].c), ROLE_NORM);
        value y = cases[i].groups ? op_group_norm(a, x, w, b, cases[i].groups, 1e-5f)
                                  : op_layer_norm(a, x, w, b, 1e-5f);
        g->nodes[y.index].attributes.norm.activation = cases[i].activation;
        if (cases[i].shift)
            fuse(g, y, graph_input(g, "shift", SHAPE2(cases[i].n, cases[i].c), DTYPE_F32));
        char name[100];
        snprintf(name, sizeof name, "%s %d: [%d,%d,%d]", cases[i].groups ? "group_norm" : "layer_norm",
                 (int)i, cases[i].n, cases[i].t, cases[i].c);
        check(g, y, name);
        graph_free(g);
    }
}

static void test_elementwise(void **state)
{
    (void)state;
    static const int shapes[][4] = {{1, 1, 1, 2}, {2, 3, 5, 6}, {1, 33, 17, 64}, {2, 1, 9, 5000}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        WITH_GRAPH(g, a);
        const int *s = shapes[i];
        shape X = SHAPE4(s[0], s[1], s[2], s[3]);
        value x = graph_input(g, "x", X, DTYPE_F32), y = graph_input(g, "y", X, DTYPE_F32);
        value channels = graph_input(g, "c", SHAPE2(s[0], s[3]), DTYPE_F32);
        value slope = graph_parameter(a, "slope", SHAPE1(s[3]), ROLE_WEIGHT);
        for (int k = 0; k < ACTIVATION_COUNT; k++)
            check(g, op_activation(a, x, (activation_kind)k, 0.1f), activation_name((activation_kind)k));
        check(g, op_prelu(a, x, slope), "prelu");
        check(g, op_geglu(a, x), "geglu");
        check(g, op_add(a, x, y), "add");
        check(g, op_multiply(a, x, y), "multiply");
        check(g, op_scale(a, x, 0.18215f, -1), "scale");
        check(g, op_clamp(a, x, -0.5f, 0.25f), "clamp");
        check(g, op_add_channels(a, x, channels), "add_channels");
        for (int axis = 0; axis < 4; axis++)
            check(g, op_concat(a, 3, (value[]){x, y, x}, axis), "concat");
        check(g, op_multiply_channels(a, x, channels), "multiply_channels");
        value pixels = op_reshape(a, x, SHAPE3(s[0] * s[1], s[2] * s[3], 1));
        check(g, op_multiply_channels(a, pixels, graph_input(g, "gate", SHAPE2(s[0] * s[1], 1), DTYPE_F32)),
              "multiply_channels of one");
        check(g, op_slice(a, x, -1, 1, s[3] - 1), "slice channels");
        check(g, op_slice(a, x, 1, s[1] / 2, s[1] - s[1] / 2), "slice rows");
        check(g, op_upsample(a, x, 2), "upsample 2");
        check(g, op_upsample(a, x, 3), "upsample 3");
        check(g, op_reshape(a, x, SHAPE2(s[0] * s[1], s[2] * s[3])), "reshape");
        value tokens = op_reshape(a, x, SHAPE3(s[0], s[1] * s[2], s[3]));
        value positions = graph_parameter(a, "p", SHAPE2(s[1] * s[2] + 3, s[3]), ROLE_EMBEDDING);
        check(g, op_add_positions(a, tokens, positions), "add_positions");
        value ids = graph_input(g, "ids", SHAPE2(s[0], 9), DTYPE_I32),
              one = graph_input(g, "one", SHAPE1(s[0]), DTYPE_I32);
        check(g, op_embedding(a, ids, graph_parameter(a, "table", SHAPE2(8, s[3]), ROLE_EMBEDDING)),
              "embedding");
        check(g, op_gather_tokens(a, tokens, one), "gather_tokens");
        graph_free(g);
    }
}

static void test_depthwise(void **state)
{
    (void)state;
    static const struct {
        int n, h, w, c, k;
        bool bias;
    } cases[] = {
        {1, 1, 1, 1, 3, true}, {2, 5, 7, 3, 3, false}, {1, 9, 6, 180, 3, true}, {1, 4, 12, 600, 5, true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        WITH_GRAPH(g, a);
        int c = cases[i].c;
        value x = graph_input(g, "x", SHAPE4(cases[i].n, cases[i].h, cases[i].w, c), DTYPE_F32);
        value w = graph_parameter(a, "w", SHAPE4(c, 1, cases[i].k, cases[i].k), ROLE_WEIGHT);
        value b = cases[i].bias ? graph_parameter(a, "b", SHAPE1(c), ROLE_BIAS) : NO_VALUE;
        char name[100];
        snprintf(name, sizeof name, "depthwise %d: [%d,%d,%d,%d], k %d", (int)i, cases[i].n, cases[i].h,
                 cases[i].w, c, cases[i].k);
        check(g, op_depthwise_conv2d(a, x, w, b), name);
        graph_free(g);
    }
}

static void test_window_attention(void **state)
{
    (void)state;
    static const struct {
        int n, h, w, heads, d, height, width, shift_y, shift_x;
        bool bias;
    } cases[] = {
        {1, 1, 1, 1, 1, 1, 1, 0, 0, false},   {2, 8, 16, 6, 30, 8, 8, 0, 0, true},
        {1, 16, 16, 3, 30, 8, 8, 4, 4, true}, {1, 32, 16, 2, 15, 8, 16, 4, 8, true},
        {2, 14, 7, 2, 5, 7, 7, 3, 3, true},   {1, 6, 9, 1, 40, 2, 3, 1, 0, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        WITH_GRAPH(g, a);
        window_attention_attributes p = {.heads = cases[i].heads,
                                         .height = cases[i].height,
                                         .width = cases[i].width,
                                         .shift_y = cases[i].shift_y,
                                         .shift_x = cases[i].shift_x};
        shape X = SHAPE4(cases[i].n, cases[i].h, cases[i].w, cases[i].heads * cases[i].d);
        value q = graph_input(g, "q", X, DTYPE_F32), k = graph_input(g, "k", X, DTYPE_F32),
              v = graph_input(g, "v", X, DTYPE_F32);
        shape table = SHAPE2((2 * p.height - 1) * (2 * p.width - 1), p.heads);
        value bias = cases[i].bias ? graph_parameter(a, "table", table, ROLE_EMBEDDING) : NO_VALUE;
        char name[100];
        snprintf(name, sizeof name, "window attention %d: [%d,%d] by %dx%d, %d heads", (int)i, cases[i].h,
                 cases[i].w, p.height, p.width, p.heads);
        check(g, op_window_attention(a, q, k, v, bias, &p), name);
        graph_free(g);
    }
}

static void test_channel_attention(void **state)
{
    (void)state;
    static const struct {
        int n, t, heads, d;
    } cases[] = {{1, 1, 1, 1}, {2, 7, 2, 3}, {1, 1500, 6, 30}, {2, 513, 1, 64}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        WITH_GRAPH(g, a);
        shape X = SHAPE3(cases[i].n, cases[i].t, cases[i].heads * cases[i].d);
        value q = graph_input(g, "q", X, DTYPE_F32), k = graph_input(g, "k", X, DTYPE_F32),
              v = graph_input(g, "v", X, DTYPE_F32);
        value temperature = graph_parameter(a, "t", SHAPE3(cases[i].heads, 1, 1), ROLE_WEIGHT);
        char name[100];
        snprintf(name, sizeof name, "channel attention %d: %d tokens, %d heads of %d", (int)i, cases[i].t,
                 cases[i].heads, cases[i].d);
        check(g, op_channel_attention(a, q, k, v, temperature, cases[i].heads), name);
        graph_free(g);
    }
}

static void test_permute(void **state)
{
    (void)state;
    static const struct {
        shape shape;
        int axes[SHAPE_MAX_RANK];
    } cases[] = {{{2, {3, 5}}, {1, 0}},
                 {{2, {3, 5}}, {0, 1}},
                 {{3, {70, 5, 8}}, {1, 0, 2}},
                 {{6, {1, 4, 5, 3, 2, 2}}, {0, 1, 4, 2, 5, 3}},
                 {{6, {2, 3, 2, 3, 2, 7}}, {0, 1, 3, 5, 2, 4}},
                 {{4, {1, 1, 1, 1}}, {3, 1, 2, 0}}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        WITH_GRAPH(g, a);
        char name[100];
        snprintf(name, sizeof name, "permute %d", (int)i);
        check(g, op_permute(a, graph_input(g, "x", cases[i].shape, DTYPE_F32), cases[i].axes), name);
        graph_free(g);
    }
}

/* Variances are what the parameters are filled with, made positive. */
static void test_batch_norm(void **state)
{
    (void)state;
    static const int shapes[][4] = {{1, 1, 1, 2}, {2, 3, 5, 6}, {1, 33, 17, 22}, {2, 1, 9, 3000}};
    for (size_t i = 0; i < 2 * sizeof shapes / sizeof *shapes; i++) {
        WITH_GRAPH(g, a);
        const int *s = shapes[i / 2];
        value x = graph_input(g, "x", SHAPE4(s[0], s[1], s[2], s[3]), DTYPE_F32);
        shape C = SHAPE1(s[3]);
        value mean = graph_parameter(a, "mean", C, ROLE_NORM),
              variance = graph_parameter(a, "variance", C, ROLE_NORM),
              w = i % 2 ? graph_parameter(a, "w", C, ROLE_NORM) : NO_VALUE,
              b = i % 2 ? graph_parameter(a, "b", C, ROLE_NORM) : NO_VALUE;
        check(g, op_batch_norm(a, x, mean, variance, w, b, 4.0f), "batch_norm");
        graph_free(g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_elementwise),
        cmocka_unit_test(test_norms),
        cmocka_unit_test(test_conv2d_parts),
        cmocka_unit_test(test_linear),
        cmocka_unit_test(test_conv2d),
        cmocka_unit_test(test_attention),
        cmocka_unit_test(test_depthwise),
        cmocka_unit_test(test_window_attention),
        cmocka_unit_test(test_channel_attention),
        cmocka_unit_test(test_permute),
        cmocka_unit_test(test_batch_norm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
