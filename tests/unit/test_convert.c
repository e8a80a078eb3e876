/* test_convert.c - checkpoints to folders and back, element types, names kept; and that failures leave nothing.
 * floors: base tensor formats graph ops backend plan nn model text weights diffusion image pipeline */
#include "formats/tensor_file.h"
#include "kiln/kiln.h"
#include "pipeline/convert.h"
#include "text/tokenizer.h"
#include "unit/same_config.h"
#include "weights/probe.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MODELS TEST_SHARED "/golden/models/"
#define SINGLE TEST_SHARED "/golden/single_file/"

static char folder[64];

/* A path in the test's folder; a few may be in use at once. */
static const char *at_test(const char *name)
{
    static char paths[8][512];
    static int turn;
    char *path = paths[turn = (turn + 1) % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/kiln-convert-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *about, int kind, struct FTW *where)
{
    (void)about;
    (void)kind;
    (void)where;
    return remove(path);
}

static int remove_folder(void **state)
{
    (void)state;
    return nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static int entries_in(const char *path)
{
    DIR *d = opendir(path);
    int n = 0;
    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n - 2;
}

static void skip_without(const char *path)
{
    if (access(path, R_OK) != 0) {
        print_message("%s is absent\n", path);
        skip();
    }
}

static void convert(const char *from, const char *to, const char *type, const char *hints)
{
    kiln_error err = {0};
    kiln_convert_options o = kiln_convert_defaults();
    o.type = type;
    o.hints = hints;
    if (kiln_convert(from, to, &o, &err))
        fail_msg("%s -> %s: %s", from, to, err.text);
}

/* Every tensor of `a` is in `b` with the same shape, type and bytes. */
static void check_contained(const char *path_a, const char *path_b)
{
    tensor_file *a, *b;
    kiln_error err;
    assert_int_equal(tensor_file_open(path_a, &a, &err), KILN_OK);
    assert_int_equal(tensor_file_open(path_b, &b, &err), KILN_OK);
    assert_true(tensor_file_count(a) > 0);
    for (size_t i = 0; i < tensor_file_count(a); i++) {
        const tensor_entry *x = tensor_file_entry(a, i), *y = tensor_file_find(b, x->name);
        if (!y && weights_is_harmless(x->name))
            continue;
        if (!y || !shape_equal(x->shape, y->shape) || x->type != y->type)
            fail_msg("%s: '%s' is missing or differs in %s", path_a, x->name, path_b);
        size_t bytes = (size_t)tensor_entry_bytes(x);
        void *p = malloc(bytes), *q = malloc(bytes);
        assert_int_equal(tensor_file_read(a, x, p, &err), KILN_OK);
        assert_int_equal(tensor_file_read(b, y, q, &err), KILN_OK);
        if (memcmp(p, q, bytes) != 0)
            fail_msg("%s: '%s' has other values than in %s", path_a, x->name, path_b);
        free(p);
        free(q);
    }
    tensor_file_close(a);
    tensor_file_close(b);
}

static void check_same_tensors(const char *a, const char *b)
{
    check_contained(a, b);
    check_contained(b, a);
}

static void round_trip(const char *name, const char *const *parts)
{
    char path[600], back[600], source[512], single[64];
    snprintf(source, sizeof source, MODELS "%s", name);
    skip_without(source);
    snprintf(single, sizeof single, "%s.safetensors", name);
    convert(source, at_test(single), NULL, NULL);
    convert(at_test(single), at_test(name), NULL, NULL);
    for (; *parts; parts++) {
        snprintf(path, sizeof path, "%s/%s", source, *parts);
        snprintf(back, sizeof back, "%s/%s", at_test(name), *parts);
        check_same_tensors(path, back);
    }
}

static void folders_survive_the_round_trip(void **state)
{
    (void)state;
    static const char *const three[] = {"unet", "vae", "text_encoder", NULL};
    static const char *const four[] = {"unet", "vae", "text_encoder", "text_encoder_2", NULL};
    round_trip("sd1-tiny", three);
    round_trip("sd2v-tiny", three);
    round_trip("sdxl-tiny", four);
}

/* Both hold the same configuration and, for every parameter, the same values. */
static void check_same_model(const char *a, const char *hints, const char *b)
{
    model_parts *p, *q;
    kiln_error err = {0};
    if (probe_open(a, &(probe_options){.hints = hints}, &p, &err) || probe_open(b, NULL, &q, &err))
        fail_msg("%s", err.text);
    assert_int_equal(p->family, q->family);
    assert_string_equal(p->prediction, q->prediction);
    assert_memory_equal(&p->unet, &q->unet, sizeof p->unet);
    assert_float_equal(p->vae.scaling_factor, q->vae.scaling_factor, 0);
    assert_int_equal(p->text.layers, q->text.layers);
    assert_int_equal(p->text.heads, q->text.heads);
    assert_int_equal(p->text.quick_gelu, q->text.quick_gelu);
    for (int k = 0; k < PART_COUNT; k++) {
        assert_int_equal(p->part[k].present, q->part[k].present);
        for (int half = 0; half < (k == PART_VAE ? 2 : 1) && p->part[k].present; half++) {
            graph *g = probe_draw(p, (part_kind)k, half == 1, &err),
                  *h = probe_draw(q, (part_kind)k, half == 1, &err);
            weights *v, *w;
            if (!g || !h || weights_bind(g, &p->part[k].place, 1, &v, &err) ||
                weights_bind(h, &q->part[k].place, 1, &w, &err))
                fail_msg("%s", err.text);
            assert_int_equal(g->parameter_count, h->parameter_count);
            for (int i = 0; i < g->parameter_count; i++) {
                size_t count = (size_t)shape_count(g->parameters[i].shape);
                float *x = malloc(count * sizeof *x), *y = malloc(count * sizeof *y);
                parameter_source s = weights_source(v), t = weights_source(w);
                assert_int_equal(s.read(s.self, &g->parameters[i], i, x, &err), KILN_OK);
                assert_int_equal(t.read(t.self, &h->parameters[i], i, y, &err), KILN_OK);
                assert_memory_equal(x, y, count * sizeof *x);
                free(x);
                free(y);
            }
            weights_free(v);
            weights_free(w);
            graph_free(g);
            graph_free(h);
        }
    }
    probe_close(p);
    probe_close(q);
}

static void checkpoints_become_folders(void **state)
{
    (void)state;
    static const char *const names[] = {"sd1-single.ckpt", "sd2-single.safetensors",
                                        "sdxl-single.safetensors"};
    for (int i = 0; i < 3; i++) {
        char path[512], to[32];
        snprintf(path, sizeof path, SINGLE "%s", names[i]);
        skip_without(path);
        snprintf(to, sizeof to, "folder%d/", i);
        convert(path, at_test(to), NULL, SINGLE "hints.json");
        check_same_model(path, SINGLE "hints.json", at_test(to));
        assert_int_equal(access(at_test("folder0/scheduler/scheduler_config.json"), R_OK), 0);
        assert_int_equal(access(at_test("folder0/model_index.json"), R_OK), 0);
    }
}

/* Checkpoint to folder to checkpoint: every tensor written is one of the original file, byte for byte. */
static void checkpoints_come_back(void **state)
{
    (void)state;
    static const char *const names[] = {"sd1-single.ckpt", "sd2-single.safetensors",
                                        "sdxl-single.safetensors"};
    static const size_t unused[] = {0, 13, 0}; /* SD 2: its last layer and projection */
    for (int i = 0; i < 3; i++) {
        char path[512], there[32], back[64];
        snprintf(path, sizeof path, SINGLE "%s", names[i]);
        skip_without(path);
        snprintf(there, sizeof there, "there%d", i);
        snprintf(back, sizeof back, "back%d.safetensors", i);
        convert(path, at_test(there), NULL, SINGLE "hints.json");
        convert(at_test(there), at_test(back), NULL, NULL);
        check_contained(at_test(back), path);
        tensor_file *a, *b;
        kiln_error err;
        assert_int_equal(tensor_file_open(path, &a, &err), KILN_OK);
        assert_int_equal(tensor_file_open(at_test(back), &b, &err), KILN_OK);
        size_t harmless = 0;
        for (size_t k = 0; k < tensor_file_count(a); k++)
            harmless += weights_is_harmless(tensor_file_entry(a, k)->name);
        assert_int_equal(tensor_file_count(b), tensor_file_count(a) - harmless - unused[i]);
        tensor_file_close(a);
        tensor_file_close(b);
    }
}

/* CLIP below cond_stage_model.transformer. without its "text_model." level, as some merges have it. */
static void bare_text_encoders_are_found(void **state)
{
    (void)state;
    skip_without(MODELS "sd1-tiny");
    model_parts *parts, *again;
    kiln_error err = {0};
    weights *w, *bound;
    safetensors_writer *writer;
    assert_int_equal(probe_open(MODELS "sd1-tiny", NULL, &parts, &err), KILN_OK);
    parts->text.dialect = CLIP_DIALECT_BARE;
    graph *g = probe_draw(parts, PART_TEXT, false, &err);
    assert_int_equal(weights_bind(g, &parts->part[PART_TEXT].place, 1, &w, &err), KILN_OK);
    weights_output output = {.graph = g,
                             .source = weights_source(w),
                             .prefix = CLIP_PREFIX_SD1,
                             .dialect = DIALECT_ORIGINAL,
                             .type = DTYPE_F32};
    assert_int_equal(safetensors_writer_open(at_test("bare.safetensors"), &writer, &err), KILN_OK);
    assert_int_equal(weights_declare(writer, &output, &err), KILN_OK);
    assert_int_equal(weights_write(writer, &output, NULL, &err), KILN_OK);
    assert_int_equal(safetensors_writer_finish(writer, &err), KILN_OK);
    if (probe_open(at_test("bare.safetensors"), NULL, &again, &err))
        fail_msg("%s", err.text);
    assert_true(again->part[PART_TEXT].present);
    assert_int_equal(again->text.dialect, CLIP_DIALECT_BARE);
    graph *h = probe_draw(again, PART_TEXT, false, &err);
    if (weights_bind(h, &again->part[PART_TEXT].place, 1, &bound, &err))
        fail_msg("%s", err.text);
    weights_free(bound);
    weights_free(w);
    graph_free(g);
    graph_free(h);
    probe_close(parts);
    probe_close(again);
}

/* Numbers that half precision does not hold are named, not turned to infinity. */
static void ranges_are_checked(void **state)
{
    (void)state;
    kiln_error err;
    const float small[] = {65504.0f, -65519.0f, INFINITY}, large[] = {1.0f, -65520.0f};
    assert_int_equal(weights_check_range("a", DTYPE_F16, small, 3, &err), KILN_OK);
    assert_int_equal(weights_check_range("a", DTYPE_F16, large, 2, &err), KILN_MISMATCH);
    assert_non_null(strstr(err.text, "'a' holds -65520, which is too large for F16"));
    assert_int_equal(weights_check_range("a", DTYPE_BF16, large, 2, &err), KILN_OK);
}

static void names_are_kept(void **state)
{
    (void)state;
    skip_without(SINGLE "sd1-single.ckpt");
    convert(SINGLE "sd1-single.ckpt", at_test("kept.safetensors"), NULL, NULL);
    check_contained(SINGLE "sd1-single.ckpt", at_test("kept.safetensors"));
    convert(SINGLE "sd1-single.ckpt", at_test("f32.safetensors"), "f32", NULL);
    tensor_file *file;
    kiln_error err;
    assert_int_equal(tensor_file_open(at_test("f32.safetensors"), &file, &err), KILN_OK);
    assert_int_equal(tensor_file_find(file, "model.diffusion_model.out.2.bias")->type, DTYPE_F32);
    assert_int_equal(
        tensor_file_find(file, "cond_stage_model.transformer.text_model.embeddings.position_ids")->type,
        DTYPE_I64);
    tensor_file_close(file);
}

static void types_are_changed(void **state)
{
    (void)state;
    skip_without(MODELS "sd1-tiny");
    convert(MODELS "sd1-tiny", at_test("half"), "f16", NULL);
    tensor_file *a, *b;
    kiln_error err;
    assert_int_equal(tensor_file_open(MODELS "sd1-tiny/unet", &a, &err), KILN_OK);
    assert_int_equal(tensor_file_open(at_test("half/unet"), &b, &err), KILN_OK);
    const tensor_entry *x = tensor_file_entry(a, 0), *y = tensor_file_find(b, x->name);
    assert_int_equal(y->type, DTYPE_F16);
    float p, q;
    assert_int_equal(tensor_file_read_f32(a, x, 0, 1, &p, &err), KILN_OK);
    assert_int_equal(tensor_file_read_f32(b, y, 0, 1, &q, &err), KILN_OK);
    assert_true(p != 0.0f && fabsf(p - q) <= fabsf(p) * 0.0005f);
    tensor_file_close(a);
    tensor_file_close(b);
    assert_int_equal(access(at_test("half/tokenizer/merges.txt"), R_OK), 0);
}

/* vocab.json and merges.txt written from OpenAI's file are the same tokenizer. */
static void tokenizers_are_written(void **state)
{
    (void)state;
    static const char text[] =
        "a photograph of an astronaut riding a horse, 4k!! ca\xc3\xb1on \xf0\x9f\x90\xb4 1234";
    skip_without(TEST_ROOT "/data/clip/bpe_simple_vocab_16e6.txt.gz");
    bool written;
    kiln_error err = {0};
    char to[600];
    tokenizer *a, *b;
    token_list x = {0}, y = {0};
    snprintf(to, sizeof to, "%s", at_test("tokenizer"));
    assert_int_equal(mkdir(to, 0700), 0);
    assert_int_equal(convert_tokenizer(NULL, TEST_ROOT "/data", 1000, "!", to, &written, &err), KILN_OK);
    assert_false(written);
    if (convert_tokenizer(NULL, TEST_ROOT "/data", 49408, "<|endoftext|>", to, &written, &err) || !written ||
        tokenizer_open(to, &a, &err) ||
        tokenizer_open_gz(TEST_ROOT "/data/clip/bpe_simple_vocab_16e6.txt.gz", &b, &err))
        fail_msg("%s", err.text);
    assert_int_equal(tokenizer_size(a), tokenizer_size(b));
    assert_int_equal(tokenizer_encode(a, text, &x, &err), KILN_OK);
    assert_int_equal(tokenizer_encode(b, text, &y, &err), KILN_OK);
    assert_int_equal(x.count, y.count);
    assert_memory_equal(x.ids, y.ids, x.count * sizeof *x.ids);
    token_list_free(&x);
    token_list_free(&y);
    tokenizer_close(a);
    tokenizer_close(b);
}

/* A configuration written as text is read back as it was. */
static void configurations_are_written(void **state)
{
    (void)state;
    static const unet_config *const unets[] = {&unet_sd15, &unet_sd15_inpaint, &unet_sd21, &unet_sdxl,
                                               &unet_x4_upscaler};
    static const vae_config *const vaes[] = {&vae_sd, &vae_sdxl, &vae_x4_upscaler};
    static const clip_text_config *const texts[] = {&clip_text_l, &clip_text_h, &clip_text_big_g};
    kiln_error err = {0};
    model_parts p = {0};
    for (int i = 0; i < 5; i++) {
        unet_config back;
        p.unet = *unets[i];
        char *text = part_config_text(&p, PART_UNET);
        if (unet_config_parse(text, strlen(text), "unet", &back, &err))
            fail_msg("%s", err.text);
        assert_same_unet(&back, unets[i]);
        free(text);
    }
    for (int i = 0; i < 3; i++) {
        vae_config back;
        clip_text_config text_back;
        p.vae = *vaes[i];
        p.text = *texts[i];
        char *text = part_config_text(&p, PART_VAE);
        if (vae_config_parse(text, strlen(text), "vae", &back, &err))
            fail_msg("%s", err.text);
        assert_same_vae(&back, vaes[i]);
        free(text);
        text = part_config_text(&p, PART_TEXT);
        if (clip_text_config_parse(text, strlen(text), "text", &text_back, &err))
            fail_msg("%s", err.text);
        assert_same_text(&text_back, texts[i]);
        free(text);
    }
}

static bool stop_soon(void *user, const kiln_progress *p)
{
    assert_string_equal(p->stage, "convert");
    assert_true(p->done <= p->total);
    return ++*(int *)user < 5;
}

static void failures_leave_nothing(void **state)
{
    (void)state;
    skip_without(MODELS "sd1-tiny");
    kiln_error err;
    kiln_convert_options o = kiln_convert_defaults();
    int calls = 0, before = entries_in(folder);
    o.type = "f17";
    assert_int_equal(kiln_convert(MODELS "sd1-tiny", at_test("no"), &o, &err), KILN_BAD_ARGUMENT);
    o = (kiln_convert_options){.progress = stop_soon, .user = &calls};
    assert_int_equal(kiln_convert(MODELS "sd1-tiny", at_test("no"), &o, &err), KILN_CANCELLED);
    calls = 0;
    assert_int_equal(kiln_convert(MODELS "sd1-tiny", at_test("no.safetensors"), &o, &err), KILN_CANCELLED);
    assert_int_equal(kiln_convert(MODELS "sd1-tiny", at_test("no.ckpt"), NULL, &err), KILN_BAD_ARGUMENT);
    assert_int_equal(kiln_convert(MODELS "none", at_test("no"), NULL, &err), KILN_NOT_FOUND);
    assert_int_equal(kiln_convert(MODELS "sd1-tiny", folder, NULL, &err), KILN_BAD_ARGUMENT);
    assert_non_null(strstr(err.text, "not empty"));
    assert_int_equal(kiln_convert(MODELS "sd1-tiny", "/no/such/place.safetensors", NULL, &err),
                     KILN_NOT_FOUND);
    assert_int_equal(entries_in(folder), before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folders_survive_the_round_trip),
        cmocka_unit_test(checkpoints_become_folders),
        cmocka_unit_test(names_are_kept),
        cmocka_unit_test(types_are_changed),
        cmocka_unit_test(failures_leave_nothing),
        cmocka_unit_test(tokenizers_are_written),
        cmocka_unit_test(configurations_are_written),
        cmocka_unit_test(checkpoints_come_back),
        cmocka_unit_test(bare_text_encoders_are_found),
        cmocka_unit_test(ranges_are_checked),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
