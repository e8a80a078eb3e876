/* attention_vdp.c - the tile products by vdpbf16ps (avx512_bf16), for processors without AMX. Same tiles, same order of
 * sums within a lane as the tile instruction's pairs. */
#include "backend/cpu/attention_tiles.h"

#include "backend/cpu/avx512.h"

#if defined(__x86_64__)
#include <string.h>

static void vdp_nothing(void)
{
}

AVX512_BF16 static inline __attribute__((always_inline)) __m512bh pair(const uint16_t *a)
{
    int32_t bits;
    memcpy(&bits, a, sizeof bits);
    return (__m512bh)_mm512_set1_epi32(bits);
}

/* 8 rows of one A tile against two B tiles: 16 accumulators. */
AVX512_BF16 static void eight_rows(const uint16_t *a, const uint16_t *b, float *c, int64_t depth, int accumulate)
{
    __m512 sum[8][2];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++)
#pragma GCC unroll 2
        for (int j = 0; j < 2; j++)
            sum[i][j] = accumulate ? _mm512_loadu_ps(c + j * TILE_FLOATS + i * 16) : _mm512_setzero_ps();
    for (int64_t k = 0; k < depth; k++, a += TILE_HALVES, b += 2 * TILE_HALVES)
        for (int r = 0; r < 16; r++) {
            __m512bh left = (__m512bh)_mm512_loadu_si512(b + r * 32);
            __m512bh right = (__m512bh)_mm512_loadu_si512(b + TILE_HALVES + r * 32);
#pragma GCC unroll 8
            for (int i = 0; i < 8; i++) {
                __m512bh x = pair(a + i * 32 + r * 2);
                sum[i][0] = _mm512_dpbf16_ps(sum[i][0], x, left);
                sum[i][1] = _mm512_dpbf16_ps(sum[i][1], x, right);
            }
        }
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++)
#pragma GCC unroll 2
        for (int j = 0; j < 2; j++)
            _mm512_storeu_ps(c + j * TILE_FLOATS + i * 16, sum[i][j]);
}

static void vdp_multiply(const uint16_t *a, int64_t a_step, const uint16_t *b, float *c, int rows, int64_t depth,
                         int accumulate)
{
    for (int i = 0; i < rows; i++)
        for (int half = 0; half < 2; half++)
            eight_rows(a + i * a_step + half * 8 * 32, b, c + 2 * i * TILE_FLOATS + half * 8 * 16, depth, accumulate);
}

const tile_product tile_product_avx512 = {vdp_nothing, vdp_nothing, vdp_multiply};
#else
const tile_product tile_product_avx512 = {0};
#endif
