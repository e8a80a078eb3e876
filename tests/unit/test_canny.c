/* floors: base tensor formats image
 *
 * test_canny.c - edges, pixel for pixel those of OpenCV (tests/tools/make_canny_samples.py), and what is refused. */
#include "image/canny.h"

#include "reference_tensors.h"

static const char *const cases[] = {"drawn", "noise", "smooth", "smooth_low", "swapped",
                                    "grey",  "steps", "thin",   "point"};

static image *picture_of(const tensor_file *file, const char *name)
{
    shape s;
    char full[64];
    image *out = NULL;
    snprintf(full, sizeof full, "%s.picture", name);
    float *values = reference_floats(file, full, &s);
    assert_int_equal(image_new((int)s.dim[1], (int)s.dim[0], (int)s.dim[2], 8, &out, NULL), KILN_OK);
    for (int64_t i = 0; i < shape_count(s); i++)
        ((uint8_t *)out->pixels)[i] = (uint8_t)values[i];
    free(values);
    return out;
}

static void edges_are_those_of_opencv(void **state)
{
    (void)state;
    tensor_file *file;
    assert_int_equal(tensor_file_open(TEST_DATA "/vision/canny.golden.safetensors", &file, NULL), KILN_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char full[64];
        shape s;
        image *from = picture_of(file, cases[i]), *found = NULL;
        snprintf(full, sizeof full, "%s.thresholds", cases[i]);
        float *thresholds = reference_floats(file, full, NULL);
        canny_options o = {(double)thresholds[0], (double)thresholds[1], 0};
        assert_int_equal(canny_edges(from, &o, &found, NULL), KILN_OK);
        snprintf(full, sizeof full, "%s.edges", cases[i]);
        float *expected = reference_floats(file, full, &s);
        int different = 0, edges = 0;
        for (int64_t k = 0; k < shape_count(s); k++) {
            different += ((uint8_t *)found->pixels)[k] != (uint8_t)expected[k];
            edges += expected[k] > 0;
        }
        print_message("    %s: %d edge pixels, %d differ\n", cases[i], edges, different);
        assert_int_equal(different, 0);
        free(thresholds);
        free(expected);
        image_free(from);
        image_free(found);
    }
    tensor_file_close(file);
}

/* A blurred step stays a step in the same place, and noise is gone. */
static void blur_takes_noise_away(void **state)
{
    (void)state;
    image *from = NULL, *plain = NULL, *calm = NULL;
    assert_int_equal(image_new(64, 40, 1, 8, &from, NULL), KILN_OK);
    uint8_t *p = from->pixels;
    uint32_t noise = 1;
    for (int i = 0; i < 64 * 40; i++) {
        noise = noise * 1664525u + 1013904223u;
        p[i] = (uint8_t)((i % 64 < 32 ? 40 : 200) + (int)(noise >> 27) * 1);
    }
    canny_options o = {20, 60, 0};
    assert_int_equal(canny_edges(from, &o, &plain, NULL), KILN_OK);
    o.blur = 2;
    assert_int_equal(canny_edges(from, &o, &calm, NULL), KILN_OK);
    int before = 0, after = 0, off = 0;
    for (int i = 0; i < 64 * 40; i++) {
        before += ((uint8_t *)plain->pixels)[i] == 255;
        after += ((uint8_t *)calm->pixels)[i] == 255;
        off += ((uint8_t *)calm->pixels)[i] == 255 && abs(i % 64 - 31) > 2;
    }
    assert_true(before > 60);
    assert_true(after >= 38 && after <= 60);
    assert_int_equal(off, 0);
    image_free(from);
    image_free(plain);
    image_free(calm);
}

static void bad_options_are_refused(void **state)
{
    (void)state;
    static const canny_options bad[] = {{-1, 200, 0}, {100, 2041, 0}, {NAN, 1, 0},
                                        {1, 2, -1},   {1, 2, 65},     {1, 2, NAN}};
    image *from = NULL, *out = NULL;
    kiln_error err;
    assert_int_equal(image_new(4, 4, 4, 16, &from, NULL), KILN_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(canny_edges(from, &bad[i], &out, &err), KILN_BAD_ARGUMENT);
        assert_null(out);
    }
    canny_options good = {100, 200, 64};
    assert_int_equal(canny_edges(from, &good, &out, &err), KILN_OK);
    image_free(out);
    image_free(from);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(edges_are_those_of_opencv),
        cmocka_unit_test(blur_takes_noise_away),
        cmocka_unit_test(bad_options_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
