/* optimizer.h - how parameters follow their gradients: f32 values, f32 gradients, states in plain arrays.
 *
 *   AdamW       Loshchilov and Hutter 2019, in the arithmetic order of torch.optim.AdamW
 *   AdamW8bit   the same with both moments in 8 bits: blocks of 256 scaled by their largest value, dynamic
 *               quantisation (Dettmers et al. 2022, "8-bit Optimizers via Block-wise Quantization"); small
 *               tensors stay f32
 *   Adafactor   Shazeer and Stern 2018: second moment by row and column sums
 *   Lion        Chen et al. 2023
 *   Prodigy     Mishchenko and Defazio 2023: finds its own rate; learning_rate is a factor, 1
 *   SGD         torch.optim.SGD, with momentum and Nesterov
 *   Muon        Jordan et al. 2024: matrices go along their orthogonalised momentum, the rest with AdamW (muon.c)
 *
 * The result does not depend on the number of threads. All state is reachable as named arrays, which a
 * checkpoint saves and restores bit for bit. */
#ifndef KILN_TRAIN_OPTIMIZER_H
#define KILN_TRAIN_OPTIMIZER_H

#include "base/error.h"
#include "tensor/tensor.h"

typedef enum optimizer_kind {
    OPTIMIZER_ADAMW,
    OPTIMIZER_ADAMW_8BIT,
    OPTIMIZER_ADAFACTOR,
    OPTIMIZER_LION,
    OPTIMIZER_PRODIGY,
    OPTIMIZER_SGD,
    OPTIMIZER_MUON,
    OPTIMIZER_KINDS
} optimizer_kind;

/* "AdamW", "AdamW8bit", "Adafactor", "Lion", "Prodigy", "SGD", "Muon". */
const char *optimizer_kind_name(optimizer_kind);
/* Any case. BAD_ARGUMENT names what exists. */
kiln_status optimizer_kind_of_name(const char *name, optimizer_kind *out, kiln_error *) KILN_CHECKED;

/* optimizer_defaults(kind) gives those of the published implementations. */
typedef struct optimizer_options {
    optimizer_kind kind;
    double beta1,
        beta2; /* AdamW, AdamW8bit, Prodigy, Muon .9 .999; Lion .9 .99; Adafactor beta1 0: no first moment */
    double beta3;         /* Prodigy: 0 means sqrt(beta2) */
    double epsilon;       /* 1e-8; Adafactor: 1e-30, added to squared gradients */
    double epsilon_scale; /* Adafactor: 1e-3, least root-mean-square of a parameter */
    double
        weight_decay;  /* AdamW, AdamW8bit, Muon 1e-2; others 0. Times the rate; SGD: added to the gradient */
    double momentum;   /* SGD: 0, Muon: 0.95 */
    bool nesterov;     /* SGD: false, Muon: true */
    double decay_rate; /* Adafactor: -0.8 */
    double clip_threshold; /* Adafactor: 1.0 */
    bool scale_parameter;  /* Adafactor: true; multiply the rate with the parameter's root-mean-square */
    bool relative_step;    /* Adafactor: true; the rate is min(1e-2, 1/sqrt(t)), learning_rate is not used */
    bool warmup_init;      /* Adafactor: false; with relative_step: min(1e-6 t, 1/sqrt(t)) */
    double d0, d_coef;     /* Prodigy: 1e-6, 1 */
    double growth_rate;    /* Prodigy: infinity */
    bool use_bias_correction, safeguard_warmup; /* Prodigy: false, false */
    int64_t min_8bit_size;                      /* AdamW8bit: 4096; smaller tensors keep f32 moments */
} optimizer_options;

optimizer_options optimizer_defaults(optimizer_kind);
kiln_status optimizer_options_check(const optimizer_options *, kiln_error *) KILN_CHECKED;

typedef struct optimizer_parameter {
    const char *name;   /* copied */
    float *values;      /* borrowed, changed by each step; must outlive the optimizer */
    shape shape;        /* Adafactor and Muon see rank >= 2 as the matrix [first, all others] */
    bool decay;         /* false: no weight decay (biases, norms, embeddings as the recipe says) */
    double rate_factor; /* times learning_rate; 1 (text_encoder_lr / learning_rate and the like) */
} optimizer_parameter;

typedef struct optimizer optimizer;

kiln_status optimizer_new(const optimizer_options *, const optimizer_parameter *, size_t count,
                          optimizer **out, kiln_error *) KILN_CHECKED;
void optimizer_free(optimizer *);

/* One step: gradients[i] belongs to parameter i (NULL: no gradient, the parameter stays as it is). Each
 * gradient is first multiplied by gradient_scale, in f32 (clipping; 1/accumulation). */
kiln_status optimizer_step(optimizer *, const float *const *gradients, double learning_rate,
                           double gradient_scale, kiln_error *) KILN_CHECKED;
/* Steps done. */
int64_t optimizer_steps(const optimizer *);
/* The rate that the last step used, for the journal: learning_rate, or what Adafactor and Prodigy made of it.
 */
double optimizer_rate(const optimizer *);
/* Bytes held in states. */
int64_t optimizer_bytes(const optimizer *);

/* State arrays, in an order that depends on options and parameters only. Names: "step",
 * "<parameter>.exp_avg", ... `data` may be written (a checkpoint restores into it) and lives as long as the
 * optimizer. */
typedef struct optimizer_state {
    const char *name;
    dtype type;
    shape shape;
    void *data;
} optimizer_state;
size_t optimizer_state_count(const optimizer *);
optimizer_state optimizer_state_at(optimizer *, size_t index);

/* Root of the sum of squares over all gradients (NULL ones count 0): summed in f64 in blocks of fixed size
 * and order, the same for any number of threads. NaN and infinity come through. */
double gradient_norm(const float *const *gradients, const int64_t *counts, size_t parameters);
/* torch.nn.utils.clip_grad_norm_: min(1, max_norm / (norm + 1e-6)); 1 when max_norm is 0 (no clipping). */
double gradient_clip_scale(double norm, double max_norm);

#endif
