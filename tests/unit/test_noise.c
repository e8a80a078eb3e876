/* test_noise.c - the two generators against numbers made by torch 1.13 and by numpy.
 * floors: base tensor diffusion
 *
 * Long streams are compared by a hash of their bits (FNV-1a over 32-bit words). */
#include "diffusion/noise.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* torch.manual_seed(42); torch.randn(40): two whole blocks and the last sixteen drawn again. */
static const uint32_t torch_42[] = {
    0x3FF6A529, 0x3FBE5F53, 0x3F669567, 0xC006C0DB, 0x3F2DACD5, 0xBF9E0591, 0xBD306786, 0xBFCD65BA,
    0xBF408BF0, 0x3FD3095B, 0xBEC8F2F6, 0xBFB3A966, 0xBF3A566E, 0xBF0F36D1, 0xBF44D2A0, 0x3F432F9F,
    0x3FD23771, 0xBE236D85, 0xBEFEAAE4, 0x3EE111D8, 0xBF4214E2, 0x3F8A0650, 0x3F4D0144, 0x3FD71E93,
    0x3D0F003F, 0x3EA4679D, 0x3FC96BBB, 0xBF58708E, 0x3FA7F9B2, 0x3F2FE9B1, 0xBF8B6A19, 0xBEB5E821,
    0xBFB582FD, 0x3F6571D7, 0x3D4C6997, 0x401111E8, 0x3F96E7DD, 0xBEDE70CF, 0xBFB1746D, 0xBFA4A2B6};

/* seed 7; randn(3), randn(4), randn(15): the spare of one call opens the next. */
static const uint32_t torch_7[] = {0xBE165174, 0x3F49408E, 0x3F7262E7, 0xBF8EA2D3, 0x3FD86BD0, 0xBF651371,
                                   0xBEB6147C, 0x3F9DBED1, 0x3E0D7D22, 0xBFD75248, 0x3EA2A6BB, 0x3E07FE8D,
                                   0x3E0C9EB0, 0x3E7651B9, 0x3FB29E22, 0x3FAC6B3D, 0x401C0B9A, 0x3E4F9FDE,
                                   0x401CD5AB, 0x4001A376, 0x3FE3BB5A, 0xBF6AFD82};

/* seed 9; randn of 1, 16, 1, 5, 17: the spare waits while a block is drawn. */
static const uint32_t torch_9[] = {
    0x3D373439, 0x3FB916E4, 0x3F1E7F04, 0xBF461080, 0xC01DCBD3, 0xBF78AA5D, 0xBF165784, 0xC014C48C,
    0xBF60DF63, 0x3FDA5C78, 0x400E9B1F, 0xBD8ABE1B, 0x3E6EA987, 0xBDF2101D, 0x3F57FD87, 0x3F4B19F5,
    0xBF74347A, 0x3FF4A37B, 0xBF4591E1, 0xBE96A30D, 0xBF56B28D, 0xBED8863B, 0x3CAFBFF8, 0x3FF8CC32,
    0xBE174325, 0x3FCBD440, 0xBEF50995, 0xBEA9AF9D, 0xBF96365A, 0xBF3C8D68, 0x3F0831CC, 0xBF7B008B,
    0x3E982DC6, 0x3F0B7436, 0xBF9D030F, 0x3FCDC2A4, 0xBF936C3F, 0x3F416B8B, 0xBF2AA61B, 0xBE6AE56E};

static uint32_t hash_on(uint32_t hash, const float *values, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        hash = (hash ^ bits) * 16777619u;
    }
    return hash;
}

static const uint32_t hash_start = 2166136261u;

/* Draw calls of these sizes (ending with 0) from one source, and hash all. */
static uint32_t hash_of_calls(noise_kind kind, uint64_t seed, const size_t *sizes)
{
    noise_source source;
    noise_init(&source, kind, seed);
    uint32_t hash = hash_start;
    for (; *sizes; sizes++) {
        float *values = malloc(*sizes * sizeof *values);
        assert_non_null(values);
        noise_fill(&source, values, *sizes);
        hash = hash_on(hash, values, *sizes);
        free(values);
    }
    return hash;
}

static void check_bits(uint64_t seed, const size_t *sizes, const uint32_t *expected)
{
    noise_source source;
    noise_init(&source, NOISE_TORCH, seed);
    for (; *sizes; expected += *sizes++) {
        float values[64];
        noise_fill(&source, values, *sizes);
        assert_memory_equal(values, expected, *sizes * sizeof *values);
    }
}

static void test_torch_values(void **state)
{
    (void)state;
    check_bits(42, (const size_t[]){COUNT(torch_42), 0}, torch_42);
    check_bits(7, (const size_t[]){3, 4, 15, 0}, torch_7);
    check_bits(9, (const size_t[]){1, 16, 1, 5, 17, 0}, torch_9);
}

static void test_torch_streams(void **state)
{
    (void)state;
    assert_int_equal(hash_of_calls(NOISE_TORCH, 0, (const size_t[]){16384, 0}), 0x6294C39D);
    assert_int_equal(hash_of_calls(NOISE_TORCH, 0xFFFFFFFF, (const size_t[]){1000, 64, 0}), 0xF84AACB3);
    /* Only the low 32 bits of the seed count: 2^32 + 5 starts like 5. */
    assert_int_equal(hash_of_calls(NOISE_TORCH, 5, (const size_t[]){16384, 0}), 0x49250DA3);
    assert_int_equal(hash_of_calls(NOISE_TORCH, 0x100000005, (const size_t[]){16384, 0}), 0x49250DA3);
    assert_int_equal(hash_of_calls(NOISE_TORCH, 0x100000005, (const size_t[]){16384, 16384, 0}), 0xF2798226);
}

/* randn(n) after manual_seed(n), n from 1 to 40. */
static void test_torch_every_size(void **state)
{
    (void)state;
    uint32_t hash = hash_start;
    for (size_t n = 1; n <= 40; n++) {
        noise_source source;
        float values[40];
        noise_init(&source, NOISE_TORCH, n);
        noise_fill(&source, values, n);
        hash = hash_on(hash, values, n);
    }
    assert_int_equal(hash, 0x5DFC4CBD);
}

static void test_philox(void **state)
{
    (void)state;
    /* As printed for seed 0 from a GPU, whose sine is not quite that of double precision. */
    static const float printed[] = {-0.92466259f, -0.42534415f, -2.6438457f,  0.14518388f,
                                    -0.12086647f, -0.57972564f, -0.62285122f, -0.32838709f,
                                    -1.07454231f, -0.36314407f, -1.67105067f, 2.26550497f};
    noise_source source;
    float values[COUNT(printed)];
    noise_init(&source, NOISE_PHILOX, 0);
    noise_fill(&source, values, COUNT(values));
    for (size_t i = 0; i < COUNT(values); i++)
        assert_true(fabsf(values[i] - printed[i]) < 5e-7f);
    /* Bit for bit as numpy computes it in double precision; two calls; a seed of more than 32 bits. */
    assert_int_equal(hash_of_calls(NOISE_PHILOX, 0, (const size_t[]){16384, 16384, 0}), 0x120D648A);
    assert_int_equal(hash_of_calls(NOISE_PHILOX, ((uint64_t)1 << 40) + 3, (const size_t[]){1000, 0}),
                     0x571E0979);
}

static void test_copies_and_nothing(void **state)
{
    (void)state;
    for (int kind = NOISE_TORCH; kind <= NOISE_PHILOX; kind++) {
        noise_source a, b;
        float x[33], y[33];
        noise_init(&a, (noise_kind)kind, 99);
        noise_fill(&a, x, 3);
        b = a;
        noise_fill(&a, x, 33);
        noise_fill(&b, y, 33);
        assert_memory_equal(x, y, sizeof x);
        noise_fill(&a, NULL, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_torch_values),       cmocka_unit_test(test_torch_streams),
        cmocka_unit_test(test_torch_every_size),   cmocka_unit_test(test_philox),
        cmocka_unit_test(test_copies_and_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
