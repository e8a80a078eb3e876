/* attention_backward_amx.c - attention_backward_tiles.inc by AMX. Tile registers: 0..3 are C, 4 and 5 A, 6 and 7 B. */
#include "backend/cpu/amx.h"

#include "backend/cpu/attention_backward.h"

#if defined(__x86_64__)
#define TILES AMX

AMX static inline __attribute__((always_inline)) void multiply_some(int rows, int columns, const uint16_t *a,
                                                                    int64_t a_step, const uint16_t *b,
                                                                    int64_t b_step, float *c, int64_t depth,
                                                                    int accumulate)
{
    amx_fence();
    if (accumulate) {
        _tile_loadd(0, c, 64);
        if (columns > 1)
            _tile_loadd(1, c + AMX_FLOATS, 64);
        if (rows > 1)
            _tile_loadd(2, c + 2 * AMX_FLOATS, 64);
        if (rows > 1 && columns > 1)
            _tile_loadd(3, c + 3 * AMX_FLOATS, 64);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (int64_t k = 0; k < depth; k++, a += AMX_HALVES, b += b_step) {
        _tile_loadd(6, b, 64);
        _tile_loadd(4, a, 64);
        _tile_dpbf16ps(0, 4, 6);
        if (columns > 1) {
            _tile_loadd(7, b + AMX_HALVES, 64);
            _tile_dpbf16ps(1, 4, 7);
        }
        if (rows > 1) {
            _tile_loadd(5, a + a_step, 64);
            _tile_dpbf16ps(2, 5, 6);
            if (columns > 1)
                _tile_dpbf16ps(3, 5, 7);
        }
    }
    _tile_stored(0, c, 64);
    if (columns > 1)
        _tile_stored(1, c + AMX_FLOATS, 64);
    if (rows > 1)
        _tile_stored(2, c + 2 * AMX_FLOATS, 64);
    if (rows > 1 && columns > 1)
        _tile_stored(3, c + 3 * AMX_FLOATS, 64);
    amx_fence();
}

AMX static inline void multiply_tiles(int rows, int columns, const uint16_t *a, int64_t a_step,
                                      const uint16_t *b, int64_t b_step, float *c, int64_t depth,
                                      int accumulate)
{
    if (rows == 2 && columns == 2)
        multiply_some(2, 2, a, a_step, b, b_step, c, depth, accumulate);
    else if (rows == 2)
        multiply_some(2, 1, a, a_step, b, b_step, c, depth, accumulate);
    else
        multiply_some(1, 2, a, a_step, b, b_step, c, depth, accumulate);
}

#include "backend/cpu/attention_backward_tiles.inc"

AMX static void run(const attention_backward_shape *s, const attention_backward_task *t)
{
    _tile_loadconfig(&amx_whole_tiles);
    backward_head(s, t);
    _tile_release();
}

const attention_backward_method attention_backward_amx = {"attention backward amx", backward_work_bytes, run,
                                                          true};
#else
const attention_backward_method attention_backward_amx = {0};
#endif
