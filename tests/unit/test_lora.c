/* floors: base tensor formats graph ops backend plan nn model text weights
 *
 * test_lora.c - LoRA and its family against torch (tests/tools/make_lora_samples.py), damaged and foreign files, and real
 * ones: every module of theirs finds its place in Stable Diffusion, and adds what torch says it adds. */
#include "weights/lora.h"

#include "model/clip_text.h"
#include "model/unet.h"
#include "nn/nn.h"

#include "reference_tensors.h"

#include <unistd.h>

#define DATA TEST_DATA "/lora/"
#define REAL TEST_SHARED "/real/lora/"

/* ------------------------------------------------------------------------------------ golden */

static graph *small_graph(void)
{
    graph *g = graph_new();
    assert_non_null(g);
    at root = graph_root(g);
    at block = in(in(root, "mid_block.attentions.0", "middle_block.1"), "transformer_blocks.0",
                  "transformer_blocks.0");
    value x = graph_input(g, "x", SHAPE3(1, 5, 8), DTYPE_F32);
    graph_output(g, "y", nn_linear(same(same(block, "attn1"), "to_out.0"), x, 12, NN_BIAS));
    at resnet = in(root, "mid_block.resnets.0", "middle_block.0");
    value picture = graph_input(g, "picture", SHAPE4(1, 6, 6, 4), DTYPE_F32);
    value h = nn_group_norm(in(resnet, "norm1", "in_layers.0"), picture, 2, 1e-5f);
    graph_output(g, "z", nn_conv2d(in(resnet, "conv1", "in_layers.2"), h, 6, 3));
    return g;
}

/* Which of the reference's tensors each parameter is. */
static const char *reference_name(const char *canonical)
{
    static const char *const names[][2] = {
        {"mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0.weight", "linear"},
        {"mid_block.resnets.0.conv1.weight", "conv"},
        {"mid_block.resnets.0.conv1.bias", "conv_bias"},
        {"mid_block.resnets.0.norm1.weight", "norm"},
        {"mid_block.resnets.0.norm1.bias", "norm_bias"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(canonical, names[i][0]) == 0)
            return names[i][1];
    return NULL;
}

static kiln_status read_reference(void *self, const parameter *p, int index, float *to, kiln_error *err)
{
    (void)index;
    (void)err;
    char name[64];
    const char *own = reference_name(p->canonical);
    if (!own) { /* the linear layer's bias */
        memset(to, 0, (size_t)shape_count(p->shape) * sizeof *to);
        return KILN_OK;
    }
    snprintf(name, sizeof name, "base.%s", own);
    float *values = reference_floats(self, name, NULL);
    memcpy(to, values, (size_t)shape_count(p->shape) * sizeof *to);
    free(values);
    return KILN_OK;
}

static kiln_status open_and_bind(const char *path, const graph *g, lora **file, lora_binding **binding,
                                 kiln_error *err)
{
    *binding = NULL;
    kiln_status status = lora_open(path, file, err);
    return status == KILN_OK ? lora_bind(*file, LORA_UNET, g, binding, err) : status;
}

static void compare_parameters(const graph *g, tensor_file *expected, const char *name,
                               const lora_stack *stack)
{
    parameter_source source = lora_source(stack);
    int changed = 0;
    for (int i = 0; i < g->parameter_count; i++) {
        const parameter *p = &g->parameters[i];
        int64_t count = shape_count(p->shape);
        float *found = malloc((size_t)count * sizeof *found), *base = malloc((size_t)count * sizeof *base);
        assert_non_null(found);
        assert_non_null(base);
        kiln_error err = {0};
        if (source.read(source.self, p, i, found, &err) != KILN_OK)
            fail_msg("%s: %s", name, err.text);
        assert_int_equal(stack->base.read(stack->base.self, p, i, base, &err), KILN_OK);
        char tensor[96];
        const char *own = reference_name(p->canonical);
        snprintf(tensor, sizeof tensor, "%s.%s", name, own ? own : "none");
        if (tensor_file_find(expected, tensor)) {
            float *want = reference_floats(expected, tensor, NULL);
            double error = reference_error(found, want, count);
            if (!(error < 1e-6))
                fail_msg("%s: off by %g", tensor, error);
            free(want);
            changed++;
        } else {
            assert_memory_equal(found, base, (size_t)count * sizeof *found);
        }
        free(found);
        free(base);
    }
    assert_true(changed > 0);
}

static const char *const golden[] = {
    "kohya",     "original",   "peft",       "peft_adapter", "peft/adapter_model",
    "diffusers", "processors", "locon_core", "loha",         "loha_core",
    "lokr",      "lokr_core",  "dora",       "dora_rows",    "dora_peft",
    "ia3",       "full",       "glora",      "oft",          "boft"};

static void every_kind_as_torch_has_it(void **state)
{
    (void)state;
    tensor_file *expected = NULL;
    kiln_error err = {0};
    assert_int_equal(tensor_file_open(DATA "expected.safetensors", &expected, &err), KILN_OK);
    graph *g = small_graph();
    for (size_t i = 0; i < sizeof golden / sizeof *golden; i++) {
        char path[256];
        lora *file;
        lora_binding *binding;
        snprintf(path, sizeof path, DATA "%s.safetensors", golden[i]);
        if (open_and_bind(path, g, &file, &binding, &err) != KILN_OK)
            fail_msg("%s: %s", golden[i], err.text);
        lora_layer layer = {binding, 0.7, 0};
        lora_stack stack = {{read_reference, expected, NULL}, &layer, 1};
        compare_parameters(g, expected, golden[i], &stack);
        lora_binding_free(binding);
        lora_close(file);
    }
    graph_free(g);
    tensor_file_close(expected);
}

static void read_linear(const lora_stack *stack, const graph *g, float out[96])
{
    kiln_error err = {0};
    parameter_source source = lora_source(stack);
    assert_int_equal(source.read(source.self, &g->parameters[0], 0, out, &err), KILN_OK);
}

/* One after the other, each on what the former left; and nothing at all with strength 0. */
static void several_add_up(void **state)
{
    (void)state;
    tensor_file *expected = NULL;
    kiln_error err = {0};
    assert_int_equal(tensor_file_open(DATA "expected.safetensors", &expected, &err), KILN_OK);
    graph *g = small_graph();
    lora *file;
    lora_binding *binding;
    assert_int_equal(open_and_bind(DATA "kohya.safetensors", g, &file, &binding, &err), KILN_OK);
    lora_layer halves[] = {{binding, 0.3, 0}, {binding, 0, 0}, {binding, 0.4, 0}}, none = {binding, 0, 0},
               one_rank = {binding, 0.7, 1}, all_ranks = {binding, 0.7, 3};
    parameter_source base = {read_reference, expected, NULL};
    float found[96], again[96];
    read_linear(&(lora_stack){base, halves, 3}, g, found);
    float *want = reference_floats(expected, "kohya.linear", NULL);
    assert_true(reference_error(found, want, 96) < 1e-6);
    read_linear(&(lora_stack){base, &none, 1}, g, found);
    read_linear(&(lora_stack){base, NULL, 0}, g, again);
    assert_memory_equal(found, again, sizeof found);
    read_linear(&(lora_stack){base, &all_ranks, 1}, g, found);
    assert_true(reference_error(found, want, 96) < 1e-6);
    read_linear(&(lora_stack){base, &one_rank, 1}, g, found);
    assert_true(reference_error(found, want, 96) > 1e-3);
    free(want);
    lora_binding_free(binding);
    lora_close(file);
    graph_free(g);
    tensor_file_close(expected);
}

/* ------------------------------------------------------------------------------------ what is refused */

static void damaged_files_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        kiln_status status;
        const char *words;
    } cases[] = {{"bad_width", KILN_MISMATCH, "does not fit the model's weight"},
                 {"bad_half", KILN_BAD_FORMAT, "no up matrix"},
                 {"bad_rank", KILN_BAD_FORMAT, "ranks do not agree"},
                 {"bad_key", KILN_BAD_FORMAT, "surprise"},
                 {"bad_place", KILN_MISMATCH, "has no module 'side_block"},
                 {"bad_oft", KILN_UNSUPPORTED, "OFT"},
                 {"bad_flux", KILN_UNSUPPORTED, "FLUX"},
                 {"expected", KILN_BAD_FORMAT, "no tensor of a LoRA"},
                 {"gone", KILN_NOT_FOUND, "gone"}};
    graph *g = small_graph();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[256];
        lora *file;
        lora_binding *binding;
        kiln_error err = {0};
        snprintf(path, sizeof path, DATA "%s.safetensors", cases[i].file);
        kiln_status status = open_and_bind(path, g, &file, &binding, &err);
        if (status != cases[i].status || !strstr(err.text, cases[i].words))
            fail_msg("%s: %d, %s", cases[i].file, status, err.text);
        assert_null(binding);
        lora_close(file);
    }
    graph_free(g);
}

static void not_a_number_is_named(void **state)
{
    (void)state;
    graph *g = small_graph();
    lora *file;
    lora_binding *binding;
    kiln_error err = {0};
    float weight[96] = {0};
    assert_int_equal(open_and_bind(DATA "bad_nan.safetensors", g, &file, &binding, &err), KILN_OK);
    lora_layer layer = {binding, 1, 0};
    assert_int_equal(lora_merge(&layer, &g->parameters[0], 0, weight, &err), KILN_BAD_FORMAT);
    assert_non_null(strstr(err.text, "lora_up.weight"));
    lora_binding_free(binding);
    lora_close(file);
    graph_free(g);
}

/* ------------------------------------------------------------------------------------ real files */

static graph *real_graph(lora_network network, bool sd2)
{
    graph *g = graph_new();
    assert_non_null(g);
    if (network == LORA_UNET)
        unet_draw(g, sd2 ? &unet_sd21 : &unet_sd15,
                  &(unet_shape){.batch = 1, .height = 8, .width = 8, .context_tokens = 77});
    else
        clip_text_draw(
            g, &clip_text_l,
            &(clip_text_shape){.batch = 1, .tokens = 77, .outputs = CLIP_LAST_HIDDEN_STATE, .skip = 1});
    kiln_error err = {0};
    if (graph_finish(g, &err) != KILN_OK)
        fail_msg("%s", err.text);
    return g;
}

/* The square root of the sum of squares of all that a file adds to a network. */
static double length_of(const lora *file, lora_network network, bool sd2, int *modules)
{
    graph *g = real_graph(network, sd2);
    lora_binding *binding;
    kiln_error err = {0};
    double sum = 0;
    if (lora_bind(file, network, g, &binding, &err) != KILN_OK)
        fail_msg("%s", err.text);
    lora_layer layer = {binding, 1, 0};
    *modules = 0;
    for (int i = 0; i < g->parameter_count; i++) {
        bool bias;
        if (!lora_binding_module(binding, i, &bias))
            continue;
        int64_t count = shape_count(g->parameters[i].shape);
        float *weight = calloc((size_t)count, sizeof *weight);
        assert_non_null(weight);
        if (lora_merge(&layer, &g->parameters[i], i, weight, &err) != KILN_OK)
            fail_msg("%s", err.text);
        for (int64_t k = 0; k < count; k++)
            sum += (double)weight[k] * (double)weight[k];
        free(weight);
        ++*modules;
    }
    lora_binding_free(binding);
    graph_free(g);
    return sqrt(sum);
}

static void real_files_find_their_places(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        bool sd2;
        int unet, text;
        double unet_length, text_length; /* by torch */
    } cases[] = {
        {"catundchat_pytorch_lora_weights.bin", false, 128, 0, 26.772033881834105, 0},
        {"lora_disney.safetensors", false, 144, 48, 132.73885735865431, 5.258808783034924},
        {"pokemon_attnprocs_pytorch_lora_weights.safetensors", false, 128, 0, 23.98765348906398, 0},
        {"timohavdk_2100-lora.safetensors", false, 128, 0, 25.64350777704775, 0},
        {"vfph55_bf16_sd2_pytorch_lora_weights.safetensors", true, 128, 0, 31.501191711895228, 0},
    };
    if (access(REAL, R_OK) != 0) {
        print_message("the real files are not here\n");
        skip();
    }
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[512];
        lora *file;
        kiln_error err = {0};
        int modules;
        snprintf(path, sizeof path, REAL "%s", cases[i].file);
        if (lora_open(path, &file, &err) != KILN_OK)
            fail_msg("%s", err.text);
        assert_int_equal(lora_count(file, LORA_TEXT), cases[i].text);
        double found = length_of(file, LORA_UNET, cases[i].sd2, &modules);
        assert_int_equal(modules, cases[i].unet);
        if (!(fabs(found / cases[i].unet_length - 1) < 1e-5))
            fail_msg("%s: the UNet's differences have the length %.9g", cases[i].file, found);
        if (cases[i].text) {
            found = length_of(file, LORA_TEXT, false, &modules);
            assert_int_equal(modules, cases[i].text);
            if (!(fabs(found / cases[i].text_length - 1) < 1e-5))
                fail_msg("%s: the text encoder's differences have the length %.9g", cases[i].file, found);
        }
        lora_close(file);
    }
}

/* Made for Stable Diffusion 2, which reads wider texts. */
static void a_foreign_family_is_named(void **state)
{
    (void)state;
    lora *file;
    lora_binding *binding;
    kiln_error err = {0};
    if (access(REAL, R_OK) != 0)
        skip();
    assert_int_equal(lora_open(REAL "vfph55_bf16_sd2_pytorch_lora_weights.safetensors", &file, &err),
                     KILN_OK);
    graph *g = real_graph(LORA_UNET, false);
    assert_int_equal(lora_bind(file, LORA_UNET, g, &binding, &err), KILN_MISMATCH);
    assert_non_null(strstr(err.text, "made for Stable Diffusion 2"));
    graph_free(g);
    lora_close(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_as_torch_has_it),   cmocka_unit_test(several_add_up),
        cmocka_unit_test(damaged_files_are_refused),    cmocka_unit_test(not_a_number_is_named),
        cmocka_unit_test(real_files_find_their_places), cmocka_unit_test(a_foreign_family_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
