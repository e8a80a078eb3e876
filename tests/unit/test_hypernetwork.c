/* floors: base tensor formats graph ops backend plan nn model text weights
 *
 * test_hypernetwork.c - a UNet with a hypernetwork against golden/grads (outputs at two strengths, loss, all gradients); every
 * activation against torch's numbers; files written and read back, by torch too; files that are refused. */
#include "weights/hypernetwork_file.h"

#include "formats/safetensors.h"
#include "model/unet.h"
#include "ops/gradient.h"
#include "ops/ops.h"
#include "plan/plan.h"

#include "reference_tensors.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GOLDEN TEST_SHARED "/golden/"
#define A1111_FILE GOLDEN "grads/hypernetwork_a1111.pt"

enum { POINTS = 7 };
/* torch 1.13, f64, with the arguments that each has when none are given. */
static const double points[POINTS] = {-4, -1.25, -0.4, 0.3, 0.7, 1.5, 7};
static const struct {
    const char *name;
    double value[POINTS], slope[POINTS];
} torch_says[] = {
    {"linear", {-4, -1.25, -0.4, 0.3, 0.7, 1.5, 7}, {1, 1, 1, 1, 1, 1, 1}},
    {"relu", {0, 0, 0, 0.3, 0.7, 1.5, 7}, {0, 0, 0, 1, 1, 1, 1}},
    {"leakyrelu", {-0.04, -0.0125, -0.004, 0.3, 0.7, 1.5, 7}, {0.01, 0.01, 0.01, 1, 1, 1, 1}},
    {"elu",
     {-0.981684361, -0.713495203, -0.329679954, 0.3, 0.7, 1.5, 7},
     {0.0183156389, 0.286504797, 0.670320046, 1, 1, 1, 1}},
    {"swish",
     {-0, -0.364583333, -0.173333333, 0.165, 0.431666667, 1.125, 7},
     {0, 0.0833333333, 0.366666667, 0.6, 0.733333333, 1, 1}},
    {"tanh",
     {-0.9993293, -0.84828364, -0.379948962, 0.291312612, 0.604367777, 0.905148254, 0.999998337},
     {0.00134095068, 0.280414866, 0.855638786, 0.915136962, 0.63473959, 0.180706639, 3.32610934e-06}},
    {"sigmoid",
     {0.01798621, 0.222700139, 0.40131234, 0.574442517, 0.668187772, 0.817574476, 0.999088949},
     {0.0176627062, 0.173104787, 0.240260746, 0.244458312, 0.221712873, 0.149146452, 0.00091022118}},
    {"celu",
     {-0.981684361, -0.713495203, -0.329679954, 0.3, 0.7, 1.5, 7},
     {0.0183156389, 0.286504797, 0.670320046, 1, 1, 1, 1}},
    {"gelu",
     {-0.000126684967, -0.132062217, -0.137831303, 0.185373427, 0.530625443, 1.3997892, 7},
     {-0.000503649661, -0.122661583, 0.197270202, 0.732327767, 0.976614101, 1.12746919, 1}},
    {"hardshrink", {-4, -1.25, 0, 0, 0.7, 1.5, 7}, {1, 1, 0, 0, 1, 1, 1}},
    {"hardsigmoid",
     {0, 0.291666667, 0.433333333, 0.55, 0.616666667, 0.75, 1},
     {0, 0.166666672, 0.166666672, 0.166666672, 0.166666672, 0.166666672, 0}},
    {"hardswish",
     {-0, -0.364583333, -0.173333333, 0.165, 0.431666667, 1.125, 7},
     {0, 0.0833333333, 0.366666667, 0.6, 0.733333333, 1, 1}},
    {"hardtanh", {-1, -1, -0.4, 0.3, 0.7, 1, 1}, {0, 0, 1, 1, 1, 0, 0}},
    {"logsigmoid",
     {-4.01814993, -1.50192908, -0.913015252, -0.554355244, -0.403186049, -0.201413278, -0.000911466454},
     {0.98201379, 0.777299861, 0.59868766, 0.425557483, 0.331812228, 0.182425524, 0.000911051194}},
    {"mish",
     {-0.0725917408, -0.308413961, -0.188916482, 0.208001372, 0.561148378, 1.40337827, 6.99998838},
     {-0.0537732098, -0.0146975625, 0.347572799, 0.7828273, 0.968794868, 1.08848799, 1.00002156}},
    {"prelu", {-1, -0.3125, -0.1, 0.3, 0.7, 1.5, 7}, {0.25, 0.25, 0.25, 1, 1, 1, 1}},
    {"relu6", {0, 0, 0, 0.3, 0.7, 1.5, 6}, {0, 0, 0, 1, 1, 1, 0}},
    {"rrelu",
     {-0.916666667, -0.286458333, -0.0916666667, 0.3, 0.7, 1.5, 7},
     {0.229166667, 0.229166667, 0.229166667, 1, 1, 1, 1}},
    {"selu",
     {-1.72589863, -1.25439545, -0.57961011, 0.315210296, 0.735490691, 1.57605148, 7.35490691},
     {0.0322007127, 0.503703895, 1.17848923, 1.05070099, 1.05070099, 1.05070099, 1.05070099}},
    {"silu",
     {-0.0719448398, -0.278375174, -0.160524936, 0.172332755, 0.467731441, 1.22636171, 6.99362264},
     {-0.0526646149, 0.00631915508, 0.305208042, 0.64778001, 0.823386783, 1.04129415, 1.0054605}},
    {"softplus",
     {0.0181499279, 0.251929081, 0.513015252, 0.854355244, 1.10318605, 1.70141328, 7.00091147},
     {0.01798621, 0.222700139, 0.40131234, 0.574442517, 0.668187772, 0.817574476, 0.999088949}},
    {"softshrink", {-3.5, -0.75, 0, 0, 0.2, 1, 6.5}, {1, 1, 0, 0, 1, 1, 1}},
    {"softsign",
     {-0.8, -0.555555556, -0.285714286, 0.230769231, 0.411764706, 0.6, 0.875},
     {0.04, 0.197530864, 0.510204082, 0.591715976, 0.346020761, 0.16, 0.015625}},
    {"tanhshrink",
     {-3.0006707, -0.40171636, -0.0200510377, 0.00868738755, 0.0956322229, 0.594851746, 6.00000166},
     {0.998659049, 0.719585134, 0.144361214, 0.0848630382, 0.36526041, 0.819293361, 0.999996674}},
};

#define done(call)                                                                                           \
    do {                                                                                                     \
        kiln_error err_ = {KILN_OK, ""}, *err = &err_;                                                       \
        if ((call) != KILN_OK)                                                                               \
            fail_msg("%s: %s", #call, err_.text);                                                            \
    } while (0)

typedef struct machine {
    graph *graph;
    packed_store *store;
    plan *plan;
    run *run;
} machine;

static machine start(graph *g, parameter_source source)
{
    static const plan_options options = {
        .backend = &backend_cpu, .compute = DTYPE_F32, .threads = 2, .fuse = true};
    machine m = {.graph = g, .store = packed_store_new(source)};
    done(graph_finish(g, err));
    done(plan_compile(g, &options, m.store, &m.plan, err));
    done(run_new(m.plan, &m.run, err));
    return m;
}

static void stop(machine *m)
{
    run_free(m->run);
    plan_free(m->plan);
    packed_store_free(m->store);
    graph_free(m->graph);
}

/* ------------------------------------------------------------------------------------ activations */

/* A hypernetwork of one layer that passes its input on, so that what it adds is the activation. */
static kiln_status read_identity(void *self, const parameter *p, int index, float *to, kiln_error *err)
{
    (void)self;
    (void)index;
    (void)err;
    for (int64_t i = 0, n = shape_count(p->shape); i < n; i++)
        to[i] = p->shape.rank == 2     ? (float)(i / p->shape.dim[1] == i % p->shape.dim[1])
                : p->role == ROLE_NORM ? 0.25f
                                       : 0.0f;
    return KILN_OK;
}

static void activations_are_those_of_torch(void **state)
{
    (void)state;
    double worst = 0;
    for (size_t k = 0; k < sizeof torch_says / sizeof *torch_says; k++) {
        hypernetwork h = {.config = hypernetwork_defaults(), .place = "h", .strength = 1};
        h.config.layers = 1;
        h.config.structure[1] = 1;
        h.config.activate_output = true;
        h.config.width_count = 1;
        h.config.widths[0] = POINTS;
        done(hypernetwork_activation_of(torch_says[k].name, "test", &h.config.activation, err));
        done(hypernetwork_check(&h.config, "test", err));
        hypernetwork_chain chain = {&h, 1, false};
        graph *g = graph_new();
        at a = graph_root(g);
        value x = graph_input(g, "x", SHAPE3(1, 1, POINTS), DTYPE_F32);
        value y = hypernetwork_bend(&chain, a, x, false), sum = op_mean(a, y), dx;
        graph_output(g, "y", y);
        done(graph_gradient(g, sum, &x, 1, &dx, err));
        graph_output(g, "dx", dx);
        machine m = start(g, (parameter_source){.read = read_identity});
        for (int i = 0; i < POINTS; i++)
            ((float *)run_input(m.run, "x"))[i] = (float)points[i];
        done(plan_run(m.plan, m.run, NULL, NULL, NULL, err));
        for (int i = 0; i < POINTS; i++) {
            double value_error = fabs((double)run_output(m.run, "y")[i] - points[i] - torch_says[k].value[i]);
            double slope_error =
                fabs((double)run_output(m.run, "dx")[i] * POINTS - 1 - torch_says[k].slope[i]);
            worst = fmax(worst, fmax(value_error, slope_error));
            if (!(value_error < 3e-6 && slope_error < 3e-6))
                fail_msg("%s at %g: off by %g, its slope by %g", torch_says[k].name, points[i], value_error,
                         slope_error);
        }
        stop(&m);
    }
    print_message("worst difference from torch %.1e\n", worst);
}

/* ------------------------------------------------------------------------------------ the reference */

typedef struct two_files {
    tensor_file *unet;
    hypernetwork_file *hyper;
} two_files;

static kiln_status read_both(void *self, const parameter *p, int index, float *to, kiln_error *err)
{
    (void)index;
    const two_files *f = self;
    if (strncmp(p->canonical, "hypernetwork.", 13) == 0) {
        int64_t count;
        const float *from = hypernetwork_file_find(f->hyper, p->canonical + 13, &count);
        assert_non_null(from);
        memcpy(to, from, (size_t)count * sizeof *to);
        return KILN_OK;
    }
    const tensor_entry *e = tensor_file_find(f->unet, p->canonical);
    assert_non_null(e);
    return tensor_file_read_f32(f->unet, e, 0, shape_count(p->shape), to, err);
}

static void read_config(unet_config *out)
{
    static char json[1 << 15];
    FILE *f = fopen(GOLDEN "models/sd1-tiny/unet/config.json", "rb");
    assert_non_null(f);
    size_t length = fread(json, 1, sizeof json, f);
    fclose(f);
    done(unet_config_parse(json, length, "config.json", out, err));
}

/* "hypernetwork.16.0.linear..." is "16.k.linear..." there. */
static void golden_name(const char *prefix, const char *name, char out[128])
{
    int width = atoi(name + 13);
    const char *linear = strstr(name, "linear");
    snprintf(out, 128, "%s%d.%c.%s", prefix, width, linear[-2] == '0' ? 'k' : 'v', linear);
}

static double difference(const machine *m, const char *output, const tensor_file *golden, const char *tensor)
{
    shape s;
    float *want = reference_floats(golden, tensor, &s);
    if (s.rank == 4)
        reference_channels_last(&want, s);
    double error = reference_error(run_output(m->run, output), want, shape_count(s));
    free(want);
    return error;
}

static void fill(const machine *m, const char *input, const tensor_file *file, const char *tensor)
{
    shape s;
    float *values = reference_floats(file, tensor, &s);
    if (s.rank == 4)
        reference_channels_last(&values, s);
    memcpy(run_input(m->run, input), values, (size_t)shape_count(s) * sizeof *values);
    free(values);
}

/* Output "g<i>" is the gradient of graph parameter i of the hypernetwork. */
static void add_gradients(graph *g, value out)
{
    at a = graph_root(g);
    value target = graph_input(g, "target", value_shape(a, out), DTYPE_F32), wanted[64], gradients[64];
    value loss = op_mean_squared_error(a, out, target, NO_VALUE);
    int which[64], count = 0;
    graph_output(g, "loss", loss);
    for (int i = 0; i < g->parameter_count && count < 64; i++)
        if (strncmp(g->parameters[i].canonical, "hypernetwork.", 13) == 0) {
            which[count] = i;
            wanted[count++] = g->parameters[i].value;
        }
    assert_int_equal(count, 24);
    done(graph_gradient(g, loss, wanted, count, gradients, err));
    for (int i = 0; i < count; i++) {
        char name[16];
        snprintf(name, sizeof name, "g%d", which[i]);
        graph_output(g, name, gradients[i]);
    }
}

static void compare_at(two_files *files, const tensor_file *inputs, const tensor_file *golden, float strength)
{
    unet_config config;
    read_config(&config);
    hypernetwork h = {.config = files->hyper->config, .place = "hypernetwork", .strength = strength};
    hypernetwork_chain chain = {&h, 1, false};
    const graph_hooks hooks = {.self = &chain, .context = hypernetwork_bend};
    graph *g = graph_new();
    g->hooks = &hooks;
    unet_draw(g, &config, &(unet_shape){.batch = 2, .height = 16, .width = 16, .context_tokens = 77});
    value out = NO_VALUE;
    for (int i = 0; i < g->output_count; i++)
        out = strcmp(g->outputs[i].name, "out") == 0 ? g->outputs[i].value : out;
    if (strength == 1)
        add_gradients(g, out);
    machine m = start(g, (parameter_source){.read = read_both, .self = files});
    fill(&m, "sample", inputs, "xt");
    fill(&m, "timestep", inputs, "t");
    fill(&m, "encoder_hidden_states", inputs, "ctx");
    if (strength == 1)
        fill(&m, "target", inputs, "noise");
    done(plan_run(m.plan, m.run, NULL, NULL, NULL, err));
    double error = difference(&m, "out", golden, strength == 1 ? "hyper.pred_mult1" : "hyper.pred_mult06");
    double worst = 0;
    assert_true(error < 2e-5);
    for (int i = 0; strength == 1 && i < g->parameter_count; i++) {
        char name[16], tensor[128];
        if (strncmp(g->parameters[i].canonical, "hypernetwork.", 13) != 0)
            continue;
        snprintf(name, sizeof name, "g%d", i);
        golden_name("hyper.grad.", g->parameters[i].canonical, tensor);
        double off = difference(&m, name, golden, tensor);
        /* What is added to all keys alike does not change attention: this gradient is 0, and rounding in both. */
        if (strstr(tensor, ".k.linear.2.bias"))
            off = fabs((double)run_output(m.run, name)[0]) < 1e-7 ? 0 : 1;
        if (!(off < 1e-3))
            print_message("%s is off by %.1e\n", tensor, off);
        worst = fmax(worst, off);
    }
    if (strength == 1)
        assert_true(difference(&m, "loss", golden, "hyper.loss") < 1e-5);
    print_message("strength %g: the answer is off by %.1e, gradients by %.1e\n", (double)strength, error,
                  worst);
    assert_true(worst < 1e-3);
    stop(&m);
}

static bool is_absent(void)
{
    if (access(A1111_FILE, R_OK) == 0)
        return false;
    print_message("the reference is not here: skipped\n");
    return true;
}

static void a_unet_as_the_reference_has_it(void **state)
{
    (void)state;
    if (is_absent())
        skip();
    two_files files;
    tensor_file *inputs, *golden;
    done(tensor_file_open(GOLDEN "models/sd1-tiny/unet", &files.unet, err));
    done(tensor_file_open(GOLDEN "grads/unet.safetensors", &inputs, err));
    done(tensor_file_open(GOLDEN "grads/tuning.safetensors", &golden, err));
    done(hypernetwork_file_open(A1111_FILE, &files.hyper, err));
    compare_at(&files, inputs, golden, 1);
    compare_at(&files, inputs, golden, 0.6f);
    hypernetwork_file_close(files.hyper);
    tensor_file_close(files.unet);
    tensor_file_close(inputs);
    tensor_file_close(golden);
}

/* ------------------------------------------------------------------------------------ files */

static const hypernetwork_words words = {.name = "ink", .step = 7, .weight_initialization = "KaimingNormal"};

/* Parameters 0.5, 1.5, 2.5, ... of a network with everything in it; returns them. */
static float *rich(hypernetwork_config *c)
{
    hypernetwork_parameter p;
    int64_t count = 0;
    *c = (hypernetwork_config){.layers = 3,
                               .structure = {1, 1.5, 2, 1},
                               .dropout = {0, 0.25, 0.5, 0},
                               .layer_norm = true,
                               .width_count = 2,
                               .widths = {8, 2048}};
    done(hypernetwork_activation_of("prelu", "test", &c->activation, err));
    for (int i = 0; hypernetwork_parameter_at(c, i, &p); i++)
        count += shape_count(p.shape);
    float *values = malloc((size_t)count * sizeof *values);
    assert_non_null(values);
    for (int64_t i = 0; i < count; i++)
        values[i] = (float)(i % 1000) + 0.5f;
    return values;
}

static void write_rich(const char *path, const hypernetwork_config *c, const float *values)
{
    const hypernetwork_content content = {.config = c, .words = &words, .values = values};
    done(hypernetwork_file_write(path, &content, err));
}

static void files_come_back(void **state)
{
    (void)state;
    static const char *const paths[] = {"test-hypernetwork.pt", "test-hypernetwork.safetensors"};
    hypernetwork_config c;
    float *values = rich(&c);
    for (int i = 0; i < 2; i++) {
        hypernetwork_file *f;
        write_rich(paths[i], &c, values);
        done(hypernetwork_file_open(paths[i], &f, err));
        assert_int_equal(f->config.layers, 3);
        assert_true(f->config.structure[1] == 1.5 && f->config.dropout[2] == 0.5);
        assert_true(f->config.layer_norm && !f->config.activate_output);
        assert_string_equal(hypernetwork_activation_name(f->config.activation), "prelu");
        assert_int_equal(f->config.width_count, 2);
        assert_int_equal(f->config.widths[1], 2048);
        assert_string_equal(f->words.name, "ink");
        assert_int_equal(f->words.step, 7);
        assert_memory_equal(f->values, values, (size_t)f->count * sizeof *values);
        hypernetwork_file_close(f);
    }
    free(values);
    unlink(paths[1]);
}

/* torch reads what was written, as A1111 does, and what torch writes comes back. */
static void torch_reads_and_writes(void **state)
{
    (void)state;
    static const char script[] =
        "import torch\n"
        "d=torch.load('test-hypernetwork.pt')\n"
        "k,v=d[2048]\n"
        "assert d['layer_structure']==[1,1.5,2,1] and d['is_layer_norm'] is True and d['use_dropout'] is "
        "True\n"
        "assert d['dropout_structure']==[0,0.25,0.5,0] and d['activate_output'] is False and d['step']==7\n"
        "s=[]\n"
        "for i in range(3):\n"
        "    a,b=int(2048*d['layer_structure'][i]),int(2048*d['layer_structure'][i+1])\n"
        "    s.append(torch.nn.Linear(a,b))\n"
        "    if i<2: s.append(torch.nn.PReLU())\n"
        "    s.append(torch.nn.LayerNorm(b))\n"
        "    if d['dropout_structure'][i+1]>0: s.append(torch.nn.Dropout(d['dropout_structure'][i+1]))\n"
        "m=torch.nn.Module(); m.linear=torch.nn.Sequential(*s)\n"
        "m.load_state_dict(k); m.load_state_dict(v)\n"
        "w=torch.arange(32.)\n"
        "one={'linear1.weight':w[:32].reshape(8,4),'linear1.bias':w[:8],"
        "'linear2.weight':w.reshape(4,8),'linear2.bias':w[:4]}\n"
        "torch.save({4:(one,one)},'test-hypernetwork-old.pt')\n";
    FILE *f = fopen("test-hypernetwork.py", "w");
    assert_non_null(f);
    fputs(script, f);
    fclose(f);
    if (system("/usr/bin/python3 -c 'import torch' 2>/dev/null") != 0) {
        print_message("torch is not here: skipped\n");
        skip();
    }
    assert_int_equal(system("/usr/bin/python3 test-hypernetwork.py"), 0);
    hypernetwork_file *h;
    done(hypernetwork_file_open("test-hypernetwork-old.pt", &h, err));
    int64_t count;
    assert_true(h->config.activate_output && h->config.layers == 2 && h->config.widths[0] == 4);
    assert_true(hypernetwork_file_find(h, "4.1.linear.1.weight", &count)[31] == 31);
    assert_int_equal(count, 32);
    hypernetwork_file_close(h);
    unlink("test-hypernetwork.py");
    unlink("test-hypernetwork.pt");
    unlink("test-hypernetwork-old.pt");
}

static void refused(const char *tensor, shape s, float number, const char *structure, const char *word)
{
    static const char path[] = "test-hypernetwork-bad.safetensors";
    safetensors_writer *w;
    float numbers[64];
    hypernetwork_file *h;
    kiln_error why = {KILN_OK, ""};
    for (int i = 0; i < 64; i++)
        numbers[i] = number;
    done(safetensors_writer_open(path, &w, err));
    done(safetensors_writer_metadata(w, "layer_structure", structure, err));
    done(safetensors_writer_declare(w, tensor, DTYPE_F32, s, err));
    done(safetensors_writer_write(w, tensor, numbers, (size_t)shape_count(s) * sizeof *numbers, err));
    done(safetensors_writer_finish(w, err));
    assert_int_not_equal(hypernetwork_file_open(path, &h, &why), KILN_OK);
    assert_null(h);
    if (!strstr(why.text, word))
        fail_msg("'%s' does not say '%s'", why.text, word);
    unlink(path);
}

static void what_is_wrong_is_named(void **state)
{
    (void)state;
    refused("conv_in.weight", SHAPE2(4, 4), 1, "1, 2, 1", "is no hypernetwork");
    refused("4.0.linear.0.weight", SHAPE2(8, 4), 1, "1, 2, 1", "'4.0.linear.0.bias' is missing");
    refused("4.0.linear.0.weight", SHAPE2(4, 4), 1, "1, 2, 1", "is [4,4], expected [8,4]");
    refused("4.0.linear.0.weight", SHAPE2(8, 4), 1, "1, 2, 3", "begins and ends with 1");
    refused("4.0.linear.0.weight", SHAPE2(8, 4), 1, "1, two, 1", "no list of");
    refused("99999.0.linear.0.weight", SHAPE2(8, 4), 1, "1, 2, 1", "is no hypernetwork");
    if (is_absent())
        skip();
    hypernetwork_file *h;
    kiln_error why = {KILN_OK, ""};
    done(hypernetwork_file_open(A1111_FILE, &h, err));
    h->values[5] = NAN;
    write_rich("test-hypernetwork-nan.safetensors", &h->config, h->values);
    hypernetwork_file_close(h);
    assert_int_equal(hypernetwork_file_open("test-hypernetwork-nan.safetensors", &h, &why), KILN_BAD_FORMAT);
    assert_non_null(strstr(why.text, "NaN"));
    unlink("test-hypernetwork-nan.safetensors");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(activations_are_those_of_torch),
        cmocka_unit_test(a_unet_as_the_reference_has_it),
        cmocka_unit_test(files_come_back),
        cmocka_unit_test(torch_reads_and_writes),
        cmocka_unit_test(what_is_wrong_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
