/* products.c - see products.h. */
#include "backend/cpu/products.h"

#include "backend/cpu/block.h"

#include <string.h>

void convert_activations(dtype from_type, const void *from, dtype to_type, void *to, int64_t count,
                         int threads)
{
    int64_t blocks = (count + BLOCK - 1) / BLOCK;
#pragma omp parallel for schedule(static) num_threads(threads) if (blocks > 8)
    for (int64_t i = 0; i < blocks; i++) {
        float x[BLOCK];
        int64_t n = count - i * BLOCK < BLOCK ? count - i * BLOCK : BLOCK;
        block_load(from_type, from, i * BLOCK, n, x);
        block_store(to_type, to, i * BLOCK, n, x);
    }
}

void copy_activations(void *to, const void *from, size_t bytes, int threads)
{
    enum { PIECE = 1 << 16 };
    int64_t pieces = (int64_t)((bytes + PIECE - 1) / PIECE);
#pragma omp parallel for schedule(static) num_threads(threads) if (pieces > 4)
    for (int64_t i = 0; i < pieces; i++) {
        size_t first = (size_t)i * PIECE, n = bytes - first < PIECE ? bytes - first : PIECE;
        memcpy((char *)to + first, (const char *)from + first, n);
    }
}
