/* floors: base tensor formats graph ops backend plan nn model text weights diffusion image pipeline train */
/* test_train_words.c - a word is learnt: the base stays, a file that prompts find comes out, a run goes on in the same bytes;
 * the gradient is that of torch. */
#include "training_case.h"

#include "formats/embedding.h"
#include "formats/hash.h"
#include "image/embedding_picture.h"
#include "model/clip_text.h"
#include "model/unet.h"
#include "ops/gradient.h"
#include "ops/ops.h"
#include "train/objective.h"
#include "train/teach.h"
#include "train/word_captions.h"

#include "reference_tensors.h"

#include <math.h>

#define GOLDEN TEST_SHARED "/golden/"
#define WORDS                                                                                                \
    "method=textual_inversion", "base=" TINY_MODEL, "resolution=16", "train_batch_size=2",                   \
        "validate_every_n_epochs=0", "save_every_n_steps=0", "plot_every_n_steps=0", "learning_rate=5e-3",   \
        "output_name=zogg", "placeholder_token=<zogg>", "initializer_token=disc", "num_vectors=2"

static double train(kiln_training_recipe *r, const char *resume)
{
    kiln_training *t = NULL;
    const kiln_training_options o = {.resume = resume};
    train_ok(kiln_training_open(r, &o, &t, err));
    train_ok(kiln_training_run(t, err));
    int64_t trained, all;
    kiln_training_size(t, &trained, &all);
    kiln_training_close(t);
    kiln_training_recipe_free(r);
    return (double)trained;
}

static embedding_list words_of(const training_case *c, const char *name, const char *file)
{
    embedding_list list = {0};
    char path[2 * CASE_PATH];
    snprintf(path, sizeof path, "%s/%s/%s", c->folder, name, file);
    train_ok(embedding_open(path, &list, err));
    return list;
}

static void base_hash(char digits[3][65])
{
    static const char *const files[] = {"unet/diffusion_pytorch_model.safetensors",
                                        "vae/diffusion_pytorch_model.safetensors",
                                        "text_encoder/model.safetensors"};
    for (int i = 0; i < 3; i++) {
        char path[CASE_PATH];
        file_hashes h;
        snprintf(path, sizeof path, TINY_MODEL "/%s", files[i]);
        train_ok(hash_file_some(path, HASH_SHA256, &h, NULL, NULL, err));
        memcpy(digits[i], h.sha256, 65);
    }
}

static void learns_and_leaves_the_base(void **state)
{
    (void)state;
    char before[3][65], after[3][65];
    base_hash(before);
    training_case c = case_begin(2, 16);
    double trained = train(case_recipe(&c, "run", WORDS, "max_train_steps=5", NULL), NULL);
    base_hash(after);
    assert_memory_equal(before, after, sizeof before);
    embedding_list list = words_of(&c, "run", "zogg.safetensors");
    const embedding *e = list.items;
    assert_int_equal(e->vectors, 2);
    assert_true(trained == 2.0 * e->width[0]);
    /* A run whose steps are nothing gives what it began with (there is no weight decay); five steps of AdamW move a number by
     * 5 x 5e-3 at most. */
    train(
        case_recipe(&c, "still", WORDS, "max_train_steps=1", "learning_rate=1e-30", "save_model_as=pt", NULL),
        NULL);
    embedding_list still = words_of(&c, "still", "zogg.pt");
    assert_string_equal(still.items->dialect, "A1111");
    assert_int_equal(still.items->step, 1);
    double moved = 0;
    for (int i = 0; i < 2 * e->width[0]; i++)
        moved = fmax(moved, fabs((double)e->values[0][i] - (double)still.items->values[0][i]));
    print_message("moved by %g\n", moved);
    assert_true(moved > 1e-3 && moved < 0.0251);
    embedding_list_fini(&list);
    embedding_list_fini(&still);
    case_end(&c);
}

static bool stop_at_3(void *user, const kiln_training_event *e)
{
    (void)user;
    return e->kind != KILN_TRAINING_STEP || e->step != 3;
}

static void goes_on_in_the_same_bytes(void **state)
{
    (void)state;
    training_case c = case_begin(3, 16);
    train(case_recipe(&c, "whole", WORDS, "max_train_steps=6", "learnable_property=style", NULL), NULL);
    kiln_training *t = NULL;
    kiln_training_recipe *r =
        case_recipe(&c, "parts", WORDS, "max_train_steps=6", "learnable_property=style", NULL);
    const kiln_training_options o = {.progress = stop_at_3};
    train_ok(kiln_training_open(r, &o, &t, err));
    train_fails(kiln_training_run(t, err), KILN_CANCELLED, "");
    kiln_training_close(t);
    train(r, "latest");
    embedding_list a = words_of(&c, "whole", "zogg.safetensors"),
                   b = words_of(&c, "parts", "zogg.safetensors");
    assert_memory_equal(a.items->values[0], b.items->values[0],
                        (size_t)(2 * a.items->width[0]) * sizeof(float));
    embedding_list_fini(&a);
    /* On from a file, with captions. */
    char from[2 * CASE_PATH];
    snprintf(from, sizeof from, "network_weights=%s/parts/zogg.safetensors", c.folder);
    train(case_recipe(&c, "on", WORDS, "max_train_steps=1", "learning_rate=1e-30",
                      "learnable_property=caption", from, NULL),
          NULL);
    a = words_of(&c, "on", "zogg.safetensors");
    assert_memory_equal(a.items->values[0], b.items->values[0],
                        (size_t)(2 * a.items->width[0]) * sizeof(float));
    embedding_list_fini(&a);
    embedding_list_fini(&b);
    case_end(&c);
}

static void what_is_wrong_is_said(void **state)
{
    (void)state;
    training_case c = case_begin(1, 16);
    kiln_training *t = NULL;
    kiln_training_recipe *r = case_recipe(&c, "run", WORDS, "max_train_steps=1", "placeholder_token=", NULL);
    train_fails(kiln_training_open(r, NULL, &t, err), KILN_BAD_ARGUMENT, "placeholder_token");
    kiln_training_recipe_free(r);
    r = case_recipe(&c, "run", WORDS, "max_train_steps=1", "placeholder_token=(zogg)", NULL);
    train_fails(kiln_training_open(r, NULL, &t, err), KILN_BAD_ARGUMENT, "(zogg)");
    kiln_training_recipe_free(r);
    assert_null(t);
    case_end(&c);
}

static void captions(void **state)
{
    (void)state;
    recipe r = {.words = {.placeholder_token = "zogg", .learnable_property = "object"}};
    char *a = word_caption(&r, "a cat", 1), *b = word_caption(&r, "a cat", (uint64_t)1 << 62);
    assert_non_null(strstr(a, "zogg"));
    assert_null(strstr(a, "cat"));
    assert_string_not_equal(a, b);
    free(a);
    free(b);
    static const char *const own[][2] = {{"a Zogg", "a Zogg"}, {"a cat", "zogg, a cat"}, {"", ""}};
    r.words.learnable_property = "caption";
    for (int i = 0; i < 3; i++) {
        a = word_caption(&r, own[i][0], 5);
        assert_string_equal(a, own[i][1]);
        free(a);
    }
}

/* ------------------------------------------------------------------------------------ the reference */

enum { PLACEHOLDER = 700, WIDTH = 32 };

typedef struct files {
    tensor_file *unet, *text;
} files;

static const char token_table[] = "text_model.embeddings.token_embedding.weight";

static kiln_status read_any(void *self, const parameter *p, int index, float *to, kiln_error *err)
{
    (void)index;
    const files *f = self;
    bool taught = strncmp(p->canonical, "textual_inversion.", 18) == 0;
    bool text = taught || strncmp(p->canonical, "text_model.", 11) == 0;
    const tensor_file *file = text ? f->text : f->unet;
    const tensor_entry *e = tensor_file_find(file, taught ? token_table : p->canonical);
    assert_non_null(e);
    return tensor_file_read_f32(file, e, taught ? PLACEHOLDER * WIDTH : 0, shape_count(p->shape), to, err);
}

static char *slurp(const char *path, size_t *length)
{
    static char text[1 << 15];
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    *length = fread(text, 1, sizeof text, f);
    fclose(f);
    return text;
}

static graph *draw_reference(const graph_hooks *hooks)
{
    unet_config unet;
    clip_text_config text;
    size_t length;
    const char *json = slurp(GOLDEN "models/sd1-tiny/unet/config.json", &length);
    train_ok(unet_config_parse(json, length, "config.json", &unet, err));
    json = slurp(GOLDEN "models/sd1-tiny/text_encoder/config.json", &length);
    train_ok(clip_text_config_parse(json, length, "config.json", &text, err));
    graph *g = graph_new();
    assert_non_null(g);
    g->hooks = hooks;
    clip_text_draw(
        g, &text, &(clip_text_shape){.batch = 2, .tokens = 77, .outputs = CLIP_LAST_HIDDEN_STATE, .skip = 1});
    value context = graph_take_output(g, "last_hidden_state"), gradient;
    unet_draw(g, &unet, &(unet_shape){.batch = 2, .height = 16, .width = 16, .context_tokens = 77});
    graph_join(g, "encoder_hidden_states", context);
    value out = graph_take_output(g, "out"),
          target = graph_input(g, "target", value_shape(graph_root(g), out), DTYPE_F32);
    value loss = op_mean_squared_error(graph_root(g), out, target, NO_VALUE);
    graph_output(g, "loss", loss);
    int index = graph_find_parameter(g, "textual_inversion.text_encoder");
    assert_true(index >= 0);
    train_ok(graph_gradient(g, loss, &g->parameters[index].value, 1, &gradient, err));
    graph_output(g, "gradient", gradient);
    train_ok(graph_finish(g, err));
    return g;
}

static void fill(run *r, const char *input, const tensor_file *file, const char *tensor)
{
    shape s;
    float *values = reference_floats(file, tensor, &s);
    if (s.rank == 4)
        reference_channels_last(&values, s);
    assert_non_null(run_input(r, input));
    memcpy(run_input(r, input), values, (size_t)shape_count(s) * sizeof *values);
    free(values);
}

static void the_gradient_is_that_of_torch(void **state)
{
    (void)state;
    if (access(GOLDEN, R_OK) != 0) {
        print_message("the reference is not here\n");
        skip();
    }
    files f;
    tensor_file *inputs, *golden;
    train_ok(tensor_file_open(GOLDEN "models/sd1-tiny/unet", &f.unet, err));
    train_ok(tensor_file_open(GOLDEN "models/sd1-tiny/text_encoder", &f.text, err));
    train_ok(tensor_file_open(GOLDEN "grads/unet.safetensors", &inputs, err));
    train_ok(tensor_file_open(GOLDEN "grads/tuning.safetensors", &golden, err));
    kiln_model *m = NULL;
    train_ok(kiln_model_open(GOLDEN "models/sd1-tiny", NULL, &m, err));
    recipe r = {.method = "textual_inversion", .network_weights = "", .save_model_as = "safetensors"};
    r.words = (recipe_words){.placeholder_token = "zogg", .initializer_token = "*", .num_vectors = 1};
    teach *t = NULL;
    train_ok(teach_open(&r, m, &t, err));
    graph *g = draw_reference(teach_hooks(t, &(teach_graph){.whole = true, .training = true}));
    packed_store *store = packed_store_new((parameter_source){.read = read_any, .self = &f});
    const plan_options options = {.backend = &backend_cpu, .compute = DTYPE_F32, .threads = 2, .fuse = true};
    plan *p = NULL;
    run *pass = NULL;
    train_ok(plan_compile(g, &options, store, &p, err));
    train_ok(run_new(p, &pass, err));
    fill(pass, "sample", inputs, "xt");
    fill(pass, "timestep", inputs, "t");
    fill(pass, "target", inputs, "noise");
    shape s;
    float *ids = reference_floats(golden, "ti.ids", &s);
    int32_t *to = run_input(pass, "ids"), *words = run_input(pass, TEACH_WORD_IDS);
    for (int i = 0; i < 2 * 77; i++) {
        bool taught = ids[i] == PLACEHOLDER;
        to[i] = taught ? NO_TOKEN : (int32_t)ids[i];
        words[i] = taught ? 0 : NO_TOKEN;
    }
    free(ids);
    train_ok(plan_run(p, pass, NULL, NULL, NULL, err));
    float *want = reference_floats(golden, "ti.grad_row", &s);
    double error = reference_error(run_output(pass, "gradient"), want, WIDTH);
    double loss = (double)*(const float *)run_output(pass, "loss");
    print_message("loss %.7f, gradient off by %g\n", loss, error);
    assert_true(fabs(loss - 1.2007910013198853) < 5e-6);
    assert_true(error < 2e-5);
    free(want);
    run_free(pass);
    plan_free(p);
    packed_store_free(store);
    graph_free(g);
    teach_close(t);
    assert_int_equal(kiln_model_close(m), KILN_OK);
    tensor_file_close(f.unet);
    tensor_file_close(f.text);
    tensor_file_close(inputs);
    tensor_file_close(golden);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(captions),
        cmocka_unit_test(the_gradient_is_that_of_torch),
        cmocka_unit_test(learns_and_leaves_the_base),
        cmocka_unit_test(goes_on_in_the_same_bytes),
        cmocka_unit_test(what_is_wrong_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
