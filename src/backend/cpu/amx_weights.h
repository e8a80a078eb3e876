/* amx_weights.h - plain f32 weights as bf16 B tiles (16 pairs of inputs by 16 columns), a few columns at a time. */
#ifndef KILN_BACKEND_CPU_AMX_WEIGHTS_H
#define KILN_BACKEND_CPU_AMX_WEIGHTS_H

#include "backend/cpu/amx_lines.h"

typedef struct amx_weights {
    int64_t columns, inputs;  /* of the product */
    int taps, tap[MOST_TAPS]; /* the weights' tap by the product's */
    bool by_columns; /* in memory [inputs][columns][taps], as by data; else [columns][inputs][taps] */
} amx_weights;

/* A part of the weights: `pairs` times 32 columns, `blocks` times 32 inputs. */
typedef struct amx_part {
    int64_t column, pairs;
    int64_t block, blocks; /* of 32 inputs */
} amx_part;

/* Into [pair][step][2] tiles, where a step is 32 inputs of one tap, taps inside. Absent columns and inputs are zeros. */
void amx_weights_pack(const amx_weights *, const float *from, const amx_part *, uint16_t *to);

#endif
