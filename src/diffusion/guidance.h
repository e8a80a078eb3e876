/* guidance.h - join the network's answers with and without the prompt. */
#ifndef KILN_DIFFUSION_GUIDANCE_H
#define KILN_DIFFUSION_GUIDANCE_H

#include <stdbool.h>
#include <stddef.h>

/* When the answer without the prompt counts. Zeros: always. */
typedef struct guidance_interval {
    double early;  /* share of the steps at the beginning that go without (A1111: skip early CFG) */
    double end;    /* share of the steps after which it is over; 0: never (Kynkaanniemi et al. 2024,
                      arXiv:2404.07724) */
    double lowest; /* below this noise level every other step goes without (A1111: negative guidance minimum
                      sigma) */
    bool every;    /* ... every step */
} guidance_interval;

/* Whether guidance is on in this step (from 0) of `steps`, evaluated at noise level sigma. */
bool guidance_is_on(const guidance_interval *, int step, int steps, double sigma);
/* Whether it ever is off. */
bool guidance_pauses(const guidance_interval *);

/* out = without + scale (with - without): classifier-free guidance (Ho and Salimans 2022,
 * arXiv:2207.12598). n elements each; `out` may be an input. */
void guide(const float *with, const float *without, float scale, float *out, size_t n);

/* Only that part of the negative prompt counts which is perpendicular to the prompt, so that the two cannot cancel:
 * Armandpour et al. 2023, arXiv:2304.04968, eq. 10. All three are answers, `empty` that to no words at all.
 *
 *     p = with - empty, q = negative - empty
 *     out = empty + scale (p - strength (q - (q.p / p.p) p)) */
void guide_perpendicular(const float *with, const float *negative, const float *empty, float scale,
                         float strength, float *out, size_t n);

/* Bring the guided answer back to the spread of the one with the prompt, and mix: Lin et al. 2023,
 * arXiv:2305.08891, section 3.4. `rescale` 0 changes nothing, 1 is the whole correction, 0.7 is usual.
 * `guided` is changed; n elements of one image. */
void guide_rescale(float *guided, const float *with, float rescale, size_t n);

/* An answer as x_0: of_seen times what the network saw, and of_answer times what it said. */
typedef struct answer_line {
    float of_seen, of_answer;
} answer_line;

/* Dynamic thresholding of one channel, after Saharia et al. 2022, arXiv:2205.11487, section 2.3, as users know it from
 * "Dynamic Thresholding (CFG Scale Fix)": the guided x_0, less its mean, is clipped at its quantile `percentile` (0..1)
 * or at the largest that x_0 would have under the milder guidance scale `mimic`, whichever is more, and then shrunk to
 * the latter. `guided` is changed; `scratch` has n elements. */
void guide_threshold(float *guided, const float *with, const float *without, const float *seen,
                     answer_line line, float mimic, double percentile, float *scratch, size_t n);

#endif
