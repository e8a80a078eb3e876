/* train.c - training steps: what they take of time and of memory.
 *
 * A case is a network of full size with random weights and random data: the parts of the bundled model as their recipes
 * train them (models/emoji/recipes), and the UNet of Stable Diffusion 1.5 at 512x512, by itself, each without and with
 * gradient checkpointing. The loss is the trainer's own. Timed are forward and backward pass alone, and the whole step:
 * both passes, the norm of the gradient, clipping, and AdamW on f32 weights.
 *
 * The fraction of the peak counts the operations of the forward pass three times (forward, gradients by data, gradients by
 * weights) over the time of forward and backward pass; what checkpointing computes again is not counted as work done.
 * Resident: the largest set that the system saw (VmHWM). */
#define _POSIX_C_SOURCE 200809L
#include "bench/train.h"
#include "bench/measure.h"

#include "bench/peak.h"
#include "bench/random_weights.h"

#include "ops/gradient.h"
#include "ops/table.h"
#include "text/chunks.h"
#include "train/objective.h"
#include "train/optimizer.h"

#include <math.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

typedef struct train_case {
    const char *name, *title;
    const objective_kind *kind;
    unsigned networks;
    const unet_config *unet;
    const vae_config *vae;
    const clip_text_config *text;
    objective_shape shape;
    optimizer_kind optimizer;
    bool checkpointing;
} train_case;

/* ------------------------------------------------------------------------------------ the networks */

/* models/emoji/recipes/text_to_image.train */
static const unet_config emoji_unet = {.in_channels = 8,
                                       .out_channels = 8,
                                       .sample_size = 16,
                                       .levels = 3,
                                       .channels = {128, 160, 192},
                                       .layers = {1, 1, 1},
                                       .depth = {{1}, {1}, {1}},
                                       .up_depth = {{1, 1}, {1, 1}, {1, 1}},
                                       .heads = {4, 5, 6},
                                       .middle_depth = 1,
                                       .context_channels = 192,
                                       .groups = 32,
                                       .norm_epsilon = 1e-5f,
                                       .conv_in_kernel = 3,
                                       .conv_out_kernel = 3,
                                       .downsample_padding = 1,
                                       .time_channels = 512,
                                       .cosine_first = true};
static const clip_text_config emoji_text = {.vocabulary = 4096,
                                            .positions = 77,
                                            .width = 192,
                                            .feed_forward = 768,
                                            .layers = 6,
                                            .heads = 6,
                                            .quick_gelu = true,
                                            .norm_epsilon = 1e-5f,
                                            .eos_token = 4095};
/* models/emoji/recipes/vae.train */
static const vae_config emoji_vae = {.in_channels = 3,
                                     .out_channels = 3,
                                     .latent_channels = 8,
                                     .sample_size = 128,
                                     .levels = 4,
                                     .channels = {32, 64, 96, 128},
                                     .layers = 1,
                                     .groups = 16,
                                     .quant_convolution = true,
                                     .post_quant_convolution = true,
                                     .middle_attention = true,
                                     .scaling_factor = 0.18215f};

#define VAE_CASE                                                                                             \
    .kind = &objective_vae, .networks = 1u << NETWORK_VAE_ENCODER | 1u << NETWORK_VAE_DECODER,               \
    .vae = &emoji_vae, .shape = {16, 128, 128}, .optimizer = OPTIMIZER_ADAMW
#define DENOISER_CASE                                                                                        \
    .kind = &objective_denoise, .networks = 1u << NETWORK_UNET | 1u << NETWORK_TEXT_1, .unet = &emoji_unet,  \
    .vae = &emoji_vae, .text = &emoji_text, .shape = {64, 128, 128}, .optimizer = OPTIMIZER_ADAMW
#define SD15_CASE                                                                                            \
    .kind = &objective_denoise, .networks = 1u << NETWORK_UNET, .unet = &unet_sd15, .vae = &vae_sd,          \
    .shape = {1, 512, 512}, .optimizer = OPTIMIZER_ADAMW_8BIT

static const train_case cases[] = {
    {.name = "vae", .title = "emoji VAE, 128x128, batch 16", VAE_CASE},
    {.name = "vae-again", .title = "emoji VAE, 128x128, batch 16", VAE_CASE, .checkpointing = true},
    {.name = "denoiser", .title = "emoji denoiser and text, batch 64", DENOISER_CASE},
    {.name = "denoiser-again",
     .title = "emoji denoiser and text, batch 64",
     DENOISER_CASE,
     .checkpointing = true},
    {.name = "sd15", .title = "SD1.5 UNet, 512x512, batch 1", SD15_CASE},
    {.name = "sd15-again", .title = "SD1.5 UNet, 512x512, batch 1", SD15_CASE, .checkpointing = true},
};
enum { CASES = sizeof cases / sizeof *cases };

/* ------------------------------------------------------------------------------------ one training */

typedef struct training {
    const train_case *what;
    graph *graph;
    packed_store *store;
    plan *plan;
    run *run;
    optimizer *optimizer;
    float *values;          /* all parameters */
    const float **gradient; /* by parameter */
    int64_t *counts;
    double forward_flops;
    int segments;
} training;

/* The loss as the trainer draws it, and the gradients of all parameters as outputs. */
static kiln_status draw(training *t, kiln_error *err)
{
    const train_case *c = t->what;
    model_parts parts = {.family = FAMILY_SD1};
    kiln_model model = {.parts = &parts};
    recipe standard = {.clip_skip = 0};
    if (c->unet)
        parts.unet = *c->unet;
    if (c->vae)
        parts.vae = *c->vae;
    if (c->text)
        parts.text = *c->text;
    const objective o = {.kind = c->kind,
                         .recipe = &standard,
                         .model = &model,
                         .networks = c->networks,
                         .latent = c->kind == &objective_denoise,
                         .worded = true};
    kiln_status status = recipe_init(&standard, err);
    value loss = NO_VALUE;
    if (!status) {
        loss = c->kind->draw(&o, t->graph, &c->shape);
        status = graph_finish(t->graph, err);
    }
    recipe_fini(&standard);
    for (int i = 1; !status && i < t->graph->node_count; i++)
        t->forward_flops += op_flops(t->graph, &t->graph->nodes[i]);
    t->graph->output_count = 0;
    graph_output(t->graph, "loss", loss);
    return status;
}

static kiln_status differentiate(training *t, kiln_error *err)
{
    graph *g = t->graph;
    int count = g->parameter_count;
    value *wanted = calloc(2 * (size_t)count, sizeof *wanted), *gradients = wanted + count;
    if (!wanted)
        return fail(err, KILN_NO_MEMORY, "out of memory for a step");
    for (int i = 0; i < count; i++)
        wanted[i] = g->parameters[i].value;
    value loss = g->outputs[0].value;
    kiln_status status = t->what->checkpointing
                             ? graph_gradient_by_segment(g, loss, wanted, count, gradients, &t->segments, err)
                             : graph_gradient(g, loss, wanted, count, gradients, err);
    for (int i = 0; i < count && !status; i++) {
        char name[32];
        snprintf(name, sizeof name, "gradient.%d", i);
        graph_output(g, name, gradients[i]);
    }
    free(wanted);
    return status ? status : graph_finish(g, err);
}

static kiln_status compile(training *t, const train_bench *o, kiln_error *err)
{
    int count = t->graph->parameter_count;
    bool *live = malloc((size_t)count * sizeof *live);
    t->store = packed_store_new(random_weights());
    t->gradient = calloc((size_t)count, sizeof *t->gradient);
    t->counts = calloc((size_t)count, sizeof *t->counts);
    t->values = malloc((size_t)graph_parameter_elements(t->graph) * sizeof *t->values);
    kiln_status status = live && t->store && t->gradient && t->counts && t->values
                             ? KILN_OK
                             : fail(err, KILN_NO_MEMORY, "out of memory for a step");
    if (!status) {
        memset(live, true, (size_t)count);
        const plan_options po = {.backend = &backend_cpu,
                                 .compute = o->compute,
                                 .threads = o->threads,
                                 .fuse_norms = true,
                                 .live = live};
        status = plan_compile(t->graph, &po, t->store, &t->plan, err);
    }
    if (!status)
        status = run_new(t->plan, &t->run, err);
    free(live);
    return status;
}

/* Random weights into the block, and where everything is. */
static kiln_status place(training *t, kiln_error *err)
{
    kiln_status status = KILN_OK;
    const parameter_source source = random_weights();
    float *to = t->values;
    for (int i = 0; i < t->graph->parameter_count && !status; i++) {
        const parameter *p = &t->graph->parameters[i];
        char name[32];
        status = source.read(source.self, p, i, to, err);
        run_parameter(t->run, i, to);
        t->counts[i] = shape_count(p->shape);
        to += t->counts[i];
        snprintf(name, sizeof name, "gradient.%d", i);
        t->gradient[i] = run_output(t->run, name);
    }
    return status;
}

static kiln_status open_optimizer(training *t, kiln_error *err)
{
    const graph *g = t->graph;
    optimizer_options options = optimizer_defaults(t->what->optimizer);
    optimizer_parameter *list = calloc((size_t)g->parameter_count, sizeof *list);
    if (!list)
        return fail(err, KILN_NO_MEMORY, "out of memory for the optimizer");
    float *values = t->values;
    for (int i = 0; i < g->parameter_count; i++) {
        const parameter *p = &g->parameters[i];
        list[i] = (optimizer_parameter){.name = p->canonical,
                                        .values = values,
                                        .shape = p->shape,
                                        .decay = p->role == ROLE_WEIGHT,
                                        .rate_factor = 1};
        values += t->counts[i];
    }
    kiln_status status = optimizer_new(&options, list, (size_t)g->parameter_count, &t->optimizer, err);
    free(list);
    return status;
}

static void fill(const training *t)
{
    const graph *g = t->graph;
    for (int i = 0; i < g->input_count; i++) {
        const node *n = graph_node(g, g->inputs[i].value);
        void *to = run_input(t->run, g->inputs[i].name);
        bool time = strcmp(g->inputs[i].name, "timestep") == 0,
             weight = strcmp(g->inputs[i].name, "weights") == 0;
        for (int64_t k = 0; k < shape_count(n->shape); k++)
            if (n->type == DTYPE_I32)
                ((int32_t *)to)[k] = (int32_t)(k * 31 % 4096);
            else
                ((float *)to)[k] = time ? 500 : weight ? 1 : 1.4f * sinf((float)k * 0.7f);
    }
}

static void training_fini(training *t)
{
    optimizer_free(t->optimizer);
    run_free(t->run);
    plan_free(t->plan);
    packed_store_free(t->store);
    graph_free(t->graph);
    free(t->values);
    free(t->gradient);
    free(t->counts);
}

/* ------------------------------------------------------------------------------------ figures */

/* By the clock, and of all threads together: the latter tells how much another program was in the way. */
typedef struct seconds {
    double wall, processor;
} seconds;

typedef struct figures {
    seconds pass, update;
    double pass_resident, step_resident, weights, states; /* bytes */
    double peak, loss;
} figures;

/* What follows the passes in a step. */
static kiln_status update(training *t, kiln_error *err)
{
    double norm = gradient_norm(t->gradient, t->counts, (size_t)t->graph->parameter_count);
    return optimizer_step(t->optimizer, t->gradient, 1e-6, gradient_clip_scale(norm, 1), err);
}

static double processor_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* The best of o->repeat, after one that touches every page. */
static kiln_status best_of(training *t, const train_bench *o, kiln_status (*part)(training *, kiln_error *),
                           seconds *best, kiln_error *err)
{
    kiln_status status = KILN_OK;
    *best = (seconds){INFINITY, INFINITY};
    for (int i = 0; i < o->repeat + 1 && !status; i++) {
        double start = bench_now(), processor_start = processor_now();
        status = part(t, err);
        if (i == 0 && o->repeat)
            continue;
        best->wall = fmin(best->wall, bench_now() - start);
        best->processor = fmin(best->processor, processor_now() - processor_start);
    }
    return status;
}

static kiln_status pass(training *t, kiln_error *err)
{
    return plan_run(t->plan, t->run, NULL, NULL, NULL, err);
}

static kiln_status measure(training *t, const train_bench *o, figures *f, kiln_error *err)
{
    kiln_status status = best_of(t, o, pass, &f->pass, err);
    f->pass_resident = (double)bench_resident();
    if (!status)
        status = open_optimizer(t, err);
    if (!status)
        status = best_of(t, o, update, &f->update, err);
    f->step_resident = (double)bench_resident();
    return status;
}

static void report(const train_bench *o, const training *t, const figures *f)
{
    double of_peak = 3 * t->forward_flops / f->pass.wall / 1e9 / f->peak,
           step = f->pass.wall + f->update.wall, images = t->what->shape.batch / step;
    printf("%-34s %-12s %9.1f ms  %5.3f of peak; step %9.1f ms, %7.2f images/s, resident %6.2f GB\n",
           t->what->title, t->what->checkpointing ? "checkpointed" : "", f->pass.wall * 1e3, of_peak,
           step * 1e3, images, f->step_resident / 1e9);
    printf("    %.2f GFLOP forward, %.2f in both passes", t->forward_flops / 1e9, plan_flops(t->plan) / 1e9);
    if (t->segments)
        printf(" (%d segments computed again)", t->segments);
    printf("; weights %.2f GB, gradients %.2f, states %.2f, activations %.2f; without optimizer resident "
           "%.2f GB\n",
           f->weights / 1e9, f->weights / 1e9, f->states / 1e9, (double)plan_passing_bytes(t->plan) / 1e9,
           f->pass_resident / 1e9);
    printf("    processor time of all threads: %.2f s forward and backward, %.2f s norm and optimizer\n",
           f->pass.processor, f->update.processor);
    if (!isfinite(f->loss))
        printf("    (the loss is not finite: these random weights overflow)\n");
    fflush(stdout);
    FILE *to = o->json ? fopen(o->json, "a") : NULL;
    if (!to)
        return;
    fprintf(to,
            "{\"stage\": \"train %s\", \"ms\": %.2f, \"of_peak\": %.4f, \"step_ms\": %.2f, "
            "\"images_per_second\": %.3f, \"resident\": %.0f, \"peak_gflops\": %.1f, \"threads\": %d}\n",
            t->what->name, f->pass.wall * 1e3, of_peak, step * 1e3, images, f->step_resident, f->peak,
            o->threads);
    fclose(to);
}

static kiln_status run_case(training *t, const train_bench *o, figures *f, kiln_error *err)
{
    double again = 0;
    t->graph = graph_new();
    kiln_status status = t->graph ? draw(t, err) : fail(err, KILN_NO_MEMORY, "out of memory for a step");
    if (!status)
        status = differentiate(t, err);
    if (!status)
        status = compile(t, o, err);
    if (!status)
        status = place(t, err);
    if (status)
        return status;
    fill(t);
    f->weights = (double)graph_parameter_elements(t->graph) * sizeof(float);
    status = peak_measure(o->compute, o->threads, 3, &f->peak, err);
    if (!status)
        status = measure(t, o, f, err);
    if (!status)
        status = peak_measure(o->compute, o->threads, 3, &again, err);
    f->peak = fmax(f->peak, again);
    if (!status) {
        f->loss = (double)run_output(t->run, "loss")[0];
        f->states = (double)optimizer_bytes(t->optimizer);
    }
    return status;
}

bool train_bench_case(const train_bench *o, const char *name)
{
    int i = 0;
    while (i < CASES && strcmp(cases[i].name, name) != 0)
        i++;
    if (i == CASES)
        return false;
    training t = {.what = &cases[i]};
    figures f = {.peak = 0};
    kiln_error err = {0};
    kiln_status status = run_case(&t, o, &f, &err);
    if (!status)
        report(o, &t, &f);
    else
        printf("%-34s failed: %s\n", cases[i].title, err.text);
    profile *table = !status && o->profile ? profile_new() : NULL;
    if (table && plan_run(t.plan, t.run, NULL, profile_add, table, &err) == KILN_OK)
        profile_write(table, stdout);
    profile_free(table);
    training_fini(&t);
    return !status;
}

/* ------------------------------------------------------------------------------------ a process each */

static bool run_alone(const char *name, char **arguments)
{
    char option[] = "--train-case", *list[32] = {arguments[0], option, (char *)name};
    int status = 1;
    pid_t child;
    for (int i = 1; arguments[i] && i + 3 < 32; i++)
        list[i + 2] = arguments[i];
    if (posix_spawn(&child, "/proc/self/exe", NULL, NULL, list, environ) != 0)
        return false;
    return waitpid(child, &status, 0) == child && status == 0;
}

bool train_bench_all(char **arguments)
{
    bool good = true;
    for (int i = 0; i < CASES; i++)
        good = run_alone(cases[i].name, arguments) && good;
    return good;
}
