/* optimizer_sums.c - work and sums in blocks; the norm of all gradients. */
#include "train/optimizer_parts.h"

#include "base/clones.h"

#include <math.h>

enum { PARALLEL_FROM = 1 << 15, PARTS_AT_ONCE = 512, LANES = 8 };

void in_blocks(int64_t count, int64_t block, void *self, void (*work)(void *self, int64_t begin, int64_t end))
{
    int64_t blocks = (count + block - 1) / block;
#pragma omp parallel for schedule(static) if (count >= PARALLEL_FROM)
    for (int64_t i = 0; i < blocks; i++) {
        int64_t begin = i * block, end = begin + block < count ? begin + block : count;
        work(self, begin, end);
    }
}

double sum_of_blocks(int64_t count, void *self, double (*sum)(void *self, int64_t begin, int64_t end))
{
    double total = 0, parts[PARTS_AT_ONCE];
    int64_t blocks = (count + SUM_BLOCK - 1) / SUM_BLOCK;
    for (int64_t first = 0; first < blocks; first += PARTS_AT_ONCE) {
        int64_t here = blocks - first < PARTS_AT_ONCE ? blocks - first : PARTS_AT_ONCE;
#pragma omp parallel for schedule(static) if (here * SUM_BLOCK >= PARALLEL_FROM)
        for (int64_t i = 0; i < here; i++) {
            int64_t begin = (first + i) * SUM_BLOCK;
            parts[i] = sum(self, begin, begin + SUM_BLOCK < count ? begin + SUM_BLOCK : count);
        }
        for (int64_t i = 0; i < here; i++)
            total += parts[i];
    }
    return total;
}

CLONES static double squares(const float *x, int64_t n)
{
    double lanes[LANES] = {0}, total = 0;
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++)
            lanes[j] += (double)x[i + j] * (double)x[i + j];
    for (; i < n; i++)
        lanes[0] += (double)x[i] * (double)x[i];
    for (int j = 0; j < LANES; j++)
        total += lanes[j];
    return total;
}

static double squares_of(void *self, int64_t begin, int64_t end)
{
    return squares(*(const float *const *)self + begin, end - begin);
}

double gradient_norm(const float *const *gradients, const int64_t *counts, size_t parameters)
{
    double total = 0;
    for (size_t i = 0; i < parameters; i++) {
        const float *gradient = gradients[i];
        if (gradient)
            total += sum_of_blocks(counts[i], &gradient, squares_of);
    }
    return sqrt(total);
}

double gradient_clip_scale(double norm, double max_norm)
{
    if (!(max_norm > 0))
        return 1;
    double scale = max_norm / (norm + 1e-6);
    return scale < 1 ? scale : 1;
}
