/* test_cpu_backward.c - every fast kernel of the reverse pass against the reference of its op, over awkward shapes,
 * with frozen and with live weights, in f32 and bf16 and mixtures; and the same bytes with any number of
 * threads.
 * floors: base tensor graph ops backend */
#include "backend/cpu/attention_backward.h"
#include "backend/cpu/features.h"
#include "ops/backward.h"
#include "unit/kernel_check.h"

/* Products: as forward. Sums of products in f32 whose inputs are bf16 are good to f32's own error. */
static const check_options product = {.f32 = 1e-5, .bf16 = 4.2e-3};
static const check_options weights_product = {.f32 = 1e-5, .bf16 = 1e-5, .f32_result = true};

static check_options with_live(check_options o)
{
    o.live = true;
    return o;
}

static check_options with_f32_inputs(check_options o, uint32_t inputs)
{
    o.f32_inputs = inputs;
    return o;
}

static void test_linear(void **state)
{
    (void)state;
    static const int cases[][3] = {{1, 4, 6},       {154, 768, 320}, {128, 320, 320}, {2, 1280, 1280},
                                   {2, 320, 1280},  {15, 7, 11},     {1024, 32, 64},  {64, 128, 2560},
                                   {100, 2560, 64}, {4096, 33, 17},  {3, 1, 1},       {640, 320, 1280}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int rows = cases[i][0], inputs = cases[i][1], outputs = cases[i][2];
        WITH_GRAPH(g, a);
        value x = graph_input(g, "x", SHAPE2(rows, inputs), DTYPE_F32),
              dy = graph_input(g, "dy", SHAPE2(rows, outputs), DTYPE_F32),
              w = graph_parameter(a, "w", SHAPE2(outputs, inputs), ROLE_WEIGHT);
        char name[100];
        snprintf(name, sizeof name, "linear %d: %d x %d -> %d", (int)i, rows, inputs, outputs);
        value by_data = op_linear_backward_data(a, dy, w);
        const check_options live = with_live(product), mixed = with_f32_inputs(live, 1);
        check_with(g, by_data, name, &product);
        check_with(g, by_data, "    live", &live);
        check_with(g, by_data, "    live, dy in f32", &mixed);
        value drawn = graph_input(g, "drawn", SHAPE2(outputs, inputs), DTYPE_F32);
        check_with(g, op_linear_backward_data(a, dy, drawn), "    weights of the graph", &product);
        value by_weights = op_linear_backward_weights(a, x, dy, SHAPE2(outputs, inputs));
        const check_options x_f32 = with_f32_inputs(weights_product, 1),
                            dy_f32 = with_f32_inputs(weights_product, 2);
        check_with(g, by_weights, "    by weights", &weights_product);
        check_with(g, by_weights, "    by weights, x in f32", &x_f32);
        check_with(g, by_weights, "    by weights, dy in f32", &dy_f32);
        graph_free(g);
    }
}

static void test_conv2d(void **state)
{
    (void)state;
    static const struct {
        int n, h, w, c, o, k, stride, top, bottom, left, right, upsample;
    } cases[] = {
        {1, 5, 7, 3, 5, 3, 1, 1, 1, 1, 1, 1},     {2, 8, 8, 4, 320, 3, 1, 1, 1, 1, 1, 1},
        {2, 9, 6, 320, 4, 3, 1, 1, 1, 1, 1, 1},   {1, 16, 16, 64, 64, 3, 1, 1, 1, 1, 1, 1},
        {2, 16, 16, 32, 48, 3, 2, 1, 1, 1, 1, 1}, {1, 16, 16, 32, 32, 3, 2, 0, 1, 0, 1, 1},
        {2, 7, 5, 24, 40, 1, 1, 0, 0, 0, 0, 1},   {1, 8, 8, 160, 320, 3, 1, 1, 1, 1, 1, 1},
        {2, 4, 4, 8, 8, 3, 1, 1, 1, 1, 1, 2},     {1, 5, 3, 3, 6, 3, 1, 1, 1, 1, 1, 2},
        {2, 9, 16, 32, 40, 3, 1, 1, 1, 1, 1, 2},  {1, 1, 1, 7, 9, 3, 1, 1, 1, 1, 1, 1},
        {1, 6, 6, 16, 16, 8, 1, 3, 4, 3, 4, 1},   {8, 8, 8, 96, 64, 3, 1, 1, 1, 1, 1, 1},
        {2, 15, 17, 16, 24, 3, 2, 1, 1, 1, 1, 1}, {4, 16, 16, 128, 64, 1, 1, 0, 0, 0, 0, 1},
        {1, 7, 5, 3, 4, 4, 4, 0, 1, 0, 3, 1},     {1, 8, 8, 6, 10, 1, 2, 0, 0, 0, 0, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        WITH_GRAPH(g, a);
        shape X = SHAPE4(cases[i].n, cases[i].h, cases[i].w, cases[i].c),
              W = SHAPE4(cases[i].o, cases[i].c, cases[i].k, cases[i].k);
        value x = graph_input(g, "x", X, DTYPE_F32), w = graph_parameter(a, "w", W, ROLE_WEIGHT);
        conv2d_attributes attributes = {.stride = cases[i].stride,
                                        .pad_top = cases[i].top,
                                        .pad_bottom = cases[i].bottom,
                                        .pad_left = cases[i].left,
                                        .pad_right = cases[i].right,
                                        .upsample = cases[i].upsample};
        value y = op_conv2d(a, x, w, NO_VALUE, &attributes),
              dy = graph_input(g, "dy", value_shape(a, y), DTYPE_F32);
        char name[100];
        snprintf(name, sizeof name, "conv2d %d: [%d,%d,%d,%d] -> %d, k %d", (int)i, cases[i].n, cases[i].h,
                 cases[i].w, cases[i].c, cases[i].o, cases[i].k);
        value by_data = op_conv2d_backward_data(a, dy, w, X, &attributes);
        const check_options live = with_live(product), mixed = with_f32_inputs(live, 1);
        check_with(g, by_data, name, &product);
        check_with(g, by_data, "    live", &live);
        check_with(g, by_data, "    live, dy in f32", &mixed);
        value by_weights = op_conv2d_backward_weights(a, x, dy, W, &attributes);
        const check_options x_f32 = with_f32_inputs(weights_product, 1);
        check_with(g, by_weights, "    by weights", &weights_product);
        check_with(g, by_weights, "    by weights, x in f32", &x_f32);
        graph_free(g);
    }
}

/* As in test_cpu_backend.c: the vector functions are good to 2e-7 absolute, sums of f32 add their rounding; in bf16
 * the rounding of the result is left. */
static const check_options vector = {.f32 = 2e-6, .bf16 = 4.2e-3};
static const check_options vector_sum = {.f32 = 4e-6, .bf16 = 4e-6, .f32_result = true};

/* With all in one type, and with one f32 input in a bf16 plan. */
static void check_mixed(graph *g, value v, const char *name, const check_options *o)
{
    check_with(g, v, name, o);
    for (int k = 0; k < graph_node(g, v)->input_count; k++) {
        const check_options mixed = with_f32_inputs(*o, o->f32_inputs | 1u << k);
        if (graph_node(g, graph_node(g, v)->input[k])->op == OP_INPUT)
            check_with(g, v, "    an input in f32", &mixed);
    }
}

static void test_elementwise(void **state)
{
    (void)state;
    static const int shapes[][4] = {{1, 1, 1, 2}, {2, 3, 5, 6}, {1, 33, 17, 64}, {2, 2, 1, 5000}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        WITH_GRAPH(g, a);
        const int *s = shapes[i];
        shape X = SHAPE4(s[0], s[1], s[2], s[3]), half = SHAPE4(s[0], s[1], s[2], s[3] / 2);
        value x = graph_input(g, "x", X, DTYPE_F32), y = graph_input(g, "y", X, DTYPE_F32),
              dy = graph_input(g, "dy", X, DTYPE_F32), one = graph_input(g, "one", SHAPE1(1), DTYPE_F32),
              weights = graph_input(g, "weights", SHAPE1(s[0]), DTYPE_F32),
              slope = graph_parameter(a, "slope", SHAPE1(s[3]), ROLE_WEIGHT);
        for (int k = 0; k < ACTIVATION_COUNT; k++)
            check_mixed(g,
                        op_activation_backward(
                            a, x, dy, &(activation_attributes){.kind = (activation_kind)k, .slope = 0.1f}),
                        activation_name((activation_kind)k), &vector);
        check_mixed(g, op_prelu_backward_data(a, x, slope, dy), "prelu by data", &vector);
        check_mixed(g, op_prelu_backward_slope(a, x, dy, SHAPE1(s[3])), "prelu by slope", &vector_sum);
        check_mixed(g, op_clamp_backward(a, x, dy, &(clamp_attributes){-0.5f, 0.25f}), "clamp", &vector);
        check_mixed(g, op_geglu_backward(a, x, graph_input(g, "half", half, DTYPE_F32)), "geglu", &vector);
        check_mixed(g, op_exp(a, x), "exp", &vector);
        check_mixed(g, op_fill(a, X, 0.3f), "fill", &vector);
        check_mixed(g, op_mean_backward(a, one, X), "mean backward", &vector);
        check_mixed(g, op_mean_squared_error_backward(a, x, y, weights, one), "squared error, weighted",
                    &vector);
        check_mixed(g, op_mean_squared_error_backward(a, x, y, NO_VALUE, one), "squared error", &vector);
        check_mixed(g, op_mean_absolute_error_backward(a, x, y, one), "absolute error", &vector);
        graph_free(g);
    }
}

static void test_sums(void **state)
{
    (void)state;
    static const int shapes[][3] = {{1, 1, 1},      {2, 7, 3},    {3, 1000, 64},
                                    {2, 4096, 320}, {1, 5, 3000}, {32, 256, 4}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        WITH_GRAPH(g, a);
        const int *s = shapes[i];
        shape X = SHAPE3(s[0], s[1], s[2]);
        value x = graph_input(g, "x", X, DTYPE_F32), y = graph_input(g, "y", X, DTYPE_F32),
              weights = graph_input(g, "weights", SHAPE1(s[0]), DTYPE_F32);
        const check_options sample_sum = {.f32 = 4e-6, .bf16 = 4.2e-3};
        check_mixed(g, op_sum_rows(a, x), "sum_rows", &vector_sum);
        check_mixed(g, op_sum_positions(a, x), "sum_positions", &sample_sum);
        check_mixed(g, op_mean(a, x), "mean",
                    &(check_options){.f32 = 1e-4, .bf16 = 1e-4, .f32_result = true});
        check_mixed(g, op_mean_squared_error(a, x, y, weights), "squared error, weighted", &vector_sum);
        check_mixed(g, op_mean_squared_error(a, x, y, NO_VALUE), "squared error", &vector_sum);
        check_mixed(g, op_mean_absolute_error(a, x, y), "absolute error", &vector_sum);
        graph_free(g);
    }
}

static const check_options norm_by_data = {.f32 = 4e-6, .bf16 = 4.2e-3},
                           norm_sums = {.f32 = 8e-6, .bf16 = 8e-6, .f32_result = true};

/* Statistics and sums are f32 in every plan. With an activation, whose derivative is rough in bf16, as plans fuse it. */
static void check_group_norm(graph *g, value x, value w, value dy, const norm_attributes *p, const char *name)
{
    static const activation_kind kinds[] = {ACTIVATION_NONE, ACTIVATION_SILU, ACTIVATION_GELU};
    at a = graph_root(g);
    shape X = value_shape(a, x), W = value_shape(a, w);
    value statistics = graph_input(g, "statistics", SHAPE3(X.dim[0], p->groups, 2), DTYPE_F32),
          sums = graph_input(g, "sums", SHAPE3(X.dim[0], 2, X.dim[2]), DTYPE_F32),
          added = graph_input(g, "added", X, DTYPE_F32), bias = graph_parameter(a, "bias", W, ROLE_NORM);
    const group_norm_values v = {x, w, bias, dy, statistics};
    const check_options measured = {.f32 = 2e-6, .bf16 = 2e-6, .f32_result = true},
                        shares = {.f32 = 2e-6, .bf16 = 2e-6, .f32_result = true, .f32_inputs = 1};
    check_mixed(g, op_group_norm_statistics(a, x, p), name, &measured);
    check_with(g, op_group_norm_backward_share(a, sums, 0, W), "    by bias", &shares);
    check_with(g, op_group_norm_backward_share(a, sums, 1, W), "    by weight", &shares);
    for (int i = 0; i < 3; i++) {
        norm_attributes kept = *p;
        kept.activation = kinds[i];
        check_options of_sums = norm_sums, of_data = norm_by_data;
        of_sums.f32_inputs = of_data.f32_inputs = 1u << 4 | 1u << 5;
        if (i)
            of_sums.bf16 = 2e-4;
        check_mixed(g, op_group_norm_backward_sums(a, &v, &kept), "    sums", &of_sums);
        value dx = op_group_norm_backward_data(a, &v, sums, &kept);
        check_mixed(g, dx, "    by data", &of_data);
        node *n = &g->nodes[dx.index];
        n->input[6] = added;
        n->input_count = 7;
        forget_reference();
        check_mixed(g, dx, "    by data, added", &of_data);
    }
}

static void test_norms(void **state)
{
    (void)state;
    static const int cases[][4] = {{1, 1, 4, 1},      {2, 4096, 320, 32}, {2, 50, 6, 3},
                                   {1, 257, 128, 32}, {2, 64, 2560, 32},  {3, 7, 30, 30},
                                   {32, 256, 64, 32}, {1, 1, 8, 0},       {2, 77, 768, 0},
                                   {2, 100, 320, 0},  {1, 5, 33, 0},      {4, 256, 96, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        WITH_GRAPH(g, a);
        int C = cases[i][2], groups = cases[i][3];
        shape X = SHAPE3(cases[i][0], cases[i][1], C);
        value x = graph_input(g, "x", X, DTYPE_F32), dy = graph_input(g, "dy", X, DTYPE_F32),
              w = graph_parameter(a, "w", SHAPE1(C), ROLE_NORM);
        const norm_attributes p = {.groups = groups ? groups : 1, .epsilon = 1e-5f};
        char name[100];
        snprintf(name, sizeof name, "%s %d: [%d,%d,%d]", groups ? "group_norm" : "layer_norm", (int)i,
                 cases[i][0], cases[i][1], C);
        if (groups)
            check_group_norm(g, x, w, dy, &p, name);
        else {
            check_mixed(g, op_layer_norm_backward_data(a, x, w, dy, &p), name, &norm_by_data);
            check_mixed(g, op_layer_norm_backward_weight(a, x, dy, SHAPE1(C), &p), "    by weight",
                        &norm_sums);
        }
        graph_free(g);
    }
}

static void test_layout(void **state)
{
    (void)state;
    static const int shapes[][4] = {{1, 1, 1, 2}, {2, 3, 5, 6}, {1, 33, 17, 64}, {2, 2, 9, 3000}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        WITH_GRAPH(g, a);
        const int *s = shapes[i];
        shape X = SHAPE4(s[0], s[1], s[2], s[3]);
        value dy = graph_input(g, "dy", X, DTYPE_F32);
        for (int axis = 0; axis < 4; axis++)
            for (int start = 0; start < 3; start += 2) {
                shape whole = X;
                whole.dim[axis] += 2;
                slice_attributes p = {.axis = axis, .start = start};
                check_with(g, op_slice_backward(a, dy, whole, &p), "slice", &vector);
            }
        for (int f = 1; f <= 3; f++) {
            shape large = SHAPE4(s[0], s[1] * f, s[2] * f, s[3]);
            value d = graph_input(g, "d", large, DTYPE_F32);
            check_mixed(g, op_upsample_backward(a, d, f), "upsample", &vector);
        }
        value ids = graph_input(g, "ids", SHAPE2(s[0] * s[1], s[2]), DTYPE_I32),
              rows = op_reshape(a, dy, SHAPE3(s[0] * s[1], s[2], s[3])),
              index = graph_input(g, "index", SHAPE1(s[0]), DTYPE_I32),
              one = graph_input(g, "one", SHAPE2(s[0], s[3]), DTYPE_F32);
        check_with(g, op_embedding_backward(a, ids, rows, 8), "embedding", &vector_sum);
        check_with(g, op_gather_tokens_backward(a, index, one, 5), "gather_tokens", &vector);
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
        {1, 1, 1, 1, 4, 4, false},       {2, 5, 7, 2, 4, 4, false},        {1, 64, 64, 8, 40, 40, false},
        {2, 100, 77, 8, 40, 40, false},  {1, 77, 77, 12, 64, 64, true},    {1, 130, 257, 2, 80, 80, false},
        {2, 64, 64, 8, 160, 160, false}, {1, 70, 150, 1, 512, 512, false}, {1, 33, 65, 3, 6, 10, false},
        {1, 500, 500, 2, 64, 64, true},  {2, 256, 77, 8, 16, 16, false},   {1, 17, 300, 1, 33, 65, false},
        {1, 515, 333, 1, 40, 40, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        WITH_GRAPH(g, a);
        shape Q = SHAPE3(cases[i].n, cases[i].t, cases[i].heads * cases[i].d),
              K = SHAPE3(cases[i].n, cases[i].s, cases[i].heads * cases[i].d),
              V = SHAPE3(cases[i].n, cases[i].s, cases[i].heads * cases[i].e),
              Y = SHAPE3(cases[i].n, cases[i].t, cases[i].heads * cases[i].e);
        value q = graph_input(g, "q", Q, DTYPE_F32), k = graph_input(g, "k", K, DTYPE_F32),
              v = graph_input(g, "v", V, DTYPE_F32), y = graph_input(g, "y", Y, DTYPE_F32),
              dy = graph_input(g, "dy", Y, DTYPE_F32);
        for (int wanted = 7; wanted > 0; wanted -= i < 4 ? 1 : 7) {
            const attention_backward_attributes p = {.heads = cases[i].heads,
                                                     .causal = cases[i].causal,
                                                     .wanted = {wanted & 1, wanted & 2, wanted & 4}};
            char name[100];
            snprintf(name, sizeof name, "attention %d (%d): %d x %d heads, %d x %d, %d", (int)i, wanted,
                     cases[i].n, cases[i].heads, cases[i].t, cases[i].s, cases[i].d);
            /* In bf16 probabilities and their gradients are rounded on their way into sums. */
            const check_options o = {.f32 = 5e-6, .bf16 = 8e-3}, mixed = with_f32_inputs(o, 1u << (i % 5));
            value dx = op_attention_backward(a, q, k, v, y, dy, &p);
            check_with(g, dx, name, &o);
            if (wanted == 7)
                check_with(g, dx, "    an input in f32", &mixed);
        }
        graph_free(g);
    }
}

/* What the softmax of each query divides by, as a power of two: what the pass forward notes down. */
static float *levels_of(const attention_backward_shape *s, const float *q, const float *k)
{
    float *level = aligned((size_t)s->queries * sizeof *level, 0xFF);
    for (int64_t t = 0; t < s->queries; t++) {
        double sum = 0;
        for (int64_t j = 0; j < s->keys && (!s->causal || j <= t); j++) {
            double score = 0;
            for (int64_t d = 0; d < s->key_width; d++)
                score += (double)q[t * s->key_width + d] * (double)k[j * s->key_width + d];
            sum += exp(score * (double)s->scale);
        }
        level[t] = (float)log2(sum);
    }
    return level;
}

/* With and without levels that are known. */
static void run_method(const attention_backward_method *method, const attention_backward_shape *s,
                       attention_backward_task *task, const data *d, const float *output)
{
    int64_t count = s->queries * s->key_width + s->keys * (s->key_width + s->value_width);
    float *levels = levels_of(s, d->plain[0], d->plain[1]);
    for (int known = 0; known <= method->takes_levels; known++) {
        task->levels = known ? levels : NULL;
        method->run(s, task);
        double error = compare(output, DTYPE_F32, d->reference, count);
        print_message("%-32s %d x %d, %d, %d%s: error %.2e\n", method->label, (int)s->queries, (int)s->keys,
                      (int)s->key_width, (int)s->value_width, known ? ", levels known" : "", error);
        assert_true(error <= (s->input_type[0] == DTYPE_BF16 ? 8e-3 : 5e-6));
    }
    free(levels);
}

/* Every method that this processor can run, also those that it would not choose: one head, all gradients. */
static void test_attention_methods(void **state)
{
    (void)state;
    cpu_features features = cpu_features_detect();
    const struct {
        const attention_backward_method *method;
        bool here, bf16;
    } methods[] = {{&attention_backward_f32, true, false},
                   {&attention_backward_bf16, features.avx512_bf16, true},
                   {&attention_backward_amx, features.amx_bf16, true}};
    static const int cases[][4] = {{1, 1, 8, 8}, {45, 70, 40, 24}, {130, 100, 64, 64}, {33, 257, 6, 90}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t m = 0; m < sizeof methods / sizeof *methods; m++) {
            int T = cases[i][0], S = cases[i][1], D = cases[i][2], E = cases[i][3];
            if (!methods[m].here)
                continue;
            WITH_GRAPH(g, a);
            value in[5] = {graph_input(g, "q", SHAPE3(1, T, D), DTYPE_F32),
                           graph_input(g, "k", SHAPE3(1, S, D), DTYPE_F32),
                           graph_input(g, "v", SHAPE3(1, S, E), DTYPE_F32),
                           graph_input(g, "y", SHAPE3(1, T, E), DTYPE_F32),
                           graph_input(g, "dy", SHAPE3(1, T, E), DTYPE_F32)};
            const attention_backward_attributes p = {
                .heads = 1, .causal = i == 2, .wanted = {true, true, true}};
            value dx = op_attention_backward(a, in[0], in[1], in[2], in[3], in[4], &p);
            const node *n = graph_node(g, dx);
            dtype type = methods[m].bf16 ? DTYPE_BF16 : DTYPE_F32;
            kernel_request r = {.graph = g, .node = n, .compute = type, .output_type = DTYPE_F32};
            data d = {0};
            make_data(g, n, &(check_options){0}, &r, &d);
            attention_backward_shape head = {.samples = 1,
                                             .queries = T,
                                             .keys = S,
                                             .heads = 1,
                                             .key_width = D,
                                             .value_width = E,
                                             .causal = p.causal,
                                             .scale = 1 / sqrtf((float)D),
                                             .output_type = DTYPE_F32};
            for (int k = 0; k < 5; k++)
                head.input_type[k] = type;
            float *output = aligned((size_t)shape_count(n->shape) * sizeof(float), 0xFF);
            attention_backward_task task = {.output = {output, output + T * D, output + T * D + S * D},
                                            .key_stride = D,
                                            .value_stride = E,
                                            .work = aligned(methods[m].method->work_bytes(&head), 0xFF)};
            for (int k = 0; k < 5; k++)
                task.input[k] = d.stored[k];
            run_method(methods[m].method, &head, &task, &d, output);
            free(output), free(task.work), free(d.reference);
            for (int k = 0; k < 5; k++)
                free(d.plain[k]), free(d.stored[k]);
            graph_free(g);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_attention),   cmocka_unit_test(test_attention_methods),
        cmocka_unit_test(test_elementwise), cmocka_unit_test(test_sums),
        cmocka_unit_test(test_norms),       cmocka_unit_test(test_layout),
        cmocka_unit_test(test_linear),      cmocka_unit_test(test_conv2d),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
