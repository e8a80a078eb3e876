/* floors: base tensor formats graph ops backend plan nn model text weights diffusion image pipeline
 *
 * test_words_draw.c - embeddings in prompts: found by name, in any case, the longest first; weighted, never split between
 * windows; and nothing at all where no prompt has one. */
#include "formats/embedding.h"
#include "text/chunks.h"
#include "weights/probe.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "unit/tiny_model.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

static char folder[64];
static kiln_model *plain, *taught;
static kiln_session *plain_session, *taught_session;

static const char *in_folder(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void make_word(const char *name, int vectors, int width, int width_2, float phase,
                      embedding_layout layout, const char *token)
{
    embedding e = {.step = -1};
    const int widths[2] = {width, width_2};
    assert_ok(embedding_allocate(&e, vectors, widths, err));
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < vectors * widths[k]; i++)
            e.values[k][i] = sinf((float)i * 1.3f + phase);
    assert_ok(embedding_write(&e, layout, token, NULL, 0, in_folder(name), err));
    embedding_fini(&e);
}

static kiln_model *open_with(const char *words_folder, const char *const *files, int count)
{
    kiln_model *m = NULL;
    kiln_model_options o = kiln_model_defaults();
    o.threads = 1;
    o.precision = KILN_PRECISION_F32;
    o.words = (kiln_words){words_folder, files, count};
    assert_ok(kiln_model_open(TINY_PATH, &o, &m, err));
    return m;
}

static int width_of_text;

static int set_up(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/kiln-words-XXXXXX");
    assert_non_null(mkdtemp(folder));
    plain = tiny_open(1, KILN_PRECISION_F32);
    plain_session = tiny_session(plain);
    kiln_map *map = NULL;
    int rank;
    const int64_t *dims;
    assert_ok(kiln_encode_text(plain_session, "a", 1, NULL, &map, err));
    assert_non_null(kiln_map_tensor(map, 0, NULL, &rank, &dims));
    int w = width_of_text = (int)dims[2];
    kiln_map_free(map);
    make_word("Zogg.safetensors", 2, w, 0, 0, EMBEDDING_KOHYA, NULL);
    make_word("zogg cat.pt", 3, w, 0, 1, EMBEDDING_A1111, NULL);
    make_word("learned_embeds.safetensors", 1, w, 0, 2, EMBEDDING_DIFFUSERS, "<my-toy>");
    make_word("wide.safetensors", 2, w + 8, 0, 0, EMBEDDING_KOHYA, NULL);
    make_word("pair.safetensors", 2, w, w + 8, 0, EMBEDDING_KOHYA, NULL);
    make_word("twice.safetensors", 2, w, 0, 3, EMBEDDING_KOHYA, NULL);
    make_word("TWICE.pt", 2, w, 0, 4, EMBEDDING_A1111, NULL);
    make_word("same.safetensors", 2, w, 0, 5, EMBEDDING_KOHYA, NULL);
    make_word("same.pt", 2, w, 0, 5, EMBEDDING_A1111, NULL);
    make_word("long.pt", 74, w, 0, 6, EMBEDDING_A1111, NULL);
    FILE *broken = fopen(in_folder("broken.pt"), "wb");
    assert_non_null(broken);
    fclose(broken);
    taught = open_with(folder, NULL, 0);
    taught_session = tiny_session(taught);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char command[96];
    kiln_session_free(plain_session);
    kiln_session_free(taught_session);
    assert_int_equal(kiln_model_close(plain), KILN_OK);
    assert_int_equal(kiln_model_close(taught), KILN_OK);
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    return system(command);
}

/* The largest difference of what two prompts mean. */
static double distance(kiln_session *s, const char *a, kiln_session *t, const char *b)
{
    kiln_map *x = NULL, *y = NULL;
    int rank, rank_2;
    const int64_t *dims, *dims_2;
    double most = 0;
    assert_ok(kiln_encode_text(s, a, 1, NULL, &x, err));
    assert_ok(kiln_encode_text(t, b, 1, NULL, &y, err));
    const float *p = kiln_map_tensor(x, 0, NULL, &rank, &dims),
                *q = kiln_map_tensor(y, 0, NULL, &rank_2, &dims_2);
    assert_int_equal(dims[1], dims_2[1]);
    for (int64_t i = 0; i < dims[1] * dims[2]; i++)
        most = fmax(most, fabs((double)p[i] - (double)q[i]));
    kiln_map_free(x);
    kiln_map_free(y);
    return most;
}

static void without_a_word_nothing_changes(void **state)
{
    (void)state;
    static const char *const prompts[] = {"a fox", "zoggy, my toy", "the (wood:1.3) BREAK zog", ""};
    for (size_t i = 0; i < 4; i++)
        assert_true(distance(plain_session, prompts[i], taught_session, prompts[i]) == 0);
    kiln_draw_options o = tiny_options("a fox", 3);
    o.width = o.height = 32;
    o.negative = "wood";
    kiln_image *a = tiny_draw(plain_session, &o), *b = tiny_draw(taught_session, &o);
    assert_true(same_pixels(a, b));
    assert_string_equal(kiln_image_text(a, "parameters"), kiln_image_text(b, "parameters"));
    kiln_image_free(a);
    kiln_image_free(b);
}

static void words_are_found(void **state)
{
    (void)state;
    kiln_session *s = taught_session;
    assert_true(distance(s, "a zogg", plain_session, "a zogg") > 0.01);
    assert_true(distance(s, "a zogg", s, "a ZOGG") == 0);
    assert_true(distance(s, "a zogg cat", s, "a zogg hat") > 0.01);
    assert_true(distance(s, "a <my-toy> here", s, "a learned_embeds here") == 0);
    assert_true(distance(s, "a <my-toy> here", plain_session, "a <my-toy> here") > 0.01);
    assert_true(distance(s, "(<MY-toy>),<my-toy>x", s, "(<my-toy>) , <my-toy> x") == 0);
    assert_true(distance(s, "a (zogg:1.3)", s, "a zogg") > 0.001);
    assert_true(distance(s, "same", plain_session, "same") > 0.01);
}

static void vectors_are_exact(void **state)
{
    (void)state;
    /* The vector of a word that is that of a token of the table: the same states to the last bit. */
    model_parts *parts;
    assert_ok(probe_open(TINY_PATH, &(probe_options){0}, &parts, err));
    const weights_place *place = &parts->part[PART_TEXT].place;
    const char *name = "text_model.embeddings.token_embedding.weight";
    char full[256];
    snprintf(full, sizeof full, "%s%s", place->prefix ? place->prefix : "", name);
    const tensor_entry *table = tensor_file_find(place->file, full);
    assert_non_null(table);
    int32_t *ids = NULL;
    char *pieces = NULL;
    size_t count = 0;
    assert_ok(kiln_tokenize(TINY_PATH, "fox", &ids, &pieces, &count, err));
    embedding e = {.step = -1};
    const int widths[2] = {width_of_text, 0};
    assert_ok(embedding_allocate(&e, (int)count, widths, err));
    for (size_t i = 0; i < count; i++)
        assert_ok(tensor_file_read_f32(place->file, table, ids[i] * (int64_t)width_of_text, width_of_text,
                                       e.values[0] + i * (size_t)width_of_text, err));
    assert_ok(embedding_write(&e, EMBEDDING_A1111, NULL, NULL, 0, in_folder("reynard.pt"), err));
    char path[128];
    strcpy(path, in_folder("reynard.pt"));
    const char *const one[] = {path};
    kiln_model *m = open_with(NULL, one, 1);
    kiln_session *s = tiny_session(m);
    assert_true(distance(s, "a reynard in the (wood:1.2)", plain_session, "a fox in the (wood:1.2)") == 0);
    kiln_session_free(s);
    assert_int_equal(kiln_model_close(m), KILN_OK);
    unlink(path);
    embedding_fini(&e);
    free(ids);
    free(pieces);
    probe_close(parts);
}

static void what_is_wrong_is_said(void **state)
{
    (void)state;
    kiln_map *map = NULL;
    kiln_session *s = taught_session;
    assert_refused(kiln_encode_text(s, "a wide one", 1, NULL, &map, err), KILN_MISMATCH, "width");
    assert_refused(kiln_encode_text(s, "a pair", 1, NULL, &map, err), KILN_MISMATCH, "two text encoders");
    assert_refused(kiln_encode_text(s, "it is Twice there", 1, NULL, &map, err), KILN_BAD_ARGUMENT,
                   "rename one");
    assert_refused(kiln_encode_text(s, "it is broken", 1, NULL, &map, err), KILN_BAD_FORMAT, "broken.pt");
    assert_null(map);
    char path[128];
    strcpy(path, in_folder("wide.safetensors"));
    const char *const one[] = {path};
    kiln_model *m = NULL;
    kiln_model_options o = kiln_model_defaults();
    o.words = (kiln_words){NULL, one, 1};
    assert_refused(kiln_model_open(TINY_PATH, &o, &m, err), KILN_MISMATCH, "wide");
    strcpy(path, in_folder("broken.pt"));
    assert_refused(kiln_model_open(TINY_PATH, &o, &m, err), KILN_BAD_FORMAT, "broken");
    o.words = (kiln_words){"/nowhere/at/all", NULL, 0};
    assert_refused(kiln_model_open(TINY_PATH, &o, &m, err), KILN_NOT_FOUND, "nowhere");
    assert_null(m);
}

static void pictures_name_them(void **state)
{
    (void)state;
    kiln_draw_options o = tiny_options("a [zogg:fox:2]", 3);
    o.width = o.height = 32;
    o.negative = "(<my-toy>:0.7)";
    kiln_image *a = tiny_draw(taught_session, &o);
    const char *text = kiln_image_text(a, "parameters");
    kiln_hashes first, second;
    char wanted[160];
    assert_ok(kiln_hash_file(in_folder("Zogg.safetensors"), &first, NULL, NULL, err));
    assert_ok(kiln_hash_file(in_folder("learned_embeds.safetensors"), &second, NULL, NULL, err));
    snprintf(wanted, sizeof wanted, "TI hashes: \"Zogg: %.12s, learned_embeds: %.12s\"", first.sha256,
             second.sha256);
    if (!strstr(text, wanted))
        fail_msg("%s lacks %s", text, wanted);
    kiln_image_free(a);
}

static void explanations_show_them(void **state)
{
    (void)state;
    char *text = NULL;
    const kiln_words words = {folder, NULL, 0};
    assert_ok(kiln_explain_prompt(TINY_PATH "/tokenizer", "a (Zogg:1.2), zogg cat", 4, &words, &text, err));
    assert_non_null(strstr(text, " Zogg[2]{1.2} ,"));
    assert_non_null(strstr(text, "zogg cat[3]\n"));
    assert_non_null(strstr(text, "7 of 75"));
    free(text);
    /* 74 vectors and "a" fill a window; a word of 2 more begins the next. */
    assert_ok(kiln_explain_prompt(TINY_PATH "/tokenizer", "a long zogg", 4, &words, &text, err));
    assert_non_null(strstr(text, "window 1, 75 of 75"));
    assert_non_null(strstr(text, "window 2, 2 of 75 tokens: Zogg[2]"));
    free(text);
    assert_ok(kiln_explain_prompt(TINY_PATH "/tokenizer", "zogg long", 4, &words, &text, err));
    assert_non_null(strstr(text, "window 1, 2 of 75 tokens: Zogg[2]"));
    assert_non_null(strstr(text, "window 2, 74 of 75 tokens: long[74]"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_word_nothing_changes),
        cmocka_unit_test(words_are_found),
        cmocka_unit_test(vectors_are_exact),
        cmocka_unit_test(what_is_wrong_is_said),
        cmocka_unit_test(pictures_name_them),
        cmocka_unit_test(explanations_show_them),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
