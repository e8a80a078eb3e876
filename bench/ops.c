/* ops.c - every hot shape of Stable Diffusion 1.5 (UNet at 512x512, batch 2; VAE decoder) and of SDXL's
 * transformer, as milliseconds, GFLOP/s and the share of this machine's matmul peak; with how often a step
 * runs it, so that the worst offenders stand out. `bench_ops [f32] [threads N] [repeats N] [only TEXT]`. */
#include "bench/measure.h"

#include "peak.h"

#include "backend/backend.h"
#include "ops/ops.h"
#include "ops/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum shape_kind {
    CONV,
    ENLARGE,
    LINEAR,
    GATED,
    ATTEND,
    CROSS,
    GROUP,
    LAYER,
    GEGLU,
    ADD,
    SILU,
    JOIN
} shape_kind;

/* n samples of side x side positions; from and to channels (ATTEND, CROSS: to = heads); k kernel, s stride;
 * r a residual (convolution, linear). */
typedef struct hot_shape {
    const char *part;
    shape_kind kind;
    int times, n, side, from, to, k, s;
    bool r;
} hot_shape;

#define UNET "unet 512"
#define VAE "vae decode 512"
#define XL "sdxl 1024"
static const hot_shape shapes[] = {
    {UNET, CONV, 1, 2, 64, 4, 320, 3, 1, false},       {UNET, CONV, 1, 2, 64, 320, 4, 3, 1, false},
    {UNET, CONV, 2, 2, 64, 320, 320, 3, 1, false},     {UNET, CONV, 5, 2, 64, 320, 320, 3, 1, true},
    {UNET, CONV, 2, 2, 64, 640, 320, 3, 1, false},     {UNET, CONV, 1, 2, 64, 960, 320, 3, 1, false},
    {UNET, CONV, 2, 2, 64, 640, 320, 1, 1, false},     {UNET, CONV, 1, 2, 64, 960, 320, 1, 1, false},
    {UNET, CONV, 1, 2, 64, 320, 320, 3, 2, false},     {UNET, CONV, 1, 2, 32, 320, 640, 3, 1, false},
    {UNET, CONV, 1, 2, 32, 640, 640, 3, 1, false},     {UNET, CONV, 5, 2, 32, 640, 640, 3, 1, true},
    {UNET, CONV, 1, 2, 32, 960, 640, 3, 1, false},     {UNET, CONV, 1, 2, 32, 1280, 640, 3, 1, false},
    {UNET, CONV, 1, 2, 32, 1920, 640, 3, 1, false},    {UNET, CONV, 1, 2, 32, 1920, 640, 1, 1, false},
    {UNET, CONV, 1, 2, 32, 640, 640, 3, 2, false},     {UNET, CONV, 1, 2, 16, 640, 1280, 3, 1, false},
    {UNET, CONV, 1, 2, 16, 1280, 1280, 3, 1, false},   {UNET, CONV, 5, 2, 16, 1280, 1280, 3, 1, true},
    {UNET, CONV, 1, 2, 16, 1920, 1280, 3, 1, false},   {UNET, CONV, 2, 2, 16, 2560, 1280, 3, 1, false},
    {UNET, CONV, 2, 2, 16, 2560, 1280, 1, 1, false},   {UNET, CONV, 1, 2, 16, 1280, 1280, 3, 2, false},
    {UNET, CONV, 4, 2, 8, 1280, 1280, 3, 1, false},    {UNET, CONV, 7, 2, 8, 1280, 1280, 3, 1, true},
    {UNET, CONV, 3, 2, 8, 2560, 1280, 3, 1, false},    {UNET, CONV, 3, 2, 8, 2560, 1280, 1, 1, false},
    {UNET, ENLARGE, 1, 2, 8, 1280, 1280, 3, 1, false}, {UNET, ENLARGE, 1, 2, 16, 1280, 1280, 3, 1, false},
    {UNET, ENLARGE, 1, 2, 32, 640, 640, 3, 1, false},  {UNET, LINEAR, 25, 2, 64, 320, 320, 0, 0, false},
    {UNET, LINEAR, 15, 2, 64, 320, 320, 0, 0, true},   {UNET, LINEAR, 5, 2, 64, 320, 2560, 0, 0, false},
    {UNET, LINEAR, 5, 2, 64, 1280, 320, 0, 0, true},   {UNET, LINEAR, 25, 2, 32, 640, 640, 0, 0, false},
    {UNET, LINEAR, 15, 2, 32, 640, 640, 0, 0, true},   {UNET, LINEAR, 5, 2, 32, 640, 5120, 0, 0, false},
    {UNET, LINEAR, 5, 2, 32, 2560, 640, 0, 0, true},   {UNET, LINEAR, 25, 2, 16, 1280, 1280, 0, 0, false},
    {UNET, LINEAR, 15, 2, 16, 1280, 1280, 0, 0, true}, {UNET, LINEAR, 5, 2, 16, 1280, 10240, 0, 0, false},
    {UNET, LINEAR, 5, 2, 16, 5120, 1280, 0, 0, true},  {UNET, LINEAR, 8, 2, 8, 1280, 1280, 0, 0, false},
    {UNET, LINEAR, 1, 2, 8, 1280, 10240, 0, 0, false}, {UNET, LINEAR, 1, 2, 8, 5120, 1280, 0, 0, true},
    {UNET, ATTEND, 5, 2, 64, 320, 8, 0, 0, false},     {UNET, CROSS, 5, 2, 64, 320, 8, 0, 0, false},
    {UNET, ATTEND, 5, 2, 32, 640, 8, 0, 0, false},     {UNET, CROSS, 5, 2, 32, 640, 8, 0, 0, false},
    {UNET, ATTEND, 5, 2, 16, 1280, 8, 0, 0, false},    {UNET, CROSS, 5, 2, 16, 1280, 8, 0, 0, false},
    {UNET, ATTEND, 1, 2, 8, 1280, 8, 0, 0, false},     {UNET, GROUP, 13, 2, 64, 320, 0, 0, 1, false},
    {UNET, GROUP, 2, 2, 64, 640, 0, 0, 1, false},      {UNET, GROUP, 1, 2, 64, 960, 0, 0, 1, false},
    {UNET, GROUP, 11, 2, 32, 640, 0, 0, 1, false},     {UNET, GROUP, 1, 2, 32, 1920, 0, 0, 1, false},
    {UNET, GROUP, 12, 2, 16, 1280, 0, 0, 1, false},    {UNET, GROUP, 2, 2, 16, 2560, 0, 0, 1, false},
    {UNET, GROUP, 14, 2, 8, 1280, 0, 0, 1, false},     {UNET, LAYER, 15, 2, 64, 320, 0, 0, 0, false},
    {UNET, LAYER, 15, 2, 32, 640, 0, 0, 0, false},     {UNET, LAYER, 15, 2, 16, 1280, 0, 0, 0, false},
    {UNET, GEGLU, 5, 2, 64, 1280, 0, 0, 0, false},     {UNET, GEGLU, 5, 2, 32, 2560, 0, 0, 0, false},
    {UNET, GEGLU, 5, 2, 16, 5120, 0, 0, 0, false},     {UNET, JOIN, 3, 2, 64, 320, 0, 0, 0, false},
    {UNET, JOIN, 3, 2, 32, 640, 0, 0, 0, false},       {UNET, JOIN, 3, 2, 16, 1280, 0, 0, 0, false},
    {VAE, CONV, 1, 1, 64, 4, 512, 3, 1, false},        {VAE, CONV, 5, 1, 64, 512, 512, 3, 1, false},
    {VAE, CONV, 5, 1, 64, 512, 512, 3, 1, true},       {VAE, LINEAR, 4, 1, 64, 512, 512, 0, 0, false},
    {VAE, ATTEND, 1, 1, 64, 512, 1, 0, 0, false},      {VAE, ENLARGE, 1, 1, 64, 512, 512, 3, 1, false},
    {VAE, CONV, 3, 1, 128, 512, 512, 3, 1, false},     {VAE, CONV, 3, 1, 128, 512, 512, 3, 1, true},
    {VAE, ENLARGE, 1, 1, 128, 512, 512, 3, 1, false},  {VAE, CONV, 1, 1, 256, 512, 256, 3, 1, false},
    {VAE, CONV, 1, 1, 256, 512, 256, 1, 1, false},     {VAE, CONV, 2, 1, 256, 256, 256, 3, 1, false},
    {VAE, CONV, 3, 1, 256, 256, 256, 3, 1, true},      {VAE, ENLARGE, 1, 1, 256, 256, 256, 3, 1, false},
    {VAE, CONV, 1, 1, 512, 256, 128, 3, 1, false},     {VAE, CONV, 1, 1, 512, 256, 128, 1, 1, false},
    {VAE, CONV, 2, 1, 512, 128, 128, 3, 1, false},     {VAE, CONV, 3, 1, 512, 128, 128, 3, 1, true},
    {VAE, CONV, 1, 1, 512, 128, 3, 3, 1, false},       {VAE, GROUP, 11, 1, 64, 512, 0, 0, 1, false},
    {VAE, GROUP, 6, 1, 128, 512, 0, 0, 1, false},      {VAE, GROUP, 1, 1, 256, 512, 0, 0, 1, false},
    {VAE, GROUP, 5, 1, 256, 256, 0, 0, 1, false},      {VAE, GROUP, 1, 1, 512, 256, 0, 0, 1, false},
    {VAE, GROUP, 6, 1, 512, 128, 0, 0, 1, false},      {XL, ATTEND, 10, 2, 64, 640, 10, 0, 0, false},
    {XL, ATTEND, 60, 2, 32, 1280, 20, 0, 0, false},    {XL, CROSS, 10, 2, 64, 640, 10, 0, 0, false},
    {XL, LINEAR, 60, 2, 32, 1280, 10240, 0, 0, false}, {XL, LINEAR, 60, 2, 32, 5120, 1280, 0, 0, true},
    {XL, LINEAR, 360, 2, 32, 1280, 1280, 0, 0, false},
};

static const char *const kinds[] = {
    "conv",       "enlarge+conv", "linear", "",     "attention", "cross attention", "group_norm+silu",
    "layer_norm", "geglu",        "add",    "silu", "concat"};

static value residual_of(graph *g, value y, bool wanted)
{
    if (wanted) {
        value r = graph_input(g, "r", g->nodes[y.index].shape, DTYPE_F32);
        g->nodes[y.index].input[3] = r;
        g->nodes[y.index].input_count = 4;
    }
    return y;
}

static value draw_product(graph *g, const hot_shape *h)
{
    at a = graph_root(g);
    if (h->kind == LINEAR) {
        value x = graph_input(g, "x", SHAPE3(h->n, h->side * h->side, h->from), DTYPE_F32);
        return residual_of(g,
                           op_linear(a, x, graph_parameter(a, "w", SHAPE2(h->to, h->from), ROLE_WEIGHT),
                                     graph_parameter(a, "b", SHAPE1(h->to), ROLE_BIAS)),
                           h->r);
    }
    int pad = h->k / 2;
    conv2d_attributes p = {.stride = h->s,
                           .pad_top = pad,
                           .pad_bottom = pad,
                           .pad_left = pad,
                           .pad_right = pad,
                           .upsample = h->kind == ENLARGE ? 2 : 1};
    value x = graph_input(g, "x", SHAPE4(h->n, h->side, h->side, h->from), DTYPE_F32);
    return residual_of(g,
                       op_conv2d(a, x,
                                 graph_parameter(a, "w", SHAPE4(h->to, h->from, h->k, h->k), ROLE_WEIGHT),
                                 graph_parameter(a, "b", SHAPE1(h->to), ROLE_BIAS), &p),
                       h->r);
}

static value draw(graph *g, const hot_shape *h)
{
    at a = graph_root(g);
    int64_t T = (int64_t)h->side * h->side;
    if (h->kind <= LINEAR)
        return draw_product(g, h);
    if (h->kind == ATTEND || h->kind == CROSS) {
        int64_t S = h->kind == CROSS ? 77 : T;
        return op_attention(a, graph_input(g, "q", SHAPE3(h->n, T, h->from), DTYPE_F32),
                            graph_input(g, "k", SHAPE3(h->n, S, h->from), DTYPE_F32),
                            graph_input(g, "v", SHAPE3(h->n, S, h->from), DTYPE_F32), h->to, false);
    }
    value x = graph_input(g, "x", SHAPE3(h->n, T, h->kind == GEGLU ? 2 * h->from : h->from), DTYPE_F32);
    value y;
    switch (h->kind) {
    case GROUP:
    case LAYER: {
        value w = graph_parameter(a, "w", SHAPE1(h->from), ROLE_NORM),
              b = graph_parameter(a, "b", SHAPE1(h->from), ROLE_NORM);
        y = h->kind == GROUP ? op_group_norm(a, x, w, b, 32, 1e-5f) : op_layer_norm(a, x, w, b, 1e-5f);
        g->nodes[y.index].attributes.norm.activation = h->s ? ACTIVATION_SILU : ACTIVATION_NONE;
        return y;
    }
    case GEGLU:
        return op_geglu(a, x);
    case SILU:
        return op_silu(a, x);
    case JOIN:
        return op_concat(a, 2, (value[]){x, graph_input(g, "y", SHAPE3(h->n, T, h->from), DTYPE_F32)}, -1);
    default:
        return op_add(a, x, graph_input(g, "y", SHAPE3(h->n, T, h->from), DTYPE_F32));
    }
}

static void fill(float *to, int64_t n, float scale)
{
    uint32_t state = 1;
    for (int64_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        to[i] = ((float)(state >> 8) / 16777216.0f - 0.5f) * scale;
    }
}

static kiln_status random_parameter(void *self, const parameter *p, int index, float *to, kiln_error *err)
{
    (void)self, (void)index, (void)err;
    fill(to, shape_count(p->shape), 0.1f);
    return KILN_OK;
}

static void *block(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 127) / 64 * 64);
    if (!p) {
        fprintf(stderr, "bench_ops: out of memory\n");
        exit(1);
    }
    memset(p, 0, (bytes + 127) / 64 * 64);
    return p;
}

static void *random_input(dtype type, int64_t n)
{
    float *plain = block((size_t)n * sizeof(float));
    fill(plain, n, 3);
    if (type == DTYPE_F32)
        return plain;
    void *stored = block((size_t)n * dtype_size(type));
    convert_from_f32(plain, stored, type, (size_t)n);
    free(plain);
    return stored;
}

/* The best of `repeats` runs, in seconds. */
static double time_kernel(const graph *g, const node *n, dtype type, int threads, int repeats,
                          const char **label)
{
    kiln_error err = {0};
    kernel k = {0};
    kernel_request r = {.graph = g,
                        .node = n,
                        .output_type = type,
                        .compute = type,
                        .threads = threads,
                        .packed = packed_store_new((parameter_source){.read = random_parameter})};
    kernel_arguments a = {.threads = threads};
    void *data[OP_MAX_INPUTS] = {0};
    for (int i = 0; i < n->input_count; i++) {
        const node *in = graph_node(g, n->input[i]);
        r.input_shape[i] = in->shape;
        r.input_type[i] = in->op == OP_PARAMETER ? DTYPE_F32 : type;
        r.parameter[i] = in->op == OP_PARAMETER ? in->parameter : -1;
        data[i] = random_input(r.input_type[i], shape_count(in->shape));
        a.input[i] = data[i];
    }
    if (backend_cpu.prepare(&r, &k, &err) != KILN_OK || !k.run) {
        fprintf(stderr, "bench_ops: %s\n", k.run ? err.text : "no kernel");
        exit(1);
    }
    *label = k.label;
    void *output = k.in_place == 3 ? data[3] : block((size_t)shape_count(n->shape) * dtype_size(type));
    void *scratch = block(k.scratch_bytes);
    a.output = output;
    a.scratch = scratch;
    double best = 1e9;
    for (int i = 0; i <= repeats; i++) {
        double start = bench_now();
        if (k.run(&k, &a, &err) != KILN_OK) {
            fprintf(stderr, "bench_ops: %s\n", err.text);
            exit(1);
        }
        double seconds = bench_now() - start;
        best = i > 0 && seconds < best ? seconds : best;
    }
    if (k.release)
        k.release(&k);
    packed_store_free(r.packed);
    if (output != data[3])
        free(output);
    free(scratch);
    for (int i = 0; i < OP_MAX_INPUTS; i++)
        free(data[i]);
    return best;
}

typedef struct settings {
    dtype type;
    int threads, repeats;
    const char *only;
} settings;

static settings read_settings(int count, char **argument)
{
    settings s = {backend_best_precision(), 2, 5, NULL};
    for (int i = 1; i < count; i++) {
        if (!strcmp(argument[i], "f32"))
            s.type = DTYPE_F32;
        else if (!strcmp(argument[i], "threads") && i + 1 < count)
            s.threads = atoi(argument[++i]);
        else if (!strcmp(argument[i], "repeats") && i + 1 < count)
            s.repeats = atoi(argument[++i]);
        else if (!strcmp(argument[i], "only") && i + 1 < count)
            s.only = argument[++i];
    }
    return s;
}

int main(int count, char **argument)
{
    settings s = read_settings(count, argument);
    double peak, total = 0, total_flops = 0;
    kiln_error err = {0};
    if (peak_measure(s.type, s.threads, 5, &peak, &err) != KILN_OK) {
        fprintf(stderr, "bench_ops: %s\n", err.text);
        return 1;
    }
    printf("%s, %d threads: matmul peak %.0f GFLOP/s\n", dtype_name(s.type), s.threads, peak);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const hot_shape *h = &shapes[i];
        char name[100];
        snprintf(name, sizeof name, "%s %dx%dx%d %d -> %d%s%s", kinds[h->kind], h->n, h->side, h->side,
                 h->from, h->to, h->k == 1 ? " 1x1" : "", h->r ? " +residual" : "");
        if (!s.only || strstr(name, s.only) || !strcmp(h->part, s.only)) {
            graph *g = graph_new();
            const char *label;
            value y = draw(g, h);
            double seconds = time_kernel(g, graph_node(g, y), s.type, s.threads, s.repeats, &label);
            double flops = op_flops(g, graph_node(g, y));
            graph_free(g);
            bool product = h->kind <= CROSS;
            printf("%-15s %-44s %3d x %8.3f ms = %7.1f", h->part, name, h->times, seconds * 1e3,
                   h->times * seconds * 1e3);
            if (product)
                printf("  %6.0f GFLOP/s  %.2f", flops / seconds * 1e-9, flops / seconds * 1e-9 / peak);
            printf("  %s\n", label);
            total += h->times * seconds;
            total_flops += product ? h->times * flops : 0;
        }
        if (i + 1 == sizeof shapes / sizeof *shapes || strcmp(h->part, shapes[i + 1].part) != 0) {
            if (total > 0)
                printf("%-15s sum %.1f ms, %.0f GFLOP, %.2f of the peak\n", h->part, total * 1e3,
                       total_flops * 1e-9, total_flops / total * 1e-9 / peak);
            total = total_flops = 0;
        }
    }
    return 0;
}
