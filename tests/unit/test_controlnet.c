/* floors: base tensor formats graph ops backend plan nn model text weights diffusion image pipeline
 *
 * test_controlnet.c - ControlNet against the published module in torch (tests/tools/make_vision_samples.py): its
 * picture encoder, every output, both ways of naming tensors, and the UNet that takes what it says. */
#include "model/controlnet.h"
#include "pipeline/side_network.h"
#include "weights/probe_parts.h"

#include "reference_tensors.h"

#define DATA TEST_DATA "/vision/"

static tensor_file *reference;

static int open_reference(void **state)
{
    (void)state;
    kiln_error err;
    return tensor_file_open(DATA "control.golden.safetensors", &reference, &err) != KILN_OK;
}

static int close_reference(void **state)
{
    (void)state;
    tensor_file_close(reference);
    return 0;
}

static plan_options plain_options(void)
{
    return (plan_options){.backend = &backend_cpu, .compute = DTYPE_F32, .threads = 2, .fuse = true};
}

/* A plan of a drawn graph with weights of a file. */
typedef struct opened {
    tensor_file *file;
    network network;
    side_plan plan;
} opened;

static graph *hint_graph(const controlnet_config *c)
{
    graph *g = graph_new();
    controlnet_draw_hint(g, c, 8, 6);
    return g;
}

static const unet_shape size = {.batch = 2, .height = 8, .width = 6, .context_tokens = 7};

static graph *control_graph(const controlnet_config *c)
{
    graph *g = graph_new();
    controlnet_draw(g, c, &size);
    return g;
}

static opened open_plan(const char *path, const char *prefix, dialect names, graph *g, graph *again)
{
    opened o = {0};
    kiln_error err = {0};
    plan_options options = plain_options();
    if (tensor_file_open(path, &o.file, &err) != KILN_OK)
        fail_msg("%s", err.text);
    weights_place place = {o.file, prefix, names};
    if (side_network_bind(&o.network, g, &place, &err) != KILN_OK)
        fail_msg("%s", err.text);
    if (side_plan_new(&o.network, &options, again, &o.plan, &err) != KILN_OK)
        fail_msg("%s", err.text);
    return o;
}

static void close_plan(opened *o)
{
    side_plan_fini(&o->plan);
    side_network_fini(&o->network);
    tensor_file_close(o->file);
}

static void give(const opened *o, const char *input, const char *set, const char *name, bool picture)
{
    char full[80];
    shape s;
    snprintf(full, sizeof full, "%s.%s", set, name);
    float *values = reference_floats(reference, full, &s);
    if (picture)
        reference_channels_last(&values, s);
    float *to = run_input(o->plan.run, input);
    assert_non_null(to);
    memcpy(to, values, (size_t)shape_count(s) * sizeof *values);
    free(values);
}

static double compare(const opened *o, const char *output, const char *set, const char *name)
{
    char full[80];
    shape s;
    snprintf(full, sizeof full, "%s.%s", set, name);
    float *expected = reference_floats(reference, full, &s);
    reference_channels_last(&expected, s);
    const float *found = run_output(o->plan.run, output);
    assert_non_null(found);
    ASSERT_NEAR(found, expected, shape_count(s), 2e-5, full);
    double error = reference_error(found, expected, shape_count(s));
    free(expected);
    return error;
}

static void run_now(const opened *o)
{
    assert_int_equal(plan_run(o->plan.plan, o->plan.run, NULL, NULL, NULL, NULL), KILN_OK);
}

static void give_conditions(const opened *o, const char *set, bool large)
{
    give(o, "sample", set, "sample", true);
    give(o, "timestep", set, "timestep", false);
    give(o, "encoder_hidden_states", set, "context", false);
    if (large) {
        give(o, "added_text_embeds", set, "text_embeds", false);
        give(o, "added_time_ids", set, "time_ids", false);
    }
}

static void check_set(const controlnet_config *c, const char *path, const char *prefix, dialect names,
                      const char *set)
{
    /* The reference encodes two pictures; here one is encoded for a drawing. */
    opened hint = open_plan(path, prefix, names, hint_graph(c), hint_graph(c));
    char full[80];
    shape s;
    snprintf(full, sizeof full, "%s.hint", set);
    float *pictures = reference_floats(reference, full, &s);
    reference_channels_last(&pictures, s);
    int64_t one = shape_count(s) / 2;
    snprintf(full, sizeof full, "%s.hint_embedding", set);
    float *embedded = reference_floats(reference, full, &s);
    reference_channels_last(&embedded, s);
    for (int i = 0; i < 2; i++) {
        memcpy(run_input(hint.plan.run, "hint"), pictures + i * one, (size_t)one * sizeof *pictures);
        run_now(&hint);
        int64_t half = shape_count(s) / 2;
        ASSERT_NEAR(run_output(hint.plan.run, "hint_embedding"), embedded + i * half, half, 2e-5, full);
    }
    close_plan(&hint);
    opened o = open_plan(path, prefix, names, control_graph(c), control_graph(c));
    give_conditions(&o, set, c->unet.text_time);
    give(&o, "hint_embedding", set, "hint_embedding", true);
    run_now(&o);
    double worst = 0;
    for (int i = 0; i < controlnet_outputs(c); i++) {
        snprintf(full, sizeof full, "control_%d", i);
        double error = compare(&o, full, set, full);
        worst = error > worst ? error : worst;
    }
    double error = compare(&o, "control_mid", set, "control_mid");
    print_message("    %s: %.1e\n", set, error > worst ? error : worst);
    close_plan(&o);
    free(pictures);
    free(embedded);
}

static controlnet_config parsed(const char *path)
{
    char text[8192] = "";
    kiln_error err = {0};
    controlnet_config c;
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    size_t length = fread(text, 1, sizeof text, f);
    fclose(f);
    if (controlnet_config_parse(text, length, path, &c, &err) != KILN_OK)
        fail_msg("%s", err.text);
    return c;
}

static void folders_give_torchs_numbers(void **state)
{
    (void)state;
    static const char *const sets[] = {"control-tiny", "controlxl-tiny"};
    for (int i = 0; i < 2; i++) {
        char config[256], path[256];
        snprintf(config, sizeof config, DATA "%s/config.json", sets[i]);
        snprintf(path, sizeof path, DATA "%s/diffusion_pytorch_model.safetensors", sets[i]);
        controlnet_config c = parsed(config);
        assert_int_equal(controlnet_factor(&c), 2);
        assert_int_equal(c.unet.text_time, i == 1);
        check_set(&c, path, "", DIALECT_CANONICAL, sets[i]);
    }
}

static void the_authors_names_give_the_same(void **state)
{
    (void)state;
    const char *path = DATA "control-tiny-original.safetensors";
    tensor_file *file;
    controlnet_config c, told = parsed(DATA "control-tiny/config.json");
    kiln_error err = {0};
    assert_int_equal(tensor_file_open(path, &file, &err), KILN_OK);
    prefix_finder below = {file, CONTROLNET_ORIGINAL_PREFIX};
    tensor_finder finder = finder_of(&below);
    unet_hints hints = {.heads = 4, .groups = 8};
    if (controlnet_config_from_tensors(&finder, true, &hints, &c, &err) != KILN_OK)
        fail_msg("%s", err.text);
    assert_int_equal(c.hint_levels, told.hint_levels);
    assert_memory_equal(c.hint, told.hint, sizeof c.hint);
    assert_memory_equal(c.unet.depth, told.unet.depth, sizeof c.unet.depth);
    assert_int_equal(c.unet.context_channels, told.unet.context_channels);
    tensor_file_close(file);
    check_set(&c, path, CONTROLNET_ORIGINAL_PREFIX, DIALECT_ORIGINAL, "control-tiny");
}

/* Files in diffusers' names, without their config.json. */
static void diffusers_names_tell_the_configuration(void **state)
{
    (void)state;
    static const char *const sets[] = {"control-tiny", "controlxl-tiny"};
    for (int i = 0; i < 2; i++) {
        char path[256], config[256];
        snprintf(path, sizeof path, DATA "%s/diffusion_pytorch_model.safetensors", sets[i]);
        snprintf(config, sizeof config, DATA "%s/config.json", sets[i]);
        controlnet_config c, told = parsed(config);
        tensor_file *file;
        kiln_error err = {0};
        assert_int_equal(tensor_file_open(path, &file, &err), KILN_OK);
        prefix_finder below = {file, ""};
        tensor_finder finder = finder_of(&below);
        unet_hints hints = {.groups = 8, .heads = 4, .added_time_channels = 8};
        if (controlnet_config_from_tensors(&finder, false, &hints, &c, &err) != KILN_OK)
            fail_msg("%s", err.text);
        /* Heads leave no trace. */
        memcpy(c.unet.heads, told.unet.heads, sizeof c.unet.heads);
        assert_int_equal(c.unet.linear_projection, told.unet.linear_projection);
        assert_int_equal(c.unet.middle_depth, told.unet.middle_depth);
        tensor_file_close(file);
        check_set(&c, path, "", DIALECT_CANONICAL, sets[i]);
    }
}

static void the_unet_takes_what_it_says(void **state)
{
    (void)state;
    static const char set[] = "control-tiny";
    model_parts *parts;
    kiln_error err = {0};
    if (probe_open(TEST_DATA "/sd1-tiny", NULL, &parts, &err) != KILN_OK)
        fail_msg("%s", err.text);
    unet_shape controlled = size;
    controlled.control = true;
    graph *first = graph_new(), *second = graph_new();
    unet_draw(first, &parts->unet, &size);
    unet_draw(second, &parts->unet, &controlled);
    opened o = open_plan(TEST_DATA "/sd1-tiny/unet/diffusion_pytorch_model.safetensors", "",
                         DIALECT_CANONICAL, first, second);
    give_conditions(&o, set, false);
    for (int i = 0; i < 5; i++) {
        char name[32];
        snprintf(name, sizeof name, i < 4 ? "control_%d" : "control_mid", i);
        give(&o, name, set, name, true);
        shape s;
        char full[64];
        snprintf(full, sizeof full, "%s.%s", set, name);
        free(reference_floats(reference, full, &s));
        float *values = run_input(o.plan.run, name);
        for (int64_t k = 0; k < shape_count(s); k++)
            values[k] *= 0.8f;
    }
    run_now(&o);
    print_message("    the UNet: %.1e\n", compare(&o, "out", set, "unet"));
    close_plan(&o);
    probe_close(parts);
}

/* Shuffle models say the same at every place: the mean. */
static void global_pooling_gives_means(void **state)
{
    (void)state;
    static const char set[] = "control-tiny";
    controlnet_config c = parsed(DATA "control-tiny/config.json");
    c.global_pool = true;
    opened o = open_plan(DATA "control-tiny/diffusion_pytorch_model.safetensors", "", DIALECT_CANONICAL,
                         control_graph(&c), control_graph(&c));
    give_conditions(&o, set, false);
    give(&o, "hint_embedding", set, "hint_embedding", true);
    run_now(&o);
    shape s;
    float *plain = reference_floats(reference, "control-tiny.control_1", &s);
    const float *found = run_output(o.plan.run, "control_1");
    int64_t channels = s.dim[1], positions = s.dim[2] * s.dim[3];
    for (int64_t i = 0; i < s.dim[0] * channels; i++) {
        double mean = 0;
        for (int64_t p = 0; p < positions; p++)
            mean += (double)plain[i * positions + p] / (double)positions;
        for (int64_t p = 0; p < positions; p++) {
            double there = (double)found[(i / channels * positions + p) * channels + i % channels];
            assert_true(fabs(there - mean) < 1e-5);
        }
    }
    free(plain);
    close_plan(&o);
}

static void read_config(const char *text, kiln_status expected, const char *word)
{
    controlnet_config c;
    kiln_error err = {0};
    assert_int_equal(controlnet_config_parse(text, strlen(text), "config.json", &c, &err), expected);
    if (expected != KILN_OK && !strstr(err.text, word))
        fail_msg("'%s' does not say '%s'", err.text, word);
}

static void odd_configurations_are_refused(void **state)
{
    (void)state;
    read_config("{", KILN_BAD_FORMAT, "not valid JSON");
    read_config("[]", KILN_BAD_FORMAT, "object");
    read_config("{\"_class_name\": \"T2IAdapter\"}", KILN_UNSUPPORTED, "T2IAdapter");
    read_config("{\"conditioning_channels\": 1, \"block_out_channels\": [8, 16]}", KILN_UNSUPPORTED, "RGB");
    read_config("{\"controlnet_conditioning_channel_order\": \"grb\"}", KILN_UNSUPPORTED, "grb");
    read_config("{\"block_out_channels\": [8, 16]}", KILN_BAD_FORMAT, "down_block_types");
    read_config("{\"block_out_channels\": [8, 16], \"norm_num_groups\": 4, \"attention_head_dim\": 2, "
                "\"down_block_types\": [\"DownBlock2D\", \"CrossAttnDownBlock2D\"], "
                "\"controlnet_conditioning_channel_order\": \"bgr\"}",
                KILN_OK, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folders_give_torchs_numbers),
        cmocka_unit_test(the_authors_names_give_the_same),
        cmocka_unit_test(diffusers_names_tell_the_configuration),
        cmocka_unit_test(the_unet_takes_what_it_says),
        cmocka_unit_test(global_pooling_gives_means),
        cmocka_unit_test(odd_configurations_are_refused),
    };
    return cmocka_run_group_tests(tests, open_reference, close_reference);
}
