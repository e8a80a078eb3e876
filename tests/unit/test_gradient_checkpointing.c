/* floors: base tensor formats graph ops backend plan nn model text weights diffusion image pipeline train */
/* test_gradient_checkpointing.c - computing again what lies within segments changes no bit of a loss or a gradient, takes
 * less memory, and does so from recipes; and what is frozen costs neither memory nor operations. */
#include "training_case.h"

#include "ops/gradient.h"
#include "plan/plan.h"
#include "train/objective.h"

#include <math.h>

enum { SIDE = 32, BATCH = 2 };

static const unet_config small_unet = {.in_channels = 4,
                                       .out_channels = 4,
                                       .sample_size = SIDE / 2,
                                       .levels = 2,
                                       .channels = {16, 32},
                                       .layers = {1, 2},
                                       .depth = {{1}, {2, 2}},
                                       .up_depth = {{1, 0}, {2, 2, 2}},
                                       .heads = {2, 4},
                                       .middle_depth = 1,
                                       .context_channels = 16,
                                       .groups = 4,
                                       .norm_epsilon = 1e-5f,
                                       .conv_in_kernel = 3,
                                       .conv_out_kernel = 3,
                                       .downsample_padding = 1,
                                       .time_channels = 64,
                                       .cosine_first = true};
static const clip_text_config small_text = {.vocabulary = 50,
                                            .positions = 77,
                                            .width = 16,
                                            .feed_forward = 64,
                                            .layers = 3,
                                            .heads = 2,
                                            .quick_gelu = true,
                                            .norm_epsilon = 1e-5f,
                                            .eos_token = 49};
static const vae_config small_vae = {.in_channels = 3,
                                     .out_channels = 3,
                                     .latent_channels = 4,
                                     .sample_size = SIDE,
                                     .levels = 2,
                                     .channels = {16, 32},
                                     .layers = 2,
                                     .groups = 4,
                                     .quant_convolution = true,
                                     .post_quant_convolution = true,
                                     .middle_attention = true,
                                     .scaling_factor = 0.18215f};

/* One step's graph, planned and run. */
typedef struct pass {
    graph *graph;
    packed_store *store;
    plan *plan;
    run *run;
    float *values;
    int forward; /* nodes of the forward pass */
    int wanted;  /* gradients, of the parameters whose names do not begin with `frozen` */
    int segments;
} pass;

typedef struct pass_kind {
    bool vae, latent, checkpointing;
    dtype compute;
    const char *frozen; /* beginning of the names of what is not trained; "": nothing */
} pass_kind;

static void draw_loss(pass *p, const pass_kind *k)
{
    model_parts parts = {.family = FAMILY_SD1, .unet = small_unet, .vae = small_vae, .text = small_text};
    kiln_model model = {.parts = &parts};
    recipe standard = {.clip_skip = 0};
    train_ok(recipe_init(&standard, err));
    if (!k->latent)
        parts.unet.in_channels = parts.unet.out_channels = 3;
    const objective o = {.kind = k->vae ? &objective_vae : &objective_denoise,
                         .recipe = &standard,
                         .model = &model,
                         .networks =
                             k->latent ? 1u << NETWORK_UNET | 1u << NETWORK_TEXT_1 : 1u << NETWORK_UNET,
                         .latent = k->latent,
                         .worded = k->latent};
    p->graph = graph_new();
    assert_non_null(p->graph);
    value loss = o.kind->draw(&o, p->graph, &(objective_shape){BATCH, SIDE, SIDE});
    train_ok(graph_finish(p->graph, err));
    recipe_fini(&standard);
    p->forward = p->graph->node_count;
    p->graph->output_count = 0;
    graph_output(p->graph, "loss", loss);
}

static void draw_gradients(pass *p, const pass_kind *k)
{
    graph *g = p->graph;
    value loss = g->outputs[0].value;
    value *wanted = calloc((size_t)g->parameter_count, sizeof *wanted),
          *gradients = calloc((size_t)g->parameter_count, sizeof *gradients);
    assert_true(wanted && gradients);
    for (int i = 0; i < g->parameter_count; i++)
        if (!k->frozen[0] || strncmp(g->parameters[i].canonical, k->frozen, strlen(k->frozen)) != 0)
            wanted[p->wanted++] = g->parameters[i].value;
    if (k->checkpointing)
        train_ok(graph_gradient_by_segment(g, loss, wanted, p->wanted, gradients, &p->segments, err));
    else
        train_ok(graph_gradient(g, loss, wanted, p->wanted, gradients, err));
    for (int i = 0; i < p->wanted; i++) {
        char name[32];
        snprintf(name, sizeof name, "gradient.%d", i);
        graph_output(g, name, gradients[i]);
    }
    free(wanted);
    free(gradients);
}

static float number(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (float)(*state >> 8) / 8388608.0f - 1;
}

static void fill(pass *p)
{
    graph *g = p->graph;
    uint32_t state = 7;
    float *to = p->values = malloc((size_t)graph_parameter_elements(g) * sizeof *to);
    assert_non_null(to);
    for (int i = 0; i < g->parameter_count; i++) {
        const parameter *q = &g->parameters[i];
        int64_t n = shape_count(q->shape);
        float middle = q->role == ROLE_NORM && strstr(q->canonical, "weight") ? 1 : 0,
              spread = q->role == ROLE_WEIGHT ? 1 / sqrtf((float)n / (float)q->shape.dim[0]) : 0.1f;
        run_parameter(p->run, i, to);
        for (int64_t j = 0; j < n; j++)
            *to++ = middle + spread * number(&state);
    }
    for (int i = 0; i < g->input_count; i++) {
        const node *n = graph_node(g, g->inputs[i].value);
        void *at_input = run_input(p->run, g->inputs[i].name);
        bool time = strcmp(g->inputs[i].name, "timestep") == 0;
        for (int64_t j = 0; j < shape_count(n->shape); j++)
            if (n->type == DTYPE_I32)
                ((int32_t *)at_input)[j] = (int32_t)(j * 7 % 50);
            else
                ((float *)at_input)[j] = time ? 300 : number(&state);
    }
}

static kiln_status no_source(void *self, const parameter *wanted, int index, float *to, kiln_error *err)
{
    (void)self;
    (void)index;
    (void)wanted;
    (void)to;
    (void)err;
    return KILN_INTERNAL; /* every parameter is live */
}

static pass make_pass(const pass_kind *k)
{
    pass p = {.graph = NULL};
    draw_loss(&p, k);
    draw_gradients(&p, k);
    bool *live = malloc((size_t)p.graph->parameter_count * sizeof *live);
    assert_non_null(live);
    memset(live, true, (size_t)p.graph->parameter_count);
    p.store = packed_store_new((parameter_source){.read = no_source});
    const plan_options o = {
        .backend = &backend_cpu, .compute = k->compute, .threads = 1, .fuse_norms = true, .live = live};
    train_ok(plan_compile(p.graph, &o, p.store, &p.plan, err));
    train_ok(run_new(p.plan, &p.run, err));
    free(live);
    fill(&p);
    train_ok(plan_run(p.plan, p.run, NULL, NULL, NULL, err));
    return p;
}

static void pass_fini(pass *p)
{
    run_free(p->run);
    plan_free(p->plan);
    packed_store_free(p->store);
    graph_free(p->graph);
    free(p->values);
}

/* ------------------------------------------------------------------------------------ the same numbers */

static void assert_same(const pass *a, const pass *b, const char *what)
{
    assert_int_equal(a->wanted, b->wanted);
    assert_int_equal(a->graph->output_count, b->graph->output_count);
    for (int i = 0; i < a->graph->output_count; i++) {
        const named_value *output = &a->graph->outputs[i];
        size_t bytes = (size_t)shape_count(graph_node(a->graph, output->value)->shape) * sizeof(float);
        const float *x = run_output(a->run, output->name), *y = run_output(b->run, output->name);
        assert_true(isfinite(x[0]));
        if (memcmp(x, y, bytes) != 0)
            fail_msg("%s: %s differs", what, output->name);
    }
}

static void compare(pass_kind k, const char *what)
{
    static const dtype precisions[] = {DTYPE_F32, DTYPE_BF16};
    for (int i = 0; i < 2; i++) {
        k.compute = precisions[i];
        k.checkpointing = false;
        pass plain = make_pass(&k);
        k.checkpointing = true;
        pass again = make_pass(&k);
        size_t before = plan_passing_bytes(plain.plan), after = plan_passing_bytes(again.plan);
        double more = plan_flops(again.plan) / plan_flops(plain.plan) - 1;
        print_message("%s in %s: %d segments, %+.0f%% operations, activations %.2f MB instead of %.2f MB\n",
                      what, dtype_name(k.compute), again.segments, 100 * more, (double)after / 1e6,
                      (double)before / 1e6);
        assert_same(&plain, &again, what);
        assert_true(again.segments > 4);
        assert_int_equal(plain.segments, 0);
        assert_true((double)after < 0.75 * (double)before);
        assert_true(plan_arena_bytes(again.plan) < plan_arena_bytes(plain.plan));
        assert_true(more > 0 && more < 0.34);
        pass_fini(&plain);
        pass_fini(&again);
    }
}

static void gradients_are_the_same_bytes(void **state)
{
    (void)state;
    compare((pass_kind){.latent = true, .frozen = ""}, "text_to_image");
    compare((pass_kind){.frozen = ""}, "pixel");
    compare((pass_kind){.vae = true, .frozen = ""}, "vae");
}

/* ------------------------------------------------------------------------------------ what is frozen */

static int reverse_nodes_at(const pass *p, const char *place)
{
    int count = 0;
    for (int i = p->forward; i < p->graph->node_count; i++)
        count += strncmp(p->graph->nodes[i].path, place, strlen(place)) == 0;
    return count;
}

static void frozen_parameters_cost_no_memory(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        pass_kind k = {.latent = true, .compute = DTYPE_F32, .checkpointing = i == 1, .frozen = ""};
        pass trained = make_pass(&k);
        k.frozen = "text_model.";
        pass frozen = make_pass(&k);
        print_message("text encoder trained: %d nodes, %.2f MB with gradients; frozen: %d nodes, %.2f MB\n",
                      trained.graph->node_count, (double)plan_arena_bytes(trained.plan) / 1e6,
                      frozen.graph->node_count, (double)plan_arena_bytes(frozen.plan) / 1e6);
        assert_true(reverse_nodes_at(&trained, "text_model.") > 0);
        assert_int_equal(reverse_nodes_at(&frozen, "text_model."), 0);
        assert_true(frozen.wanted < trained.wanted);
        /* At least what the gradients of the frozen part would have taken. */
        size_t text = 0;
        for (int n = 0; n < trained.graph->parameter_count; n++)
            if (strncmp(trained.graph->parameters[n].canonical, "text_model.", 11) == 0)
                text += (size_t)shape_count(trained.graph->parameters[n].shape) * sizeof(float);
        assert_true(plan_arena_bytes(frozen.plan) + text <= plan_arena_bytes(trained.plan));
        assert_true(plan_flops(frozen.plan) < plan_flops(trained.plan));
        if (k.checkpointing)
            assert_true(frozen.segments < trained.segments);
        pass_fini(&trained);
        pass_fini(&frozen);
    }
}

/* ------------------------------------------------------------------------------------ from recipes */

typedef struct heard {
    int informed;
    char text[512];
} heard;

static bool listen(void *user, const kiln_training_event *e)
{
    heard *h = user;
    if (e->kind == KILN_TRAINING_INFORMATION) {
        h->informed++;
        snprintf(h->text, sizeof h->text, "%s", e->text);
    }
    return true;
}

static void train(kiln_training_recipe *r, heard *h)
{
    kiln_training_options o = kiln_training_defaults();
    kiln_training *t = NULL;
    *h = (heard){.informed = 0};
    o.progress = listen;
    o.user = h;
    train_ok(kiln_training_open(r, &o, &t, err));
    train_ok(kiln_training_run(t, err));
    kiln_training_close(t);
    kiln_training_recipe_free(r);
}

static char *file_of(const training_case *c, const char *folder, const char *file, size_t *size)
{
    char path[2 * CASE_PATH];
    snprintf(path, sizeof path, "%s/%s/checkpoints/latest/%s", c->folder, folder, file);
    FILE *f = fopen(path, "rb");
    if (!f)
        fail_msg("%s is missing", path);
    fseek(f, 0, SEEK_END);
    *size = (size_t)ftell(f);
    rewind(f);
    char *bytes = malloc(*size + 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *size, f), *size);
    fclose(f);
    return bytes;
}

static void assert_same_file(const training_case *c, const char *file)
{
    size_t size[2];
    char *bytes[2] = {file_of(c, "plain", file, &size[0]), file_of(c, "again", file, &size[1])};
    if (size[0] != size[1] || memcmp(bytes[0], bytes[1], size[0]) != 0)
        fail_msg("%s differs", file);
    free(bytes[0]);
    free(bytes[1]);
}

#define TINY_VAE                                                                                             \
    "method=vae", "resolution=16", "vae.block_out_channels=16, 16", "vae.layers_per_block=1",                \
        "vae.norm_num_groups=4", "train_batch_size=4", "validate_every_n_epochs=0", "save_every_n_steps=0",  \
        "plot_every_n_steps=0"
#define FEW "max_train_steps=4", "ema_decay=0.9", "optimizer=AdamW8bit"

static void recipes_end_in_the_same_bytes(void **state)
{
    (void)state;
    heard h;
    training_case c = case_begin(8, 16);
    train(case_recipe(&c, "plain", TINY_TEXT_TO_IMAGE, FEW, NULL), &h);
    assert_int_equal(h.informed, 0);
    train(case_recipe(&c, "again", TINY_TEXT_TO_IMAGE, FEW, "gradient_checkpointing=true", NULL), &h);
    print_message("%s\n", h.text);
    assert_int_equal(h.informed, 1);
    assert_non_null(strstr(h.text, "gradient checkpointing: "));
    assert_same_file(&c, "unet/diffusion_pytorch_model.safetensors");
    assert_same_file(&c, "text_encoder/model.safetensors");
    assert_same_file(&c, "training_state/state.safetensors");
    case_end(&c);
    c = case_begin(8, 16);
    train(case_recipe(&c, "plain", TINY_VAE, FEW, NULL), &h);
    train(case_recipe(&c, "again", TINY_VAE, FEW, "gradient_checkpointing=true", NULL), &h);
    assert_same_file(&c, "vae/diffusion_pytorch_model.safetensors");
    assert_same_file(&c, "training_state/state.safetensors");
    case_end(&c);
    c = case_begin(8, 8);
    train(case_recipe(&c, "plain", TINY_PIXEL, FEW, "gradient_accumulation_steps=2", NULL), &h);
    train(case_recipe(&c, "again", TINY_PIXEL, FEW, "gradient_accumulation_steps=2",
                      "gradient_checkpointing=true", NULL),
          &h);
    assert_same_file(&c, "unet/diffusion_pytorch_model.safetensors");
    assert_same_file(&c, "training_state/state.safetensors");
    case_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_are_the_same_bytes),
        cmocka_unit_test(frozen_parameters_cost_no_memory),
        cmocka_unit_test(recipes_end_in_the_same_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
