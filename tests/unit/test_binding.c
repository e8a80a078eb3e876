/* test_binding.c - parameters meet tensors: both dialects, parts, transposes, old names, and what does not fit.
 * floors: base tensor formats graph ops backend nn model weights */
#include "formats/safetensors.h"
#include "unit/same_config.h"
#include "unit/sparse_checkpoint.h"
#include "weights/probe.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[] = "/tmp/kiln-binding-XXXXXX";

/* A few may be in use at once. */
static const char *in_folder(const char *name)
{
    static char paths[4][256];
    static int turn;
    char *path = paths[turn = (turn + 1) % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(in_folder("a.safetensors"));
    return rmdir(folder);
}

typedef struct made {
    const char *name;
    shape shape;
    float first; /* element i is first + i */
    dtype type;
} made;

static void make_file(const made *tensors, int count)
{
    safetensors_writer *w;
    kiln_error err;
    assert_int_equal(safetensors_writer_open(in_folder("a.safetensors"), &w, &err), KILN_OK);
    for (int i = 0; i < count; i++)
        assert_int_equal(
            safetensors_writer_declare(w, tensors[i].name, tensors[i].type, tensors[i].shape, &err), KILN_OK);
    for (int i = 0; i < count; i++) {
        float x[256] = {0};
        unsigned char bytes[2048] = {0};
        int64_t n = shape_count(tensors[i].shape);
        for (int64_t k = 0; k < n; k++)
            x[k] = tensors[i].first + (float)k;
        if (dtype_is_floating(tensors[i].type))
            convert_from_f32(x, bytes, tensors[i].type, (size_t)n);
        assert_int_equal(safetensors_writer_write(w, tensors[i].name, bytes,
                                                  (size_t)n * dtype_size(tensors[i].type), &err),
                         KILN_OK);
    }
    assert_int_equal(safetensors_writer_finish(w, &err), KILN_OK);
}

/* q, k, v of [2,2] in one matrix; a transposed [2,3]; a 1x1 convolution stored as a matrix; an old VAE name. */
static graph *draw_marks(void)
{
    graph *g = graph_new();
    at root = graph_root(g), attention = in(root, "attn", "attn");
    graph_parameter(in(attention, "q_proj", "in_proj_*[0/3]"), "weight", SHAPE2(2, 2), ROLE_WEIGHT);
    graph_parameter(in(attention, "k_proj", "in_proj_*[1/3]"), "weight", SHAPE2(2, 2), ROLE_WEIGHT);
    graph_parameter(in(attention, "v_proj", "in_proj_*[2/3]"), "weight", SHAPE2(2, 2), ROLE_WEIGHT);
    graph_parameter(in(root, "text_projection", "text_projection!^T"), "weight", SHAPE2(2, 3), ROLE_WEIGHT);
    graph_parameter(same(root, "proj_in"), "weight", SHAPE4(2, 2, 1, 1), ROLE_WEIGHT);
    return g;
}

static kiln_status open_and_bind(const graph *g, const char *prefix, dialect names, tensor_file **file,
                                 weights **w, kiln_error *err)
{
    assert_int_equal(tensor_file_open(in_folder("a.safetensors"), file, err), KILN_OK);
    weights_place place = {*file, prefix, names};
    return weights_bind(g, &place, 1, w, err);
}

static void marks_are_honoured(void **state)
{
    (void)state;
    const made tensors[] = {{"m.attn.in_proj_weight", SHAPE2(6, 2), 0, DTYPE_F16},
                            {"m.text_projection", SHAPE2(3, 2), 100, DTYPE_F32},
                            {"m.proj_in.weight", SHAPE2(2, 2), 50, DTYPE_BF16},
                            {"m.more", SHAPE1(1), 0, DTYPE_F32},
                            {"m.position_ids", SHAPE1(1), 0, DTYPE_I64},
                            {"other", SHAPE1(1), 0, DTYPE_F32}};
    make_file(tensors, 6);
    graph *g = draw_marks();
    tensor_file *file;
    weights *w;
    kiln_error err;
    float x[6];
    assert_int_equal(open_and_bind(g, "m.", DIALECT_ORIGINAL, &file, &w, &err), KILN_OK);
    parameter_source source = weights_source(w);
    for (int part = 0; part < 3; part++) {
        assert_int_equal(source.read(source.self, &g->parameters[part], part, x, &err), KILN_OK);
        for (int i = 0; i < 4; i++)
            assert_true(x[i] == (float)(4 * part + i));
    }
    assert_int_equal(source.read(source.self, &g->parameters[3], 3, x, &err), KILN_OK);
    const float transposed[] = {100, 102, 104, 101, 103, 105};
    assert_memory_equal(x, transposed, sizeof transposed);
    assert_int_equal(source.read(source.self, &g->parameters[4], 4, x, &err), KILN_OK);
    assert_true(x[3] == 53.0f);
    assert_int_equal(weights_type(w, 4), DTYPE_BF16);
    const weights *list[] = {w};
    const char **names;
    int count;
    assert_int_equal(weights_unexpected(list, 1, &names, &count, &err), KILN_OK);
    assert_int_equal(count, 1);
    assert_string_equal(names[0], "m.more");
    free(names);
    weights_free(w);
    tensor_file_close(file);
    graph_free(g);
}

static void all_problems_are_named(void **state)
{
    (void)state;
    const made tensors[] = {{"m.attn.in_proj_weight", SHAPE2(4, 2), 0, DTYPE_F16},
                            {"m.proj_in.weight", SHAPE2(2, 3), 50, DTYPE_BF16}};
    make_file(tensors, 2);
    graph *g = draw_marks();
    tensor_file *file;
    weights *w = (weights *)g;
    kiln_error err;
    assert_int_equal(open_and_bind(g, "m.", DIALECT_ORIGINAL, &file, &w, &err), KILN_MISMATCH);
    assert_null(w);
    assert_non_null(strstr(err.text, "a.safetensors: 1 tensor is missing: 'm.text_projection'"));
    assert_non_null(strstr(err.text, "'m.attn.in_proj_weight' is [4,2], expected [6,2]"));
    assert_non_null(strstr(err.text, "'m.proj_in.weight' is [2,3], expected [2,2,1,1]"));
    tensor_file_close(file);
    graph_free(g);
}

static void many_problems_are_counted(void **state)
{
    (void)state;
    const made tensors[] = {{"x", SHAPE1(1), 0, DTYPE_F32}};
    make_file(tensors, 1);
    graph *g = graph_new();
    unet_draw(g, &unet_sd15, &(unet_shape){.batch = 1, .height = 8, .width = 8, .context_tokens = 1});
    assert_int_equal(graph_finish(g, NULL), KILN_OK);
    tensor_file *file;
    weights *w;
    kiln_error err;
    assert_int_equal(open_and_bind(g, "", DIALECT_CANONICAL, &file, &w, &err), KILN_MISMATCH);
    assert_non_null(strstr(err.text, "686 tensors are missing: '"));
    assert_non_null(strstr(err.text, " more"));
    tensor_file_close(file);
    graph_free(g);
}

static void whole_numbers_are_no_weights(void **state)
{
    (void)state;
    const made tensors[] = {{"a.weight", SHAPE1(2), 0, DTYPE_I64}};
    make_file(tensors, 1);
    graph *g = graph_new();
    graph_parameter(same(graph_root(g), "a"), "weight", SHAPE1(2), ROLE_WEIGHT);
    tensor_file *file;
    weights *w;
    kiln_error err;
    assert_int_equal(open_and_bind(g, "", DIALECT_CANONICAL, &file, &w, &err), KILN_UNSUPPORTED);
    assert_non_null(strstr(err.text, "'a.weight' has the element type I64"));
    tensor_file_close(file);
    graph_free(g);
}

static void old_names_bind(void **state)
{
    (void)state;
    const made tensors[] = {{"decoder.mid_block.attentions.0.query.weight", SHAPE2(2, 2), 7, DTYPE_F32},
                            {"encoder.layers.0.x.weight", SHAPE1(2), 9, DTYPE_F32}};
    make_file(tensors, 2);
    graph *g = graph_new();
    at root = graph_root(g);
    graph_parameter(same(root, "decoder.mid_block.attentions.0.to_q"), "weight", SHAPE2(2, 2), ROLE_WEIGHT);
    graph_parameter(same(root, "text_model.encoder.layers.0.x"), "weight", SHAPE1(2), ROLE_WEIGHT);
    tensor_file *file;
    weights *w;
    kiln_error err;
    assert_int_equal(open_and_bind(g, "", DIALECT_CANONICAL, &file, &w, &err), KILN_OK);
    float x[4];
    parameter_source source = weights_source(w);
    assert_int_equal(source.read(source.self, &g->parameters[0], 0, x, &err), KILN_OK);
    assert_true(x[0] == 7.0f && x[3] == 10.0f);
    weights_free(w);
    tensor_file_close(file);
    graph_free(g);
}

/* ------------------------------------------------------------------------------------ reference models */

static void skip_without(const char *path)
{
    if (access(path, R_OK) != 0) {
        print_message("%s is absent\n", path);
        skip();
    }
}

static void read_one(const graph *g, const weights *w)
{
    kiln_error err;
    float *x = malloc((size_t)shape_count(g->parameters[0].shape) * sizeof *x);
    parameter_source source = weights_source(w);
    assert_int_equal(source.read(source.self, &g->parameters[0], 0, x, &err), KILN_OK);
    free(x);
}

/* Every parameter binds, and nothing is left over but `leftover` tensors. */
static model_parts *open_whole(const char *path, const char *hints, model_family family,
                               unsigned parts_expected, int leftover)
{
    model_parts *parts;
    kiln_error err = {0};
    skip_without(path);
    if (probe_open(path, &(probe_options){.hints = hints}, &parts, &err))
        fail_msg("%s", err.text);
    assert_int_equal(parts->family, family);
    const weights *all[PART_COUNT + 1];
    int count = 0;
    for (int k = 0; k < PART_COUNT; k++) {
        assert_int_equal(parts->part[k].present, (parts_expected >> k) & 1);
        for (int half = 0; half < (k == PART_VAE ? 2 : 1) && parts->part[k].present; half++) {
            graph *g = probe_draw(parts, (part_kind)k, half == 1, &err);
            weights *w;
            if (!g || weights_bind(g, &parts->part[k].place, 1, &w, &err))
                fail_msg("%s", err.text);
            all[count++] = w;
            read_one(g, w);
            graph_free(g);
        }
    }
    const char **names;
    int unexpected;
    assert_int_equal(weights_unexpected(all, count, &names, &unexpected, &err), KILN_OK);
    if (unexpected != leftover)
        fail_msg("%s: %d unexpected tensors, the first is %s", path, unexpected, names[0]);
    free(names);
    for (int i = 0; i < count; i++)
        weights_free((weights *)all[i]);
    return parts;
}

static void check_whole(const char *path, const char *hints, model_family family, unsigned parts_expected,
                        int leftover)
{
    probe_close(open_whole(path, hints, family, parts_expected, leftover));
}

enum {
    THREE = 1 << PART_UNET | 1 << PART_VAE | 1 << PART_TEXT,
    FOUR = THREE | 1 << PART_TEXT_2,
    UNET = 1 << PART_UNET
};

static void folders_bind(void **state)
{
    (void)state;
    check_whole(TEST_SHARED "/golden/models/sd1-tiny", NULL, FAMILY_SD1, THREE, 0);
    check_whole(TEST_SHARED "/golden/models/sd2v-tiny/", NULL, FAMILY_SD2, THREE, 0);
    check_whole(TEST_SHARED "/golden/models/sdxl-tiny", NULL, FAMILY_SDXL, FOUR, 0);
    check_whole(TEST_SHARED "/golden/models/inpaint-tiny", NULL, FAMILY_SD1, UNET, 0);
    check_whole(TEST_SHARED "/golden/models/x4unet-tiny", NULL, FAMILY_X4_UPSCALER, UNET, 0);
    check_whole(TEST_SHARED "/golden/models/x4unet-tiny/unet", NULL, FAMILY_X4_UPSCALER, UNET, 0);
}

static void single_files_bind(void **state)
{
    (void)state;
    static const char hints[] = TEST_SHARED "/golden/single_file/hints.json";
    check_whole(TEST_SHARED "/golden/single_file/sd1-single.ckpt", hints, FAMILY_SD1, THREE, 0);
    /* The unused last layer (12 tensors) and text_projection. */
    check_whole(TEST_SHARED "/golden/single_file/sd2-single.safetensors", hints, FAMILY_SD2, THREE, 13);
    check_whole(TEST_SHARED "/golden/single_file/sdxl-single.safetensors", hints, FAMILY_SDXL, FOUR, 0);
}

/* Real headers of full-size checkpoints: what is told from their tensors alone is what the published config.json say. */
static void real_checkpoints_bind(void **state)
{
    (void)state;
    static const struct {
        const char *keys, *prefix;
        model_family family;
        unsigned parts;
        int leftover;
        const unet_config *unet;
        const vae_config *vae;
        const clip_text_config *text, *text_2;
    } cases[] = {
        {"sd15", "", FAMILY_SD1, THREE, 0, &unet_sd15, &vae_sd, &clip_text_l, NULL},
        {"sd21", "", FAMILY_SD2, THREE, 13, &unet_sd21, &vae_sd, &clip_text_h, NULL},
        {"sdxl", "", FAMILY_SDXL, FOUR, 0, &unet_sdxl, &vae_sdxl, &clip_text_l, &clip_text_big_g},
        {"sd15-inpaint-unet", "", FAMILY_SD1, UNET, 0, &unet_sd15_inpaint, NULL, NULL, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char keys[512];
        int tensors;
        snprintf(keys, sizeof keys, TEST_SHARED "/golden/keys/%s.txt", cases[i].keys);
        skip_without(keys);
        assert_true(sparse_checkpoint(keys, cases[i].prefix, in_folder("a.safetensors"), &tensors) > 0);
        model_parts *parts =
            open_whole(in_folder("a.safetensors"), NULL, cases[i].family, cases[i].parts, cases[i].leftover);
        assert_same_unet(&parts->unet, cases[i].unet);
        if (cases[i].vae)
            assert_int_equal(parts->vae.scaling_factor == cases[i].vae->scaling_factor, 1);
        if (cases[i].text)
            assert_same_text(&parts->text, cases[i].text);
        if (cases[i].text_2)
            assert_same_text(&parts->text_2, cases[i].text_2);
        probe_close(parts);
    }
}

/* Folders and neighbours made of links to the reference model's files. */
static void link_to(const char *from, const char *name)
{
    char target[600];
    snprintf(target, sizeof target, TEST_SHARED "/golden/%s", from);
    assert_int_equal(symlink(target, in_folder(name)), 0);
}

static void variants_are_found(void **state)
{
    (void)state;
    skip_without(TEST_SHARED "/golden/models/sd1-tiny");
    unlink(in_folder("a.safetensors"));
    link_to("models/sd1-tiny/vae/config.json", "config.json");
    link_to("models/sd1-tiny/vae/diffusion_pytorch_model.safetensors",
            "diffusion_pytorch_model.fp16.safetensors");
    check_whole(folder, NULL, FAMILY_OTHER, 1 << PART_VAE, 0);
    /* A file within a component's folder is that component. */
    check_whole(in_folder("diffusion_pytorch_model.fp16.safetensors"), NULL, FAMILY_OTHER, 1 << PART_VAE, 0);
    unlink(in_folder("config.json"));
    /* Without config.json a VAE's shape is told from the tensors in diffusers' names, too (but for the groups). */
    model_parts *parts;
    kiln_error err;
    probe_options o = {.vae = in_folder("diffusion_pytorch_model.fp16.safetensors")};
    int refused = probe_open(TEST_SHARED "/golden/models/sd1-tiny", &o, &parts, &err);
    assert_int_equal(refused, KILN_BAD_FORMAT);
    assert_non_null(strstr(err.text, "'norm_num_groups' 32 does not divide"));
    unlink(in_folder("diffusion_pytorch_model.fp16.safetensors"));
}

static void the_neighbour_vae_is_taken(void **state)
{
    (void)state;
    skip_without(TEST_SHARED "/golden/single_file/sd1-single.ckpt");
    model_parts *parts;
    kiln_error err = {0};
    link_to("single_file/sd1-single.ckpt", "model.ckpt");
    link_to("single_file/sdxl-single.safetensors", "model.vae.pt");
    probe_options o = {.hints = TEST_SHARED "/golden/single_file/hints.json"};
    if (probe_open(in_folder("model.ckpt"), &o, &parts, &err))
        fail_msg("%s", err.text);
    assert_non_null(strstr(tensor_file_path(parts->part[PART_VAE].place.file), "model.vae.pt"));
    assert_non_null(strstr(tensor_file_path(parts->part[PART_UNET].place.file), "model.ckpt"));
    assert_float_equal(parts->vae.scaling_factor, 0.18215f, 0);
    probe_close(parts);
    unlink(in_folder("model.ckpt"));
    unlink(in_folder("model.vae.pt"));
}

static void write_text(const char *name, const char *text)
{
    FILE *f = fopen(in_folder(name), "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void broken_descriptions_are_refused(void **state)
{
    (void)state;
    static const char *const indexes[] = {"",
                                          "[]",
                                          "{",
                                          "{\"unet\": 3}",
                                          "{\"unet\": [1, 2], \"vae\": [null, {}]}",
                                          "{\"transformer\": [\"diffusers\", \"FluxTransformer2DModel\"]}"};
    model_parts *parts;
    kiln_error err;
    for (size_t i = 0; i < sizeof indexes / sizeof *indexes; i++) {
        write_text("model_index.json", indexes[i]);
        kiln_status status = probe_open(folder, NULL, &parts, &err);
        if (status == KILN_OK)
            assert_int_equal(probe_require(parts, 1u << PART_UNET, &err), KILN_NOT_FOUND);
        probe_close(parts);
    }
    assert_non_null(strstr(err.text, "FluxTransformer2DModel"));
    unlink(in_folder("model_index.json"));
    static const char *const hints[] = {"", "3", "{\"heads\": \"eight\"}", "{\"heads\": -1}",
                                        "{\"vae_scaling\": \"x\"}"};
    for (size_t i = 0; i < sizeof hints / sizeof *hints; i++) {
        write_text("hints.json", hints[i]);
        skip_without(TEST_SHARED "/golden/single_file/sd1-single.ckpt");
        probe_options o = {.hints = in_folder("hints.json")};
        assert_int_not_equal(probe_open(TEST_SHARED "/golden/single_file/sd1-single.ckpt", &o, &parts, &err),
                             KILN_OK);
        assert_non_null(strstr(err.text, "hints.json"));
    }
    unlink(in_folder("hints.json"));
}

static void missing_parts_are_named(void **state)
{
    (void)state;
    static const char path[] = TEST_SHARED "/golden/models/inpaint-tiny";
    skip_without(path);
    model_parts *parts;
    kiln_error err;
    assert_int_equal(probe_open(path, NULL, &parts, &err), KILN_OK);
    assert_int_equal(probe_require(parts, 1u << PART_UNET, &err), KILN_OK);
    assert_int_equal(probe_require(parts, probe_drawing_parts(parts), &err), KILN_NOT_FOUND);
    assert_non_null(strstr(err.text, "the model lacks vae (there is no folder 'vae'), text_encoder ("));
    assert_string_equal(parts->family_text, "Stable Diffusion 1 inpainting");
    probe_close(parts);
    probe_options with_vae = {.vae = TEST_SHARED "/golden/models/sd1-tiny/vae"};
    assert_int_equal(probe_open(path, &with_vae, &parts, &err), KILN_OK);
    assert_true(parts->part[PART_VAE].present);
    probe_close(parts);
    with_vae.vae = TEST_SHARED "/golden/models/sd1-tiny/vae/diffusion_pytorch_model.safetensors";
    assert_int_equal(probe_open(path, &with_vae, &parts, &err), KILN_OK);
    assert_int_equal(parts->vae.groups, 4);
    probe_close(parts);
    with_vae.vae = TEST_SHARED "/golden/single_file/sd1-single.ckpt";
    assert_int_equal(probe_open(path, &with_vae, &parts, &err), KILN_OK);
    assert_int_equal(parts->vae.channels[0], 32);
    probe_close(parts);
}

static void what_is_no_model_is_refused(void **state)
{
    (void)state;
    const made tensors[] = {{"a.weight", SHAPE1(2), 0, DTYPE_F32}};
    model_parts *parts = (model_parts *)folder;
    kiln_error err;
    unlink(in_folder("a.safetensors"));
    assert_int_equal(probe_open(folder, NULL, &parts, &err), KILN_NOT_FOUND);
    assert_null(parts);
    assert_int_equal(probe_open(in_folder("none"), NULL, &parts, &err), KILN_NOT_FOUND);
    make_file(tensors, 1);
    assert_int_equal(probe_open(in_folder("a.safetensors"), NULL, &parts, &err), KILN_UNSUPPORTED);
    assert_non_null(strstr(err.text, "a.safetensors: "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(marks_are_honoured),
        cmocka_unit_test(all_problems_are_named),
        cmocka_unit_test(many_problems_are_counted),
        cmocka_unit_test(whole_numbers_are_no_weights),
        cmocka_unit_test(old_names_bind),
        cmocka_unit_test(folders_bind),
        cmocka_unit_test(single_files_bind),
        cmocka_unit_test(missing_parts_are_named),
        cmocka_unit_test(what_is_no_model_is_refused),
        cmocka_unit_test(real_checkpoints_bind),
        cmocka_unit_test(variants_are_found),
        cmocka_unit_test(the_neighbour_vae_is_taken),
        cmocka_unit_test(broken_descriptions_are_refused),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
