/* floors: base tensor formats graph ops backend plan nn model text weights diffusion image pipeline
 *
 * test_clip.c - CLIP's vision encoder against the published module in torch (tests/tools/make_vision_samples.py): the
 * preparation of pictures, every output, both ways of naming tensors, the text half and how alike things are. */
#include "pipeline/clip.h"
#include "pipeline/image_api.h"
#include "pipeline/map.h"

#include <unistd.h>

#include "reference_tensors.h"

#define DATA TEST_DATA "/vision/"

static tensor_file *reference;

static int open_reference(void **state)
{
    (void)state;
    kiln_error err;
    return tensor_file_open(DATA "clip.golden.safetensors", &reference, &err) != KILN_OK;
}

static int close_reference(void **state)
{
    (void)state;
    tensor_file_close(reference);
    return 0;
}

static kiln_clip *opened(const char *name, const char *hints)
{
    kiln_error err = {0};
    kiln_clip *clip = NULL;
    kiln_model_options o = kiln_model_defaults();
    o.precision = KILN_PRECISION_F32;
    o.hints = hints;
    if (kiln_clip_open(name, &o, &clip, &err) != KILN_OK)
        fail_msg("%s", err.text);
    return clip;
}

static kiln_image *picture(const char *name, int channels)
{
    kiln_error err;
    kiln_image *out = NULL;
    shape s;
    float *values = reference_floats(reference, name, &s);
    int64_t positions = s.dim[0] * s.dim[1];
    uint8_t *bytes = malloc((size_t)(positions * channels));
    assert_non_null(bytes);
    for (int64_t i = 0; i < positions; i++)
        for (int c = 0; c < channels; c++)
            bytes[i * channels + c] = c < 3 ? (uint8_t)values[i * 3 + c] : 255;
    assert_int_equal(kiln_image_new((int)s.dim[1], (int)s.dim[0], channels, 8, bytes, &out, &err), KILN_OK);
    free(values);
    free(bytes);
    return out;
}

static void compare(const kiln_map *map, const char *prefix, const char *name)
{
    char full[64];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    shape s, found_shape;
    float *expected = reference_floats(reference, full, &s);
    const float *found = map_find(map, name, &found_shape);
    assert_non_null(found);
    assert_true(shape_equal(s, found_shape));
    ASSERT_NEAR(found, expected, shape_count(s), 2e-5, full);
    print_message("    %s: %.1e\n", full, reference_error(found, expected, shape_count(s)));
    free(expected);
}

static void compare_all(const kiln_map *map, const char *prefix)
{
    compare(map, prefix, "image_embeds");
    compare(map, prefix, "pooled");
    compare(map, prefix, "penultimate");
    compare(map, prefix, "last_hidden_state");
}

static void pictures_are_prepared_as_by_transformers(void **state)
{
    (void)state;
    kiln_clip *clip = opened(DATA "clip-tiny", NULL);
    for (int i = 0; i < 2; i++) {
        char name[32];
        shape s;
        float pixels[32 * 32 * 3];
        snprintf(name, sizeof name, "%d.picture", i);
        kiln_image *from = picture(name, 3);
        snprintf(name, sizeof name, "%d.pixels", i);
        float *expected = reference_floats(reference, name, &s);
        assert_int_equal(clip_pixels(from->picture, &clip->parts->preparation, pixels, NULL), KILN_OK);
        assert_int_equal(shape_count(s), 32 * 32 * 3);
        /* Not near: equal, but for the last bit of the division. */
        ASSERT_NEAR(pixels, expected, shape_count(s), 1.2e-7, name);
        free(expected);
        kiln_image_free(from);
    }
    kiln_clip_close(clip);
}

static void a_folder_gives_torchs_numbers(void **state)
{
    (void)state;
    kiln_clip *clip = opened(DATA "clip-tiny", NULL);
    assert_true(kiln_clip_has_text(clip));
    for (int i = 0; i < 2; i++) {
        char name[32];
        kiln_map *map = NULL;
        snprintf(name, sizeof name, "%d.picture", i);
        kiln_image *from = picture(name, i == 0 ? 3 : 4);
        assert_int_equal(kiln_clip_encode_image(clip, from, &map, NULL), KILN_OK);
        assert_string_equal(kiln_map_kind(map), "image");
        snprintf(name, sizeof name, "%d.", i);
        compare_all(map, name);
        kiln_map_free(map);
        kiln_image_free(from);
    }
    kiln_clip_close(clip);
}

static void an_openclip_file_gives_torchs_numbers(void **state)
{
    (void)state;
    kiln_clip *clip = opened(DATA "openclip-tiny.safetensors", DATA "hints.json");
    assert_false(kiln_clip_has_text(clip));
    assert_false(clip->parts->vision.quick_gelu);
    kiln_image *from = picture("0.picture", 3);
    kiln_map *map = NULL;
    kiln_error err = {0};
    assert_int_equal(kiln_clip_encode_image(clip, from, &map, NULL), KILN_OK);
    compare_all(map, "openclip.");
    kiln_map_free(map);
    assert_int_equal(kiln_clip_encode_text(clip, "a word", &map, &err), KILN_NOT_FOUND);
    assert_null(map);
    kiln_image_free(from);
    kiln_clip_close(clip);
}

static void the_text_half_gives_torchs_numbers(void **state)
{
    (void)state;
    kiln_clip *clip = opened(DATA "clip-tiny", NULL);
    /* The ids of the reference, spelled as the tokenizer's own words would be: run the network itself. */
    shape s;
    float *ids = reference_floats(reference, "text.ids", &s), *expected;
    clip_text_shape size = {.batch = 1, .tokens = 77, .outputs = CLIP_TEXT_EMBEDS, .skip = 1};
    graph *g = graph_new();
    side_plan p;
    clip_text_draw(g, &clip->parts->text, &size);
    assert_int_equal(side_plan_new(&clip->text, &clip->plan, g, &p, NULL), KILN_OK);
    int32_t *to = run_input(p.run, "ids");
    for (int i = 0; i < 77; i++)
        to[i] = (int32_t)ids[i];
    *(int32_t *)run_input(p.run, "pooling_index") = clip_pooling_index(&clip->parts->text, to, 77);
    assert_int_equal(plan_run(p.plan, p.run, NULL, NULL, NULL, NULL), KILN_OK);
    expected = reference_floats(reference, "text.text_embeds", &s);
    ASSERT_NEAR(run_output(p.run, "text_embeds"), expected, shape_count(s), 2e-5, "text_embeds");
    side_plan_fini(&p);
    free(ids);
    free(expected);
    assert_true(fabs(kiln_clip_scale(clip) - exp(2.5)) < 1e-6);
    kiln_clip_close(clip);
}

static void likeness_is_a_cosine(void **state)
{
    (void)state;
    kiln_clip *clip = opened(DATA "clip-tiny", NULL);
    kiln_image *a = picture("0.picture", 3), *b = picture("1.picture", 3);
    kiln_map *x = NULL, *y = NULL, *words = NULL, *hidden = NULL;
    double same = 0, other = 0, text = 0, turned = 0;
    assert_int_equal(kiln_clip_encode_image(clip, a, &x, NULL), KILN_OK);
    assert_int_equal(kiln_clip_encode_image(clip, b, &y, NULL), KILN_OK);
    assert_int_equal(kiln_clip_encode_text(clip, "a cat", &words, NULL), KILN_OK);
    assert_int_equal(kiln_clip_cosine(x, x, &same, NULL), KILN_OK);
    assert_int_equal(kiln_clip_cosine(x, y, &other, NULL), KILN_OK);
    assert_int_equal(kiln_clip_cosine(y, x, &turned, NULL), KILN_OK);
    assert_int_equal(kiln_clip_cosine(x, words, &text, NULL), KILN_OK);
    assert_true(fabs(same - 1) < 1e-12);
    assert_true(other < 0.9999 && other == turned);
    assert_true(fabs(text) < 0.9999);
    assert_int_equal(map_new("image", &hidden, NULL), KILN_OK);
    assert_int_equal(kiln_clip_cosine(x, hidden, &text, NULL), KILN_BAD_ARGUMENT);
    float short_vector[3] = {1, 2, 3};
    assert_int_equal(map_add(hidden, "pooled", SHAPE2(1, 3), short_vector, NULL), KILN_OK);
    assert_int_equal(kiln_clip_cosine(x, hidden, &text, NULL), KILN_MISMATCH);
    kiln_map_free(x);
    kiln_map_free(y);
    kiln_map_free(words);
    kiln_map_free(hidden);
    kiln_image_free(a);
    kiln_image_free(b);
    kiln_clip_close(clip);
}

/* Pictures of every shape give numbers; long strips too. */
static void odd_pictures_are_encoded(void **state)
{
    (void)state;
    static const int sizes[][2] = {{1, 1}, {1, 9000}, {20000, 1}, {3, 2}, {32, 32}};
    kiln_clip *clip = opened(DATA "clip-tiny", NULL);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int bits = 8; bits <= 16; bits += 8) {
            kiln_image *from = NULL;
            kiln_map *map = NULL;
            shape s;
            assert_int_equal(
                kiln_image_new(sizes[i][0], sizes[i][1], 1 + (int)i % 4, bits, NULL, &from, NULL), KILN_OK);
            assert_int_equal(kiln_clip_encode_image(clip, from, &map, NULL), KILN_OK);
            const float *v = map_find(map, "image_embeds", &s);
            for (int64_t k = 0; k < shape_count(s); k++)
                assert_true(isfinite(v[k]));
            kiln_map_free(map);
            kiln_image_free(from);
        }
    kiln_clip_close(clip);
}

static void refused(const char *path, kiln_status status, const char *word)
{
    kiln_error err = {0};
    kiln_clip *clip = NULL;
    assert_int_equal(kiln_clip_open(path, NULL, &clip, &err), status);
    assert_null(clip);
    if (!strstr(err.text, word))
        fail_msg("'%s' does not say '%s'", err.text, word);
}

static void what_is_no_vision_encoder_is_refused(void **state)
{
    (void)state;
    refused(DATA "ip-tiny.safetensors", KILN_NOT_FOUND, "no CLIP vision encoder");
    refused(TEST_DATA "/sd1-tiny", KILN_NOT_FOUND, "no CLIP model");
    refused(TEST_DATA "/sd1-tiny/text_encoder", KILN_NOT_FOUND, "vision encoder");
    refused(DATA "nothing-here", KILN_NOT_FOUND, "nothing-here");
}

/* A folder with the weights and configuration of clip-tiny, and a preprocessor_config.json of its own. */
static kiln_status open_prepared(const char *folder, const char *text, kiln_clip **clip, kiln_error *err)
{
    char path[128];
    snprintf(path, sizeof path, "%s/preprocessor_config.json", folder);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    return kiln_clip_open(folder, NULL, clip, err);
}

static void preparations_are_read_or_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        kiln_status status;
        int short_side;
    } cases[] = {
        {"{}", KILN_OK, 32},
        {"{\"size\": 40, \"crop_size\": 32}", KILN_OK, 40},
        {"{\"size\": {\"shortest_edge\": 48}, \"resample\": 2}", KILN_OK, 48},
        {"{\"size\": {\"height\": 32, \"width\": 32}}", KILN_OK, 32},
        {"{\"size\": {\"height\": 32, \"width\": 33}}", KILN_UNSUPPORTED, 0},
        {"{\"size\": {}}", KILN_UNSUPPORTED, 0},
        {"{\"size\": \"large\"}", KILN_BAD_FORMAT, 0},
        {"{\"crop_size\": 31}", KILN_MISMATCH, 0},
        {"{\"image_mean\": [0.5]}", KILN_BAD_FORMAT, 0},
        {"{\"image_std\": [0.5, 0, 0.5]}", KILN_BAD_FORMAT, 0},
        {"{\"do_normalize\": false}", KILN_UNSUPPORTED, 0},
        {"nothing", KILN_BAD_FORMAT, 0},
    };
    char folder[] = "/tmp/kiln-clip-XXXXXX", path[128];
    assert_non_null(mkdtemp(folder));
    static const char *const files[] = {"model.safetensors", "config.json"};
    for (int i = 0; i < 2; i++) {
        char from[512];
        snprintf(from, sizeof from, DATA "clip-tiny/%s", files[i]);
        snprintf(path, sizeof path, "%s/%s", folder, files[i]);
        assert_int_equal(symlink(from, path), 0);
    }
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kiln_clip *clip = NULL;
        kiln_error err = {0};
        kiln_status status = open_prepared(folder, cases[i].text, &clip, &err);
        if (status != cases[i].status)
            fail_msg("%s: %s (%s)", cases[i].text, kiln_status_text(status), err.text);
        if (status == KILN_OK)
            assert_int_equal(clip->parts->preparation.short_side, cases[i].short_side);
        kiln_clip_close(clip);
    }
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, i < 2 ? files[i] : "preprocessor_config.json");
        assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pictures_are_prepared_as_by_transformers),
        cmocka_unit_test(a_folder_gives_torchs_numbers),
        cmocka_unit_test(an_openclip_file_gives_torchs_numbers),
        cmocka_unit_test(the_text_half_gives_torchs_numbers),
        cmocka_unit_test(likeness_is_a_cosine),
        cmocka_unit_test(odd_pictures_are_encoded),
        cmocka_unit_test(what_is_no_vision_encoder_is_refused),
        cmocka_unit_test(preparations_are_read_or_refused),
    };
    return cmocka_run_group_tests(tests, open_reference, close_reference);
}
