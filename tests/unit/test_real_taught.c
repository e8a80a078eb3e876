/* floors: base tensor formats graph ops backend plan nn model text weights diffusion image
 *
 * test_real_taught.c - embeddings and LoRAs that people made, each in a small model of the width that it is for: a text encoder
 * of one layer is given an embedding's vectors, an attention layer is changed by a LoRA. What they do is a number, not nothing,
 * and at strength 0 nothing at all; files that are something else say what they are. */
#include "image/embedding_picture.h"
#include "model/clip_text.h"
#include "model/unet.h"
#include "nn/nn.h"
#include "plan/plan.h"
#include "weights/lora.h"

#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define REAL TEST_SHARED "/real/"

static const plan_options options = {
    .backend = &backend_cpu, .compute = DTYPE_F32, .threads = 1, .fuse = true};

static bool is_absent(void)
{
    if (access(REAL, R_OK) == 0)
        return false;
    print_message("the real files are not here: skipped\n");
    return true;
}

/* Weights that depend on the parameter's name alone, with rows of length about 1. */
static void fill_weight(const parameter *p, float *to)
{
    uint32_t h = 2166136261u;
    int64_t count = shape_count(p->shape);
    int64_t inputs = count / p->shape.dim[0];
    double size = p->shape.rank > 1 ? 1.7 / sqrt((double)inputs) : 0.02;
    for (const char *c = p->canonical; *c; c++)
        h = (h ^ (unsigned char)*c) * 16777619u;
    for (int64_t i = 0; i < count; i++) {
        h = h * 1664525u + 1013904223u;
        double u = (double)(h >> 8) / (1 << 23) - 1;
        to[i] = (float)(p->role == ROLE_NORM && strstr(p->canonical, "weight") ? 1 : size * u);
    }
}

/* Run a graph with one output; *count of its elements. free(). */
static float *run_once(const graph *g, parameter_source source, void (*fill)(run *, const void *),
                       const void *what, int64_t *count)
{
    packed_store *store = packed_store_new(source);
    plan *p = NULL;
    run *r = NULL;
    kiln_error err = {0};
    if (graph_finish(g, &err) || plan_compile(g, &options, store, &p, &err) || run_new(p, &r, &err))
        fail_msg("%s", err.text);
    fill(r, what);
    if (plan_run(p, r, NULL, NULL, NULL, &err))
        fail_msg("%s", err.text);
    *count = shape_count(graph_node(g, g->outputs[0].value)->shape);
    float *out = malloc((size_t)*count * sizeof *out);
    assert_non_null(out);
    memcpy(out, run_output(r, g->outputs[0].name), (size_t)*count * sizeof *out);
    run_free(r);
    plan_free(p);
    packed_store_free(store);
    return out;
}

/* The length of the difference over that of the first; both must be numbers. Frees both. */
static double change(float *a, float *b, int64_t count)
{
    double length = 0, difference = 0;
    for (int64_t i = 0; i < count; i++) {
        assert_true(isfinite(a[i]) && isfinite(b[i]));
        length += (double)a[i] * (double)a[i];
        difference += ((double)b[i] - (double)a[i]) * ((double)b[i] - (double)a[i]);
    }
    free(a);
    free(b);
    return sqrt(difference / length);
}

/* ------------------------------------------------------------------------------------ embeddings */

typedef struct window {
    const embedding *word; /* NULL: a token stands there */
    int encoder;
} window;

static kiln_status read_any(void *self, const parameter *p, int index, float *to, kiln_error *err)
{
    (void)self;
    (void)index;
    (void)err;
    fill_weight(p, to);
    return KILN_OK;
}

static void fill_window(run *r, const void *what)
{
    const window *w = what;
    int32_t *ids = run_input(r, "ids");
    float *vectors = run_input(r, "word_vectors");
    for (int i = 0; i < 77; i++)
        ids[i] = i == 0 ? 98 : i < 5 ? 10 + i : 99;
    if (!w->word)
        return;
    size_t width = (size_t)w->word->width[w->encoder];
    for (int i = 0; i < w->word->vectors; i++) {
        ids[1 + i] = NO_TOKEN;
        memcpy(vectors + (size_t)(1 + i) * width, w->word->values[w->encoder] + (size_t)i * width,
               width * sizeof *vectors);
    }
}

static double effect_of_word(const embedding *e, int encoder)
{
    const clip_text_config config = {.vocabulary = 100,
                                     .positions = 77,
                                     .width = e->width[encoder],
                                     .feed_forward = 64,
                                     .layers = 1,
                                     .heads = e->width[encoder] / 64,
                                     .quick_gelu = true,
                                     .norm_epsilon = 1e-5f,
                                     .eos_token = 99};
    float *states[2];
    int64_t count = 0;
    for (int i = 0; i < 2; i++) {
        graph *g = graph_new();
        assert_non_null(g);
        clip_text_draw(
            g, &config,
            &(clip_text_shape){
                .batch = 1, .tokens = 77, .outputs = CLIP_HIDDEN_LN, .skip = 1, .word_vectors = true});
        states[i] = run_once(g, (parameter_source){.read = read_any}, fill_window,
                             &(window){i ? e : NULL, encoder}, &count);
        graph_free(g);
    }
    return change(states[0], states[1], count);
}

/* Files that are no embeddings, or several; the sentence has this in it. */
static const char *reason_of(const char *file)
{
    static const char *const known[][2] = {{"empty.pt", "no tensors at all"},
                                           {"aesthetic_", "holds no embedding"},
                                           {"allmyPuppet768.pt", "holds 11 embeddings"}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strncmp(file, known[i][0], strlen(known[i][0])) == 0)
            return known[i][1];
    return NULL;
}

static void use_word(const char *folder, const char *file, int *used, int *refused)
{
    char path[1024];
    embedding_list list = {0};
    kiln_error err = {0};
    const char *reason = reason_of(file);
    snprintf(path, sizeof path, "%s%s", folder, file);
    kiln_status status = embedding_open(path, &list, &err);
    if (reason) {
        if (status == KILN_OK || !strstr(err.text, reason) || !strstr(err.text, file))
            fail_msg("%s: status %d, '%s'", file, (int)status, err.text);
        ++*refused;
        return;
    }
    if (status != KILN_OK)
        fail_msg("%s", err.text);
    const embedding *e = list.items;
    for (int k = 0; k < EMBEDDING_ENCODERS; k++) {
        if (!e->width[k])
            continue;
        double effect = effect_of_word(e, k);
        print_message("%s: %d of %d, states change by %.3f\n", file, e->vectors, e->width[k], effect);
        assert_true(effect > 1e-3 && effect < 10);
    }
    embedding_list_fini(&list);
    ++*used;
}

static int in_folder(const char *folder, void (*use)(const char *, const char *, int *, int *), int *refused)
{
    struct dirent **names = NULL;
    int used = 0, count = scandir(folder, &names, NULL, alphasort);
    assert_true(count > 2);
    for (int i = 0; i < count; i++) {
        if (names[i]->d_name[0] != '.')
            use(folder, names[i]->d_name, &used, refused);
        free(names[i]);
    }
    free(names);
    return used;
}

static void embeddings_change_what_is_read(void **state)
{
    (void)state;
    if (is_absent())
        skip();
    int refused = 0, used = in_folder(REAL "embeddings/", use_word, &refused);
    used += in_folder(REAL "embeddings_png/", use_word, &refused);
    print_message("%d embeddings used, %d files refused\n", used, refused);
    assert_true(used >= 15 && refused >= 3);
}

/* ------------------------------------------------------------------------------------ LoRAs */

typedef struct changed {
    const graph *whole; /* the UNet of its family, of which one layer is run */
    lora_layer layer;
} changed;

static kiln_status read_changed(void *self, const parameter *p, int index, float *to, kiln_error *err)
{
    (void)index;
    const changed *c = self;
    int whole = graph_find_parameter(c->whole, p->canonical);
    assert_true(whole >= 0);
    fill_weight(p, to);
    return c->layer.strength != 0 ? lora_merge(&c->layer, &c->whole->parameters[whole], whole, to, err)
                                  : KILN_OK;
}

static void fill_layer(run *r, const void *what)
{
    const int *widths = what;
    float *x = run_input(r, "x"), *context = run_input(r, "context");
    for (int i = 0; i < 16 * widths[0]; i++)
        x[i] = (float)sin(0.7 * i);
    for (int i = 0; i < 77 * widths[1]; i++)
        context[i] = (float)sin(1.3 * i + 0.5);
}

static float *attend(const changed *c, const int widths[2], int64_t *count)
{
    graph *g = graph_new();
    assert_non_null(g);
    value x = graph_input(g, "x", SHAPE3(1, 16, widths[0]), DTYPE_F32),
          context = graph_input(g, "context", SHAPE3(1, 77, widths[1]), DTYPE_F32);
    at a = same(graph_root(g), "down_blocks.0.attentions.0.transformer_blocks.0.attn2");
    graph_output(g, "y", nn_attention(a, x, context, 8, false, &nn_attention_diffusers));
    float *y =
        run_once(g, (parameter_source){.read = read_changed, .self = (void *)c}, fill_layer, widths, count);
    graph_free(g);
    return y;
}

static void use_lora(const char *folder, const char *file, int *used, int *refused)
{
    char path[1024];
    lora *l = NULL;
    kiln_error err = {0};
    (void)refused;
    snprintf(path, sizeof path, "%s%s", folder, file);
    if (lora_open(path, &l, &err) != KILN_OK)
        fail_msg("%s", err.text);
    bool second = strstr(file, "_sd2_") != NULL;
    graph *whole = graph_new();
    assert_non_null(whole);
    unet_draw(whole, second ? &unet_sd21 : &unet_sd15,
              &(unet_shape){.batch = 1, .height = 8, .width = 8, .context_tokens = 77});
    lora_binding *binding = NULL;
    if (lora_bind(l, LORA_UNET, whole, &binding, &err) != KILN_OK)
        fail_msg("%s", err.text);
    const int widths[2] = {320, second ? 1024 : 768};
    int64_t count = 0;
    changed c = {whole, {.binding = binding, .strength = 0}};
    float *plain = attend(&c, widths, &count), *nothing = attend(&c, widths, &count);
    assert_true(change(plain, nothing, count) == 0);
    plain = attend(&c, widths, &count);
    c.layer.strength = 1;
    double effect = change(plain, attend(&c, widths, &count), count);
    print_message("%s: an attention layer's answer changes by %.4f\n", file, effect);
    assert_true(effect > 1e-4 && effect < 10);
    lora_binding_free(binding);
    graph_free(whole);
    lora_close(l);
    ++*used;
}

static void loras_change_what_attends(void **state)
{
    (void)state;
    if (is_absent())
        skip();
    int refused = 0;
    assert_true(in_folder(REAL "lora/", use_lora, &refused) >= 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(embeddings_change_what_is_read),
        cmocka_unit_test(loras_change_what_attends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
