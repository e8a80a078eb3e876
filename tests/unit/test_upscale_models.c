/* floors: base tensor formats graph ops backend plan nn model text weights
 *
 * test_upscale_models.c - every upscaler against what its published module made of a picture (tests/data/upscale, by
 * tests/tools/make_upscale_samples.py), with the reference kernels and the fast ones; what each file is told to be; and
 * files that are none. */
#include "base/error.h"
#include "plan/plan.h"
#include "weights/upscale_file.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Of the largest number of the result. Measured: up to 2e-6 for the reference, 3e-6 for the fast kernels. */
#define LIMIT 2e-5

static const struct sample {
    const char *name;
    upscale_kind kind;
    int channels, scale, multiple, align, reach;
} samples[] = {
    {"esrgan-old-x4", UPSCALE_ESRGAN, 3, 4, 1, 1, 35},
    {"esrgan-plus-x2", UPSCALE_ESRGAN, 3, 2, 1, 1, 35},
    {"esrgan-bsrgan-x2", UPSCALE_ESRGAN, 3, 2, 1, 1, 35},
    {"esrgan-real-x2", UPSCALE_ESRGAN, 3, 2, 2, 2, 70},
    {"esrgan-real-x1", UPSCALE_ESRGAN, 3, 1, 4, 4, 140},
    {"compact-x3", UPSCALE_COMPACT, 3, 3, 1, 1, 5},
    {"compact-gray-x2", UPSCALE_COMPACT, 1, 2, 1, 1, 4},
    {"span-x2", UPSCALE_SPAN, 3, 2, 1, 1, 21},
    {"span-plain-x4", UPSCALE_SPAN, 3, 4, 1, 1, 21},
    {"realplksr-x2", UPSCALE_PLKSR, 3, 2, 1, 1, 0},
    {"realplksr-norm-x4", UPSCALE_PLKSR, 3, 4, 1, 1, 10},
    {"swinir-classical-x4", UPSCALE_SWINIR, 3, 4, 4, 4, 0},
    {"swinir-light-x3", UPSCALE_SWINIR, 3, 3, 4, 4, 0},
    {"swinir-real-x4", UPSCALE_SWINIR, 3, 4, 4, 4, 0},
    {"swinir-restore-x1", UPSCALE_SWINIR, 3, 1, 7, 7, 0},
    {"dat-x2", UPSCALE_DAT, 3, 2, 1, 4, 0},
    {"dat-light-x3", UPSCALE_DAT, 3, 3, 1, 4, 0},
};
enum { SAMPLES = sizeof samples / sizeof *samples };

static upscale_file *open_sample(const char *name)
{
    char path[512];
    kiln_error err = {0};
    upscale_file *u = NULL;
    snprintf(path, sizeof path, TEST_DATA "/upscale/%s.safetensors", name);
    if (upscale_file_open(path, &u, &err) != KILN_OK)
        fail_msg("%s", err.text);
    return u;
}

static float *read_tensor(const tensor_file *file, const char *name, shape *s)
{
    kiln_error err = {0};
    const tensor_entry *e = tensor_file_find(file, name);
    assert_non_null(e);
    *s = e->shape;
    float *to = malloc((size_t)shape_count(*s) * sizeof *to);
    assert_non_null(to);
    assert_int_equal(tensor_file_read_f32(file, e, 0, shape_count(*s), to, &err), KILN_OK);
    return to;
}

static int64_t reflected(int64_t i, int64_t n)
{
    return i < n ? i : 2 * (n - 1) - i;
}

/* [C,h,w] to [H,W,C], extended below and to the right by reflection. */
static void fill_picture(const float *from, shape s, int64_t H, int64_t W, float *to)
{
    int64_t C = s.dim[1], h = s.dim[2], w = s.dim[3];
    for (int64_t y = 0; y < H; y++)
        for (int64_t x = 0; x < W; x++)
            for (int64_t c = 0; c < C; c++)
                to[(y * W + x) * C + c] = from[(c * h + reflected(y, h)) * w + reflected(x, w)];
}

/* The largest difference over the largest number expected. */
static double difference(const float *got, int64_t W, const float *expected, shape s)
{
    int64_t C = s.dim[1], h = s.dim[2], w = s.dim[3];
    double worst = 0, scale = 0;
    for (int64_t c = 0; c < C; c++)
        for (int64_t y = 0; y < h; y++)
            for (int64_t x = 0; x < w; x++) {
                double e = (double)expected[(c * h + y) * w + x],
                       d = fabs((double)got[(y * W + x) * C + c] - e);
                worst = d <= worst ? worst : d;
                scale = fmax(scale, fabs(e));
            }
    assert_true(scale > 0.1);
    return worst / scale;
}

static int64_t up(int64_t n, int64_t multiple)
{
    return (n + multiple - 1) / multiple * multiple;
}

static double run_sample(const struct sample *s, const backend *by, bool folded)
{
    char path[512];
    kiln_error err = {0};
    tensor_file *expected = NULL;
    upscale_file *u = open_sample(s->name);
    snprintf(path, sizeof path, TEST_DATA "/upscale/%s.case.safetensors", s->name);
    assert_int_equal(tensor_file_open(path, &expected, &err), KILN_OK);
    shape in, out;
    float *input = read_tensor(expected, "input", &in), *output = read_tensor(expected, "output", &out);
    int64_t H = up(in.dim[2], s->multiple), W = up(in.dim[3], s->multiple);
    graph *g = graph_new();
    upscale_draw(g, upscale_file_config(u), folded, 1, (int)H, (int)W);
    parameter_source source = folded ? upscale_file_source(u) : weights_source(upscale_file_weights(u));
    packed_store *store = packed_store_new(source);
    plan *p = NULL;
    run *r = NULL;
    plan_options options = {.backend = by, .compute = DTYPE_F32, .threads = 1, .fuse = by == &backend_cpu};
    if (plan_compile(g, &options, store, &p, &err) != KILN_OK || run_new(p, &r, &err) != KILN_OK)
        fail_msg("%s: %s", s->name, err.text);
    fill_picture(input, in, H, W, run_input(r, "picture"));
    assert_int_equal(plan_run(p, r, NULL, NULL, NULL, &err), KILN_OK);
    double worst = difference(run_output(r, "enlarged"), W * s->scale, output, out);
    run_free(r);
    plan_free(p);
    packed_store_free(store);
    graph_free(g);
    free(input);
    free(output);
    tensor_file_close(expected);
    upscale_file_close(u);
    return worst;
}

static void networks_are_the_published_ones(void **state)
{
    (void)state;
    for (int i = 0; i < SAMPLES; i++) {
        const struct sample *s = &samples[i];
        bool folded = s->kind == UPSCALE_SPAN;
        double reference = run_sample(s, &backend_reference, false);
        double fast = run_sample(s, &backend_cpu, folded);
        print_message("%-22s reference %.1e  fast %.1e\n", s->name, reference, fast);
        assert_true(reference <= LIMIT);
        assert_true(fast <= LIMIT);
    }
}

static void counts_are_told_from_shapes(void **state)
{
    (void)state;
    for (int i = 0; i < SAMPLES; i++) {
        const struct sample *s = &samples[i];
        upscale_file *u = open_sample(s->name);
        const upscale_config *c = upscale_file_config(u);
        print_message("%s: %s x%d, multiple %d, align %d, reach %d\n", s->name, upscale_kind_name(c->kind),
                      c->scale, c->multiple, c->align, c->reach);
        assert_int_equal(c->kind, s->kind);
        assert_int_equal(c->channels, s->channels);
        assert_int_equal(c->scale, s->scale);
        assert_int_equal(c->multiple, s->multiple);
        assert_int_equal(c->align, s->align);
        assert_int_equal(c->reach, s->reach);
        upscale_file_close(u);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_are_told_from_shapes),
        cmocka_unit_test(networks_are_the_published_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
