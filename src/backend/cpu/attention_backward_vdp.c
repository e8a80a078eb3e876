/* attention_backward_vdp.c - attention_backward_tiles.inc by vdpbf16ps (avx512_bf16), for processors without AMX. */
#include "backend/cpu/avx512.h"

#include "backend/cpu/attention_backward.h"

#if defined(__x86_64__)
#include <string.h>

#define TILES AVX512_BF16

AVX512_BF16 static inline __attribute__((always_inline)) __m512bh two_halves(const uint16_t *a)
{
    int32_t bits;
    memcpy(&bits, a, sizeof bits);
    return (__m512bh)_mm512_set1_epi32(bits);
}

/* Eight rows of a tile of C and its neighbour: 16 accumulators. */
AVX512_BF16 static inline __attribute__((always_inline)) void eight_rows(int columns, const uint16_t *a,
                                                                         const uint16_t *b, int64_t b_step,
                                                                         float *c, int64_t depth,
                                                                         int accumulate)
{
    __m512 sum[8][2];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++)
#pragma GCC unroll 2
        for (int j = 0; j < columns; j++)
            sum[i][j] = accumulate ? _mm512_loadu_ps(c + j * 256 + i * 16) : _mm512_setzero_ps();
    for (int64_t k = 0; k < depth; k++, a += 512, b += b_step)
        for (int r = 0; r < 16; r++) {
            __m512bh y[2];
#pragma GCC unroll 2
            for (int j = 0; j < columns; j++)
                y[j] = (__m512bh)_mm512_loadu_si512(b + j * 512 + r * 32);
#pragma GCC unroll 8
            for (int i = 0; i < 8; i++) {
                __m512bh x = two_halves(a + i * 32 + r * 2);
#pragma GCC unroll 2
                for (int j = 0; j < columns; j++)
                    sum[i][j] = _mm512_dpbf16_ps(sum[i][j], x, y[j]);
            }
        }
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++)
#pragma GCC unroll 2
        for (int j = 0; j < columns; j++)
            _mm512_storeu_ps(c + j * 256 + i * 16, sum[i][j]);
}

AVX512_BF16 static void multiply_tiles(int rows, int columns, const uint16_t *a, int64_t a_step,
                                       const uint16_t *b, int64_t b_step, float *c, int64_t depth,
                                       int accumulate)
{
    for (int i = 0; i < rows; i++)
        for (int half = 0; half < 2; half++) {
            const uint16_t *from = a + i * a_step + half * 8 * 32;
            float *to = c + 2 * i * 256 + half * 8 * 16;
            if (columns == 2)
                eight_rows(2, from, b, b_step, to, depth, accumulate);
            else
                eight_rows(1, from, b, b_step, to, depth, accumulate);
        }
}

#include "backend/cpu/attention_backward_tiles.inc"

static void run(const attention_backward_shape *s, const attention_backward_task *t)
{
    backward_head(s, t);
}

const attention_backward_method attention_backward_bf16 = {"attention backward avx512_bf16",
                                                           backward_work_bytes, run, true};
#else
const attention_backward_method attention_backward_bf16 = {0};
#endif
