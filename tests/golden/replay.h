/* replay.h - the network and the noise of golden/schedulers and golden/kdiffusion: output
 * 0.25 * x_scaled + 0.5 * pattern[k mod 7], k counting evaluations, and recorded normal draws. */
#ifndef KILN_TESTS_REPLAY_H
#define KILN_TESTS_REPLAY_H

#include "golden/golden.h"

#include "diffusion/sampler.h"

enum { REPLAY_PATTERNS = 7 };

typedef struct replay {
    const float *pattern;
    size_t n;
    int calls;
    const double *timesteps; /* expected at each call, or NULL */
    int timestep_count;
    double timestep_error;
    const float *noise; /* [noise_rows][n] */
    size_t noise_rows, drawn;
    const float *rows; /* [row_count][n] */
    size_t row_count;
    int row_shift; /* rows[calls - shift] is the state after a step */
    bool by_step;  /* rows[step] instead */
    bool last_only;
    double error;
} replay;

/* An open folder: its tensors, and those that all its cases use. */
typedef struct replay_folder {
    json_t *root;
    tensor_file *tensors;
    float *pattern, *x_init;
    size_t n;
} replay_folder;

/* False when the folder could not be read. Close in any case. */
bool replay_folder_open(replay_folder *folder, const char *path, golden_report *report);
void replay_folder_close(replay_folder *folder);
/* "<id>.<part>" and its rows of n; NULL if there is none. Caller frees. */
float *replay_case_tensor(const replay_folder *folder, const char *id, const char *part, size_t *rows);
/* A text of an object; "" if there is none. */
const char *replay_text(const json_t *object, const char *key);

sampler_calls replay_calls(replay *r);
/* Numbers of a JSON array; caller frees. */
double *replay_numbers(const json_t *list, int *count);

#endif
