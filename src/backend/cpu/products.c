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

void move_activations(dtype from_type, const void *from, int64_t from_offset, dtype to_type, void *to,
                      int64_t to_offset, int64_t n)
{
    if (from_type == to_type) {
        size_t size = dtype_size(to_type);
        memcpy((char *)to + (size_t)to_offset * size, (const char *)from + (size_t)from_offset * size,
               (size_t)n * size);
        return;
    }
    float x[BLOCK];
    for (int64_t i = 0; i < n; i += BLOCK) {
        int64_t length = n - i < BLOCK ? n - i : BLOCK;
        block_load(from_type, from, from_offset + i, length, x);
        block_store(to_type, to, to_offset + i, length, x);
    }
}

/* One row of W pixels, each twice. */
static void enlarge_row(dtype from_type, const void *from, int64_t first, dtype to_type, void *to,
                        int64_t width, int64_t channels)
{
    float x[BLOCK];
    for (int64_t w = 0; w < width; w++)
        for (int64_t c = 0; c < channels; c += BLOCK) {
            int64_t n = channels - c < BLOCK ? channels - c : BLOCK;
            block_load(from_type, from, first + w * channels + c, n, x);
            block_store(to_type, to, 2 * w * channels + c, n, x);
            block_store(to_type, to, (2 * w + 1) * channels + c, n, x);
        }
}

void enlarge_activations(dtype from_type, const void *from, dtype to_type, void *to, int64_t rows,
                         int64_t width, int64_t channels, int threads)
{
    size_t row_bytes = (size_t)(2 * width * channels) * dtype_size(to_type);
#pragma omp parallel for schedule(static) num_threads(threads) if (rows > 4)
    for (int64_t i = 0; i < rows; i++) {
        char *target = (char *)to + (size_t)(2 * i) * row_bytes;
        enlarge_row(from_type, from, i * width * channels, to_type, target, width, channels);
        memcpy(target + row_bytes, target, row_bytes);
    }
}

void sum_enlarged(dtype from_type, const void *from, dtype to_type, void *to, int64_t rows, int64_t width,
                  int64_t channels, int threads)
{
#pragma omp parallel for schedule(static) num_threads(threads) if (rows > 4)
    for (int64_t i = 0; i < rows; i++)
        for (int64_t w = 0; w < width; w++)
            for (int64_t c = 0; c < channels; c += BLOCK) {
                float x[BLOCK], y[BLOCK];
                int64_t n = channels - c < BLOCK ? channels - c : BLOCK;
                int64_t first = (4 * i * width + 2 * w) * channels + c, below = first + 2 * width * channels;
                block_load(from_type, from, first, n, x);
                block_load(from_type, from, first + channels, n, y);
                block_add(x, y, n);
                block_load(from_type, from, below, n, y);
                block_add(x, y, n);
                block_load(from_type, from, below + channels, n, y);
                block_add(x, y, n);
                block_store(to_type, to, (i * width + w) * channels + c, n, x);
            }
}
