/* attention_amx.c - the tile products by AMX. Tile registers: 0..3 are C, 4 and 5 A, 6 and 7 B. */
#include "backend/cpu/attention_tiles.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define AMX __attribute__((target("amx-tile,amx-bf16,avx512f")))

typedef struct tile_configuration {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_configuration;

/* Eight whole tiles. In read-only memory because the compiler is told of the first word only. */
static const tile_configuration whole_tiles = {.palette = 1, .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64},
                                               .rows = {16, 16, 16, 16, 16, 16, 16, 16}};

AMX static void amx_begin(void)
{
    _tile_loadconfig(&whole_tiles);
}

AMX static void amx_end(void)
{
    _tile_release();
}

AMX static inline __attribute__((always_inline)) void multiply_two(const uint16_t *a, int64_t a_step, const uint16_t *b,
                                                                   int64_t depth)
{
    for (int64_t k = 0; k < depth; k++, a += TILE_HALVES, b += 2 * TILE_HALVES) {
        _tile_loadd(6, b, 64);
        _tile_loadd(4, a, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, b + TILE_HALVES, 64);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, a + a_step, 64);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
}

AMX static void amx_multiply_one(const uint16_t *a, const uint16_t *b, float *c, int64_t depth, int accumulate)
{
    if (accumulate) {
        _tile_loadd(0, c, 64);
        _tile_loadd(1, c + TILE_FLOATS, 64);
    } else {
        _tile_zero(0);
        _tile_zero(1);
    }
    for (int64_t k = 0; k < depth; k++, a += TILE_HALVES, b += 2 * TILE_HALVES) {
        _tile_loadd(4, a, 64);
        _tile_loadd(6, b, 64);
        _tile_loadd(7, b + TILE_HALVES, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
    }
    _tile_stored(0, c, 64);
    _tile_stored(1, c + TILE_FLOATS, 64);
}

AMX static void amx_multiply(const uint16_t *a, int64_t a_step, const uint16_t *b, float *c, int rows, int64_t depth,
                             int accumulate)
{
    if (rows == 1) {
        amx_multiply_one(a, b, c, depth, accumulate);
        return;
    }
    if (accumulate) {
        _tile_loadd(0, c, 64);
        _tile_loadd(1, c + TILE_FLOATS, 64);
        _tile_loadd(2, c + 2 * TILE_FLOATS, 64);
        _tile_loadd(3, c + 3 * TILE_FLOATS, 64);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    multiply_two(a, a_step, b, depth);
    _tile_stored(0, c, 64);
    _tile_stored(1, c + TILE_FLOATS, 64);
    _tile_stored(2, c + 2 * TILE_FLOATS, 64);
    _tile_stored(3, c + 3 * TILE_FLOATS, 64);
}

const tile_product tile_product_amx = {amx_begin, amx_end, amx_multiply};
#else
const tile_product tile_product_amx = {0};
#endif
