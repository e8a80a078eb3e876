/* floors: base tensor formats graph ops backend plan nn model text weights diffusion image pipeline
 *
 * test_ip_adapter.c - IP-Adapter against the published modules in torch (tests/tools/make_vision_samples.py): the tokens
 * of its three forms, and a UNet that looks at them. */
#include "model/ip_adapter.h"
#include "pipeline/side_network.h"
#include "weights/probe_parts.h"

#include "reference_tensors.h"

#define DATA TEST_DATA "/vision/"

static tensor_file *reference;

static int open_reference(void **state)
{
    (void)state;
    kiln_error err;
    return tensor_file_open(DATA "ip.golden.safetensors", &reference, &err) != KILN_OK;
}

static int close_reference(void **state)
{
    (void)state;
    tensor_file_close(reference);
    return 0;
}

static const plan_options options = {
    .backend = &backend_cpu, .compute = DTYPE_F32, .threads = 2, .fuse = true};

typedef struct adapter {
    tensor_file *file;
    ip_adapter_config config;
    network network;
    side_plan plan;
} adapter;

static graph *draw_adapter(const ip_adapter_config *c, int states)
{
    graph *g = graph_new();
    ip_adapter_draw(g, c, states);
    return g;
}

static adapter open_adapter(const char *name, int states)
{
    adapter a = {0};
    kiln_error err = {0};
    char path[256];
    snprintf(path, sizeof path, DATA "%s", name);
    if (tensor_file_open(path, &a.file, &err) != KILN_OK)
        fail_msg("%s", err.text);
    prefix_finder below = {a.file, ""};
    tensor_finder finder = finder_of(&below);
    if (ip_adapter_config_from_tensors(&finder, &a.config, &err) != KILN_OK)
        fail_msg("%s", err.text);
    weights_place place = {a.file, "", DIALECT_ORIGINAL};
    if (side_network_bind(&a.network, draw_adapter(&a.config, states), &place, &err) != KILN_OK)
        fail_msg("%s", err.text);
    if (side_plan_new(&a.network, &options, draw_adapter(&a.config, states), &a.plan, &err) != KILN_OK)
        fail_msg("%s", err.text);
    return a;
}

static void close_adapter(adapter *a)
{
    side_plan_fini(&a->plan);
    side_network_fini(&a->network);
    tensor_file_close(a->file);
}

static float *floats(const char *set, const char *name, shape *s)
{
    char full[64];
    snprintf(full, sizeof full, "%s%s%s", set, *set ? "." : "", name);
    return reference_floats(reference, full, s);
}

static void put(run *r, const char *input, const float *values, int64_t offset, int64_t count)
{
    float *to = run_input(r, input);
    assert_non_null(to);
    memcpy(to + offset, values, (size_t)count * sizeof *values);
}

/* Both pictures of the batch through the adapter; what it says goes to the UNet, values by the scale. */
static double run_adapter(const adapter *a, const char *set, run *unet)
{
    shape in, out;
    float *image = floats(set, "image", &in), *tokens = floats(set, "tokens", &out);
    double worst = 0;
    for (int b = 0; b < 2; b++) {
        int64_t one = shape_count(in) / 2, each = shape_count(out) / 2;
        put(a->plan.run, "image", image + b * one, 0, one);
        assert_int_equal(plan_run(a->plan.plan, a->plan.run, NULL, NULL, NULL, NULL), KILN_OK);
        ASSERT_NEAR(run_output(a->plan.run, "tokens"), tokens + b * each, each, 2e-5, set);
        double error = reference_error(run_output(a->plan.run, "tokens"), tokens + b * each, each);
        worst = error > worst ? error : worst;
        for (int l = 0; l < a->config.layers; l++) {
            char from[32], to[32];
            int64_t count = out.dim[1] * a->config.channels[l];
            snprintf(from, sizeof from, "image_key_%d", l);
            snprintf(to, sizeof to, "image_key_0_%d", l);
            put(unet, to, run_output(a->plan.run, from), b * count, count);
            snprintf(from, sizeof from, "image_value_%d", l);
            snprintf(to, sizeof to, "image_value_0_%d", l);
            put(unet, to, run_output(a->plan.run, from), b * count, count);
            float *values = run_input(unet, to);
            for (int64_t i = 0; i < count; i++)
                values[b * count + i] *= 0.6f;
        }
    }
    free(image);
    free(tokens);
    return worst;
}

static void check_form(const char *file, const char *set, int states, ip_projection form)
{
    model_parts *parts;
    kiln_error err = {0};
    if (probe_open(TEST_DATA "/sd1-tiny", NULL, &parts, &err) != KILN_OK)
        fail_msg("%s", err.text);
    adapter a = open_adapter(file, states);
    assert_int_equal(a.config.projection, form);
    assert_int_equal(a.config.layers, 4);
    if (ip_adapter_check(&a.config, &parts->unet, file, &err) != KILN_OK)
        fail_msg("%s", err.text);
    unet_shape size = {.batch = 2, .height = 8, .width = 6, .context_tokens = 7, .image_prompts = 1};
    size.image_tokens[0] = ip_adapter_tokens(&a.config, states);
    network net = {0};
    side_plan unet;
    graph *first = graph_new(), *second = graph_new();
    unet_draw(first, &parts->unet, &size);
    unet_draw(second, &parts->unet, &size);
    assert_int_equal(side_network_bind(&net, first, &parts->part[PART_UNET].place, &err), KILN_OK);
    assert_int_equal(side_plan_new(&net, &options, second, &unet, &err), KILN_OK);
    double tokens = run_adapter(&a, set, unet.run);
    shape s;
    float *values = floats("", "sample", &s);
    reference_channels_last(&values, s);
    put(unet.run, "sample", values, 0, shape_count(s));
    free(values);
    values = floats("", "timestep", &s);
    put(unet.run, "timestep", values, 0, shape_count(s));
    free(values);
    values = floats("", "context", &s);
    put(unet.run, "encoder_hidden_states", values, 0, shape_count(s));
    free(values);
    assert_int_equal(plan_run(unet.plan, unet.run, NULL, NULL, NULL, NULL), KILN_OK);
    values = floats(set, "unet", &s);
    reference_channels_last(&values, s);
    ASSERT_NEAR(run_output(unet.run, "out"), values, shape_count(s), 2e-5, set);
    print_message("    %s: tokens %.1e, the UNet %.1e\n", file, tokens,
                  reference_error(run_output(unet.run, "out"), values, shape_count(s)));
    free(values);
    side_plan_fini(&unet);
    side_network_fini(&net);
    close_adapter(&a);
    probe_close(parts);
}

static void the_plain_form(void **state)
{
    (void)state;
    check_form("ip-tiny.safetensors", "ip-tiny", 1, IP_LINEAR);
    check_form("ip-tiny.bin", "ip-tiny", 1, IP_LINEAR);
}

static void the_plus_form(void **state)
{
    (void)state;
    check_form("ipplus-tiny.safetensors", "ipplus-tiny", 17, IP_RESAMPLER);
}

static void the_full_form(void **state)
{
    (void)state;
    check_form("ipfull-tiny.safetensors", "ipfull-tiny", 17, IP_FULL);
}

static void another_unet_is_refused(void **state)
{
    (void)state;
    kiln_error err = {0};
    adapter a = open_adapter("ip-tiny.safetensors", 1);
    assert_int_equal(ip_adapter_check(&a.config, &unet_sd15, "x", &err), KILN_MISMATCH);
    assert_non_null(strstr(err.text, "width 32"));
    close_adapter(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_plain_form),
        cmocka_unit_test(the_plus_form),
        cmocka_unit_test(the_full_form),
        cmocka_unit_test(another_unet_is_refused),
    };
    return cmocka_run_group_tests(tests, open_reference, close_reference);
}
