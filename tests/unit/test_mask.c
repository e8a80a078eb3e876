/* floors: base tensor formats image
 *
 * test_mask.c - masks: where they come from, how they grow and soften, the boxes around them; what fills a hole; what is mixed
 * into a picture and what is not. */
#include "image/composite.h"
#include "image/fill.h"
#include "image/fourier.h"
#include "image/mask.h"
#include "image/soften.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static mask *blank(int width, int height)
{
    mask *m = NULL;
    assert_int_equal(mask_new(width, height, &m, NULL), KILN_OK);
    return m;
}

static float *at(const mask *m, int x, int y)
{
    return &m->values[(size_t)y * (size_t)m->width + (size_t)x];
}

static image *picture_of(int width, int height, int channels, int bits)
{
    image *p = NULL;
    assert_int_equal(image_new(width, height, channels, bits, &p, NULL), KILN_OK);
    for (size_t i = 0; i < image_bytes(p); i++)
        ((uint8_t *)p->pixels)[i] = (uint8_t)(i * 37 + i / 11 * 5);
    return p;
}

/* ------------------------------------------------------------------------------------ shapes */

static void a_polygon_is_its_inside(void **state)
{
    (void)state;
    mask *m = blank(20, 10);
    const mask_point square[] = {{2, 3}, {12, 3}, {12, 8}, {2, 8}};
    mask_add_polygon(m, square, 4);
    for (int y = 0; y < 10; y++)
        for (int x = 0; x < 20; x++)
            assert_true(*at(m, x, y) == (float)(x >= 2 && x < 12 && y >= 3 && y < 8));
    mask_free(m);
    m = blank(8, 8);
    const mask_point half[] = {{0, 0}, {8, 0}, {0, 8}}, beyond[] = {{-1e9, -5}, {1e9, -5}, {0, 1e9}};
    mask_add_polygon(m, half, 3);
    float sum = 0;
    for (int i = 0; i < 64; i++)
        sum += m->values[i];
    assert_true(fabsf(sum - 32) < 2);
    assert_true(*at(m, 4, 3) > 0 && *at(m, 4, 3) < 1);
    mask_add_polygon(m, beyond, 3);
    assert_true(*at(m, 7, 7) == 1);
    mask_add_polygon(m, half, 1); /* no area */
    mask_free(m);
}

/* By brute force. */
static bool near_set(const mask *m, int x, int y, double px)
{
    for (int v = 0; v < m->height; v++)
        for (int u = 0; u < m->width; u++)
            if (*at(m, u, v) >= 0.5f && (u - x) * (u - x) + (v - y) * (v - y) <= px * px)
                return true;
    return false;
}

static void growing_goes_by_distance(void **state)
{
    (void)state;
    static const double amounts[] = {1, 2.5, 4, 30};
    for (size_t k = 0; k < sizeof amounts / sizeof *amounts; k++) {
        mask *m = blank(23, 17), *grown = blank(23, 17), *shrunk = blank(23, 17);
        for (int i = 0; i < 23 * 17; i++)
            m->values[i] = grown->values[i] = i * 7919 % 97 == 0 ? 1 : 0;
        for (int i = 0; i < 23 * 17; i++)
            shrunk->values[i] = 1 - m->values[i];
        assert_int_equal(mask_grow(grown, amounts[k], NULL), KILN_OK);
        assert_int_equal(mask_grow(shrunk, -amounts[k], NULL), KILN_OK);
        for (int y = 0; y < 17; y++)
            for (int x = 0; x < 23; x++) {
                assert_true(*at(grown, x, y) == (float)near_set(m, x, y, amounts[k]));
                assert_true(*at(shrunk, x, y) == 1 - *at(grown, x, y));
            }
        mask_free(m);
        mask_free(grown);
        mask_free(shrunk);
    }
}

static void growing_nothing_gives_nothing(void **state)
{
    (void)state;
    mask *m = blank(1, 9);
    assert_int_equal(mask_grow(m, 5, NULL), KILN_OK);
    mask_box box;
    assert_false(mask_bounds(m, &box));
    mask_invert(m);
    assert_int_equal(mask_grow(m, -5, NULL), KILN_OK);
    assert_true(mask_bounds(m, &box) && box.height == 9);
    mask_free(m);
}

/* The kernel of "Mask blur": 2 int(2.5 s + 0.5) + 1 taps, so that what is farther than that stays 0. */
static void blur_ends_where_its_kernel_ends(void **state)
{
    (void)state;
    mask *m = blank(64, 3);
    for (int y = 0; y < 3; y++)
        for (int x = 32; x < 64; x++)
            *at(m, x, y) = 1;
    assert_int_equal(mask_blur(m, 4, NULL), KILN_OK);
    assert_true(*at(m, 21, 1) == 0 && *at(m, 22, 1) > 0);
    assert_true(*at(m, 41, 1) < 1 && *at(m, 42, 1) == 1);
    for (int x = 1; x < 64; x++)
        assert_true(*at(m, x, 1) >= *at(m, x - 1, 1));
    assert_true(fabsf(*at(m, 31, 1) + *at(m, 32, 1) - 1) < 0.01f);
    for (int i = 0; i < 64 * 3; i++)
        assert_true(fabsf(m->values[i] * 255 - rintf(m->values[i] * 255)) < 1e-3f);
    mask_free(m);
    m = blank(1, 1);
    m->values[0] = 1;
    assert_int_equal(mask_blur(m, 64, NULL), KILN_OK);
    assert_true(m->values[0] == 1);
    mask_free(m);
}

/* ------------------------------------------------------------------------------------ from pictures */

static void a_mask_comes_from_luma_or_alpha(void **state)
{
    (void)state;
    image *p = picture_of(2, 1, 4, 8);
    mask *m = NULL;
    memcpy(p->pixels, (uint8_t[]){255, 255, 255, 0, 255, 255, 255, 255}, 8);
    assert_int_equal(mask_of_picture(p, &m, NULL), KILN_OK);
    assert_true(m->values[0] == 0 && m->values[1] == 1); /* one colour: the alpha tells */
    mask_free(m);
    memcpy(p->pixels, (uint8_t[]){255, 255, 255, 255, 0, 0, 0, 255}, 8);
    assert_int_equal(mask_of_picture(p, &m, NULL), KILN_OK);
    assert_true(m->values[0] == 1 && m->values[1] == 0);
    mask_free(m);
    memcpy(p->pixels, (uint8_t[]){10, 200, 30, 51, 13, 203, 26, 255}, 8);
    assert_int_equal(mask_of_transparency(p, &m, NULL), KILN_OK);
    assert_true(fabsf(m->values[0] - 0.8f) < 1e-6f && m->values[1] == 0);
    mask_free(m);
    assert_int_equal(mask_of_colour(p, (const uint8_t[]){13, 203, 26}, 3, &m, NULL), KILN_OK);
    assert_true(m->values[1] == 1);
    mask_free(m);
    image_free(p);
    p = picture_of(2, 2, 3, 16);
    assert_int_equal(mask_of_transparency(p, &m, NULL), KILN_BAD_ARGUMENT);
    assert_null(m);
    image_free(p);
}

/* ------------------------------------------------------------------------------------ boxes */

static void a_box_takes_the_proportions_asked_for(void **state)
{
    (void)state;
    mask_box b = mask_box_around((mask_box){40, 40, 20, 10}, 0, 64, 64, 100, 100);
    assert_true(b.x == 40 && b.width == 20 && b.y == 35 && b.height == 20);
    b = mask_box_around((mask_box){0, 90, 4, 4}, 10, 200, 100, 100, 100);
    assert_true(b.x == 0 && b.y == 80 && b.height == 20 && b.width == 40);
    b = mask_box_around((mask_box){0, 0, 100, 7}, 4096, 1, 1, 100, 50);
    assert_true(b.x == 0 && b.y == 0 && b.width == 100 && b.height == 50);
}

/* ------------------------------------------------------------------------------------ fills */

static float *ramp(int width, int height)
{
    float *p = malloc((size_t)width * (size_t)height * 3 * sizeof *p);
    assert_non_null(p);
    for (int i = 0; i < width * height; i++)
        for (int c = 0; c < 3; c++)
            p[i * 3 + c] = (float)(i % width) / (float)width + 0.1f * (float)c;
    return p;
}

static void edge_and_mirror_go_on(void **state)
{
    (void)state;
    float *p = ramp(8, 4), *q = ramp(8, 4);
    fill_edge(p, 8, 4, (fill_box){2, 1, 3, 2});
    fill_mirror(q, 8, 4, (fill_box){2, 1, 3, 2});
    for (int y = 0; y < 4; y++) {
        assert_true(p[(y * 8 + 0) * 3] == 2.0f / 8 && p[(y * 8 + 7) * 3] == 4.0f / 8);
        assert_true(q[(y * 8 + 1) * 3] == 2.0f / 8 && q[(y * 8 + 0) * 3] == 3.0f / 8);
        assert_true(q[(y * 8 + 5) * 3] == 4.0f / 8 && q[(y * 8 + 7) * 3] == 2.0f / 8);
    }
    free(p);
    free(q);
}

static void blurred_fill_has_the_colours_around(void **state)
{
    (void)state;
    enum { SIDE = 64 };
    float *p = ramp(SIDE, SIDE), *before = ramp(SIDE, SIDE), *m = calloc(SIDE * SIDE, sizeof *m);
    for (int y = 20; y < 40; y++)
        for (int x = 20; x < 40; x++) {
            m[y * SIDE + x] = 1;
            for (int c = 0; c < 3; c++)
                p[(y * SIDE + x) * 3 + c] = 50;
        }
    assert_int_equal(fill_blurred(p, m, SIDE, SIDE, NULL), KILN_OK);
    for (int i = 0; i < SIDE * SIDE; i++)
        for (int c = 0; c < 3; c++)
            assert_true(fabsf(p[i * 3 + c] - before[i * 3 + c]) < (m[i] > 0 ? 0.25f : 1e-5f));
    free(p);
    free(before);
    free(m);
}

static int by_value(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* The known half is stripes of period 8 in two colours: the noise has both colours, and power at that period. */
static void noise_has_spectrum_and_colours(void **state)
{
    (void)state;
    enum { WIDTH = 128, HEIGHT = 96 };
    float *p = malloc(WIDTH * HEIGHT * 3 * sizeof *p), *m = calloc(WIDTH * HEIGHT, sizeof *m);
    for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++) {
            m[y * WIDTH + x] = x >= 64;
            for (int c = 0; c < 3; c++)
                p[(y * WIDTH + x) * 3 + c] = 0.2f * (float)c + 0.5f * sinf((float)y * 6.2831853f / 8);
        }
    float *noise = malloc(FILL_NOISES * WIDTH * HEIGHT * sizeof *noise);
    uint32_t random = 7;
    for (int i = 0; i < FILL_NOISES * WIDTH * HEIGHT; i++) {
        random = random * 1664525 + 1013904223;
        noise[i] = (float)(random >> 8) / 8388608.0f - 1;
    }
    assert_int_equal(fill_spectrum(p, m, WIDTH, HEIGHT, 0.05, noise, NULL), KILN_OK);
    free(noise);
    for (int c = 0; c < 3; c++) {
        float values[2][64 * HEIGHT];
        int counts[2] = {0, 0};
        for (int i = 0; i < WIDTH * HEIGHT; i++)
            values[m[i] > 0][counts[m[i] > 0]++] = p[i * 3 + c];
        for (int k = 0; k < 2; k++)
            qsort(values[k], (size_t)counts[k], sizeof(float), by_value);
        for (int i = 0; i < counts[0]; i += 64)
            assert_true(fabsf(values[0][i] - values[1][i]) < 0.02f);
    }
    double power[HEIGHT / 2] = {0};
    for (int x = 72; x < WIDTH; x += 4)
        for (int k = 1; k < HEIGHT / 2; k++) {
            double re = 0, im = 0;
            for (int y = 0; y < HEIGHT; y++) {
                re += (double)p[(y * WIDTH + x) * 3] * cos(6.283185307 * k * y / HEIGHT);
                im += (double)p[(y * WIDTH + x) * 3] * sin(6.283185307 * k * y / HEIGHT);
            }
            power[k] += re * re + im * im;
        }
    double near = power[11] + power[12] + power[13], all = 0;
    for (int k = 1; k < HEIGHT / 2; k++)
        all += power[k];
    assert_true(near > 0.5 * all);
    free(p);
    free(m);
}

static void a_transform_and_back_is_nothing(void **state)
{
    (void)state;
    wave plane[16 * 4], before[16 * 4];
    for (int i = 0; i < 64; i++)
        before[i] = plane[i] = (wave){(float)(i * 37 % 19), (float)(i * 11 % 7)};
    assert_int_equal(fourier_plane(plane, 16, 4, 0, NULL), KILN_OK);
    float sum = 0;
    for (int i = 0; i < 64; i++)
        sum += before[i].re;
    assert_true(fabsf(plane[0].re - sum) < 1e-3f);
    assert_int_equal(fourier_plane(plane, 16, 4, 1, NULL), KILN_OK);
    for (int i = 0; i < 64; i++)
        assert_true(fabsf(plane[i].re - before[i].re) < 1e-4f && fabsf(plane[i].im - before[i].im) < 1e-4f);
}

static void softening_has_the_deviation_asked_for(void **state)
{
    (void)state;
    static const double sigmas[] = {0.7, 1, 2.3, 8, 16};
    enum { LENGTH = 201 };
    for (size_t k = 0; k < sizeof sigmas / sizeof *sigmas; k++) {
        float line[LENGTH] = {0};
        double mean = 0, variance = 0, sum = 0;
        line[100] = 1;
        assert_int_equal(soften(line, LENGTH, 1, 1, sigmas[k], NULL), KILN_OK);
        for (int i = 0; i < LENGTH; i++) {
            sum += (double)line[i];
            mean += i * (double)line[i];
            variance += (i - 100) * (i - 100) * (double)line[i];
        }
        assert_true(fabs(sum - 1) < 1e-4 && fabs(mean - 100) < 1e-2);
        assert_true(fabs(sqrt(variance) - sigmas[k]) < 0.01 * sigmas[k]);
    }
}

/* ------------------------------------------------------------------------------------ compositing */

static void what_is_not_shared_is_untouched(void **state)
{
    (void)state;
    for (int channels = 1; channels <= 4; channels++)
        for (int bits = 8; bits <= 16; bits += 8) {
            image *p = picture_of(9, 7, channels, bits), *before = picture_of(9, 7, channels, bits);
            float drawn[5 * 4 * 3], share[5 * 4];
            for (int i = 0; i < 60; i++)
                drawn[i] = (float)(i % 7) / 2 - 1.5f;
            for (int i = 0; i < 20; i++)
                share[i] = i % 3 == 0 ? 0 : (float)(i % 5) / 4;
            composite(p, (place){3, 2, 5, 4}, drawn, share);
            size_t size = (size_t)channels * (size_t)(bits / 8);
            int changed = 0;
            for (int y = 0; y < 7; y++)
                for (int x = 0; x < 9; x++) {
                    size_t i = ((size_t)y * 9 + (size_t)x) * size;
                    bool in = x >= 3 && x < 8 && y >= 2 && y < 6 && share[(y - 2) * 5 + x - 3] > 0;
                    bool same = memcmp((uint8_t *)p->pixels + i, (uint8_t *)before->pixels + i, size) == 0;
                    assert_true(in || same);
                    changed += !same;
                }
            assert_true(changed > 8);
            image_free(p);
            image_free(before);
        }
}

static void what_is_drawn_is_opaque(void **state)
{
    (void)state;
    image *p = picture_of(1, 1, 4, 8);
    memcpy(p->pixels, (uint8_t[]){9, 99, 199, 0}, 4);
    composite(p, (place){0, 0, 1, 1}, (const float[]){1, -1, 0}, (const float[]){1});
    assert_memory_equal(p->pixels, ((uint8_t[]){255, 0, 128, 255}), 4);
    memcpy(p->pixels, (uint8_t[]){9, 99, 199, 0}, 4);
    composite(p, (place){0, 0, 1, 1}, (const float[]){1, -1, 0}, (const float[]){0.2f});
    assert_memory_equal(p->pixels, ((uint8_t[]){255, 0, 128, 51}), 4);
    image_free(p);
}

static void a_shift_of_colour_goes_away_at_the_seam(void **state)
{
    (void)state;
    enum { SIDE = 96 };
    float *original = ramp(SIDE, SIDE), *drawn = ramp(SIDE, SIDE), kept[SIDE * SIDE];
    for (int i = 0; i < SIDE * SIDE; i++) {
        kept[i] = i % SIDE < 48;
        for (int c = 0; c < 3; c++)
            drawn[i * 3 + c] = original[i * 3 + c] * 0.5f - 0.2f;
    }
    assert_int_equal(match_seam(drawn, original, kept, SIDE, SIDE, 16, NULL), KILN_OK);
    for (int y = 0; y < SIDE; y++)
        for (int c = 0; c < 3; c++) {
            size_t i = (size_t)(y * SIDE + 48) * 3 + (size_t)c;
            assert_true(fabsf(drawn[i] - original[i]) < 0.03f);
            /* Far in, what was drawn stays. */
            i = (size_t)(y * SIDE + 95) * 3 + (size_t)c;
            assert_true(fabsf(drawn[i] - (original[i] * 0.5f - 0.2f)) < 0.05f);
        }
    free(original);
    free(drawn);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_polygon_is_its_inside),
        cmocka_unit_test(growing_goes_by_distance),
        cmocka_unit_test(growing_nothing_gives_nothing),
        cmocka_unit_test(blur_ends_where_its_kernel_ends),
        cmocka_unit_test(a_mask_comes_from_luma_or_alpha),
        cmocka_unit_test(a_box_takes_the_proportions_asked_for),
        cmocka_unit_test(edge_and_mirror_go_on),
        cmocka_unit_test(blurred_fill_has_the_colours_around),
        cmocka_unit_test(noise_has_spectrum_and_colours),
        cmocka_unit_test(a_transform_and_back_is_nothing),
        cmocka_unit_test(softening_has_the_deviation_asked_for),
        cmocka_unit_test(what_is_not_shared_is_untouched),
        cmocka_unit_test(what_is_drawn_is_opaque),
        cmocka_unit_test(a_shift_of_colour_goes_away_at_the_seam),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
