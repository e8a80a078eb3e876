/* floors: base tensor formats graph ops backend plan nn model text weights diffusion image pipeline
 *
 * test_x4_upscaler.c - a model of the x4 upscaler's kind from a small picture to a large one, against the loop of diffusers'
 * StableDiffusionUpscalePipeline (tests/tools/make_x4_samples.py); and tiles of one. */
#include "kiln/edit.h"
#include "pipeline/map.h"

#include "reference_tensors.h"
#include "unit/tiny_model.h"

#include <unistd.h>

#define X4 TEST_DATA "/x4-tiny/"

enum { SMALL_WIDTH = 17, SMALL_HEIGHT = 14 };

static char folder[64];
static tensor_file *reference;
static const char *const links[] = {X4 "vae",
                                    X4 "scheduler",
                                    X4 "low_res_scheduler",
                                    X4 "model_index.json",
                                    TINY_PATH "/text_encoder",
                                    TINY_PATH "/tokenizer"};
enum { LINKS = sizeof links / sizeof *links };

static void link_path(const char *target, char path[200])
{
    snprintf(path, 200, "%s%s", folder, strrchr(target, '/'));
}

/* A folder of links: text encoder and tokenizer are those of the tiny model. */
static kiln_model *open_model(const char *unet)
{
    char path[200];
    kiln_model *m = NULL;
    kiln_model_options o = kiln_model_defaults();
    strcpy(folder, "/tmp/kiln-x4-XXXXXX");
    assert_non_null(mkdtemp(folder));
    for (int i = 0; i < LINKS; i++) {
        link_path(links[i], path);
        assert_int_equal(symlink(links[i], path), 0);
    }
    link_path(unet, path);
    assert_int_equal(symlink(unet, path), 0);
    o.threads = 1;
    o.precision = KILN_PRECISION_F32;
    assert_ok(kiln_model_open(folder, &o, &m, err));
    return m;
}

static void close_model(kiln_model *m)
{
    char path[200];
    assert_int_equal(kiln_model_close(m), KILN_OK);
    for (int i = 0; i < LINKS; i++) {
        link_path(links[i], path);
        unlink(path);
    }
    link_path("/unet", path);
    unlink(path);
    rmdir(folder);
}

static kiln_map *context_of(const char *name)
{
    shape s;
    kiln_map *map = NULL;
    float *values = reference_floats(reference, name, &s);
    assert_ok(map_new("conditioning", &map, err));
    assert_ok(map_add(map, "context", s, values, err));
    free(values);
    return map;
}

static kiln_image *small_picture(void)
{
    uint8_t bytes[SMALL_WIDTH * SMALL_HEIGHT * 3];
    kiln_image *out = NULL;
    float *values = reference_floats(reference, "small", NULL);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)values[i];
    free(values);
    assert_ok(kiln_image_new(SMALL_WIDTH, SMALL_HEIGHT, 3, 8, bytes, &out, err));
    return out;
}

static kiln_image *enlarged(kiln_model *m, int tile, int overlap)
{
    kiln_session *s = tiny_session(m);
    kiln_map *context = context_of("context"), *negative = context_of("negative");
    kiln_image *small = small_picture(), *out = NULL;
    kiln_redraw_options o = kiln_redraw_defaults();
    o.draw.steps = 5;
    o.draw.cfg = 4;
    o.draw.seed = 55;
    o.draw.sampler = "model";
    o.draw.prompt = "";
    o.draw.conditioning = context;
    o.draw.negative_conditioning = negative;
    o.draw.width = o.draw.height = tile;
    o.overlap = overlap;
    o.picture = small;
    assert_ok(kiln_redraw(s, &o, &out, err));
    assert_int_equal(kiln_image_width(out), 4 * SMALL_WIDTH);
    assert_int_equal(kiln_image_height(out), 4 * SMALL_HEIGHT);
    kiln_image_free(small);
    kiln_map_free(context);
    kiln_map_free(negative);
    kiln_session_free(s);
    return out;
}

/* In steps of 1/255, with the rounding to 8 bits. */
static double error_of(const kiln_image *found, const char *name)
{
    const uint8_t *bytes = kiln_image_pixels(found);
    float *expected = reference_floats(reference, name, NULL);
    double worst = 0;
    for (int i = 0; i < 16 * SMALL_WIDTH * SMALL_HEIGHT * 3; i++)
        worst = fmax(worst, fabs(bytes[i] - 255 * (double)expected[i]));
    free(expected);
    print_message("    %s: %.3f of 255\n", name, worst);
    return worst;
}

static void the_pipeline_is_that_of_diffusers(void **state)
{
    (void)state;
    kiln_model *m = open_model(X4 "unet");
    kiln_image *out = enlarged(m, 80, 64);
    assert_true(error_of(out, "large") < 0.51);
    assert_non_null(strstr(kiln_image_text(out, "parameters"), "Noise level: 20"));
    kiln_image_free(out);
    /* Tiles see other noise, so that only their form and their joints can be told. */
    kiln_image *tiled = enlarged(m, 40, 16);
    assert_true(error_of(tiled, "large") > 1);
    kiln_image_free(tiled);
    close_model(m);
}

static void the_golden_unet_enlarges(void **state)
{
    (void)state;
    static const char unet[] = TEST_SHARED "/golden/models/x4unet-tiny/unet";
    if (access(unet, R_OK) != 0) {
        print_message("skipped: no %s\n", unet);
        skip();
    }
    kiln_model *m = open_model(unet);
    kiln_image *out = enlarged(m, 80, 64);
    assert_true(error_of(out, "x4unet_large") < 0.51);
    kiln_image_free(out);
    close_model(m);
}

static int begin(void **state)
{
    (void)state;
    kiln_error err = {0};
    return tensor_file_open(X4 "golden.safetensors", &reference, &err) == KILN_OK ? 0 : 1;
}

static int end(void **state)
{
    (void)state;
    tensor_file_close(reference);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_pipeline_is_that_of_diffusers),
        cmocka_unit_test(the_golden_unet_enlarges),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
