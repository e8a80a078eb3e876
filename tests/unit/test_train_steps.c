/* floors: base tensor formats graph ops backend plan nn model weights train */
/* test_train_steps.c - whole steps on a small UNet, gradients and optimizer together, against torch: AdamW
 * after one and three steps, AdamW with clipping, SGD with momentum. */
#include "backend/backend.h"
#include "formats/tensor_file.h"
#include "model/unet.h"
#include "ops/gradient.h"
#include "ops/ops.h"
#include "plan/plan.h"
#include "train/optimizer.h"
#include "weights/binding.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#define MODEL TEST_SHARED "/golden/models/sd1-tiny/unet"
#define GOLDEN TEST_SHARED "/golden/grads/unet.safetensors"

#define ok(call)                                                                                             \
    do {                                                                                                     \
        kiln_error err_ = {KILN_OK, ""}, *err = &err_;                                                       \
        if ((call) != KILN_OK)                                                                               \
            fail_msg("%s: %s", #call, err_.text);                                                            \
    } while (0)

/* Of the root-mean-square of the weights; and, for one weight alone. Adam divides each gradient by its own
 * size: where that is nearly 0, rounding in the gradient shows in the weight, up to a hundredth of a step's
 * length (0.001). */
#define LIMIT 1e-6
#define ONE_WEIGHT 1e-5

typedef struct network {
    graph *graph;
    tensor_file *file, *golden;
    weights *weights;
    packed_store *store;
    plan *plan;
    run *run;
    int count;
    float **values;
    const float **gradients;
    int64_t *counts;
    optimizer_parameter *parameters;
    char (*outputs)[16];
} network;

static value named(const named_value *list, int count, const char *name)
{
    for (int i = 0; i < count; i++)
        if (!strcmp(list[i].name, name))
            return list[i].value;
    fail_msg("no value %s", name);
    return NO_VALUE;
}

static void draw(network *n)
{
    static char json[1 << 15];
    unet_config config;
    FILE *file = fopen(MODEL "/config.json", "rb");
    assert_non_null(file);
    size_t size = fread(json, 1, sizeof json, file);
    fclose(file);
    ok(unet_config_parse(json, size, "config.json", &config, err));
    graph *g = n->graph = graph_new();
    unet_draw(g, &config, &(unet_shape){.batch = 2, .height = 16, .width = 16, .context_tokens = 77});
    value out = named(g->outputs, g->output_count, "out");
    value target = graph_input(g, "target", value_shape(graph_root(g), out), DTYPE_F32);
    value by_sample = graph_input(g, "weights", SHAPE1(2), DTYPE_F32);
    value loss = op_mean_squared_error(graph_root(g), out, target, by_sample);
    n->count = g->parameter_count;
    value *wanted = calloc(2 * (size_t)n->count, sizeof *wanted), *gradients = wanted + n->count;
    n->outputs = calloc((size_t)n->count, sizeof *n->outputs);
    for (int i = 0; i < n->count; i++)
        wanted[i] = g->parameters[i].value;
    ok(graph_gradient(g, loss, wanted, n->count, gradients, err));
    for (int i = 0; i < n->count; i++) {
        snprintf(n->outputs[i], sizeof n->outputs[i], "g%d", i);
        graph_output(g, n->outputs[i], gradients[i]);
    }
    free(wanted);
    ok(graph_finish(g, err));
}

static float *tensor(const tensor_file *file, const char *name, size_t *count)
{
    const tensor_entry *entry = tensor_file_find(file, name);
    if (!entry)
        fail_msg("no tensor %s", name);
    *count = (size_t)shape_count(entry->shape);
    float *values = malloc(*count * sizeof *values);
    ok(tensor_file_read_f32(file, entry, 0, (int64_t)*count, values, err));
    return values;
}

/* From torch's [N,C,H,W] where there are four dimensions. */
static void fill_input(network *n, const char *input, const char *name)
{
    size_t count;
    float *from = tensor(n->golden, name, &count), *to = run_input(n->run, input);
    shape s = graph_node(n->graph, named(n->graph->inputs, n->graph->input_count, input))->shape;
    assert_int_equal(shape_count(s), count);
    size_t area = s.rank == 4 ? (size_t)(s.dim[1] * s.dim[2]) : 1,
           channels = s.rank == 4 ? (size_t)s.dim[3] : 1;
    for (size_t i = 0; i < count; i++)
        to[i] = from[(i / (area * channels) * channels + i % channels) * area + i / channels % area];
    free(from);
}

static void open_network(network *n)
{
    *n = (network){0};
    draw(n);
    ok(tensor_file_open(GOLDEN, &n->golden, err));
    ok(tensor_file_open(MODEL, &n->file, err));
    ok(weights_bind(n->graph, &(weights_place){n->file, "", DIALECT_CANONICAL}, 1, &n->weights, err));
    n->store = packed_store_new(weights_source(n->weights));
    bool *live = malloc((size_t)n->count * sizeof *live);
    memset(live, 1, (size_t)n->count * sizeof *live);
    plan_options options = {.backend = &backend_reference, .compute = DTYPE_F32, .threads = 2, .live = live};
    ok(plan_compile(n->graph, &options, n->store, &n->plan, err));
    ok(run_new(n->plan, &n->run, err));
    free(live);
    n->values = calloc((size_t)n->count, sizeof *n->values);
    n->gradients = calloc((size_t)n->count, sizeof *n->gradients);
    n->counts = calloc((size_t)n->count, sizeof *n->counts);
    n->parameters = calloc((size_t)n->count, sizeof *n->parameters);
    parameter_source source = weights_source(n->weights);
    for (int i = 0; i < n->count; i++) {
        const parameter *p = &n->graph->parameters[i];
        n->counts[i] = shape_count(p->shape);
        n->values[i] = malloc((size_t)n->counts[i] * sizeof **n->values);
        ok(source.read(source.self, p, i, n->values[i], err));
        run_parameter(n->run, i, n->values[i]);
        n->gradients[i] = run_output(n->run, n->outputs[i]);
        n->parameters[i] = (optimizer_parameter){p->canonical, n->values[i], p->shape, true, 1};
    }
    fill_input(n, "sample", "xt");
    fill_input(n, "timestep", "t");
    fill_input(n, "encoder_hidden_states", "ctx");
    fill_input(n, "target", "noise");
    float *by_sample = run_input(n->run, "weights");
    by_sample[0] = by_sample[1] = 1;
}

static void close_network(network *n)
{
    run_free(n->run);
    plan_free(n->plan);
    packed_store_free(n->store);
    weights_free(n->weights);
    tensor_file_close(n->file);
    tensor_file_close(n->golden);
    graph_free(n->graph);
    for (int i = 0; i < n->count; i++)
        free(n->values[i]);
    free(n->values);
    free(n->gradients);
    free(n->counts);
    free(n->parameters);
    free(n->outputs);
}

static void compare(network *n, const char *prefix)
{
    static const char *const names[] = {"conv_in.weight", "conv_out.bias",
                                        "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight",
                                        "down_blocks.0.resnets.0.norm1.weight",
                                        "time_embedding.linear_1.weight"};
    double worst = 0, one = 0;
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        char name[200];
        size_t count;
        snprintf(name, sizeof name, "%s.%s", prefix, names[k]);
        float *expected = tensor(n->golden, name, &count);
        const float *got = n->values[graph_find_parameter(n->graph, names[k])];
        double squares = 0, differences = 0;
        for (size_t i = 0; i < count; i++) {
            double difference = (double)got[i] - (double)expected[i];
            squares += (double)expected[i] * (double)expected[i];
            differences += difference * difference;
            one = fmax(one, fabs(difference));
        }
        worst = fmax(worst, sqrt(differences / squares));
        free(expected);
    }
    print_message("%s: root-mean-square difference %.2g of the weights', largest %.2g\n", prefix, worst, one);
    assert_true(worst < LIMIT && one < ONE_WEIGHT);
}

static void step(network *n, optimizer *o, double rate, double max_norm)
{
    ok(plan_run(n->plan, n->run, NULL, NULL, NULL, err));
    double norm = gradient_norm(n->gradients, n->counts, (size_t)n->count);
    ok(optimizer_step(o, n->gradients, rate, gradient_clip_scale(norm, max_norm), err));
}

static void train(const optimizer_options *options, double rate, double max_norm, int steps,
                  const char *prefix)
{
    network n;
    optimizer *o;
    open_network(&n);
    ok(optimizer_new(options, n.parameters, (size_t)n.count, &o, err));
    for (int t = 1; t <= steps; t++) {
        char name[32];
        step(&n, o, rate, max_norm);
        snprintf(name, sizeof name, "%s.step%d", prefix, t);
        if (t == steps || (t == 1 && !strcmp(prefix, "adamw")))
            compare(&n, name);
    }
    optimizer_free(o);
    close_network(&n);
}

static bool references_are_there(void)
{
    FILE *file = fopen(GOLDEN, "rb");
    if (file)
        fclose(file);
    else
        print_message("no reference gradients beside the repository: skipped\n");
    return file != NULL;
}

static void adamw_follows_torch(void **state)
{
    (void)state;
    if (!references_are_there()) {
        skip();
        return;
    }
    optimizer_options options = optimizer_defaults(OPTIMIZER_ADAMW);
    train(&options, 1e-3, 0, 3, "adamw");
}

static void clipped_adamw_follows_torch(void **state)
{
    (void)state;
    if (!references_are_there()) {
        skip();
        return;
    }
    optimizer_options options = optimizer_defaults(OPTIMIZER_ADAMW);
    options.weight_decay = 0;
    train(&options, 1e-3, 0.05, 2, "clip");
}

static void sgd_follows_torch(void **state)
{
    (void)state;
    if (!references_are_there()) {
        skip();
        return;
    }
    optimizer_options options = optimizer_defaults(OPTIMIZER_SGD);
    options.momentum = 0.9;
    train(&options, 0.05, 0, 2, "sgd");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adamw_follows_torch),
        cmocka_unit_test(clipped_adamw_follows_torch),
        cmocka_unit_test(sgd_follows_torch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
