/* optimizer_parts.h - what the optimizers share: one slot per parameter, its states, work in blocks.
 * Internal.
 *
 * Every element (or block of 256) is computed the same way whichever thread has it, and sums go over blocks
 * of fixed size in fixed order: results do not depend on the number of threads. */
#ifndef KILN_TRAIN_OPTIMIZER_PARTS_H
#define KILN_TRAIN_OPTIMIZER_PARTS_H

#include "base/arena.h"
#include "train/optimizer.h"

enum { OPTIMIZER_STATES = 4, QUANT_BLOCK = 256, SUM_BLOCK = 4096 };

typedef struct slot {
    char *name;
    float *values;
    int64_t count, rows, columns; /* rows 0: not factored (Adafactor), no matrix (Muon) */
    bool decay;
    double rate_factor;
    int64_t *steps;                 /* its own, in the array of all */
    float *state[OPTIMIZER_STATES]; /* what they are is each optimizer's */
    uint8_t *codes[2]; /* AdamW8bit: of exp_avg, exp_avg_sq; their scales are state[0], state[1] */
} slot;

/* Scalars of Prodigy, saved as one F64 array. */
enum { PRODIGY_D, PRODIGY_D_MAX, PRODIGY_NUMERATOR, PRODIGY_SCALARS };

struct optimizer {
    optimizer_options options;
    slot *slots;
    size_t count;
    int64_t step, *slot_steps;
    double scalars[PRODIGY_SCALARS], rate;
    optimizer_state *states;
    size_t state_count;
    int64_t bytes;
    void *memory[2]; /* arrays allocated once: all f32 states, all codes */
    int64_t memory_bytes[2];
    arena texts;
};

/* One step of a slot: gradient and its factor, the rate already times rate_factor. */
typedef void (*slot_step)(const optimizer *, slot *, const float *gradient, float scale, double rate);
void adamw_step(const optimizer *, slot *, const float *gradient, float scale, double rate);
void adamw_8bit_step(const optimizer *, slot *, const float *gradient, float scale, double rate);
void lion_step(const optimizer *, slot *, const float *gradient, float scale, double rate);
void sgd_step(const optimizer *, slot *, const float *gradient, float scale, double rate);
void adafactor_step(const optimizer *, slot *, const float *gradient, float scale, double rate);
/* The whole step: Prodigy's rate is one for all parameters. */
void prodigy_step(optimizer *, const float *const *gradients, float scale, double rate);
/* Muon's: whether a parameter goes as a matrix (then its slot has rows and columns), and the whole step. */
bool muon_takes(const optimizer_parameter *);
kiln_status muon_step(optimizer *, const float *const *gradients, float scale, double rate, kiln_error *);

/* Call work(self, begin, end) for blocks of `block` elements that cover 0..count-1, in any order, on all
 * threads. */
void in_blocks(int64_t count, int64_t block, void *self,
               void (*work)(void *self, int64_t begin, int64_t end));
/* Sum of what sum(self, begin, end) gives for blocks of SUM_BLOCK elements, added in order. */
double sum_of_blocks(int64_t count, void *self, double (*sum)(void *self, int64_t begin, int64_t end));

#endif
