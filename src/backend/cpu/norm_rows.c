/* norm_rows.c - see norm_rows.h. bf16 to bf16 with SiLU, the case of every ResNet block, has a kernel of
 * its own. */
#include "backend/cpu/norm_rows.h"

#include "backend/cpu/block.h"
#include "backend/cpu/hot_avx512.h"
#include "base/clones.h"

CLONES static void affine(float *restrict x, const float *restrict offset, const float *restrict factor,
                          const float *restrict bias, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = (x[i] + offset[i]) * factor[i] + bias[i];
}

void norm_rows_apply(const norm_rows *r, const cpu_features *features)
{
    bool silu = r->activation == ACTIVATION_SILU, plain = r->activation == ACTIVATION_NONE;
    if (features->avx512_bf16 && r->input_type == DTYPE_BF16 && r->output_type == DTYPE_BF16 &&
        (silu || plain)) {
        hot_norm_rows_bf16(r, silu);
        return;
    }
    float x[BLOCK];
    for (int64_t i = 0; i < r->rows; i++)
        for (int64_t c = 0; c < r->channels; c += BLOCK) {
            int64_t n = r->channels - c < BLOCK ? r->channels - c : BLOCK, at = i * r->channels + c;
            block_load(r->input_type, r->x, at, n, x);
            affine(x, r->offset + c, r->factor + c, r->bias + c, n);
            block_activate(r->activation, 0, x, n);
            block_store(r->output_type, r->y, at, n, x);
        }
}
