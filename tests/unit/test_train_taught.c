/* floors: base tensor formats graph ops backend plan nn model text weights diffusion image pipeline train */
/* test_train_taught.c - what holds for every method that teaches: a run keeps the form it began with; prior preservation goes
 * with each; SDXL is taught and draws with it; a broken picture is named and nothing is lost. */
#include "training_heard.h"

#include "formats/embedding.h"
#include "formats/hash.h"
#include "kiln/kiln.h"
#include "weights/hypernetwork_file.h"
#include "weights/lora.h"

#include <math.h>

#define SMALL                                                                                                \
    "resolution=32", "train_batch_size=2", "validate_every_n_epochs=0", "save_every_n_steps=0",              \
        "plot_every_n_steps=0", "learning_rate=1e-2", "output_name=ink", "placeholder_token=zogg",           \
        "initializer_token=disc"
#define SDXL_TINY TEST_SHARED "/golden/models/sdxl-tiny"

static const char *const methods[] = {"method=lora", "method=hypernetwork", "method=textual_inversion"};
enum { METHODS = sizeof methods / sizeof *methods };

/* ------------------------------------------------------------------------------------ the form stays */

static void expect_kept(const training_case *c, const char *method, const char *other, bool accept,
                        const char *word)
{
    kiln_training_recipe *r =
        case_recipe(c, method + 7, method, "base=" TINY_MODEL, SMALL, "max_train_steps=4", other, NULL);
    kiln_training *t = NULL;
    const kiln_training_options o = {.resume = "latest", .accept_changes = accept};
    train_fails(kiln_training_open(r, &o, &t, err), KILN_MISMATCH, word);
    train_fails(kiln_training_open(r, &o, &t, err), KILN_MISMATCH, "keeps its form");
    assert_null(t);
    kiln_training_recipe_free(r);
}

static void a_run_keeps_its_form(void **state)
{
    (void)state;
    static const struct {
        const char *method, *other, *word;
    } cases[] = {
        {"method=hypernetwork", "activation_func=relu",
         "activation_func was 'linear' when this was saved, and is 'relu' now"},
        {"method=hypernetwork", "layer_structure=1, 3, 1", "layer_structure was"},
        {"method=hypernetwork", "dropout_structure=0, 0.2, 0", "dropout_structure was"},
        {"method=hypernetwork", "use_dropout=true", "use_dropout was"},
        {"method=hypernetwork", "is_layer_norm=true", "is_layer_norm was"},
        {"method=lora", "network_dim=8", "network_dim was '4'"},
        {"method=lora", "network_alpha=3", "network_alpha was"},
        {"method=lora", "network_type=loha", "network_type was 'lora'"},
        {"method=lora", "conv_dim=2", "conv_dim was"},
        {"method=textual_inversion", "num_vectors=3", "num_vectors was '1'"},
    };
    training_case c = case_begin(2, 32);
    for (int i = 0; i < METHODS; i++)
        train(
            case_recipe(&c, methods[i] + 7, methods[i], "base=" TINY_MODEL, SMALL, "max_train_steps=2", NULL),
            NULL, 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_kept(&c, cases[i].method, cases[i].other, i % 2, cases[i].word);
    for (int i = 0; i < METHODS; i++) { /* and without a change it goes on */
        heard h = train(
            case_recipe(&c, methods[i] + 7, methods[i], "base=" TINY_MODEL, SMALL, "max_train_steps=4", NULL),
            "latest", 0);
        assert_int_equal(h.steps, 2);
    }
    case_end(&c);
}

/* ------------------------------------------------------------------------------------ prior preservation */

static double number_in(const char *path, const char *key)
{
    char text[4096] = "";
    FILE *f = fopen(path, "rb");
    if (!f)
        fail_msg("there is no %s", path);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    const char *found = strstr(text, key);
    if (!found)
        fail_msg("%s has no %s: %s", path, key, text);
    return strtod(found + strlen(key), NULL);
}

static void the_class_goes_with_each(void **state)
{
    (void)state;
    double bases = 0;
    for (int i = 0; i < METHODS; i++) {
        training_case c = case_begin(2, 32);
        char path[2 * CASE_PATH], weights[65];
        file_hashes before, after;
        train_ok(hash_file_some(TINY_MODEL "/unet/diffusion_pytorch_model.safetensors", HASH_SHA256, &before,
                                NULL, NULL, err));
        memcpy(weights, before.sha256, sizeof weights);
        heard h =
            train(case_recipe(&c, "run", methods[i], "base=" TINY_MODEL, SMALL, "instance_prompt=a sks disc",
                              "class_prompt=a disc", "with_prior_preservation=true", "num_class_images=2",
                              "num_class_validation_images=2", "class_steps=2", "max_train_steps=3",
                              "learnable_property=caption", NULL),
                  NULL, 0);
        assert_int_equal(h.steps, 3);
        assert_true(isfinite(h.last));
        snprintf(path, sizeof path, "%s/run/class-preservation.json", c.folder);
        double base = number_in(path, "\"base_loss\": "), now = number_in(path, "\"loss\": ");
        print_message("%s: class loss %.5f, of the base %.5f\n", methods[i] + 7, now, base);
        assert_true(base > 0 && now > 0);
        /* The base's own, whatever is taught, and what begins as nothing changes nothing. A word is not in the class's
         * captions: they stay as they are. */
        assert_true(bases == 0 || fabs(base - bases) < 1e-5 * base);
        bases = base;
        assert_true((now == base) == (i == 2));
        snprintf(path, sizeof path, "%s/run/ink.safetensors", c.folder);
        assert_int_equal(access(path, R_OK), 0);
        train_ok(hash_file_some(TINY_MODEL "/unet/diffusion_pytorch_model.safetensors", HASH_SHA256, &after,
                                NULL, NULL, err));
        assert_string_equal(weights, after.sha256);
        case_end(&c);
    }
}

/* ------------------------------------------------------------------------------------ SDXL */

static kiln_image *draw(const char *prompt, const char *folder, const char *words)
{
    kiln_model *m = NULL;
    kiln_session *s = NULL;
    kiln_image *out = NULL;
    kiln_model_options mo = kiln_model_defaults();
    kiln_draw_options o = kiln_draw_defaults();
    mo.threads = 1;
    mo.precision = KILN_PRECISION_F32;
    mo.words.files = &words;
    mo.words.count = words ? 1 : 0;
    o.prompt = prompt;
    o.steps = 2;
    o.width = o.height = 32;
    o.lora_folder = o.hypernetwork_folder = folder;
    train_ok(kiln_model_open(SDXL_TINY, &mo, &m, err));
    train_ok(kiln_session_new(m, &s, err));
    train_ok(kiln_draw(s, &o, &out, err));
    kiln_session_free(s);
    kiln_model_close(m);
    return out;
}

static bool same_picture(const kiln_image *a, const kiln_image *b)
{
    size_t bytes = (size_t)kiln_image_width(a) * (size_t)kiln_image_height(a) * 3;
    return memcmp(kiln_image_pixels(a), kiln_image_pixels(b), bytes) == 0;
}

static void expect_drawn(const char *folder, const char *prompt, const char *nothing, const char *words)
{
    kiln_image *plain = draw("a disc", folder, NULL), *taught = draw(prompt, folder, words),
               *none = nothing ? draw(nothing, folder, words) : NULL;
    assert_false(same_picture(plain, taught));
    if (none)
        assert_true(same_picture(plain, none));
    kiln_image_free(plain);
    kiln_image_free(taught);
    kiln_image_free(none);
}

static void check_sdxl_files(const char *folder)
{
    char path[3 * CASE_PATH];
    hypernetwork_file *h = NULL;
    lora *l = NULL;
    tensor_file *e = NULL;
    embedding_list words = {0};
    snprintf(path, sizeof path, "%s/hypernetwork/ink.safetensors", folder);
    train_ok(hypernetwork_file_open(path, &h, err));
    assert_true(h->config.width_count >= 2); /* the text's and a level's */
    hypernetwork_file_close(h);
    snprintf(path, sizeof path, "%s/lora/ink.safetensors", folder);
    train_ok(lora_open(path, &l, err));
    assert_true(lora_count(l, LORA_TEXT) > 0 && lora_count(l, LORA_TEXT_2) > 0 &&
                lora_count(l, LORA_UNET) > 0);
    lora_close(l);
    snprintf(path, sizeof path, "%s/textual_inversion/ink.safetensors", folder);
    train_ok(tensor_file_open(path, &e, err));
    assert_non_null(tensor_file_find(e, "clip_l"));
    assert_non_null(tensor_file_find(e, "clip_g"));
    train_ok(embedding_list_read(e, &words, err));
    assert_true(words.items->width[0] > 0 && words.items->width[1] > 0);
    embedding_list_fini(&words);
    tensor_file_close(e);
}

static void sdxl_is_taught(void **state)
{
    (void)state;
    if (access(SDXL_TINY, R_OK) != 0) {
        print_message("the reference models are not here: skipped\n");
        skip();
    }
    training_case c = case_begin(2, 32);
    char folder[3][2 * CASE_PATH], word[3 * CASE_PATH];
    for (int i = 0; i < METHODS; i++) {
        heard h = train(case_recipe(&c, methods[i] + 7, methods[i], "base=" SDXL_TINY, SMALL,
                                    "max_train_steps=3", i == 0 ? "train_text_encoder=true" : "seed=0", NULL),
                        NULL, 0);
        assert_true(isfinite(h.last));
        snprintf(folder[i], sizeof folder[i], "%s/%s", c.folder, methods[i] + 7);
    }
    check_sdxl_files(c.folder);
    snprintf(word, sizeof word, "%s/ink.safetensors", folder[2]);
    expect_drawn(folder[0], "a disc<lora:ink:1>", "a disc<lora:ink:0>", NULL);
    expect_drawn(folder[1], "a disc<hypernet:ink:1>", "a disc<hypernet:ink:0>", NULL);
    expect_drawn(folder[2], "a ink", NULL, word);
    case_end(&c);
}

/* ------------------------------------------------------------------------------------ repeated */

static char *recipe_of(const kiln_training_recipe *r)
{
    char *text = NULL;
    train_ok(kiln_training_recipe_text(r, &text, err));
    return text;
}

/* Files of either kind carry the recipe, the base, the data and the losses; the recipe reads back as it was. */
static void files_tell_how_they_were_made(void **state)
{
    (void)state;
    static const char *const kinds[][2] = {{"method=hypernetwork", "save_model_as=pt"},
                                           {"method=hypernetwork", "save_model_as=safetensors"},
                                           {"method=textual_inversion", "save_model_as=pt"},
                                           {"method=textual_inversion", "save_model_as=safetensors"},
                                           {"method=lora", "save_precision=fp32"}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        training_case c = case_begin(2, 32);
        char path[2 * CASE_PATH];
        bool torch = strstr(kinds[i][1], "=pt") != NULL;
        kiln_training_recipe *r = case_recipe(&c, "run", kinds[i][0], kinds[i][1], "base=" TINY_MODEL, SMALL,
                                              "max_train_steps=2", NULL),
                             *again = NULL;
        train(r, NULL, 0);
        snprintf(path, sizeof path, "%s/run", c.folder);
        train_ok(kiln_training_recipe_read(path, &again, err)); /* as it was resolved */
        char *made = recipe_of(again);
        kiln_training_recipe_free(again);
        snprintf(path, sizeof path, "%s/run/ink.%s", c.folder, torch ? "pt" : "safetensors");
        train_ok(kiln_training_recipe_read(path, &again, err));
        char *read = recipe_of(again);
        assert_string_equal(made, read);
        tensor_file *file = NULL;
        train_ok(tensor_file_open(path, &file, err));
        static const char *const keys[] = {"kiln.base_hash", "kiln.data_hash", "kiln.loss"};
        for (int k = 0; k < 3; k++) {
            const char *text = torch ? tensor_file_value(file, keys[k]) : tensor_file_metadata(file, keys[k]);
            if (!text || !*text)
                fail_msg("%s has no %s", path, keys[k]);
        }
        tensor_file_close(file);
        kiln_training_recipe_free(again);
        free(made);
        free(read);
        case_end(&c);
    }
}

/* ------------------------------------------------------------------------------------ a broken picture */

static bool hear_no_end(void *user, const kiln_training_event *e)
{
    heard *h = user;
    h->steps += e->kind == KILN_TRAINING_STEP;
    h->after += e->kind == KILN_TRAINING_SAVED;
    return true;
}

/* Named; the steps before it are kept, and gone on with when the picture is mended. */
static void a_broken_picture_is_named(void **state)
{
    (void)state;
    for (int i = 0; i < METHODS; i++) {
        training_case c = case_begin(5, 32);
        char path[2 * CASE_PATH], data[CASE_PATH];
        heard h = {0};
        kiln_training *t = NULL;
        const kiln_training_options o = {.progress = hear_no_end, .user = &h};
        snprintf(data, sizeof data, "%s/data", c.folder);
        snprintf(path, sizeof path, "%s/03.png", data);
        assert_int_equal(truncate(path, 60), 0);
        kiln_training_recipe *r = case_recipe(&c, "run", methods[i], "base=" TINY_MODEL, SMALL,
                                              "train_batch_size=1", "max_train_steps=9", NULL);
        train_ok(kiln_training_open(r, &o, &t, err));
        train_fails(kiln_training_run(t, err), KILN_BAD_FORMAT, "03.png: the PNG is truncated");
        print_message("failed after %d steps, saved %d times\n", h.steps, h.after);
        assert_true(h.steps < 5 && h.after == (h.steps > 0));
        kiln_training_close(t);
        kiln_training_recipe_free(r);
        case_picture(data, 3, 32);
        r = case_recipe(&c, "run", methods[i], "base=" TINY_MODEL, SMALL, "train_batch_size=1",
                        "max_train_steps=9", NULL);
        const kiln_training_options on = {
            .resume = "latest", .accept_changes = true, .progress = hear_no_end, .user = &h};
        train_ok(kiln_training_open(r, &on, &t, err));
        train_ok(kiln_training_run(t, err));
        kiln_training_close(t);
        kiln_training_recipe_free(r);
        assert_int_equal(h.steps, 9);
        snprintf(path, sizeof path, "%s/run/ink.safetensors", c.folder);
        assert_int_equal(access(path, R_OK), 0);
        case_end(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_keeps_its_form),
        cmocka_unit_test(the_class_goes_with_each),
        cmocka_unit_test(sdxl_is_taught),
        cmocka_unit_test(files_tell_how_they_were_made),
        cmocka_unit_test(a_broken_picture_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
