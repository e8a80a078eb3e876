/* floors: base tensor formats graph ops backend plan nn model text weights diffusion image pipeline
 *
 * test_upscale.c - enlarging pictures: against a real network's reference in every form of its file, tiled against whole,
 * sizes by passes and a filter, every kind of picture, what cannot be, memory and cancelling. */
#include "base/error.h"
#include "formats/tensor_file.h"
#include "kiln/upscale.h"
#include "pipeline/upscale_strip.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char *const networks[] = {"esrgan-old-x4",   "esrgan-plus-x2",    "esrgan-bsrgan-x2",
                                       "esrgan-real-x2",  "esrgan-real-x1",    "compact-x3",
                                       "compact-gray-x2", "span-x2",           "span-plain-x4",
                                       "realplksr-x2",    "realplksr-norm-x4", "swinir-classical-x4",
                                       "swinir-light-x3", "swinir-real-x4",    "swinir-restore-x1",
                                       "dat-x2",          "dat-light-x3"};
enum { NETWORKS = sizeof networks / sizeof *networks };

static kiln_upscaler *open_model(const char *model, int threads)
{
    kiln_error err = {0};
    kiln_upscaler *u = NULL;
    kiln_model_options options = kiln_model_defaults();
    options.precision = KILN_PRECISION_F32;
    options.threads = threads;
    if (kiln_upscaler_open(model, &options, &u, &err) != KILN_OK)
        fail_msg("%s", err.text);
    return u;
}

static kiln_upscaler *open_network(const char *name)
{
    char path[512];
    snprintf(path, sizeof path, TEST_DATA "/upscale/%s.safetensors", name);
    return open_model(path, 1);
}

/* Smooth waves and a few hard edges; alpha a ramp. */
static kiln_image *make_picture(int width, int height, int channels, int bits)
{
    kiln_error err = {0};
    kiln_image *picture = NULL;
    assert_int_equal(kiln_image_new(width, height, channels, bits, NULL, &picture, &err), KILN_OK);
    void *pixels = (void *)kiln_image_pixels(picture);
    bool alpha = channels % 2 == 0;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            for (int c = 0; c < channels; c++) {
                double v = 0.5 + 0.3 * sin(0.3 * x + c) * cos(0.2 * y - c) + (x / 9 + y / 7) % 2 * 0.2;
                if (alpha && c == channels - 1)
                    v = (double)x / width;
                size_t i = ((size_t)y * (size_t)width + (size_t)x) * (size_t)channels + (size_t)c;
                if (bits == 8)
                    ((uint8_t *)pixels)[i] = (uint8_t)(fmin(fmax(v, 0), 1) * 255);
                else
                    ((uint16_t *)pixels)[i] = (uint16_t)(fmin(fmax(v, 0), 1) * 65535);
            }
    return picture;
}

static kiln_image *upscaled(kiln_upscaler *u, const kiln_image *picture, const kiln_upscale_options *o)
{
    kiln_error err = {0};
    kiln_image *out = NULL;
    if (kiln_upscale(u, picture, o, &out, &err) != KILN_OK)
        fail_msg("%s", err.text);
    return out;
}

static double sample(const kiln_image *k, int64_t i)
{
    return kiln_image_bits(k) == 8 ? ((const uint8_t *)kiln_image_pixels(k))[i] / 255.0
                                   : ((const uint16_t *)kiln_image_pixels(k))[i] / 65535.0;
}

static int64_t samples(const kiln_image *k)
{
    return (int64_t)kiln_image_width(k) * kiln_image_height(k) * kiln_image_channels(k);
}

static double difference(const kiln_image *a, const kiln_image *b)
{
    double worst = 0;
    assert_int_equal(samples(a), samples(b));
    for (int64_t i = 0; i < samples(a); i++)
        worst = fmax(worst, fabs(sample(a, i) - sample(b, i)));
    return worst;
}

/* ------------------------------------------------------------------------------------ the real network */

static float *read_reference(const char *path, const char *name, shape *s)
{
    kiln_error err = {0};
    tensor_file *file = NULL;
    assert_int_equal(tensor_file_open(path, &file, &err), KILN_OK);
    const tensor_entry *e = tensor_file_find(file, name);
    assert_non_null(e);
    *s = e->shape;
    float *to = malloc((size_t)shape_count(*s) * sizeof *to);
    assert_non_null(to);
    assert_int_equal(tensor_file_read_f32(file, e, 0, shape_count(*s), to, &err), KILN_OK);
    tensor_file_close(file);
    return to;
}

static double real_error(const char *form, const char *picture_name)
{
    char model[512], path[512];
    shape in, out;
    snprintf(model, sizeof model, TEST_SHARED "/real/upscaler_pth/realesr-animevideov3.%s", form);
    snprintf(path, sizeof path, TEST_SHARED "/real/refs/%s_srvgg_x4.safetensors", picture_name);
    float *input = read_reference(path, "input", &in), *output = read_reference(path, "output", &out);
    int h = (int)in.dim[2], w = (int)in.dim[3], H = (int)out.dim[2], W = (int)out.dim[3];
    kiln_error err = {0};
    kiln_image *picture = NULL;
    assert_int_equal(kiln_image_new(w, h, 3, 16, NULL, &picture, &err), KILN_OK);
    uint16_t *pixels = (uint16_t *)kiln_image_pixels(picture);
    for (int i = 0; i < h * w; i++)
        for (int c = 0; c < 3; c++)
            pixels[i * 3 + c] = (uint16_t)lrintf(input[c * h * w + i] * 65535);
    kiln_upscaler *u = open_model(model, 1);
    assert_int_equal(kiln_upscaler_scale(u), 4);
    kiln_image *made = upscaled(u, picture, NULL);
    assert_int_equal(kiln_image_width(made), W);
    assert_int_equal(kiln_image_height(made), H);
    double worst = 0;
    for (int i = 0; i < H * W; i++)
        for (int c = 0; c < 3; c++) {
            double expected = fmin(fmax((double)output[(int64_t)c * H * W + i], 0), 1);
            worst = fmax(worst, fabs(sample(made, (int64_t)i * 3 + c) - expected));
        }
    kiln_image_free(made);
    kiln_image_free(picture);
    kiln_upscaler_close(u);
    free(input);
    free(output);
    return worst;
}

static void a_real_network_matches_its_reference(void **state)
{
    (void)state;
    static const char *const forms[] = {"safetensors", "repacked-stored.pth", "rezipped-deflate.pth"};
    static const char *const pictures[] = {"animegt_64", "astronaut_64"};
    if (access(TEST_SHARED "/real/upscaler_pth", R_OK) != 0) {
        print_message("skipped: there is no " TEST_SHARED "/real\n");
        skip();
    }
    for (int f = 0; f < 3; f++)
        for (int p = 0; p < 2; p++) {
            double error = real_error(forms[f], pictures[p]);
            print_message("%-22s %-14s max error %.1e\n", forms[f], pictures[p], error);
            assert_true(error <= 2e-3);
        }
}

/* ------------------------------------------------------------------------------------ tiles */

static void weights_of_tiles_are_one_together(void **state)
{
    (void)state;
    static const struct {
        int picture, multiple, align, tile, overlap, scale;
    } cases[] = {{100, 1, 1, 0, 64, 2},   {100, 1, 1, 40, 8, 2},     {1000, 2, 2, 128, 44, 4},
                 {517, 7, 7, 120, 64, 1}, {333, 1, 32, 64, 64, 3},   {97, 1, 1, 96, 64, 4},
                 {200, 1, 1, 16, 0, 2},   {20000, 1, 1, 512, 64, 1}, {129, 8, 8, 128, 8, 2},
                 {64, 1, 16, 50, 1, 16},  {1, 1, 1, 16, 64, 4},      {4096, 4, 6, 999, 63, 2}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        upscale_strip s = upscale_strip_of(cases[i].picture, cases[i].multiple, cases[i].align, cases[i].tile,
                                           cases[i].overlap, cases[i].scale);
        int length = s.length * s.scale;
        float *sum = calloc((size_t)length, sizeof *sum);
        assert_non_null(sum);
        assert_true(s.length >= cases[i].picture && s.size <= s.length && s.size % cases[i].multiple == 0);
        for (int k = 0; k < s.count; k++) {
            int first, end, start = upscale_strip_start(&s, k);
            upscale_strip_zone(&s, k, &first, &end);
            assert_true(s.count == 1 || start % s.unit == 0);
            assert_true(start >= 0 && start + s.size <= s.length);
            assert_true(first >= start * s.scale && end <= (start + s.size) * s.scale && first < end);
            if (k > 0)
                assert_true(upscale_strip_start(&s, k - 1) + s.size - start >= cases[i].overlap);
            for (int p = first; p < end; p++)
                sum[p] += upscale_strip_weight(&s, k, p);
        }
        for (int p = 0; p < length; p++)
            assert_float_equal(sum[p], 1, 1e-6);
        free(sum);
    }
}

/* Where the network's reach allows. Two look at everything, by group norm and by attention between channels: with these
 * random weights, which carry far more of it than trained ones, they are only measured. */
static void tiled_is_whole(void **state)
{
    (void)state;
    static const char *const far[] = {"realplksr-x2", "dat"};
    kiln_image *picture = make_picture(149, 131, 3, 16);
    for (int i = 0; i < NETWORKS; i++) {
        bool exact = true;
        for (int k = 0; k < 2; k++)
            exact = exact && strncmp(networks[i], far[k], strlen(far[k])) != 0;
        kiln_upscaler *u = open_network(networks[i]);
        kiln_upscale_options o = kiln_upscale_defaults();
        o.tile = -1;
        kiln_image *whole = upscaled(u, picture, &o);
        o.tile = 100;
        kiln_upscale_work work;
        kiln_error err = {0};
        assert_int_equal(kiln_upscale_plan(u, picture, &o, &work, &err), KILN_OK);
        assert_true(work.tiles >= 4);
        kiln_image *tiled = upscaled(u, picture, &o);
        double error = difference(whole, tiled);
        print_message("%-20s %lld tiles: %.5f of 255\n", networks[i], (long long)work.tiles, error * 255);
        if (exact)
            assert_true(error <= 1.0 / 255);
        kiln_image_free(tiled);
        kiln_image_free(whole);
        kiln_upscaler_close(u);
    }
    kiln_image_free(picture);
}

/* ------------------------------------------------------------------------------------ pictures and sizes */

static void every_kind_of_picture_keeps_its_form(void **state)
{
    (void)state;
    static const char *const models[] = {"compact-x3", "compact-gray-x2"};
    for (int m = 0; m < 2; m++) {
        kiln_upscaler *u = open_network(models[m]);
        for (int channels = 1; channels <= 4; channels++)
            for (int bits = 8; bits <= 16; bits += 8) {
                kiln_error err = {0};
                kiln_image *picture = make_picture(21, 13, channels, bits);
                assert_int_equal(kiln_image_set_text(picture, "parameters", "a cat\nSteps: 1", &err),
                                 KILN_OK);
                kiln_image *made = upscaled(u, picture, NULL);
                assert_int_equal(kiln_image_channels(made), channels);
                assert_int_equal(kiln_image_bits(made), bits);
                assert_int_equal(kiln_image_width(made), 21 * kiln_upscaler_scale(u));
                assert_string_equal(kiln_image_text(made, "parameters"), "a cat\nSteps: 1");
                assert_non_null(strstr(kiln_image_text(made, "postprocessing"), models[m]));
                if (channels % 2 == 0) { /* the ramp of alpha is still one */
                    int64_t last = channels - 1, row = (int64_t)kiln_image_width(made) * channels;
                    assert_true(sample(made, last) < 0.05);
                    assert_true(sample(made, row - 1) > 0.9);
                    assert_float_equal(sample(made, row / 2 / channels * channels + last), 0.5, 0.03);
                }
                kiln_image_free(made);
                kiln_image_free(picture);
            }
        kiln_upscaler_close(u);
    }
}

static void any_size_is_reached(void **state)
{
    (void)state;
    static const struct {
        const char *model;
        double scale;
        int width, height, passes, made_width, made_height;
    } cases[] = {{"compact-x3", 0, 0, 0, 1, 60, 33},       {"compact-x3", 1, 0, 0, 1, 20, 11},
                 {"compact-x3", 3.5, 0, 0, 2, 70, 39},     {"compact-x3", 10, 0, 0, 3, 200, 110},
                 {"compact-x3", 0, 64, 0, 2, 64, 35},      {"compact-x3", 0, 0, 22, 1, 40, 22},
                 {"compact-x3", 0, 10, 50, 2, 10, 50},     {"esrgan-real-x1", 0, 0, 0, 1, 20, 11},
                 {"esrgan-real-x1", 2, 0, 0, 1, 40, 22},   {"compact-x3", 0.05, 0, 0, 1, 1, 1},
                 {"esrgan-bsrgan-x2", 8, 0, 0, 3, 160, 88}};
    kiln_image *picture = make_picture(20, 11, 3, 8);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kiln_error err = {0};
        kiln_upscaler *u = open_network(cases[i].model);
        kiln_upscale_options o = kiln_upscale_defaults();
        kiln_upscale_work work;
        o.scale = cases[i].scale;
        o.width = cases[i].width;
        o.height = cases[i].height;
        assert_int_equal(kiln_upscale_plan(u, picture, &o, &work, &err), KILN_OK);
        assert_int_equal(work.passes, cases[i].passes);
        kiln_image *made = upscaled(u, picture, &o);
        assert_int_equal(kiln_image_width(made), cases[i].made_width);
        assert_int_equal(kiln_image_height(made), cases[i].made_height);
        assert_int_equal(kiln_image_bits(made), 8);
        kiln_image_free(made);
        kiln_upscaler_close(u);
    }
    kiln_image_free(picture);
}

static void small_and_odd_pictures_are_enlarged(void **state)
{
    (void)state;
    static const int sizes[][2] = {{1, 1}, {1, 7}, {3, 2}, {700, 1}};
    for (int i = 0; i < NETWORKS; i++) {
        kiln_upscaler *u = open_network(networks[i]);
        for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
            kiln_image *picture = make_picture(sizes[k][0], sizes[k][1], 3, 8),
                       *made = upscaled(u, picture, NULL);
            assert_int_equal(kiln_image_width(made), sizes[k][0] * kiln_upscaler_scale(u));
            assert_int_equal(kiln_image_height(made), sizes[k][1] * kiln_upscaler_scale(u));
            kiln_image_free(made);
            kiln_image_free(picture);
        }
        kiln_upscaler_close(u);
    }
}

static void filters_are_upscalers(void **state)
{
    (void)state;
    static const char *const names[] = {"Lanczos", "bicubic", "NEAREST"};
    kiln_image *picture = make_picture(9, 7, 4, 16);
    for (int i = 0; i < 3; i++) {
        kiln_upscaler *u = open_model(names[i], 1);
        kiln_upscale_options o = kiln_upscale_defaults();
        assert_string_equal(kiln_upscaler_kind(u), "filter");
        kiln_image *twice = upscaled(u, picture, &o);
        assert_int_equal(kiln_image_width(twice), 18);
        o.scale = 3;
        kiln_image *thrice = upscaled(u, picture, &o);
        assert_int_equal(kiln_image_height(thrice), 21);
        assert_int_equal(kiln_image_bits(thrice), 16);
        if (i == 2)
            assert_float_equal(sample(thrice, 4 * (27 * 4 + 4)), sample(picture, 4 * (9 + 1)), 1e-9);
        kiln_image_free(twice);
        kiln_image_free(thrice);
        kiln_upscaler_close(u);
    }
    kiln_image_free(picture);
}

static void threads_do_not_show(void **state)
{
    (void)state;
    kiln_image *picture = make_picture(61, 43, 3, 8);
    static const char *const some[] = {"esrgan-old-x4", "swinir-classical-x4", "dat-x2", "realplksr-x2"};
    for (int i = 0; i < 4; i++) {
        char path[512];
        snprintf(path, sizeof path, TEST_DATA "/upscale/%s.safetensors", some[i]);
        kiln_upscaler *one = open_model(path, 1), *two = open_model(path, 2);
        kiln_image *a = upscaled(one, picture, NULL), *b = upscaled(two, picture, NULL);
        assert_true(difference(a, b) == 0);
        kiln_image_free(a);
        kiln_image_free(b);
        kiln_upscaler_close(one);
        kiln_upscaler_close(two);
    }
    kiln_image_free(picture);
}

/* ------------------------------------------------------------------------------------ what cannot be */

static void refused(kiln_upscaler *u, const kiln_image *picture, kiln_upscale_options o, kiln_status status,
                    const char *words)
{
    kiln_error err = {0};
    kiln_image *out = (kiln_image *)(void *)&err;
    assert_int_equal(kiln_upscale(u, picture, &o, &out, &err), status);
    assert_null(out);
    if (!strstr(err.text, words))
        fail_msg("'%s' does not say '%s'", err.text, words);
}

static void what_cannot_be_is_said(void **state)
{
    (void)state;
    kiln_error err = {0};
    kiln_upscaler *u = NULL;
    assert_int_equal(kiln_upscaler_open("", NULL, &u, &err), KILN_BAD_ARGUMENT);
    assert_int_equal(kiln_upscaler_open("no-such", NULL, &u, &err), KILN_NOT_FOUND);
    assert_int_equal(kiln_upscaler_open(TEST_DATA "/upscale/span-x2.case.safetensors", NULL, &u, &err),
                     KILN_UNSUPPORTED);
    assert_non_null(strstr(err.text, "is no upscaler"));
    assert_null(u);
    u = open_network("compact-x3");
    kiln_image *picture = make_picture(50, 40, 3, 8), *wide = make_picture(30000, 2, 3, 8);
    kiln_upscale_options o = kiln_upscale_defaults();
#define WITH(member, value) ((kiln_upscale_options){.overlap = -1, .member = (value)})
    refused(u, picture, WITH(scale, 65), KILN_BAD_ARGUMENT, "scale");
    refused(u, picture, WITH(scale, -1), KILN_BAD_ARGUMENT, "scale");
    refused(u, picture, WITH(scale, NAN), KILN_BAD_ARGUMENT, "scale");
    refused(u, picture, WITH(tile, 3), KILN_BAD_ARGUMENT, "tile");
    refused(u, picture, WITH(width, -1), KILN_BAD_ARGUMENT, "sides");
    refused(u, picture, WITH(filter, "cubic"), KILN_BAD_ARGUMENT, "filter 'cubic'");
    refused(u, picture, WITH(memory_limit, 1000), KILN_NO_MEMORY, "GB");
    refused(u, NULL, o, KILN_BAD_ARGUMENT, "no picture");
    refused(u, wide, o, KILN_BAD_ARGUMENT, "90000x6");
    kiln_image_free(wide);
    kiln_image_free(picture);
    kiln_upscaler_close(u);
}

static bool stop_at_second(void *user, const kiln_progress *p)
{
    int *seen = user;
    *seen += strcmp(p->stage, "upscale") == 0;
    return p->done < 2 || strcmp(p->stage, "upscale") != 0;
}

static void cancelling_leaves_nothing(void **state)
{
    (void)state;
    int seen = 0;
    kiln_upscaler *u = open_network("compact-x3");
    kiln_image *picture = make_picture(150, 150, 3, 8), *out = NULL;
    kiln_error err = {0};
    kiln_upscale_options o = kiln_upscale_defaults();
    o.tile = 64;
    o.progress = stop_at_second;
    o.user = &seen;
    assert_int_equal(kiln_upscale(u, picture, &o, &out, &err), KILN_CANCELLED);
    assert_null(out);
    assert_int_equal(seen, 3); /* 0, 1 and 2 tiles */
    o.progress = NULL;
    out = upscaled(u, picture, &o); /* and it can be done again */
    kiln_image_free(out);
    kiln_image_free(picture);
    kiln_upscaler_close(u);
}

static void tiles_keep_to_the_memory(void **state)
{
    (void)state;
    kiln_upscaler *u = open_network("esrgan-old-x4");
    kiln_image *picture = make_picture(900, 700, 3, 8);
    kiln_upscale_options o = kiln_upscale_defaults();
    kiln_upscale_work whole, tiled;
    kiln_error err = {0};
    o.tile = -1;
    assert_int_equal(kiln_upscale_plan(u, picture, &o, &whole, &err), KILN_OK);
    o.tile = 0;
    o.memory_limit = whole.memory.peak - whole.memory.activations * 2 / 3;
    if (kiln_upscale_plan(u, picture, &o, &tiled, &err) != KILN_OK)
        fail_msg("%s", err.text);
    print_message("whole: %lld MB of activations; under a limit: %lld tiles of %dx%d, %lld MB\n",
                  (long long)whole.memory.activations >> 20, (long long)tiled.tiles, tiled.tile_width,
                  tiled.tile_height, (long long)tiled.memory.activations >> 20);
    assert_true(tiled.tiles > 1);
    assert_true(tiled.memory.peak <= o.memory_limit);
    kiln_image_free(picture);
    kiln_upscaler_close(u);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_real_network_matches_its_reference),
        cmocka_unit_test(weights_of_tiles_are_one_together),
        cmocka_unit_test(tiled_is_whole),
        cmocka_unit_test(every_kind_of_picture_keeps_its_form),
        cmocka_unit_test(any_size_is_reached),
        cmocka_unit_test(small_and_odd_pictures_are_enlarged),
        cmocka_unit_test(filters_are_upscalers),
        cmocka_unit_test(threads_do_not_show),
        cmocka_unit_test(what_cannot_be_is_said),
        cmocka_unit_test(cancelling_leaves_nothing),
        cmocka_unit_test(tiles_keep_to_the_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
