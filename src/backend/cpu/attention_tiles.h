/* attention_tiles.h - the products inside bf16 attention, on tiles of 1 KiB as AMX wants them. attention_bf16.c does
 * the rest, once for both kinds of processor.
 *
 *   A tile: 16 rows of 32 bf16      B tile: 16 rows of 16 pairs, b[r][2 j + i] = B[2 r + i][j]      C tile: 16 x 16 f32
 */
#ifndef KILN_BACKEND_CPU_ATTENTION_TILES_H
#define KILN_BACKEND_CPU_ATTENTION_TILES_H

#include <stdint.h>

enum { TILE_HALVES = 512, TILE_FLOATS = 256 };

typedef struct tile_product {
    void (*begin)(void); /* on the thread that will call the others, and end after them */
    void (*end)(void);
    /* c[i][j] = (accumulate ? c[i][j] : 0) + sum over k < depth of a[i][k] b[k][j];  i < rows (1 or 2), j < 2.
     * a[i][k] is the tile at a + i * a_step + k * TILE_HALVES, b[k][j] at b + (2 k + j) * TILE_HALVES, c[i][j] at
     * c + (2 i + j) * TILE_FLOATS. */
    void (*multiply)(const uint16_t *a, int64_t a_step, const uint16_t *b, float *c, int rows, int64_t depth, int accumulate);
} tile_product;

extern const tile_product tile_product_amx, tile_product_avx512;

#endif
