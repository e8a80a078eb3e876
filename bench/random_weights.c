/* random_weights.c - see random_weights.h. */
#include "bench/random_weights.h"

#include <math.h>
#include <string.h>

static kiln_status random_read(void *self, const parameter *p, int index, float *to, kiln_error *err)
{
    (void)self;
    (void)err;
    int64_t n = shape_count(p->shape), fan_in = p->shape.rank > 1 ? n / p->shape.dim[0] : 1;
    float spread = p->role == ROLE_WEIGHT      ? sqrtf(12.0f / (float)fan_in)
                   : p->role == ROLE_EMBEDDING ? 0.05f
                                               : 0.02f;
    float middle = p->role == ROLE_NORM && strstr(p->canonical, "weight") ? 1 : 0;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < n; i++) {
        uint64_t x = (uint64_t)i * 0x9E3779B97F4A7C15u + (uint64_t)index * 0xD1B54A32D192ED03u;
        x = (x ^ (x >> 29)) * 0xBF58476D1CE4E5B9u;
        to[i] = middle + spread * ((float)(x >> 40) / 16777216.0f - 0.5f);
    }
    return KILN_OK;
}

parameter_source random_weights(void)
{
    return (parameter_source){.read = random_read};
}
