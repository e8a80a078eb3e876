/* amx_weights.c - see amx_weights.h. Each weight is touched once; what comes next is asked for in time. */
#include "backend/cpu/amx_weights.h"

#include "backend/cpu/amx.h"
#include "backend/cpu/transpose16.h"

#if defined(__x86_64__)
enum { INPUTS = 32, PAIR_HALVES = 2 * AMX_HALVES, BYTES_AHEAD = 8192 };

static inline int64_t at_most(int64_t n, int64_t most)
{
    return n < most ? n : most;
}

/* 16 columns of [columns][inputs][taps]: 32 inputs and all taps of a column lie in one piece, which is transposed, 16 x 16
 * at a time, to vectors of columns. */
AVX512_BF16 static void pack_rows(const amx_weights *w, const float *from, int64_t first, int64_t input,
                                  uint16_t *to)
{
    _Alignas(64) float vector[INPUTS * MOST_TAPS][16];
    int64_t stride = w->inputs * w->taps, count = at_most(w->inputs - input, INPUTS) * w->taps;
    int64_t columns = at_most(w->columns - first, 16);
    const float *row = from + first * stride + input * w->taps;
    for (int64_t k = 0; k < INPUTS * w->taps; k += 16) {
        __mmask16 m = first_lanes(count - k);
        __m512i r[16];
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) {
            const float *piece = row + i * stride + k;
            _mm_prefetch((const char *)(piece + INPUTS * w->taps), _MM_HINT_T0);
            r[i] = i < columns && m ? _mm512_maskz_loadu_epi32(m, piece) : _mm512_setzero_si512();
        }
        transpose16(r);
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++)
            _mm512_store_si512(vector[k + i], r[i]);
    }
    for (int t = 0; t < w->taps; t++, to += PAIR_HALVES)
        for (int i = 0; i < 16; i++) {
            const float *even = vector[2 * i * w->taps + w->tap[t]], *odd = even + 16 * w->taps;
            _mm512_store_si512(to + i * 32, interleave_pairs(_mm512_load_ps(even), _mm512_load_ps(odd)));
        }
}

/* The same of [columns][inputs]: pairs of inputs lie side by side. */
AVX512_BF16 static void pack_single(const amx_weights *w, const float *from, int64_t first, int64_t input,
                                    uint16_t *to)
{
    int64_t columns = at_most(w->columns - first, 16), left = w->inputs - input;
    __mmask16 low = first_lanes(left), high = first_lanes(left - 16);
    __m512i r[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) {
        bool there = i < columns;
        const float *piece = from + (first + (there ? i : 0)) * w->inputs + input;
        fetch_ahead(piece);
        fetch_ahead(piece + 16);
        __m512 a = _mm512_maskz_loadu_ps(there ? low : 0, piece),
               b = _mm512_maskz_loadu_ps(there ? high : 0, piece + 16);
        r[i] = (__m512i)_mm512_cvtne2ps_pbh(b, a);
    }
    transpose16(r);
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++)
        _mm512_store_si512(to + i * 32, r[i]);
}

/* Two inputs of 16 columns of [inputs][columns][taps], at row i of the tiles of all taps. */
AVX512_BF16 static inline void pack_pair(const amx_weights *w, const float *even, const float *odd,
                                         bool has_even, bool has_odd, int64_t columns, uint16_t *to)
{
    __mmask16 m = first_lanes(columns);
    if (w->taps == 1) {
        __m512 a = _mm512_maskz_loadu_ps(has_even ? m : 0, even),
               b = _mm512_maskz_loadu_ps(has_odd ? m : 0, odd);
        _mm512_store_si512(to, interleave_pairs(a, b));
        return;
    }
    _Alignas(64) uint32_t pair[16 * MOST_TAPS + 16];
    int64_t count = at_most(columns, 16) * w->taps;
    for (int64_t k = 0; k < 16 * w->taps; k += 16) {
        m = first_lanes(count - k);
        __m512 a = _mm512_maskz_loadu_ps(has_even ? m : 0, even + k),
               b = _mm512_maskz_loadu_ps(has_odd ? m : 0, odd + k);
        _mm512_store_si512(pair + k, interleave_pairs(a, b));
    }
    __m512i r[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++)
        r[i] = _mm512_loadu_si512(pair + i * w->taps);
    transpose16(r);
    _Alignas(64) uint32_t tap[MOST_TAPS][16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++)
        _mm512_store_si512(tap[i], r[i]);
    for (int t = 0; t < w->taps; t++)
        _mm512_store_si512(to + t * PAIR_HALVES, _mm512_load_si512(tap[w->tap[t]]));
}

/* 32 inputs of all columns asked for. */
static void pack_columns(const amx_weights *w, const float *from, int64_t first, int64_t tiles, int64_t input,
                         int64_t pair_halves, uint16_t *to)
{
    int64_t stride = w->columns * w->taps, bytes = at_most(w->columns - first, 16) * w->taps * 4;
    int64_t ahead = (2 + BYTES_AHEAD / (tiles * bytes + 1)) * stride; /* of some rows */
    for (int64_t i = 0; i < 16; i++) {
        int64_t k = input + 2 * i;
        const float *row = from + k * stride + first * w->taps;
        for (int64_t t = 0; t < tiles; t++) {
            const float *even = row + t * 16 * w->taps, *odd = even + stride;
            for (int64_t b = 0; b < bytes; b += FETCH_LINE) {
                __builtin_prefetch((const char *)(even + ahead) + b, 0, 3);
                __builtin_prefetch((const char *)(odd + ahead) + b, 0, 3);
            }
            pack_pair(w, even, odd, k < w->inputs, k + 1 < w->inputs, w->columns - first - t * 16,
                      to + t / 2 * pair_halves + t % 2 * AMX_HALVES + i * 32);
        }
    }
}

void amx_weights_pack(const amx_weights *w, const float *from, const amx_part *part, uint16_t *to)
{
    int64_t step = w->taps * PAIR_HALVES, pair = part->blocks * step;
    for (int64_t p = 0; p < (w->by_columns ? 0 : part->pairs * 2); p++)
        for (int64_t d = 0; d < part->blocks; d++)
            (w->taps == 1 ? pack_single : pack_rows)(w, from, part->column + p * 16,
                                                     (part->block + d) * INPUTS,
                                                     to + p / 2 * pair + d * step + p % 2 * AMX_HALVES);
    for (int64_t d = 0; d < (w->by_columns ? part->blocks : 0); d++)
        pack_columns(w, from, part->column, part->pairs * 2, (part->block + d) * INPUTS, pair, to + d * step);
}
#else
void amx_weights_pack(const amx_weights *w, const float *from, const amx_part *part, uint16_t *to)
{
    (void)w, (void)from, (void)part, (void)to;
}
#endif
