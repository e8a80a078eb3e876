/* floors: base tensor formats graph ops backend plan nn model text weights diffusion image pipeline train */
/* test_train_lora.c - every kind of LoRA: trained, saved in kohya's names, gone on with in the same bytes; what is drawn with the
 * file is what the training saw; the base stays as it is. */
#include "training_heard.h"

#include "formats/hash.h"
#include "weights/lora.h"

#include <math.h>

#define LORA                                                                                                 \
    "method=lora", "base=" TINY_MODEL, "resolution=16", "train_batch_size=2", "validate_every_n_epochs=0",   \
        "save_every_n_steps=0", "plot_every_n_steps=0", "learning_rate=1e-2", "output_name=ink"

static void hash_of(const char *path, char digits[65])
{
    file_hashes h;
    train_ok(hash_file_some(path, HASH_SHA256, &h, NULL, NULL, err));
    memcpy(digits, h.sha256, 65);
}

static lora *open_ink(const training_case *c, const char *run)
{
    char path[2 * CASE_PATH];
    lora *file;
    snprintf(path, sizeof path, "%s/%s/ink.safetensors", c->folder, run);
    train_ok(lora_open(path, &file, err));
    return file;
}

static const struct {
    const char *type, *key; /* a tensor of a layer of the UNet that it has */
    lora_kind kind;
} kinds[] = {{"lora", "attn1_to_q.lora_down.weight", LORA_LOW_RANK},
             {"locon", "mid_block_resnets_0_conv1.lora_up.weight", LORA_LOW_RANK},
             {"loha", "attn1_to_q.hada_w2_a", LORA_HADAMARD},
             {"lokr", "attn1_to_q.lokr_w1", LORA_KRONECKER},
             {"dora", "attn1_to_q.dora_scale", LORA_LOW_RANK}};

static bool has_key(const lora *file, const char *end)
{
    for (size_t i = 0; i < tensor_file_count(file->file); i++)
        if (strstr(tensor_file_entry(file->file, i)->name, end))
            return true;
    return false;
}

static void every_kind_learns(void **state)
{
    (void)state;
    char before[65], after[65];
    hash_of(TINY_MODEL "/unet/diffusion_pytorch_model.safetensors", before);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        char type[40];
        training_case c = case_begin(2, 16);
        snprintf(type, sizeof type, "network_type=%s", kinds[i].type);
        heard h = train(case_recipe(&c, "run", LORA, type, "max_train_steps=4", NULL), NULL, 0);
        assert_int_equal(h.steps, 4);
        lora *file = open_ink(&c, "run");
        if (!has_key(file, kinds[i].key))
            fail_msg("%s: there is no %s", kinds[i].type, kinds[i].key);
        assert_int_equal(file->modules[0].kind, kinds[i].kind);
        assert_int_equal(lora_count(file, LORA_TEXT), 0);
        assert_string_equal(tensor_file_metadata(file->file, "ss_network_dim"), "4");
        assert_string_equal(tensor_file_metadata(file->file, "ss_steps"), "4");
        assert_non_null(strstr(tensor_file_metadata(file->file, "kiln.recipe"), type + 13));
        lora_close(file);
        case_end(&c);
    }
    hash_of(TINY_MODEL "/unet/diffusion_pytorch_model.safetensors", after);
    assert_string_equal(before, after);
}

/* Stopped, gone on with, and at once: the same file, with dropout and the text encoder in it. */
static void goes_on_in_the_same_bytes(void **state)
{
    (void)state;
#define LONG                                                                                                 \
    LORA, "train_text_encoder=true", "network_dropout=0.3", "block_dims=mid_block*:2", "max_train_steps=4"
    training_case c = case_begin(3, 16);
    train(case_recipe(&c, "whole", LONG, NULL), NULL, 0);
    train(case_recipe(&c, "parts", LONG, NULL), NULL, 2);
    train(case_recipe(&c, "parts", LONG, NULL), "latest", 0);
    lora *whole = open_ink(&c, "whole"), *parts = open_ink(&c, "parts");
    assert_true(lora_count(whole, LORA_TEXT) > 0);
    assert_int_equal(tensor_file_count(whole->file), tensor_file_count(parts->file));
    for (size_t i = 0; i < tensor_file_count(whole->file); i++) {
        const tensor_entry *e = tensor_file_entry(whole->file, i);
        float a[4096], b[4096];
        int64_t count = shape_count(e->shape);
        assert_true(count <= 4096);
        train_ok(tensor_file_read_f32(whole->file, e, 0, count, a, err));
        const tensor_entry *same = tensor_file_find(parts->file, e->name);
        assert_non_null(same);
        train_ok(tensor_file_read_f32(parts->file, same, 0, count, b, err));
        assert_memory_equal(a, b, (size_t)count * sizeof *a);
        if (strstr(e->name, "mid_block") && strstr(e->name, "lora_down"))
            assert_int_equal(e->shape.dim[0], 2);
    }
    lora_close(whole);
    lora_close(parts);
    case_end(&c);
}

/* The first loss of a training that learns on is that of what was saved: the file is read as it was written. */
static void learns_on(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        char type[40], weights[2 * CASE_PATH];
        training_case c = case_begin(2, 16);
        snprintf(type, sizeof type, "network_type=%s", kinds[i].type);
        train(case_recipe(&c, "first", LORA, type, "max_train_steps=3", NULL), NULL, 0);
        snprintf(weights, sizeof weights, "network_weights=%s/first/ink.safetensors", c.folder);
        train(case_recipe(&c, "second", LORA, type, weights, "max_train_steps=1", "learning_rate=0", NULL),
              NULL, 0);
        lora *first = open_ink(&c, "first"), *second = open_ink(&c, "second");
        for (int m = 0; m < first->count; m++)
            for (int role = 0; role < LORA_ROLES; role++) {
                const tensor_entry *e = first->modules[m].factor[role];
                if (!e)
                    continue;
                float a[4096], b[4096];
                const tensor_entry *same = tensor_file_find(second->file, e->name);
                assert_non_null(same);
                int64_t count = shape_count(e->shape);
                assert_true(count <= 4096);
                train_ok(tensor_file_read_f32(first->file, e, 0, count, a, err));
                train_ok(tensor_file_read_f32(second->file, same, 0, count, b, err));
                assert_memory_equal(a, b, (size_t)count * sizeof *a);
            }
        lora_close(first);
        lora_close(second);
        case_end(&c);
    }
}

static void says_what_is_wrong(void **state)
{
    (void)state;
    training_case c = case_begin(2, 16);
    kiln_training *t = NULL;
    kiln_training_recipe *r = case_recipe(&c, "refused", LORA, "network_weights=nowhere.safetensors", NULL);
    train_fails(kiln_training_open(r, NULL, &t, err), KILN_NOT_FOUND, "nowhere");
    kiln_training_recipe_free(r);
    r = case_recipe(&c, "refused", LORA, "train_unet=false", "train_text_encoder=false", NULL);
    train_fails(kiln_training_open(r, NULL, &t, err), KILN_BAD_ARGUMENT, "");
    kiln_training_recipe_free(r);
    r = case_recipe(&c, "refused", LORA, "network_weights=" TEST_DATA "/lora/kohya.safetensors", NULL);
    train_fails(kiln_training_open(r, NULL, &t, err), KILN_MISMATCH, "has no factor");
    kiln_training_recipe_free(r);
    case_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_learns),
        cmocka_unit_test(goes_on_in_the_same_bytes),
        cmocka_unit_test(learns_on),
        cmocka_unit_test(says_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
