/* amx.h - what kernels with AMX tiles share. x86-64 only.
 *
 * The compiler is not told what tile loads and stores touch: amx_fence() keeps it from moving vector stores across
 * them. */
#ifndef KILN_BACKEND_CPU_AMX_H
#define KILN_BACKEND_CPU_AMX_H

#include "backend/cpu/avx512.h"

#include <stdbool.h>

#if defined(__x86_64__)
#define AMX __attribute__((target("amx-tile,amx-bf16,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,fma")))

enum { AMX_HALVES = 512, AMX_FLOATS = 256 }; /* elements of a tile: 16 rows of 64 bytes */

static inline void amx_fence(void)
{
    __asm__ volatile("" ::: "memory");
}

/* A square of two by two tiles of sums, side by side in memory at c, is begun in tiles 0 to 3 (from c, or from 0), and put
 * back. */
AMX static inline __attribute__((always_inline)) void amx_square_begin(const float *c, bool more)
{
    if (more) {
        _tile_loadd(0, c, 64);
        _tile_loadd(1, c + AMX_FLOATS, 64);
        _tile_loadd(2, c + 2 * AMX_FLOATS, 64);
        _tile_loadd(3, c + 3 * AMX_FLOATS, 64);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
}

AMX static inline __attribute__((always_inline)) void amx_square_end(float *c)
{
    _tile_stored(0, c, 64);
    _tile_stored(1, c + AMX_FLOATS, 64);
    _tile_stored(2, c + 2 * AMX_FLOATS, 64);
    _tile_stored(3, c + 3 * AMX_FLOATS, 64);
}

typedef struct amx_configuration {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} amx_configuration;

/* Eight whole tiles. In read-only memory because the compiler is told of the first word only. */
static const amx_configuration amx_whole_tiles = {
    .palette = 1, .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64}, .rows = {16, 16, 16, 16, 16, 16, 16, 16}};
#endif

#endif
