/* test_cpu_backward.c - every fast kernel of the reverse pass against the reference of its op, over awkward shapes,
 * with frozen and with live weights, in f32 and bf16 and mixtures; and the same bytes again with the same number of
 * threads (with any number, but for the gradients by weights that oneDNN sums).
 * floors: base tensor graph ops backend */
#include "ops/backward.h"
#include "unit/kernel_check.h"

/* Products: as forward. Sums of products in f32 whose inputs are bf16 are good to f32's own error. */
static const check_options product = {.f32 = 1e-5, .bf16 = 4.2e-3};
static const check_options weights_product = {
    .f32 = 1e-5, .bf16 = 1e-5, .f32_result = true, .threads_may_show = true};

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linear),
        cmocka_unit_test(test_conv2d),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
