/* floors: base tensor formats graph ops backend plan nn model text weights
 *
 * test_lora_draw.c - LoRA and its family in the graph: the changed weights and the gradients of all factors against torch
 * (tests/tools/make_lora_samples.py), and a UNet with LoRA on its attention against the reference in golden/grads. */
#include "weights/lora_draw.h"

#include "model/unet.h"
#include "ops/gradient.h"
#include "ops/ops.h"
#include "plan/plan.h"

#include "reference_tensors.h"

#include <unistd.h>

#define DATA TEST_DATA "/lora/"
#define GOLDEN TEST_SHARED "/golden/"

static const plan_options options = {
    .backend = &backend_cpu, .compute = DTYPE_F32, .threads = 2, .fuse = true};

static value output_named(const graph *g, const char *name)
{
    for (int i = 0; i < g->output_count; i++)
        if (strcmp(g->outputs[i].name, name) == 0)
            return g->outputs[i].value;
    return NO_VALUE;
}

/* Outputs "loss" and "grad.<parameter>" of every factor. */
static void draw_gradients(graph *g, value loss)
{
    value wanted[600], gradients[600];
    int which[600], count = 0;
    graph_output(g, "loss", loss);
    for (int i = 0; i < g->parameter_count; i++)
        if (strstr(g->parameters[i].canonical, "lora_") || strstr(g->parameters[i].canonical, "hada_") ||
            strstr(g->parameters[i].canonical, "lokr_") || strstr(g->parameters[i].canonical, "dora_")) {
            assert_true(count < 600);
            which[count] = i;
            wanted[count++] = g->parameters[i].value;
        }
    kiln_error err = {0};
    if (graph_gradient(g, loss, wanted, count, gradients, &err) != KILN_OK)
        fail_msg("%s", err.text);
    for (int i = 0; i < count; i++) {
        char name[400];
        snprintf(name, sizeof name, "grad.%s", g->parameters[which[i]].canonical);
        graph_output(g, name, gradients[i]);
    }
}

typedef struct running {
    packed_store *store;
    plan *plan;
    run *run;
} running;

static running start(const graph *g, parameter_source source)
{
    running r = {.store = packed_store_new(source)};
    kiln_error err = {0};
    assert_non_null(r.store);
    if (plan_compile(g, &options, r.store, &r.plan, &err) != KILN_OK ||
        run_new(r.plan, &r.run, &err) != KILN_OK)
        fail_msg("%s", err.text);
    return r;
}

static void go(const running *r)
{
    kiln_error err = {0};
    if (plan_run(r->plan, r->run, NULL, NULL, NULL, &err) != KILN_OK)
        fail_msg("%s", err.text);
}

static void stop(running *r)
{
    run_free(r->run);
    plan_free(r->plan);
    packed_store_free(r->store);
}

/* ------------------------------------------------------------------------------------ every kind */

static kiln_status read_base(void *self, const parameter *p, int index, float *to, kiln_error *err)
{
    (void)index;
    (void)err;
    float *values = reference_floats(self, strstr(p->canonical, "conv1") ? "base.conv" : "base.linear", NULL);
    memcpy(to, values, (size_t)shape_count(p->shape) * sizeof *to);
    free(values);
    return KILN_OK;
}

static value draw_weight(graph *g, const lora_form *form, const char *name, const char *output, shape s)
{
    at a = same(graph_root(g), name);
    value weight = lora_draw(form, a, graph_parameter(a, "weight", s, ROLE_WEIGHT));
    graph_output(g, output, weight);
    value weighting = graph_input(g, strcmp(output, "conv") == 0 ? "by_conv" : "by_linear", s, DTYPE_F32);
    return op_scale(a, op_mean(a, op_multiply(a, weight, weighting)), (float)shape_count(s), 0);
}

static void compare(const running *r, const char *output, const tensor_file *file, const char *tensor)
{
    shape s;
    float *want = reference_floats(file, tensor, &s);
    const float *found = run_output(r->run, output);
    if (!found)
        fail_msg("there is no output %s", output);
    double error = reference_error(found, want, shape_count(s));
    if (!(error < 2e-5))
        fail_msg("%s: off by %g", tensor, error);
    free(want);
}

static void compare_factors(const running *r, const graph *g, const tensor_file *file, const char *name)
{
    int compared = 0;
    for (int i = 0; i < g->output_count; i++) {
        char tensor[512], flat[400];
        if (strncmp(g->outputs[i].name, "grad.", 5) != 0)
            continue;
        /* Of the places' names the dots are '_' in files; those of the leaf stay. */
        const char *canonical = g->outputs[i].name + 5;
        bool conv = strstr(canonical, "conv1") != NULL;
        const char *leaf = strstr(canonical, conv ? "conv1." : "to_out.0.") + (conv ? 6 : 9);
        snprintf(flat, sizeof flat, "%.*s", (int)(leaf - canonical - 1), canonical);
        for (char *c = flat; *c; c++)
            *c = *c == '.' ? '_' : *c;
        snprintf(tensor, sizeof tensor, "%s.grad.lora_unet_%s.%s", name, flat, leaf);
        compare(r, g->outputs[i].name, file, tensor);
        compared++;
    }
    assert_true(compared >= 4);
}

static void fill_weight(const running *r, const char *input, const tensor_file *file, const char *tensor)
{
    shape s;
    float *values = reference_floats(file, tensor, &s);
    memcpy(run_input(r->run, input), values, (size_t)shape_count(s) * sizeof *values);
    free(values);
}

static void weights_and_gradients_as_torch_has_them(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        lora_form linear, conv;
    } cases[] = {
        {"kohya",
         {.kind = LORA_LOW_RANK, .rank = 3, .scale = 1},
         {.kind = LORA_LOW_RANK, .rank = 2, .scale = 1}},
        {"loha",
         {.kind = LORA_HADAMARD, .rank = 2, .scale = 1},
         {.kind = LORA_HADAMARD, .rank = 2, .scale = 1}},
        {"lokr",
         {.kind = LORA_KRONECKER, .rank = 2, .scale = 1, .factor = 3},
         {.kind = LORA_KRONECKER, .rank = 2, .scale = 1, .factor = 3}},
        {"lokr_whole",
         {.kind = LORA_KRONECKER, .rank = 1, .scale = 1, .factor = 3, .whole = true},
         {.kind = LORA_KRONECKER, .rank = 1, .scale = 1, .factor = 3, .whole = true}},
        {"dora",
         {.kind = LORA_LOW_RANK, .rank = 3, .scale = 1, .magnitude = true},
         {.kind = LORA_LOW_RANK, .rank = 2, .scale = 1, .magnitude = true}},
    };
    tensor_file *base = NULL, *expected = NULL;
    kiln_error err = {0};
    assert_int_equal(tensor_file_open(DATA "expected.safetensors", &base, &err), KILN_OK);
    assert_int_equal(tensor_file_open(DATA "gradients.safetensors", &expected, &err), KILN_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[256], tensor[96];
        graph *g = graph_new();
        lora_factors factors = {.network = LORA_UNET, .base = {.read = read_base, .self = base}};
        snprintf(path, sizeof path, DATA "taught_%s.safetensors", cases[i].name);
        lora *file;
        if (lora_open(path, &file, &err) != KILN_OK)
            fail_msg("%s", err.text);
        factors.file = file;
        value first =
            draw_weight(g, &cases[i].linear, "mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0",
                        "linear", SHAPE2(12, 8));
        value second =
            draw_weight(g, &cases[i].conv, "mid_block.resnets.0.conv1", "conv", SHAPE4(6, 4, 3, 3));
        draw_gradients(g, op_add(graph_root(g), first, second));
        running r = start(g, lora_factor_source(&factors));
        fill_weight(&r, "by_linear", expected, "weighting.linear");
        fill_weight(&r, "by_conv", expected, "weighting.conv");
        go(&r);
        snprintf(tensor, sizeof tensor, "%s.linear", cases[i].name);
        compare(&r, "linear", expected, tensor);
        snprintf(tensor, sizeof tensor, "%s.conv", cases[i].name);
        compare(&r, "conv", expected, tensor);
        compare_factors(&r, g, expected, cases[i].name);
        stop(&r);
        graph_free(g);
        lora_close(file);
    }
    tensor_file_close(base);
    tensor_file_close(expected);
}

/* ------------------------------------------------------------------------------------ a UNet */

static value on_attention(void *self, at a, value weight)
{
    return strstr(a.canonical, ".attn1.") || strstr(a.canonical, ".attn2.") ? lora_draw(self, a, weight)
                                                                            : weight;
}

static value beside_attention(void *self, at a, value x, value weight, const conv2d_attributes *window,
                              value result)
{
    return strstr(a.canonical, ".attn1.") || strstr(a.canonical, ".attn2.")
               ? lora_branch(self, a, x, weight, window, result)
               : result;
}

static graph *unet_with_lora(const unet_config *config, const graph_hooks *hooks)
{
    graph *g = graph_new();
    assert_non_null(g);
    g->hooks = hooks;
    unet_draw(g, config, &(unet_shape){.batch = 2, .height = 16, .width = 16, .context_tokens = 77});
    value out = output_named(g, "out"),
          target = graph_input(g, "target", value_shape(graph_root(g), out), DTYPE_F32);
    draw_gradients(g, op_mean_squared_error(graph_root(g), out, target, NO_VALUE));
    kiln_error err = {0};
    if (graph_finish(g, &err) != KILN_OK)
        fail_msg("%s", err.text);
    return g;
}

static void fill(const running *r, const char *input, const tensor_file *file, const char *tensor)
{
    shape s;
    float *values = reference_floats(file, tensor, &s);
    if (s.rank == 4)
        reference_channels_last(&values, s);
    memcpy(run_input(r->run, input), values, (size_t)shape_count(s) * sizeof *values);
    free(values);
}

static int compare_golden(const running *r, const graph *g, const tensor_file *golden)
{
    int compared = 0;
    for (int i = 0; i < g->output_count; i++) {
        char tensor[512];
        const char *name = g->outputs[i].name, *leaf = strstr(name, ".lora_");
        if (!leaf)
            continue;
        snprintf(tensor, sizeof tensor, "lora.grad_%s.%.*s", strstr(leaf, "down") ? "down" : "up",
                 (int)(leaf - name - 5), name + 5);
        if (!tensor_file_find(golden, tensor))
            continue;
        compare(r, name, golden, tensor);
        compared++;
    }
    return compared;
}

static void read_config(unet_config *out)
{
    static char json[1 << 15];
    kiln_error err = {0};
    FILE *f = fopen(GOLDEN "models/sd1-tiny/unet/config.json", "rb");
    assert_non_null(f);
    size_t length = fread(json, 1, sizeof json, f);
    fclose(f);
    assert_int_equal(unet_config_parse(json, length, "config.json", out, &err), KILN_OK);
}

static kiln_status read_by_name(void *self, const parameter *p, int index, float *to, kiln_error *err)
{
    (void)index;
    const tensor_entry *e = tensor_file_find(self, p->canonical);
    assert_non_null(e);
    return tensor_file_read_f32(self, e, 0, shape_count(p->shape), to, err);
}

static void check_unet(bool beside)
{
    if (access(GOLDEN, R_OK) != 0) {
        print_message("the reference is not here\n");
        skip();
    }
    tensor_file *unet = NULL, *inputs = NULL, *golden = NULL;
    lora *file;
    kiln_error err = {0};
    unet_config config;
    read_config(&config);
    assert_int_equal(tensor_file_open(GOLDEN "models/sd1-tiny/unet", &unet, &err), KILN_OK);
    assert_int_equal(tensor_file_open(GOLDEN "grads/unet.safetensors", &inputs, &err), KILN_OK);
    assert_int_equal(tensor_file_open(GOLDEN "grads/tuning.safetensors", &golden, &err), KILN_OK);
    assert_int_equal(lora_open(GOLDEN "grads/lora_kohya.safetensors", &file, &err), KILN_OK);
    lora_form form = {.kind = LORA_LOW_RANK, .rank = 4, .scale = 0.5f};
    graph_hooks hooks = {
        .self = &form, .weight = beside ? NULL : on_attention, .result = beside ? beside_attention : NULL};
    graph *g = unet_with_lora(&config, &hooks);
    lora_factors factors = {file, LORA_UNET, {.read = read_by_name, .self = unet}};
    running r = start(g, lora_factor_source(&factors));
    fill(&r, "sample", inputs, "xt");
    fill(&r, "timestep", inputs, "t");
    fill(&r, "encoder_hidden_states", inputs, "ctx");
    fill(&r, "target", inputs, "noise");
    go(&r);
    shape s;
    float *want = reference_floats(golden, "lora.pred", &s);
    reference_channels_last(&want, s);
    double error = reference_error(run_output(r.run, "out"), want, shape_count(s));
    print_message("the UNet's answer is off by %g\n", error);
    assert_true(error < 2e-5);
    free(want);
    compare(&r, "loss", golden, "lora.loss");
    assert_int_equal(compare_golden(&r, g, golden), 12);
    stop(&r);
    graph_free(g);
    lora_close(file);
    tensor_file_close(unet);
    tensor_file_close(inputs);
    tensor_file_close(golden);
}

static void a_unet_as_the_reference_has_it(void **state)
{
    (void)state;
    check_unet(false);
    check_unet(true);
}

/* A branch beside a convolution of every kind gives what the changed weight gives: factors, input and gradients alike. */
static value changed_or_beside(graph *g, const lora_form *form, bool beside, int stride, int upsample)
{
    at a = same(graph_root(g), beside ? "beside" : "changed");
    const conv2d_attributes window = {
        .stride = stride, .upsample = upsample, .pad_top = 1, .pad_bottom = 1, .pad_left = 1, .pad_right = 1};
    value x = graph_input(g, beside ? "x" : "x2", SHAPE4(2, 6, 4, 5), DTYPE_F32),
          weight = graph_parameter(a, "weight", SHAPE4(7, 5, 3, 3), ROLE_WEIGHT);
    value y = op_conv2d(a, x, beside ? weight : lora_draw(form, a, weight), NO_VALUE, &window);
    y = beside ? lora_branch(form, a, x, weight, &window, y) : y;
    graph_output(g, beside ? "beside" : "changed", y);
    return op_mean(a, op_multiply(a, y, y));
}

static kiln_status read_waves(void *self, const parameter *p, int index, float *to, kiln_error *err)
{
    (void)self;
    (void)index;
    (void)err;
    double first = strstr(p->canonical, "up") ? 1 : strstr(p->canonical, "down") ? 2 : 3;
    for (int64_t i = 0; i < shape_count(p->shape); i++)
        to[i] = (float)sin(first * (double)(i + 1));
    return KILN_OK;
}

static void a_branch_is_the_changed_weight(void **state)
{
    (void)state;
    static const int ways[][2] = {{1, 1}, {2, 1}, {1, 2}};
    const lora_form form = {.kind = LORA_LOW_RANK, .rank = 2, .scale = 0.7f};
    for (int i = 0; i < 3; i++) {
        graph *g = graph_new();
        value first = changed_or_beside(g, &form, false, ways[i][0], ways[i][1]);
        value second = changed_or_beside(g, &form, true, ways[i][0], ways[i][1]);
        draw_gradients(g, op_add(graph_root(g), first, second));
        running r = start(g, (parameter_source){.read = read_waves});
        float *x = run_input(r.run, "x"), *x2 = run_input(r.run, "x2");
        for (int k = 0; k < 2 * 6 * 4 * 5; k++)
            x[k] = x2[k] = (float)sin(0.37 * k);
        go(&r);
        static const char *const pairs[][2] = {
            {"changed", "beside"},
            {"grad.changed.lora_down.weight", "grad.beside.lora_down.weight"},
            {"grad.changed.lora_up.weight", "grad.beside.lora_up.weight"}};
        for (int k = 0; k < 3; k++) {
            int64_t count = 0;
            for (int o = 0; o < g->output_count; o++)
                if (strcmp(g->outputs[o].name, pairs[k][0]) == 0)
                    count = shape_count(graph_node(g, g->outputs[o].value)->shape);
            double error =
                reference_error(run_output(r.run, pairs[k][1]), run_output(r.run, pairs[k][0]), count);
            if (!(error < 1e-5))
                fail_msg("%s, stride %d, upsample %d: off by %g", pairs[k][1], ways[i][0], ways[i][1], error);
        }
        stop(&r);
        graph_free(g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_and_gradients_as_torch_has_them),
        cmocka_unit_test(a_unet_as_the_reference_has_it),
        cmocka_unit_test(a_branch_is_the_changed_weight),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
