/* main.c - how fast this machine runs the full-size networks, as a fraction of its own matmul peak.
 *
 *     bench [--only sd15|sdxl|upscale|train] [--precision auto|f32|bf16] [--threads N] [--repeat N] [--profile] [--json FILE]
 *
 * The configurations of Stable Diffusion 1.5 and SDXL are drawn with random weights in memory: time does not depend on
 * what the weights say. Per stage: milliseconds (the best of the repeats), GFLOP/s, and the fraction of the peak of large
 * matrix products in the same precision, measured in this run. Operations are counted as the network states them (a
 * multiply-add is 2); a kernel that needs fewer shows as faster. Training steps are measured by train.c. */
#include "bench/measure.h"
#include "bench/peak.h"
#include "bench/random_weights.h"
#include "bench/train.h"

#include "model/clip_text.h"
#include "model/unet.h"
#include "model/upscale.h"
#include "model/vae.h"
#include "plan/plan.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct options {
    const char *only, *json, *train_case; /* train_case: of train.c, in a process of its own */
    dtype compute;
    int threads, repeat;
    bool profile;
    double peak; /* GFLOP/s: the best measured so far */
} options;

/* The peak is measured again around every stage, and the best of all counts: another program that was busy during one
 * measurement must not make a stage look better than it is. */
static bool measure_peak(options *o)
{
    kiln_error err = {0};
    double now = 0;
    if (peak_measure(o->compute, o->threads, 3, &now, &err) != KILN_OK) {
        fprintf(stderr, "bench: %s\n", err.text);
        return false;
    }
    o->peak = fmax(o->peak, now);
    return true;
}

/* ------------------------------------------------------------------------------------ one stage */

static void fill_inputs(const graph *g, run *r)
{
    for (int i = 0; i < g->input_count; i++) {
        const node *n = graph_node(g, g->inputs[i].value);
        int64_t count = shape_count(n->shape);
        void *to = run_input(r, g->inputs[i].name);
        bool time = strcmp(g->inputs[i].name, "timestep") == 0;
        for (int64_t k = 0; k < count; k++)
            if (n->type == DTYPE_I32)
                ((int32_t *)to)[k] = (int32_t)(k % 77);
            else
                ((float *)to)[k] = time ? 500 : 1.4f * sinf((float)k * 0.7f);
    }
}

static bool outputs_are_finite(const graph *g, run *r)
{
    for (int i = 0; i < g->output_count; i++) {
        const float *x = run_output(r, g->outputs[i].name);
        for (int64_t k = 0; k < shape_count(graph_node(g, g->outputs[i].value)->shape); k++)
            if (!isfinite(x[k]))
                return false;
    }
    return true;
}

static void report(const options *o, const char *name, double seconds, const plan *p, size_t weights)
{
    double gflops = plan_flops(p) / seconds / 1e9;
    printf("%-34s %10.1f ms %10.1f GFLOP/s  %5.3f of peak   weights %6.2f GB, activations %6.3f GB\n", name,
           seconds * 1e3, gflops, gflops / o->peak, (double)weights / 1e9, (double)plan_arena_bytes(p) / 1e9);
    fflush(stdout);
    FILE *f = o->json ? fopen(o->json, "a") : NULL;
    if (f) {
        fprintf(f,
                "{\"stage\": \"%s\", \"ms\": %.2f, \"gflops\": %.1f, \"of_peak\": %.4f, \"peak_gflops\": "
                "%.1f, \"threads\": %d}\n",
                name, seconds * 1e3, gflops, gflops / o->peak, o->peak, o->threads);
        fclose(f);
    }
}

/* Takes the graph over. Returns false when it could not be run. */
static bool stage(options *o, const char *name, graph *g)
{
    kiln_error err = {0};
    packed_store *store = packed_store_new(random_weights());
    plan_options po = {.backend = &backend_cpu, .compute = o->compute, .threads = o->threads, .fuse = true};
    plan *p = NULL;
    run *r = NULL;
    double start = bench_now();
    bool good = plan_compile(g, &po, store, &p, &err) == KILN_OK && run_new(p, &r, &err) == KILN_OK;
    double compiled = bench_now() - start, best = INFINITY;
    if (good)
        fill_inputs(g, r);
    good = good && measure_peak(o);
    for (int i = 0; good && i < o->repeat + 1; i++) {
        start = bench_now();
        good = plan_run(p, r, NULL, NULL, NULL, &err) == KILN_OK;
        double took = bench_now() - start;
        best = i > 0 || o->repeat == 0 ? fmin(best, took) : best;
    }
    good = good && measure_peak(o);
    if (good) {
        report(o, name, best, p, packed_store_bytes(store));
        if (!outputs_are_finite(g, r))
            printf("    (the result is not finite: these random weights overflow)\n");
    } else
        printf("%-34s failed: %s\n", name, err.text);
    profile *table = good && o->profile ? profile_new() : NULL;
    if (table && plan_run(p, r, NULL, profile_add, table, &err) == KILN_OK) {
        printf("    compiled in %.2f s\n", compiled);
        profile_write(table, stdout);
    }
    profile_free(table);
    run_free(r);
    plan_free(p);
    packed_store_free(store);
    graph_free(g);
    return good;
}

/* ------------------------------------------------------------------------------------ the models */

static graph *text(const clip_text_config *c, unsigned outputs, int skip)
{
    graph *g = graph_new();
    clip_text_draw(g, c, &(clip_text_shape){.batch = 1, .tokens = 77, .outputs = outputs, .skip = skip});
    return g;
}

static graph *unet(const unet_config *c, int side)
{
    graph *g = graph_new();
    unet_draw(g, c, &(unet_shape){.batch = 2, .height = side, .width = side, .context_tokens = 77});
    return g;
}

static graph *decoder(const vae_config *c, int side)
{
    graph *g = graph_new();
    vae_draw_decoder(g, c, 1, side, side);
    return g;
}

static graph *encoder(const vae_config *c, int pixels)
{
    graph *g = graph_new();
    vae_draw_encoder(g, c, 1, pixels, pixels);
    return g;
}

static bool sd15(options *o)
{
    return stage(o, "SD1.5 text encoder, 77 tokens", text(&clip_text_l, CLIP_HIDDEN_LN, 1)) &&
           stage(o, "SD1.5 UNet step, 512x512, batch 2", unet(&unet_sd15, 64)) &&
           stage(o, "SD1.5 VAE decode, 512x512", decoder(&vae_sd, 64)) &&
           stage(o, "SD1.5 VAE encode, 512x512", encoder(&vae_sd, 512));
}

static bool sdxl(options *o)
{
    return stage(o, "SDXL text encoder 1, 77 tokens", text(&clip_text_l, CLIP_HIDDEN_RAW, 2)) &&
           stage(o, "SDXL text encoder 2, 77 tokens",
                 text(&clip_text_big_g, CLIP_HIDDEN_RAW | CLIP_TEXT_EMBEDS, 2)) &&
           stage(o, "SDXL UNet step, 1024x1024, batch 2", unet(&unet_sdxl, 128)) &&
           stage(o, "SDXL VAE decode, 512x512 tile", decoder(&vae_sdxl, 64)) &&
           stage(o, "SDXL VAE decode, 1024x1024", decoder(&vae_sdxl, 128));
}

/* Real-ESRGAN's large network, by 4. */
static graph *rrdbnet(int side)
{
    const upscale_config c = {.kind = UPSCALE_ESRGAN,
                              .channels = 3,
                              .scale = 4,
                              .unshuffle = 1,
                              .multiple = 1,
                              .align = 1,
                              .of.esrgan = {.features = 64, .growth = 32, .blocks = 23, .doublings = 2}};
    graph *g = graph_new();
    upscale_draw(g, &c, false, 1, side, side);
    return g;
}

static graph *compact(int features, int convolutions, int scale, int side)
{
    const upscale_config c = upscale_compact(features, convolutions, scale);
    graph *g = graph_new();
    upscale_draw(g, &c, false, 1, side, side);
    return g;
}

static bool upscale(options *o)
{
    return stage(o, "RRDBNet x4, 512x512", rrdbnet(512)) &&
           stage(o, "SRVGGNetCompact x4 (64, 16), 512x512", compact(64, 16, 4, 512)) &&
           stage(o, "SD VAE decode, 512x512 tile", decoder(&vae_sd, 64)) &&
           stage(o, "SD VAE encode, 512x512 tile", encoder(&vae_sd, 512));
}

static int usage(void)
{
    fprintf(stderr, "usage: bench [--only sd15|sdxl|upscale|train] [--precision auto|f32|bf16] [--threads N] "
                    "[--repeat N] "
                    "[--profile] [--json FILE]\n");
    return 2;
}

static bool read_options(int argc, char **argv, options *o)
{
    for (int i = 1; i < argc; i++) {
        const char *next = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--profile") == 0) {
            o->profile = true;
            continue;
        }
        i++;
        if (strcmp(argv[i - 1], "--only") == 0 &&
            (strcmp(next, "sd15") == 0 || strcmp(next, "sdxl") == 0 || strcmp(next, "upscale") == 0 ||
             strcmp(next, "train") == 0))
            o->only = next;
        else if (strcmp(argv[i - 1], "--train-case") == 0)
            o->train_case = next;
        else if (strcmp(argv[i - 1], "--precision") == 0 &&
                 (strcmp(next, "f32") == 0 || strcmp(next, "bf16") == 0 || strcmp(next, "auto") == 0))
            o->compute = next[0] == 'f' ? DTYPE_F32 : next[0] == 'b' ? DTYPE_BF16 : backend_best_precision();
        else if (strcmp(argv[i - 1], "--threads") == 0 && atoi(next) > 0)
            o->threads = atoi(next);
        else if (strcmp(argv[i - 1], "--repeat") == 0 && atoi(next) >= 0)
            o->repeat = atoi(next);
        else if (strcmp(argv[i - 1], "--json") == 0 && next[0])
            o->json = next;
        else
            return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    options o = {.compute = backend_best_precision(), .threads = omp_get_num_procs(), .repeat = 2};
    if (!read_options(argc, argv, &o))
        return usage();
    if (o.train_case) {
        const train_bench t = {.json = o.json,
                               .compute = o.compute,
                               .threads = o.threads,
                               .repeat = o.repeat > 1 ? o.repeat - 1 : 1,
                               .profile = o.profile};
        return train_bench_case(&t, o.train_case) ? 0 : 1;
    }
    options f32 = {.compute = DTYPE_F32, .threads = o.threads},
            bf16 = {.compute = DTYPE_BF16, .threads = o.threads};
    if (!measure_peak(&f32) || !measure_peak(&bf16))
        return 1;
    o.peak = o.compute == DTYPE_BF16 ? bf16.peak : f32.peak;
    printf("matmul peak with %d threads: %.0f GFLOP/s f32, %.0f GFLOP/s bf16; running in %s\n", o.threads,
           f32.peak, bf16.peak, dtype_name(o.compute));
    bool good = true;
    if (!o.only || strcmp(o.only, "sd15") == 0)
        good = sd15(&o) && good;
    if (!o.only || strcmp(o.only, "sdxl") == 0)
        good = sdxl(&o) && good;
    if (!o.only || strcmp(o.only, "upscale") == 0)
        good = upscale(&o) && good;
    if (!o.only || strcmp(o.only, "train") == 0)
        good = train_bench_all(argv) && good;
    printf("matmul peak, best of the run: %.0f GFLOP/s\n", o.peak);
    return good ? 0 : 1;
}
