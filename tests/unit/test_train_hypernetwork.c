/* floors: base tensor formats graph ops backend plan nn model text weights diffusion image pipeline train */
/* test_train_hypernetwork.c - what is taught beside the weights: trained, saved small, gone on with in the same bytes, and the
 * base stays as it is. */
#include "training_heard.h"

#include "formats/hash.h"
#include "weights/hypernetwork_file.h"

#include <math.h>

#define HYPER                                                                                                \
    "method=hypernetwork", "base=" TINY_MODEL, "resolution=16", "train_batch_size=2",                        \
        "validate_every_n_epochs=0", "save_every_n_steps=0", "plot_every_n_steps=0", "learning_rate=1e-2",   \
        "output_name=ink"
#define DROPPING                                                                                             \
    HYPER, "layer_structure=1, 2, 2, 1", "activation_func=mish", "is_layer_norm=true",                       \
        "dropout_structure=0, 0.3, 0.5, 0", "ema_decay=0.9"

static void hash_of(const training_case *c, const char *run, const char *file, char digits[65])
{
    char path[2 * CASE_PATH];
    file_hashes h;
    snprintf(path, sizeof path, "%s/%s/%s", c->folder, run, file);
    train_ok(hash_file_some(path, HASH_SHA256, &h, NULL, NULL, err));
    memcpy(digits, h.sha256, 65);
}

static void same_file(const training_case *c, const char *run_a, const char *run_b, const char *file)
{
    char a[65], b[65];
    hash_of(c, run_a, file, a);
    hash_of(c, run_b, file, b);
    if (strcmp(a, b) != 0)
        fail_msg("%s differs between %s and %s", file, run_a, run_b);
}

static void base_hash(char digits[4][65])
{
    static const char *const files[] = {"unet/diffusion_pytorch_model.safetensors",
                                        "vae/diffusion_pytorch_model.safetensors",
                                        "text_encoder/model.safetensors", "model_index.json"};
    for (int i = 0; i < 4; i++) {
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
    char before[4][65], after[4][65], path[2 * CASE_PATH];
    base_hash(before);
    training_case c = case_begin(2, 16);
    heard h = train(case_recipe(&c, "run", HYPER, "max_train_steps=30", "activation_func=relu",
                                "weight_initialization=KaimingNormal", "learning_rate=3e-3", NULL),
                    NULL, 0);
    assert_int_equal(h.steps, 30);
    base_hash(after);
    assert_memory_equal(before, after, sizeof before);
    hypernetwork_file *f = NULL;
    snprintf(path, sizeof path, "%s/run/ink.safetensors", c.folder);
    train_ok(hypernetwork_file_open(path, &f, err));
    assert_string_equal(f->words.name, "ink");
    assert_int_equal(f->words.step, 30);
    assert_string_equal(hypernetwork_activation_name(f->config.activation), "relu");
    static const char *const keys[] = {"kiln.base_hash", "kiln.data_hash", "kiln.recipe", "kiln.loss"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (!tensor_file_metadata(f->file, keys[i]))
            fail_msg("the file does not tell its %s", keys[i]);
    assert_non_null(strstr(tensor_file_metadata(f->file, "kiln.recipe"), "method = hypernetwork"));
    assert_non_null(strstr(tensor_file_metadata(f->file, "kiln.loss"), "\n30,"));
    hypernetwork_file_close(f);
    snprintf(path, sizeof path, "%s/run/checkpoints/latest/unet", c.folder);
    assert_int_not_equal(access(path, F_OK), 0); /* the model is not copied */
    case_end(&c);
}

static void goes_on_in_the_same_bytes(void **state)
{
    (void)state;
    static const int stops[] = {1, 3, 5};
    training_case c = case_begin(3, 16);
    train(case_recipe(&c, "whole", DROPPING, "max_train_steps=6", NULL), NULL, 0);
    for (int i = 0; i < 3; i++) {
        char run[24];
        snprintf(run, sizeof run, "parts-%d", i);
        train(case_recipe(&c, run, DROPPING, "max_train_steps=6", NULL), NULL, stops[i]);
        train(case_recipe(&c, run, DROPPING, "max_train_steps=6", NULL), "latest", 0);
        hypernetwork_file *f[2];
        for (int k = 0; k < 2; k++) {
            char path[2 * CASE_PATH];
            snprintf(path, sizeof path, "%s/%s/ink.safetensors", c.folder, k ? run : "whole");
            train_ok(hypernetwork_file_open(path, &f[k], err));
        }
        assert_int_equal(f[0]->count, f[1]->count);
        assert_memory_equal(f[0]->values, f[1]->values, (size_t)f[0]->count * sizeof(float));
        assert_string_equal(tensor_file_metadata(f[0]->file, "kiln.loss"),
                            tensor_file_metadata(f[1]->file, "kiln.loss"));
        hypernetwork_file_close(f[0]);
        hypernetwork_file_close(f[1]);
        same_file(&c, "whole", run, "checkpoints/latest/training_state/state.safetensors");
    }
    case_end(&c);
}

/* Dropout drops in training only, and something other in each step. */
static void dropout_works(void **state)
{
    (void)state;
    training_case c = case_begin(2, 16);
    heard with = train(case_recipe(&c, "with", DROPPING, "max_train_steps=3", NULL), NULL, 0);
    heard without =
        train(case_recipe(&c, "without", DROPPING, "dropout_structure=0, 0, 0, 0", "max_train_steps=3", NULL),
              NULL, 0);
    assert_true(with.last != without.last);
    case_end(&c);
}

static void checkpointing_changes_nothing(void **state)
{
    (void)state;
    training_case c = case_begin(2, 16);
    heard plain = train(case_recipe(&c, "plain", DROPPING, "max_train_steps=4", NULL), NULL, 0);
    heard again =
        train(case_recipe(&c, "again", DROPPING, "max_train_steps=4", "gradient_checkpointing=true", NULL),
              NULL, 0);
    assert_true(fabs(plain.last - again.last) <= 1e-6 * fabs(plain.last));
    case_end(&c);
}

static void learns_on(void **state)
{
    (void)state;
    training_case c = case_begin(2, 16);
    char weights[2 * CASE_PATH];
    train(case_recipe(&c, "first", HYPER, "max_train_steps=5", "save_model_as=pt", NULL), NULL, 0);
    snprintf(weights, sizeof weights, "network_weights=%s/first/ink.pt", c.folder);
    train(case_recipe(&c, "second", HYPER, "max_train_steps=2", "learning_rate=0", weights, NULL), NULL, 0);
    hypernetwork_file *f[2];
    for (int k = 0; k < 2; k++) {
        char path[2 * CASE_PATH];
        snprintf(path, sizeof path, "%s/%s", c.folder, k ? "second/ink.safetensors" : "first/ink.pt");
        train_ok(hypernetwork_file_open(path, &f[k], err));
    }
    assert_int_equal(f[0]->count, f[1]->count);
    assert_memory_equal(f[0]->values, f[1]->values, (size_t)f[0]->count * sizeof(float));
    hypernetwork_file_close(f[0]);
    hypernetwork_file_close(f[1]);
    case_end(&c);
}

static void refuse(const training_case *c, kiln_status status, const char *word, const char *pair)
{
    kiln_training *t = NULL;
    kiln_training_recipe *r = case_recipe(c, "refused", HYPER, pair, NULL);
    train_fails(kiln_training_open(r, NULL, &t, err), status, word);
    assert_null(t);
    kiln_training_recipe_free(r);
}

static void says_what_is_wrong(void **state)
{
    (void)state;
    training_case c = case_begin(2, 16);
    refuse(&c, KILN_BAD_FORMAT, "begins and ends with 1", "layer_structure=2, 1");
    refuse(&c, KILN_BAD_ARGUMENT, "layer_structure is a list", "layer_structure=1, x");
    refuse(&c, KILN_UNSUPPORTED, "it halves the width", "activation_func=glu");
    refuse(&c, KILN_UNSUPPORTED, "is no activation", "activation_func=reluu");
    refuse(&c, KILN_BAD_ARGUMENT, "as many numbers as layer_structure", "dropout_structure=0, 0.5");
    refuse(&c, KILN_MISMATCH, "the width 768, but the attention layers of this model see", "modules=768");
    refuse(&c, KILN_BAD_ARGUMENT, "base is missing", "base=");
    refuse(&c, KILN_NOT_FOUND, "nowhere.pt", "network_weights=nowhere.pt");
    case_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(learns_and_leaves_the_base),
        cmocka_unit_test(goes_on_in_the_same_bytes),
        cmocka_unit_test(dropout_works),
        cmocka_unit_test(checkpointing_changes_nothing),
        cmocka_unit_test(learns_on),
        cmocka_unit_test(says_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
