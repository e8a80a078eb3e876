/* pipeline_case.h - one whole drawing of a folder's golden.json, and what the files with such cases share. */
#ifndef KILN_TESTS_GOLDEN_PIPELINE_CASE_H
#define KILN_TESTS_GOLDEN_PIPELINE_CASE_H

#include "golden/pipelines.h"

#include "pipeline/drawing.h"

typedef struct pipeline_case {
    const char *model, *key, *kind; /* "sd1-tiny", "txt2img.ddim", "txt2img" */
    const json_t *what, *root;
    const tensor_file *golden;
    golden_report *report;
    /* replayed noise and expected rows */
    float *noise, *rows;
    size_t noise_count, row_count, drawn, n;
    double latents_error;
    bool compare;
} pipeline_case;

/* Tensor "<prefix>.<name>"; free(). */
float *case_tensor(const pipeline_case *, const char *prefix, const char *name, size_t *count);

/* inpaint.c: the start of an inpainting, in x; `d` gets what is kept and the UNet's other channels. Free `held` after the
 * drawing. */
typedef struct inpaint_held {
    repaint repaint;
    float *mask, *image, *noise, *extra;
} inpaint_held;
kiln_status case_begin_inpaint(kiln_session *, const pipeline_case *, const sampler_plan *, int height,
                               int width, drawing *d, inpaint_held *held, float *x, kiln_error *);
void inpaint_held_free(inpaint_held *);

/* assemble.c: a model's folder, with links in a temporary one to the parts of `other` (NULL: none) that it lacks. */
typedef struct assembled {
    char path[4096];
    bool temporary;
} assembled;
bool assemble(assembled *, const char *folder, const char *other);
void assembled_remove(assembled *);

#endif
