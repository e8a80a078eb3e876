/* test_train_upscaler.c - method upscaler: it learns, what it saves is an upscaler's file that kiln upscale reads, it goes
 * on from there; and pictures are degraded as told, the same every time.
 * floors: base tensor formats graph ops backend plan nn model text weights diffusion image pipeline train */
#include "kiln/upscale.h"
#include "train/degrade.h"

#include <math.h>

#include "unit/training_case.h"

#define TINY_UPSCALER                                                                                        \
    "method=upscaler", "resolution=16", "upscaler.num_feat=8", "upscaler.num_conv=2", "train_batch_size=4",  \
        "learning_rate=3e-3", "max_train_steps=120", "validation_split=0.3", "validate_every_n_steps=2",     \
        "save_every_n_steps=0", "plot_every_n_steps=0", "seed=3"

typedef struct figures {
    double first, last; /* validation loss */
    bool compared;
} figures;

static bool watch(void *user, const kiln_training_event *e)
{
    figures *f = user;
    if (e->kind == KILN_TRAINING_VALIDATION) {
        f->first = f->first > 0 ? f->first : e->validation_loss;
        f->last = e->validation_loss;
    }
    if (e->kind == KILN_TRAINING_INFORMATION && e->text && strstr(e->text, "bicubic"))
        f->compared = true;
    return true;
}

static void train(kiln_training_recipe *r, const char *resume, figures *f)
{
    kiln_training *t = NULL;
    kiln_training_options o = kiln_training_defaults();
    o.progress = watch;
    o.user = f;
    o.resume = resume;
    train_ok(kiln_training_open(r, &o, &t, err));
    train_ok(kiln_training_run(t, err));
    kiln_training_close(t);
    kiln_training_recipe_free(r);
}

static void it_learns_and_its_file_is_read(void **state)
{
    (void)state;
    training_case c = case_begin(12, 16);
    figures f = {0}, again = {0};
    char path[CASE_PATH + 80];
    train(case_recipe(&c, "run", TINY_UPSCALER, NULL), NULL, &f);
    print_message("validation loss %.4f -> %.4f\n", f.first, f.last);
    assert_true(f.last > 0 && f.last < 0.93 * f.first);
    assert_true(f.compared);
    snprintf(path, sizeof path, "%s/run/checkpoints/latest/upscaler/diffusion_pytorch_model.safetensors",
             c.folder);
    kiln_upscaler *u = NULL;
    train_ok(kiln_upscaler_open(path, NULL, &u, err));
    assert_string_equal(kiln_upscaler_kind(u), "SRVGGNetCompact");
    assert_int_equal(kiln_upscaler_scale(u), 2);
    kiln_upscaler_close(u);
    train(case_recipe(&c, "run", TINY_UPSCALER, "max_train_steps=122", NULL), "latest", &again);
    assert_true(again.first > 0 && again.first < 0.93 * f.first);
    again = (figures){0};
    snprintf(path, sizeof path, "base=%s/run/checkpoints/latest", c.folder);
    train(case_recipe(&c, "second", TINY_UPSCALER, "max_train_steps=2", path, NULL), NULL, &again);
    assert_true(again.first > 0 && again.first < 0.95 * f.first);
    case_end(&c);
}

static void sizes_must_fit(void **state)
{
    (void)state;
    training_case c = case_begin(4, 16);
    kiln_training *t = NULL;
    kiln_training_recipe *r = case_recipe(&c, "run", TINY_UPSCALER, "resolution=15", NULL);
    train_fails(kiln_training_open(r, NULL, &t, err), KILN_BAD_ARGUMENT, "multiples of 2");
    assert_null(t);
    kiln_training_recipe_free(r);
    case_end(&c);
}

/* ------------------------------------------------------------------------------------ degradations */

enum { SIDE = 24 };

static void fill_waves(float *large)
{
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++)
            for (int k = 0; k < 3; k++)
                large[(y * SIDE + x) * 3 + k] = (float)(0.8 * sin(0.9 * x + k) * cos(0.7 * y));
}

static double distance(const float *a, const float *b, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += fabs((double)a[i] - (double)b[i]);
    return sum / n;
}

static void pictures_are_degraded_as_told(void **state)
{
    (void)state;
    static const degradation cases[] = {{.scale = 2},
                                        {.scale = 2, .blur = 2},
                                        {.scale = 2, .noise = 20},
                                        {.scale = 2, .jpeg = 10},
                                        {.scale = 3, .blur = 1, .noise = 8, .jpeg = 30, .second_order = true},
                                        {.scale = 1, .noise = 5}};
    static float large[SIDE * SIDE * 3], small[SIDE * SIDE * 3], again[SIDE * SIDE * 3],
        plain[SIDE * SIDE * 3];
    fill_waves(large);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const degradation *d = &cases[i], clean = {.scale = d->scale};
        int side = SIDE / d->scale, n = side * side * 3, differing = 0;
        train_ok(degrade(&clean, large, SIDE, SIDE, 1, plain, err));
        for (uint64_t bits = 1; bits <= 8; bits++) {
            train_ok(degrade(d, large, SIDE, SIDE, bits, small, err));
            train_ok(degrade(d, large, SIDE, SIDE, bits, again, err));
            assert_memory_equal(small, again, (size_t)n * sizeof *small);
            for (int k = 0; k < n; k++) {
                assert_true(small[k] >= 0 && small[k] <= 1);
                assert_float_equal(small[k] * 255, rintf(small[k] * 255), 1e-3);
            }
            differing += distance(small, plain, n) > 1e-4;
            assert_true(distance(small, plain, n) < 0.3);
        }
        assert_true(i == 0 ? differing == 0 : differing >= 2);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_learns_and_its_file_is_read),
        cmocka_unit_test(sizes_must_fit),
        cmocka_unit_test(pictures_are_degraded_as_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
