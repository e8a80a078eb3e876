/* floors: base tensor formats graph ops backend plan nn model text weights diffusion image pipeline train */
/* test_train_recipe.c - recipes: every key is checked, a misspelt one names the nearest, what is written reads back. */
#include "formats/safetensors.h"
#include "train/prompts.h"
#include "train/recipe.h"
#include "training_case.h"

static kiln_status read_text(recipe *r, const char *text, kiln_error *err)
{
    kiln_status status = recipe_init(r, err);
    return status ? status : recipe_read_text(r, "my.recipe", text, strlen(text), err);
}

static void keys_are_read(void **state)
{
    (void)state;
    recipe r;
    train_ok(read_text(&r,
                       "# a comment\n"
                       "method = vae   # and another\n"
                       "train_data_dir = \"a folder # with a sign\"\r\n"
                       "\n"
                       "[unet]\n"
                       "block_out_channels = [32, 64]\n"
                       "seed = 7\n"
                       "[saving]\n"
                       "save_every_n_minutes=2.5\n"
                       "flip_aug = yes\n"
                       "optimizer_type = adamw8bit\n",
                       err));
    assert_string_equal(r.method, "vae");
    assert_string_equal(r.train_data_dir, "a folder # with a sign");
    assert_int_equal(r.unet.block_out_channels.count, 2);
    assert_int_equal(r.unet.block_out_channels.number[1], 64);
    assert_int_equal(r.seed, 7);
    assert_true(r.save_every_n_minutes == 2.5);
    assert_true(r.flip_aug);
    assert_string_equal(r.optimizer, "AdamW8bit");
    recipe_fini(&r);
}

static void refuses(const char *text, const char *word)
{
    recipe r;
    train_fails(read_text(&r, text, err), KILN_BAD_ARGUMENT, word);
    recipe_fini(&r);
}

static void mistakes_are_named(void **state)
{
    (void)state;
    refuses("learing_rate = 1e-4", "did you mean learning_rate?");
    refuses("\n\nlearing_rate = 1e-4", "my.recipe: line 3");
    refuses("[unet]\nblock_out_chanels = 32", "did you mean unet.block_out_channels?");
    refuses("something_else_altogether = 3", "there is no key");
    refuses("train_batch_size = many", "a whole number from 1 to 65536, not 'many'");
    refuses("train_batch_size = 0", "from 1");
    refuses("train_batch_size = 4.5", "not '4.5'");
    refuses("train_batch_size = 0x10", "not '0x10'");
    refuses("train_batch_size = 99999999999999999999", "a whole number");
    refuses("adam_beta1 = nan", "a number from");
    refuses("max_grad_norm = 1e400", "a number from");
    refuses("caption_dropout_rate = 1.5", "from 0 to 1");
    refuses("flip_aug = maybe", "true or false");
    refuses("optimizer = Adam", "one of AdamW|");
    refuses("optimizer = ", "one of AdamW|");
    refuses("unet.block_out_channels = 1, 2, 3, 4, 5, 6, 7, 8, 9", "up to eight");
    refuses("unet.block_out_channels = 32;64", "whole number");
    refuses("unet.block_out_channels =", "one or more");
    refuses("train_data_dir = \"open", "quotes");
    refuses("just words", "key = value");
    refuses("[open", "heading");
    refuses("= 3", "there is no key");
}

/* What was trained carries its recipe. */
static void what_was_trained_is_repeated(void **state)
{
    (void)state;
    training_case c = case_begin(0, 8);
    char path[CASE_PATH], *text = NULL;
    kiln_training_recipe *r = NULL;
    safetensors_writer *w = NULL;
    float value = 1;
    for (int with = 0; with < 2; with++) {
        snprintf(path, sizeof path, "%s/taught.safetensors", c.folder);
        train_ok(safetensors_writer_open(path, &w, err));
        if (with)
            train_ok(
                safetensors_writer_metadata(w, "kiln.recipe", "[training]\nmax_train_steps = 77\n", err));
        train_ok(safetensors_writer_declare(w, "a", DTYPE_F32, SHAPE1(1), err));
        train_ok(safetensors_writer_write(w, "a", &value, sizeof value, err));
        train_ok(safetensors_writer_finish(w, err));
        if (!with)
            train_fails(kiln_training_recipe_read(path, &r, err), KILN_BAD_FORMAT, "kiln.recipe is missing");
    }
    for (int i = 0; i < 3; i++) {
        train_ok(kiln_training_recipe_read(path, &r, err));
        train_ok(kiln_training_recipe_text(r, &text, err));
        assert_non_null(strstr(text, i ? "max_train_steps = 78" : "max_train_steps = 77"));
        kiln_training_recipe_free(r);
        free(text);
        /* Next the folder of a run, then a checkpoint. */
        char inner[2 * CASE_PATH];
        snprintf(path, sizeof path, "%s/%s", c.folder, i ? "step" : "run");
        snprintf(inner, sizeof inner, "%s/training_state", path);
        assert_int_equal(mkdir(path, 0777), i == 2 ? -1 : 0);
        if (i == 0)
            train_fails(kiln_training_recipe_read(path, &r, err), KILN_NOT_FOUND, "no recipe.txt");
        assert_true(i != 1 || mkdir(inner, 0777) == 0);
        snprintf(inner, sizeof inner, "%s/%srecipe.txt", path, i ? "training_state/" : "");
        FILE *f = fopen(inner, "w");
        assert_non_null(f);
        fputs("max_train_steps = 78\n", f);
        fclose(f);
    }
    case_end(&c);
}

static void what_is_written_reads_back(void **state)
{
    (void)state;
    recipe a, b;
    train_ok(read_text(&a,
                       "learning_rate = 1e-4:100, 1e-5\nseed = 12345678901\nadam_beta2 = 0.95\nresolution = "
                       "128, 64\nsample_prompts = \"a | b\"\n[vae]\nblock_out_channels = 8\nbase = x",
                       err));
    char *text = recipe_text_of(&a);
    assert_non_null(text);
    train_ok(read_text(&b, text, err));
    char *again = recipe_text_of(&b);
    assert_string_equal(text, again);
    assert_non_null(strstr(text, "learning_rate = \"1e-4:100, 1e-5\""));
    assert_string_equal(b.vae.base, "x");
    assert_string_equal(b.unet.base, "");
    free(text);
    free(again);
    recipe_fini(&a);
    recipe_fini(&b);
}

/* Every row of the table has a default that it takes itself. */
static void every_key_takes_its_default(void **state)
{
    (void)state;
    recipe r;
    train_ok(recipe_init(&r, err));
    for (int i = 0; recipe_key_at(i); i++) {
        char text[RECIPE_VALUE];
        recipe_value_text(&r, recipe_key_at(i), text);
        train_ok(recipe_set(&r, recipe_key_at(i)->name, text, err));
        assert_ptr_equal(recipe_key_find(recipe_key_at(i)->name), recipe_key_at(i));
    }
    recipe_fini(&r);
}

static void checks(const char *text, const char *word)
{
    recipe r;
    train_ok(read_text(&r, text, err));
    train_fails(recipe_check(&r, err), KILN_BAD_ARGUMENT, word);
    recipe_fini(&r);
}

static void keys_that_do_not_go_together(void **state)
{
    (void)state;
    recipe r;
    checks("", "train_data_dir");
    checks("train_data_dir = a\nmax_train_steps = 0", "when is the training to end");
    checks("train_data_dir = a\nmin_timestep = 5\nmax_timestep = 3", "max_timestep");
    checks("train_data_dir = a\nresolution = 1024, 8, 8", "resolution");
    checks("train_data_dir = a\nunet.block_out_channels = 32, 64, 64\nunet.attention_head_dim = 1, 2",
           "attention_head_dim");
    checks("train_data_dir = a\ntrain_unet = false", "nothing is trained");
    train_ok(read_text(&r, "train_data_dir = a\nresolution = 64\nunet.block_out_channels = 32, 64", err));
    train_ok(recipe_check(&r, err));
    assert_int_equal(r.resolution.count, 2);
    assert_int_equal(r.unet.attention.count, 2);
    assert_int_equal(r.unet.attention.number[0], 1);
    assert_int_equal(r.unet.attention.number[1], 0);
    assert_int_equal(r.unet.attention_head_dim.number[1], 8);
    recipe_fini(&r);
}

static void prompts_are_read(void **state)
{
    (void)state;
    prompt_list p = {0};
    train_ok(prompt_list_read(&p, "a cat --n a dog --w 64 --d 42 --l 7.5 --s 9|# not this| |a boat", err));
    assert_int_equal(p.count, 2);
    assert_string_equal(p.line[0].text, "a cat");
    assert_string_equal(p.line[0].negative, "a dog");
    assert_int_equal(p.line[0].width, 64);
    assert_int_equal(p.line[0].seed, 42);
    assert_int_equal(p.line[0].steps, 9);
    assert_true(p.line[0].cfg == 7.5);
    assert_string_equal(p.line[1].text, "a boat");
    assert_int_equal(p.line[1].seed, -1);
    prompt_list_fini(&p);
    train_fails(prompt_list_read(&p, "a cat --w wide", err), KILN_BAD_ARGUMENT, "--w");
    prompt_list_fini(&p);
    train_fails(prompt_list_read(&p, "a cat --q 3", err), KILN_BAD_ARGUMENT, "--q");
    prompt_list_fini(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_read),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(what_was_trained_is_repeated),
        cmocka_unit_test(what_is_written_reads_back),
        cmocka_unit_test(every_key_takes_its_default),
        cmocka_unit_test(keys_that_do_not_go_together),
        cmocka_unit_test(prompts_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
