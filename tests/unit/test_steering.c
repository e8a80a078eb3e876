/* floors: base tensor formats graph ops backend plan nn model text weights diffusion image pipeline
 *
 * test_steering.c - whole drawings steered by a ControlNet and by an image prompt, against the loop of diffusers'
 * pipelines in torch (tests/tools/make_vision_samples.py); what strength, start and end do; what does not fit. */
#include "kiln/edit.h"
#include "pipeline/control.h"
#include "pipeline/image_api.h"
#include "pipeline/map.h"

#include "reference_tensors.h"

#define DATA TEST_DATA "/vision/"

/* What all tests draw with. */
static struct {
    tensor_file *reference;
    kiln_model *model;
    kiln_session *session;
    kiln_clip *clip;
    kiln_controlnet *net;
    kiln_image_adapter *adapter;
    kiln_image *hint, *picture;
    kiln_map *context, *negative;
} all;

static kiln_image *picture_of(const char *name)
{
    shape s;
    kiln_image *out = NULL;
    float *values = reference_floats(all.reference, name, &s);
    uint8_t *bytes = malloc((size_t)shape_count(s));
    assert_non_null(bytes);
    for (int64_t i = 0; i < shape_count(s); i++)
        bytes[i] = (uint8_t)values[i];
    assert_int_equal(kiln_image_new((int)s.dim[1], (int)s.dim[0], 3, 8, bytes, &out, NULL), KILN_OK);
    free(values);
    free(bytes);
    return out;
}

static kiln_map *map_of(const char *name)
{
    shape s;
    kiln_map *out = NULL;
    float *values = reference_floats(all.reference, name, &s);
    assert_int_equal(map_new("conditioning", &out, NULL), KILN_OK);
    assert_int_equal(map_add(out, "context", s, values, NULL), KILN_OK);
    free(values);
    return out;
}

static int open_all(void **state)
{
    (void)state;
    kiln_error err = {0};
    kiln_model_options o = kiln_model_defaults();
    o.precision = KILN_PRECISION_F32;
    kiln_status status = tensor_file_open(DATA "steered.golden.safetensors", &all.reference, &err);
    if (status == KILN_OK)
        status = kiln_model_open(TEST_DATA "/sd1-tiny", &o, &all.model, &err);
    if (status == KILN_OK)
        status = kiln_session_new(all.model, &all.session, &err);
    if (status == KILN_OK)
        status = kiln_clip_open(DATA "clip-tiny", &o, &all.clip, &err);
    if (status == KILN_OK)
        status = kiln_controlnet_open(DATA "control-tiny", NULL, &all.net, &err);
    if (status == KILN_OK)
        status = kiln_image_adapter_open(DATA "ip-tiny.safetensors", all.clip, &all.adapter, &err);
    if (status != KILN_OK) {
        print_error("%s\n", err.text);
        return 1;
    }
    all.hint = picture_of("hint");
    all.picture = picture_of("picture");
    all.context = map_of("context");
    all.negative = map_of("negative");
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    kiln_map_free(all.context);
    kiln_map_free(all.negative);
    kiln_image_free(all.hint);
    kiln_image_free(all.picture);
    kiln_image_adapter_close(all.adapter);
    kiln_controlnet_close(all.net);
    kiln_clip_close(all.clip);
    kiln_session_free(all.session);
    (void)kiln_model_close(all.model);
    tensor_file_close(all.reference);
    return 0;
}

static kiln_draw_options base_options(void)
{
    kiln_draw_options o = kiln_draw_defaults();
    o.width = 24;
    o.height = 32;
    o.steps = 5;
    o.cfg = 3;
    o.seed = 77;
    o.sampler = "model";
    o.conditioning = all.context;
    o.negative_conditioning = all.negative;
    return o;
}

static kiln_control control_of(double strength, double start, double end, bool guess)
{
    return (kiln_control){.net = all.net,
                          .picture = all.hint,
                          .strength = strength,
                          .start = start,
                          .end = end,
                          .guess = guess,
                          .module = "canny"};
}

static kiln_image_prompt prompt_of(double strength)
{
    return (kiln_image_prompt){
        .adapter = all.adapter, .picture = all.picture, .strength = strength, .end = 1};
}

static kiln_image *drawn(const kiln_draw_options *o)
{
    kiln_image *out = NULL;
    kiln_error err = {0};
    if (kiln_draw(all.session, o, &out, &err) != KILN_OK)
        fail_msg("%s", err.text);
    return out;
}

static double difference(const kiln_image *a, const kiln_image *b)
{
    const uint8_t *x = kiln_image_pixels(a), *y = kiln_image_pixels(b);
    double sum = 0;
    for (int i = 0; i < 24 * 32 * 3; i++)
        sum += fabs((double)x[i] - (double)y[i]);
    return sum / (24 * 32 * 3);
}

/* Rounding to 8 bits is all that may lie between. */
static void compare(const char *name, const kiln_draw_options *o)
{
    shape s;
    kiln_image *found = drawn(o);
    float *expected = reference_floats(all.reference, name, &s);
    const uint8_t *bytes = kiln_image_pixels(found);
    double worst = 0;
    for (int64_t i = 0; i < shape_count(s); i++) {
        double d = fabs(bytes[i] - 255 * (double)expected[i]);
        worst = d > worst ? d : worst;
    }
    print_message("    %s: %.3f of 255\n", name, worst);
    if (worst > 0.51)
        fail_msg("%s: a pixel is off by %.3f of 255", name, worst);
    free(expected);
    kiln_image_free(found);
}

static void drawings_are_those_of_diffusers(void **state)
{
    (void)state;
    kiln_draw_options o = base_options();
    compare("plain", &o);
    kiln_control c = control_of(0.8, 0, 0.7, false);
    o.controls = &c;
    o.control_count = 1;
    compare("control", &o);
    c = control_of(1, 0.4, 1, false);
    compare("late", &o);
    c = control_of(1, 0, 1, true);
    compare("guess", &o);
    kiln_image_prompt p = prompt_of(0.9);
    c = control_of(0.5, 0, 1, false);
    o.image_prompts = &p;
    o.image_prompt_count = 1;
    compare("both", &o);
    o.control_count = 0;
    p = prompt_of(0.6);
    compare("image", &o);
}

static void nothing_said_is_nothing_changed(void **state)
{
    (void)state;
    kiln_draw_options o = base_options();
    kiln_image *plain = drawn(&o);
    kiln_control c[2] = {control_of(0, 0, 1, false), control_of(1, 0.5, 0.5, false)};
    kiln_image_prompt p = prompt_of(0);
    o.controls = c;
    o.control_count = 2;
    o.image_prompts = &p;
    o.image_prompt_count = 1;
    kiln_image *steered = drawn(&o);
    assert_true(difference(plain, steered) == 0);
    const char *text = kiln_image_text(steered, "parameters");
    assert_non_null(strstr(text, "ControlNet 0: \"Module: canny, Model: control-tiny, Weight: 0"));
    assert_non_null(strstr(text, "ControlNet 1:"));
    assert_non_null(strstr(text, "Image prompt 0: \"Model: ip-tiny, Weight: 0"));
    kiln_image_free(plain);
    kiln_image_free(steered);
}

static void several_controls_add_up(void **state)
{
    (void)state;
    kiln_draw_options o = base_options();
    kiln_control c[2] = {control_of(0.8, 0, 1, false), control_of(0, 0, 1, false)};
    o.controls = c;
    o.control_count = 1;
    kiln_image *one = drawn(&o);
    c[0].strength = 0.3;
    c[1].strength = 0.5;
    o.control_count = 2;
    kiln_image *two = drawn(&o);
    assert_true(difference(one, two) < 0.05);
    c[1].strength = 1.5;
    kiln_image *more = drawn(&o);
    assert_true(difference(one, more) > 0.05);
    kiln_image_free(one);
    kiln_image_free(two);
    kiln_image_free(more);
}

/* Without guidance there is one branch; contexts of different lengths make two passes. */
static void every_kind_of_pass_is_steered(void **state)
{
    (void)state;
    kiln_draw_options o = base_options();
    kiln_control c = control_of(1, 0, 1, false);
    kiln_image_prompt p = prompt_of(1);
    o.cfg = 1;
    kiln_image *plain = drawn(&o);
    o.controls = &c;
    o.control_count = 1;
    o.image_prompts = &p;
    o.image_prompt_count = 1;
    kiln_image *one = drawn(&o);
    assert_true(difference(plain, one) > 0.5);
    kiln_image_free(plain);
    kiln_image_free(one);
    o.cfg = 3;
    o.negative_conditioning = NULL;
    o.negative = "";
    kiln_image *two = drawn(&o);
    o.batch = 2;
    kiln_image *pair[2] = {NULL};
    assert_int_equal(kiln_draw(all.session, &o, pair, NULL), KILN_OK);
    assert_true(difference(two, pair[0]) == 0);
    kiln_image_free(two);
    kiln_image_free(pair[0]);
    kiln_image_free(pair[1]);
    /* Four image prompts, the same picture each: as one of four times the strength. */
    kiln_image_prompt four[4] = {prompt_of(0.25), prompt_of(0.25), prompt_of(0.25), prompt_of(0.25)};
    o = base_options();
    o.image_prompts = &p;
    o.image_prompt_count = 1;
    one = drawn(&o);
    o.image_prompts = four;
    o.image_prompt_count = 4;
    two = drawn(&o);
    assert_true(difference(one, two) < 0.05);
    kiln_image_free(one);
    kiln_image_free(two);
}

static void the_plan_counts_the_control(void **state)
{
    (void)state;
    kiln_draw_options o = base_options();
    kiln_control c[2] = {control_of(1, 0, 1, false), control_of(1, 0, 1, false)};
    kiln_memory_plan plain, one, two;
    assert_int_equal(kiln_draw_plan(all.session, &o, &plain, NULL), KILN_OK);
    o.controls = c;
    o.control_count = 1;
    assert_int_equal(kiln_draw_plan(all.session, &o, &one, NULL), KILN_OK);
    o.control_count = 2;
    assert_int_equal(kiln_draw_plan(all.session, &o, &two, NULL), KILN_OK);
    assert_true(one.weights > plain.weights && one.activations > plain.activations);
    assert_true(two.weights == one.weights && two.activations > one.activations);
}

/* ------------------------------------------------------------------------------------ parts of a picture */

static kiln_image *stripes(int width, int height, int x0)
{
    uint8_t *bytes = malloc((size_t)width * (size_t)height * 3);
    kiln_image *out = NULL;
    assert_non_null(bytes);
    for (int i = 0; i < width * height * 3; i++) {
        int x = i / 3 % width + x0, y = i / 3 / width;
        bytes[i] = (uint8_t)(127 + 120 * sin(x * 0.4 + i % 3) * cos(y * 0.3));
    }
    assert_int_equal(kiln_image_new(width, height, 3, 8, bytes, &out, NULL), KILN_OK);
    free(bytes);
    return out;
}

static bool same_column_range(const kiln_image *a, int ax, const kiln_image *b, int bx, int columns, int rows)
{
    const uint8_t *p = kiln_image_pixels(a), *q = kiln_image_pixels(b);
    for (int y = 0; y < rows; y++)
        if (memcmp(p + (y * kiln_image_width(a) + ax) * 3, q + (y * kiln_image_width(b) + bx) * 3,
                   (size_t)columns * 3) != 0)
            return false;
    return true;
}

/* From column x0 on. */
static void blacken(kiln_image *picture, int x0)
{
    int width = kiln_image_width(picture);
    uint8_t *bytes = (uint8_t *)(uintptr_t)kiln_image_pixels(picture);
    for (int y = 0; y < kiln_image_height(picture); y++)
        memset(bytes + (y * width + x0) * 3, 0, (size_t)(width - x0) * 3);
}

/* Of columns x0 to x0 + columns of a with all of b. */
static int largest_difference(const kiln_image *a, int x0, const kiln_image *b, int columns, int rows)
{
    const uint8_t *p = kiln_image_pixels(a), *q = kiln_image_pixels(b);
    int most = 0;
    for (int y = 0; y < rows; y++)
        for (int i = 0; i < columns * 3; i++) {
            int d = abs(p[(y * kiln_image_width(a) + x0) * 3 + i] - q[y * columns * 3 + i]);
            most = d > most ? d : most;
        }
    return most;
}

/* A tile is the drawing of its part of the picture, steered by its part of the control picture. */
static void each_tile_is_steered_by_its_part(void **state)
{
    (void)state;
    kiln_image *wide = stripes(48, 32, 0), *parts[2] = {stripes(24, 32, 0), stripes(24, 32, 24)}, *out = NULL;
    kiln_image *hint = stripes(48, 32, 0), *hints[2] = {stripes(24, 32, 0), stripes(24, 32, 0)};
    blacken(hint, 24);
    blacken(hints[1], 0);
    kiln_control c = control_of(10, 0, 1, false);
    kiln_redraw_options o = kiln_redraw_defaults();
    kiln_error err = {0};
    o.draw = base_options();
    o.draw.strength = 0.6;
    o.draw.controls = &c;
    o.draw.control_count = 1;
    o.draw.width = 24;
    o.draw.height = 32;
    o.scale = 1;
    o.overlap = 0;
    o.picture = wide;
    c.picture = hint;
    if (kiln_redraw(all.session, &o, &out, &err) != KILN_OK)
        fail_msg("%s", err.text);
    for (int k = 0; k < 2; k++) {
        kiln_draw_options d = o.draw;
        kiln_control own = c;
        d.seed += (uint64_t)k;
        d.init = parts[k];
        own.picture = hints[k];
        d.controls = &own;
        kiln_image *alone = drawn(&d);
        assert_int_equal(largest_difference(out, 24 * k, alone, 24, 32), 0);
        own.picture = hints[1 - k];
        kiln_image *other = drawn(&d);
        assert_true(largest_difference(out, 24 * k, other, 24, 32) > 0);
        kiln_image_free(alone);
        kiln_image_free(other);
        kiln_image_free(parts[k]);
    }
    kiln_image_free(hints[0]);
    kiln_image_free(hints[1]);
    kiln_image_free(hint);
    kiln_image_free(out);
    kiln_image_free(wide);
}

/* An inpainted box sees the control picture under it: what is elsewhere does not matter. */
static void an_inpainted_part_is_steered_by_its_part(void **state)
{
    (void)state;
    kiln_image *picture = stripes(72, 64, 5), *hints[2] = {stripes(72, 64, 0), stripes(72, 64, 0)}, *mask,
               *out[3];
    blacken(hints[1], 48); /* right of the box */
    kiln_selection box = {.x = 4, .y = 4, .width = 12, .height = 16};
    assert_int_equal(kiln_select(picture, &box, &mask, NULL), KILN_OK);
    kiln_control c = control_of(1.5, 0, 1, false);
    kiln_inpaint_options o = kiln_inpaint_defaults();
    o.draw = base_options();
    o.draw.width = 24;
    o.draw.height = 32;
    o.draw.controls = &c;
    o.draw.control_count = 1;
    o.only_masked = true;
    o.padding = 4;
    o.picture = picture;
    o.mask = mask;
    for (int k = 0; k < 3; k++) {
        kiln_error err = {0};
        c.picture = hints[k % 2];
        c.strength = k < 2 ? 1.5 : 0;
        if (kiln_inpaint(all.session, &o, &out[k], &err) != KILN_OK)
            fail_msg("%s", err.text);
    }
    assert_true(same_column_range(out[0], 0, out[1], 0, 72, 64));
    assert_false(same_column_range(out[0], 0, out[2], 0, 72, 64));
    for (int k = 0; k < 3; k++)
        kiln_image_free(out[k]);
    kiln_image_free(hints[0]);
    kiln_image_free(hints[1]);
    kiln_image_free(mask);
    kiln_image_free(picture);
}

/* The same drawings, from another model and another file of references. */
static void variations_are_those_of_diffusers(void **state)
{
    (void)state;
    tensor_file *before = all.reference;
    kiln_session *session = all.session;
    kiln_model *unclip = NULL;
    kiln_error err = {0};
    kiln_model_options m = kiln_model_defaults();
    m.precision = KILN_PRECISION_F32;
    m.vae = TEST_DATA "/sd1-tiny/vae";
    if (kiln_model_open(DATA "unclip-tiny", &m, &unclip, &err) != KILN_OK ||
        kiln_session_new(unclip, &all.session, &err) != KILN_OK ||
        tensor_file_open(DATA "varied.golden.safetensors", &all.reference, &err) != KILN_OK)
        fail_msg("%s", err.text);
    kiln_draw_options o = base_options();
    kiln_variation v = {.encoder = all.clip, .picture = all.picture};
    o.seed = 78;
    o.variation = &v;
    compare("level_0", &o);
    v.noise_level = 250;
    compare("level_250", &o);
    kiln_image *one = drawn(&o), *out = NULL;
    assert_non_null(strstr(kiln_image_text(one, "parameters"), "Image variation: noise level 250"));
    kiln_image_free(one);
    v.noise_level = 1000;
    assert_int_equal(kiln_draw(all.session, &o, &out, &err), KILN_BAD_ARGUMENT);
    kiln_session_free(all.session);
    (void)kiln_model_close(unclip);
    tensor_file_close(all.reference);
    all.session = session;
    all.reference = before;
    v.noise_level = 0;
    assert_int_equal(kiln_draw(all.session, &o, &out, &err), KILN_MISMATCH);
    assert_non_null(strstr(err.text, "unCLIP"));
}

static void refused(const kiln_draw_options *o, kiln_status status, const char *word)
{
    kiln_image *out = NULL;
    kiln_error err = {0};
    assert_int_equal(kiln_draw(all.session, o, &out, &err), status);
    assert_null(out);
    if (!strstr(err.text, word))
        fail_msg("'%s' does not say '%s'", err.text, word);
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    kiln_draw_options o = base_options();
    kiln_control c = control_of(1, 0, 1, false);
    o.controls = &c;
    o.control_count = 1;
    c.strength = NAN;
    refused(&o, KILN_BAD_ARGUMENT, "strength");
    c = control_of(1, 0.6, 0.5, false);
    refused(&o, KILN_BAD_ARGUMENT, "from 0.6 to 0.5");
    c = control_of(1, 0, 1, false);
    c.picture = NULL;
    refused(&o, KILN_BAD_ARGUMENT, "no picture");
    o.control_count = 9;
    refused(&o, KILN_BAD_ARGUMENT, "0 to 8");
    kiln_controlnet *large = NULL;
    kiln_error err = {0};
    assert_int_equal(kiln_controlnet_open(DATA "controlxl-tiny", NULL, &large, &err), KILN_OK);
    c = control_of(1, 0, 1, false);
    c.net = large;
    o.control_count = 1;
    refused(&o, KILN_MISMATCH, "another UNet");
    kiln_controlnet_close(large);
    o.control_count = 0;
    kiln_image_prompt p = prompt_of(11);
    o.image_prompts = &p;
    o.image_prompt_count = 1;
    refused(&o, KILN_BAD_ARGUMENT, "strength");
    p = prompt_of(1);
    p.adapter = NULL;
    refused(&o, KILN_BAD_ARGUMENT, "no adapter");
}

static void what_is_none_is_told_apart(void **state)
{
    (void)state;
    kiln_error err = {0};
    kiln_controlnet *net = NULL;
    kiln_image_adapter *adapter = NULL;
    assert_int_equal(kiln_controlnet_open(DATA "ip-tiny.safetensors", NULL, &net, &err), KILN_UNSUPPORTED);
    assert_non_null(strstr(err.text, "not a ControlNet"));
    assert_int_equal(kiln_controlnet_open(DATA "nothing", NULL, &net, &err), KILN_NOT_FOUND);
    assert_int_equal(kiln_image_adapter_open(DATA "openclip-tiny.safetensors", all.clip, &adapter, &err),
                     KILN_UNSUPPORTED);
    assert_non_null(strstr(err.text, "not an IP-Adapter"));
    /* The full form wants hidden states, the plain one an embedding: the encoder's widths are 32 and 24. */
    assert_int_equal(kiln_image_adapter_open(DATA "ipplus-tiny.safetensors", all.clip, &adapter, &err),
                     KILN_OK);
    kiln_image_adapter_close(adapter);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(drawings_are_those_of_diffusers),
        cmocka_unit_test(nothing_said_is_nothing_changed),
        cmocka_unit_test(several_controls_add_up),
        cmocka_unit_test(every_kind_of_pass_is_steered),
        cmocka_unit_test(the_plan_counts_the_control),
        cmocka_unit_test(each_tile_is_steered_by_its_part),
        cmocka_unit_test(an_inpainted_part_is_steered_by_its_part),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(what_is_none_is_told_apart),
        cmocka_unit_test(variations_are_those_of_diffusers),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
