/* floors: base tensor formats graph ops backend plan nn model text weights diffusion image pipeline
 *
 * test_draw_options.c - every option of a drawing and of a model that cannot be: one sentence that names it, the same from
 * kiln_draw_plan and from kiln_draw, and nothing left behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "unit/tiny_model.h"

#include <math.h>

static kiln_model *model;
static kiln_session *session;
static kiln_image *picture;

static int open_model(void **state)
{
    (void)state;
    model = tiny_open(1, KILN_PRECISION_F32);
    session = tiny_session(model);
    picture = tiny_picture(32, 32, 3);
    return 0;
}

static int close_model(void **state)
{
    (void)state;
    kiln_image_free(picture);
    kiln_session_free(session);
    return kiln_model_close(model) != KILN_OK;
}

static void refused(const kiln_draw_options *o, kiln_status expected, const char *word)
{
    static char untouched;
    kiln_memory_plan plan;
    kiln_image *out[2] = {(kiln_image *)&untouched, (kiln_image *)&untouched};
    assert_refused(kiln_draw_plan(session, o, &plan, err), expected, word);
    assert_true(plan.peak == 0 && plan.weights == 0 && plan.activations == 0);
    assert_refused(kiln_draw(session, o, out, err), expected, word);
    assert_true(out[0] == NULL || (o->batch < 1 || o->batch > 10000));
    assert_ptr_equal(out[1], &untouched);
    assert_int_equal(kiln_draw(session, o, out, NULL), expected); /* without an error to fill */
}

#define REFUSED(field, value, expected, word)                                                                \
    do {                                                                                                     \
        kiln_draw_options o = tiny_options("a fox", 1);                                                      \
        o.init = with_init ? picture : NULL;                                                                 \
        o.field = value;                                                                                     \
        refused(&o, expected, word);                                                                         \
    } while (0)

static void numbers_out_of_range(void **state)
{
    (void)state;
    for (int with_init = 0; with_init < 2; with_init++) {
        REFUSED(steps, 0, KILN_BAD_ARGUMENT, "steps");
        REFUSED(steps, -1, KILN_BAD_ARGUMENT, "steps");
        REFUSED(steps, 1001, KILN_BAD_ARGUMENT, "steps");
        REFUSED(steps, INT32_MIN, KILN_BAD_ARGUMENT, "steps");
        REFUSED(cfg, (double)NAN, KILN_BAD_ARGUMENT, "cfg");
        REFUSED(cfg, (double)INFINITY, KILN_BAD_ARGUMENT, "cfg");
        REFUSED(cfg, -1, KILN_BAD_ARGUMENT, "cfg");
        REFUSED(cfg_rescale, 1.5, KILN_BAD_ARGUMENT, "cfg_rescale");
        REFUSED(cfg_rescale, (double)NAN, KILN_BAD_ARGUMENT, "cfg_rescale");
        REFUSED(clip_skip, 0, KILN_BAD_ARGUMENT, "clip_skip");
        REFUSED(clip_skip, 4, KILN_BAD_ARGUMENT, "clip_skip");
        REFUSED(clip_skip, 101, KILN_BAD_ARGUMENT, "clip_skip");
        REFUSED(eta, (double)NAN, KILN_BAD_ARGUMENT, "eta");
        REFUSED(eta, -2, KILN_BAD_ARGUMENT, "eta");
        REFUSED(batch, 0, KILN_BAD_ARGUMENT, "batch");
        REFUSED(batch, -3, KILN_BAD_ARGUMENT, "batch");
        REFUSED(batch, INT32_MAX, KILN_BAD_ARGUMENT, "batch");
        REFUSED(memory_limit, -1, KILN_BAD_ARGUMENT, "memory limit");
        REFUSED(vae_tile, 8, KILN_BAD_ARGUMENT, "vae_tile");
        REFUSED(vae_tile, -2, KILN_BAD_ARGUMENT, "vae_tile");
        REFUSED(vae_tile, INT32_MAX, KILN_BAD_ARGUMENT, "vae_tile");
        REFUSED(preview_every, -1, KILN_BAD_ARGUMENT, "preview_every");
    }
    bool with_init = true;
    REFUSED(strength, -0.1, KILN_BAD_ARGUMENT, "strength");
    REFUSED(strength, 1.1, KILN_BAD_ARGUMENT, "strength");
    REFUSED(strength, (double)NAN, KILN_BAD_ARGUMENT, "strength");
}

static void names_that_are_not_known(void **state)
{
    (void)state;
    bool with_init = false;
    REFUSED(rng, "gpu", KILN_BAD_ARGUMENT, "rng");
    REFUSED(rng, "", KILN_BAD_ARGUMENT, "rng");
    REFUSED(sampler, "Fastest", KILN_NOT_FOUND, "Fastest");
    REFUSED(schedule, "Steep", KILN_NOT_FOUND, "Steep");
    REFUSED(sampler, "%s%n\x1b[2J", KILN_NOT_FOUND, "%s%n");
}

static void sizes_that_cannot_be(void **state)
{
    (void)state;
    static const int bad[] = {-64, -1, 1, 33, 511, 65536, 1000000, INT32_MAX, INT32_MIN};
    bool with_init = false;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        REFUSED(width, bad[i], KILN_BAD_ARGUMENT, "width");
        REFUSED(height, bad[i], KILN_BAD_ARGUMENT, "height");
    }
    kiln_draw_options o = tiny_options("a fox", 1);
    o.width = o.height = 65500;
    refused(&o, KILN_BAD_ARGUMENT, "65500x65500");
}

/* Any multiple of the step is honoured exactly, latents of odd sides and of one position too. */
static void sizes_down_to_the_least(void **state)
{
    (void)state;
    static const int sizes[][2] = {{2, 2}, {2, 34}, {30, 6}, {70, 4}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int with_init = 0; with_init < 2; with_init++) {
            kiln_draw_options o = tiny_options("a fox", 1);
            o.width = sizes[i][0];
            o.height = sizes[i][1];
            o.init = with_init ? picture : NULL;
            o.preview_every = 1;
            kiln_image *out = tiny_draw(session, &o);
            assert_int_equal(kiln_image_width(out), o.width);
            assert_int_equal(kiln_image_height(out), o.height);
            kiln_image_free(out);
        }
}

/* What is NULL or 0 has a meaning of its own. */
static void options_left_out(void **state)
{
    (void)state;
    kiln_draw_options o = {.prompt = "a fox", .steps = 1, .cfg = 7, .clip_skip = 1, .batch = 1};
    kiln_image_free(tiny_draw(session, &o));
    o.cfg = 0;
    kiln_image_free(tiny_draw(session, &o));
    int width, height;
    kiln_model_size(model, &width, &height);
    assert_true(width == 32 && height == 32 && kiln_model_size_step(model) == 2);
    assert_string_equal(kiln_model_family(model), "Stable Diffusion 1");
    kiln_draw_options d = kiln_draw_defaults();
    assert_true(d.steps == 20 && d.cfg == 7 && d.batch == 1 && d.seed == 0 && d.strength == 0.75);
}

static void little_or_no_strength(void **state)
{
    (void)state;
    kiln_draw_options o = tiny_options("a fox", 1);
    o.init = picture;
    o.strength = 0;
    kiln_image_free(tiny_draw(session, &o)); /* A1111's samplers run one step */
    o.sampler = "model";
    refused(&o, KILN_BAD_ARGUMENT, "strength"); /* diffusers' run none */
}

static void models_that_cannot_be_opened(void **state)
{
    (void)state;
    kiln_model_options o = kiln_model_defaults();
    kiln_model *m = (kiln_model *)&o;
    assert_refused(kiln_model_open("nowhere/at/all", NULL, &m, err), KILN_NOT_FOUND, "nowhere/at/all");
    assert_null(m);
    assert_refused(kiln_model_open(NULL, NULL, &m, err), KILN_BAD_ARGUMENT, "no model");
    assert_int_equal(kiln_model_open("nowhere/at/all", NULL, &m, NULL), KILN_NOT_FOUND);
    o.threads = -1;
    assert_refused(kiln_model_open(TINY_PATH, &o, &m, err), KILN_BAD_ARGUMENT, "threads");
    o = kiln_model_defaults();
    o.vae = "nowhere/vae";
    assert_refused(kiln_model_open(TINY_PATH, &o, &m, err), KILN_NOT_FOUND, "nowhere/vae");
    o = kiln_model_defaults();
    o.tokenizer = "nowhere/tokenizer";
    assert_refused(kiln_model_open(TINY_PATH, &o, &m, err), KILN_NOT_FOUND, "nowhere/tokenizer");
    o = kiln_model_defaults();
    o.preview = TINY_PATH "/unet/diffusion_pytorch_model.safetensors";
    assert_refused(kiln_model_open(TINY_PATH, &o, &m, err), KILN_UNSUPPORTED, "preview");
    o.preview = "nowhere/preview";
    assert_refused(kiln_model_open(TINY_PATH, &o, &m, err), KILN_NOT_FOUND, "nowhere/preview");
    o = kiln_model_defaults();
    o.hints = "nowhere/hints";
    assert_refused(kiln_model_open(TINY_PATH, &o, &m, err), KILN_NOT_FOUND, "nowhere/hints");
    assert_null(m);
}

/* A part alone opens; what needs the others is refused by name. */
static void models_with_parts_missing(void **state)
{
    (void)state;
    kiln_model *m = NULL;
    kiln_image *out = NULL;
    kiln_map *map = NULL;
    kiln_error e;
    if (kiln_model_open(TINY_PATH "/vae", NULL, &m, &e) != KILN_OK) {
        assert_true(e.text[0] != '\0'); /* a folder of one part is no model: said so */
        return;
    }
    kiln_session *s = tiny_session(m);
    kiln_draw_options o = tiny_options("a fox", 1);
    assert_refused(kiln_draw(s, &o, &out, err), KILN_NOT_FOUND, "unet");
    assert_refused(kiln_encode_text(s, "a fox", 1, NULL, &map, err), KILN_NOT_FOUND, "text_encoder");
    assert_ok(kiln_encode_image(s, picture, &map, err));
    kiln_map_free(map);
    kiln_session_free(s);
    assert_int_equal(kiln_model_close(m), KILN_OK);
}

static void profiles_and_traces(void **state)
{
    (void)state;
    char *text = (char *)state;
    assert_refused(kiln_session_profile_text(session, &text, err), KILN_BAD_ARGUMENT, "profiling");
    assert_null(text);
    kiln_session_profile(session, true);
    kiln_draw_options o = tiny_options("a fox", 1);
    kiln_image_free(tiny_draw(session, &o));
    assert_ok(kiln_session_profile_text(session, &text, err));
    assert_non_null(strstr(text, "conv2d"));
    assert_non_null(strstr(text, "attention"));
    free(text);
    kiln_session_profile(session, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_out_of_range),         cmocka_unit_test(names_that_are_not_known),
        cmocka_unit_test(sizes_that_cannot_be),         cmocka_unit_test(options_left_out),
        cmocka_unit_test(sizes_down_to_the_least),      cmocka_unit_test(little_or_no_strength),
        cmocka_unit_test(models_that_cannot_be_opened), cmocka_unit_test(models_with_parts_missing),
        cmocka_unit_test(profiles_and_traces),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
