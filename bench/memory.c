/* memory.c - what a drawing takes of memory, as planned and in truth.
 *
 *     memory MODEL [WIDTHxHEIGHT [STEPS [VAE_TILE [LIMIT_GB]]]]
 *
 * Draws one picture through the public interface and prints the planner's figure beside the largest resident set that the
 * system saw (VmHWM), with the stage in which each rise came. The default is 512x512 in 2 steps: the peak does not depend on
 * the number of steps. Linux only. A model of full size is made by make_checkpoint; KILN_DATA names the data directory with
 * CLIP's vocabulary, where that is not installed. */
#include "bench/measure.h"

#include "kiln/kiln.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct stages {
    const char *last;
    int64_t before;
} stages;

/* The rise since the stage before is that stage's. */
static void show_rise(stages *s, const char *next)
{
    int64_t now = bench_resident();
    printf("  %-8s %7.3f GB (+%.3f)\n", s->last, (double)now / 1e9, (double)(now - s->before) / 1e9);
    s->last = next;
    s->before = now;
}

static bool on_progress(void *user, const kiln_progress *p)
{
    stages *s = user;
    if (strcmp(s->last, p->stage) != 0)
        show_rise(s, p->stage);
    return true;
}

static int failed(const kiln_error *err)
{
    fprintf(stderr, "memory: %s\n", err->text);
    return 1;
}

static int measure(kiln_session *s, kiln_draw_options *o)
{
    kiln_error err;
    kiln_memory_plan plan;
    kiln_image *out = NULL;
    stages rises = {.last = "plan", .before = bench_resident()};
    if (kiln_draw_plan(s, o, &plan, &err) != KILN_OK)
        return failed(&err);
    printf("planned  %7.3f GB: %.3f weights, %.3f activations\n", (double)plan.peak / 1e9,
           (double)plan.weights / 1e9, (double)plan.activations / 1e9);
    o->progress = on_progress;
    o->user = &rises;
    if (kiln_draw(s, o, &out, &err) != KILN_OK)
        return failed(&err);
    show_rise(&rises, "");
    double truth = (double)bench_resident();
    printf("in truth %7.3f GB; the plan is %+.1f%% off\n", truth / 1e9,
           100 * ((double)plan.peak / truth - 1));
    const char *tile = strstr(kiln_image_text(out, "parameters"), "VAE tile");
    printf("decoded %s\n", tile ? "by tiles" : "whole");
    kiln_image_free(out);
    return 0;
}

int main(int count, char **arguments)
{
    if (count < 2) {
        fprintf(stderr, "usage: memory MODEL [WIDTHxHEIGHT [STEPS [VAE_TILE [LIMIT_GB]]]]\n");
        return 2;
    }
    kiln_error err;
    kiln_model *model = NULL;
    kiln_session *session = NULL;
    kiln_model_options with = kiln_model_defaults();
    with.data_directory = getenv("KILN_DATA");
    kiln_draw_options o = kiln_draw_defaults();
    o.prompt = "a quiet harbour at dawn";
    o.steps = count > 3 ? atoi(arguments[3]) : 2;
    o.vae_tile = count > 4 ? atoi(arguments[4]) : 0;
    o.memory_limit = count > 5 ? (int64_t)(atof(arguments[5]) * 1e9) : 0;
    o.width = o.height = 512;
    if (count > 2 && sscanf(arguments[2], "%dx%d", &o.width, &o.height) != 2) {
        fprintf(stderr, "memory: a size is like 512x512\n");
        return 2;
    }
    if (kiln_model_open(arguments[1], &with, &model, &err) != KILN_OK ||
        kiln_session_new(model, &session, &err) != KILN_OK)
        return failed(&err);
    int status = measure(session, &o);
    kiln_session_free(session);
    kiln_model_close(model);
    return status;
}
