/* upscale.h - an open upscaler, and the steps of an enlargement. Internal. */
#ifndef KILN_PIPELINE_UPSCALE_H
#define KILN_PIPELINE_UPSCALE_H

#include "image/resize.h"
#include "kiln/upscale.h"
#include "pipeline/model.h"
#include "pipeline/upscale_strip.h"
#include "plan/plan.h"
#include "weights/upscale_file.h"

enum { UPSCALE_MAX_PASSES = 8 };

struct kiln_upscaler {
    char *path, *name;
    upscale_file *file; /* NULL: a filter */
    resize_filter filter;
    plan_options options;
    packed_store *store;
    graph *graph; /* of the plan at hand */
    plan *plan;
    int plan_height, plan_width;
    atomic_bool cancel;
    kiln_progress_function progress; /* of the running call */
    void *user;
};

/* One run of the network over a picture. */
typedef struct upscale_pass {
    int width, height; /* of the picture before */
    upscale_strip across, down;
} upscale_pass;

/* A call, resolved. */
typedef struct upscale_job {
    int width, height; /* of the result */
    int planes;        /* runs for one picture: 3 when a network of one channel gets colours */
    int colours;       /* channels without alpha: 1 or 3 */
    int bits;
    bool alpha;
    int overlap;
    resize_filter filter;
    int pass_count;
    upscale_pass passes[UPSCALE_MAX_PASSES];
    bool resized; /* after the passes */
    kiln_upscale_work work;
} upscale_job;

/* Check options and sizes, choose passes and tiles, and say what it takes of memory. Of the picture only its form counts;
 * `beside`: bytes that will be taken meanwhile and are not yet. */
kiln_status upscale_resolve(kiln_upscaler *, const image *, const kiln_upscale_options *, int64_t beside,
                            upscale_job *, kiln_error *);

/* An upscaler for a drawing of that model: with its precision, threads and data directory. */
kiln_status upscaler_open_beside(const kiln_model *, const char *name, kiln_upscaler **out, kiln_error *);

/* The filter of that name ("lanczos", ...); false when there is none. */
bool upscale_filter_named(const char *name, resize_filter *out);

/* The plan for pictures of that size; lives until the next call. */
kiln_status upscale_get_plan(kiln_upscaler *, int height, int width, const plan **out, kiln_error *);
/* Bytes of a run and of packed weights at that size. Reads no weights. */
kiln_status upscale_measure(kiln_upscaler *, int height, int width, int64_t *activations,
                            int64_t *packed_bytes, kiln_error *);

/* What listens to a call: tiles done and in all. */
typedef struct upscale_counter {
    int64_t done, total;
} upscale_counter;

/* Run the network over the colours of `from`: a new picture of 1 or 3 channels and `bits`, `scale` times as large. */
kiln_status upscale_run_pass(kiln_upscaler *, const upscale_job *, const upscale_pass *, const image *from,
                             int bits, upscale_counter *, image **out, kiln_error *);

#endif
