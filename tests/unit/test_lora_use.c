/* floors: base tensor formats graph ops backend plan nn model text weights diffusion image pipeline */
/* test_lora_use.c - LoRAs in drawings and conversions: named in the prompt or by file, several, with strength 0, merged into a
 * model, taken out of one. */
#include "formats/safetensors.h"
#include "tensor/low_rank.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tiny_model.h"

#include <kiln/prompt.h>

static char folder[64];

/* A LoRA for the small model: one layer of the UNet and one of the text encoder, [24,24] and [32,32].
 */
static void add(safetensors_writer *w, const char *key, shape s, float factor, bool declare)
{
    float values[512];
    for (int64_t i = 0; i < shape_count(s); i++)
        values[i] = factor * (float)((i * 7 % 13) - 6);
    if (declare)
        assert_ok(safetensors_writer_declare(w, key, DTYPE_F32, s, err));
    else
        assert_ok(safetensors_writer_write(w, key, values, (size_t)shape_count(s) * sizeof *values, err));
}

static void write_lora(const char *path, const char *alias, int unet_width, int text_width)
{
    safetensors_writer *w;
    assert_ok(safetensors_writer_open(path, &w, err));
    if (alias)
        assert_ok(safetensors_writer_metadata(w, "ss_output_name", alias, err));
    for (int declare = 1; declare >= 0; declare--) {
        static const char unet[] = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q",
                          text[] = "lora_te_text_model_encoder_layers_0_self_attn_q_proj";
        char key[160];
        snprintf(key, sizeof key, "%s.lora_down.weight", unet);
        add(w, key, SHAPE2(2, unet_width), 0.1f, declare);
        snprintf(key, sizeof key, "%s.lora_up.weight", unet);
        add(w, key, SHAPE2(unet_width, 2), 0.1f, declare);
        snprintf(key, sizeof key, "%s.lora_down.weight", text);
        add(w, key, SHAPE2(2, text_width), 0.1f, declare);
        snprintf(key, sizeof key, "%s.lora_up.weight", text);
        add(w, key, SHAPE2(text_width, 2), 0.1f, declare);
    }
    assert_ok(safetensors_writer_finish(w, err));
}

/* A LoRA that changes nothing (its factors are nought) and carries the word "zogg", two vectors of 32, or of `width`. */
static void write_lora_with_word(const char *path, int width)
{
    static const char *const names[] = {
        "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q.lora_down.weight",
        "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q.lora_up.weight",
        "bundle_emb.zogg.string_to_param.*"};
    const shape shapes[] = {SHAPE2(2, 24), SHAPE2(24, 2), SHAPE2(2, width)};
    safetensors_writer *w;
    assert_ok(safetensors_writer_open(path, &w, err));
    for (int declare = 1; declare >= 0; declare--)
        for (int i = 0; i < 3; i++)
            add(w, names[i], shapes[i], i == 2 ? 0.2f : 0, declare);
    assert_ok(safetensors_writer_finish(w, err));
}

static const char *in_folder(const char *name)
{
    static char paths[4][200];
    static int turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static int begin(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "kiln-lora-XXXXXX");
    if (!mkdtemp(folder) || mkdir(in_folder("below"), 0700) != 0)
        return 1;
    write_lora(in_folder("ink.safetensors"), NULL, 24, 32);
    write_lora(in_folder("below/v2.safetensors"), "brush", 24, 32);
    write_lora_with_word(in_folder("words.safetensors"), 32);
    write_lora_with_word(in_folder("wide.safetensors"), 48);
    return 0;
}

static int end(void **state)
{
    (void)state;
    static const char *const files[] = {"ink.safetensors",    "below/v2.safetensors", "below",
                                        "merged.safetensors", "taken.safetensors",    "words.safetensors",
                                        "wide.safetensors"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        (void)remove(in_folder(files[i]));
    return remove(folder);
}

static kiln_draw_options with(const char *prompt)
{
    kiln_draw_options o = tiny_options(prompt, 3);
    o.lora_folder = folder;
    return o;
}

static bool same(const kiln_image *a, const kiln_image *b)
{
    return kiln_image_width(a) == kiln_image_width(b) && kiln_image_height(a) == kiln_image_height(b) &&
           memcmp(kiln_image_pixels(a), kiln_image_pixels(b),
                  (size_t)kiln_image_width(a) * (size_t)kiln_image_height(a) * 3) == 0;
}

static void names_and_strengths(void **state)
{
    (void)state;
    kiln_model *m = tiny_open(2, KILN_PRECISION_F32);
    kiln_session *s = tiny_session(m);
    static const struct {
        const char *prompt;
        bool as_plain, as_full;
    } cases[] = {
        {"a cat <lora:ink:1>", false, true},
        {"a cat", true, false},
        {"a cat <lora:ink:0>", true, false},
        {"a cat <lora:ink:0:0><lora:brush:0>", true, false},
        {"a cat <lora:ink>", false, true},
        {"a cat <lora:v2:te=1:unet=1>", false, true}, /* the same numbers */
        {"a cat <lora:brush:1:1>", false, true},
        {"a cat <lora:below/v2:1>", false, true},
        {"a cat <lora:ink:0.5>", false, false},
        {"a cat <lora:ink:1:0>", false, false},
        {"a cat <lora:ink:0:1>", false, false},
    };
    kiln_draw_options o = with("a cat");
    kiln_image *plain = tiny_draw(s, &o);
    o = with("a cat <lora:ink:1>");
    kiln_image *full = tiny_draw(s, &o);
    assert_false(same(plain, full));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        o = with(cases[i].prompt);
        kiln_image *picture = tiny_draw(s, &o);
        if (same(picture, plain) != cases[i].as_plain || same(picture, full) != cases[i].as_full)
            fail_msg("'%s' gives an unexpected picture", cases[i].prompt);
        kiln_image_free(picture);
    }
    kiln_image_free(plain);
    kiln_image_free(full);
    kiln_session_free(s);
    assert_int_equal(kiln_model_close(m), KILN_OK);
}

static void by_file_as_by_name(void **state)
{
    (void)state;
    kiln_model *m = tiny_open(2, KILN_PRECISION_F32);
    kiln_session *s = tiny_session(m);
    kiln_draw_options o = with("a cat <lora:ink:0.5:0.25>");
    kiln_image *named = tiny_draw(s, &o);
    char path[200];
    snprintf(path, sizeof path, "%s", in_folder("ink.safetensors"));
    const kiln_lora given = {path, 0.5, 0.25};
    o = with("a cat");
    o.loras = &given;
    o.lora_count = 1;
    kiln_image *filed = tiny_draw(s, &o);
    assert_true(same(named, filed));
    const char *text = kiln_image_text(filed, "parameters");
    assert_non_null(text);
    assert_non_null(strstr(text, "a cat <lora:ink:0.5:0.25>\n"));
    assert_non_null(strstr(text, "Lora hashes: \"ink: "));
    kiln_image_free(named);
    kiln_image_free(filed);
    kiln_session_free(s);
    assert_int_equal(kiln_model_close(m), KILN_OK);
}

static void what_is_wrong_is_said(void **state)
{
    (void)state;
    kiln_model *m = tiny_open(2, KILN_PRECISION_F32);
    kiln_session *s = tiny_session(m);
    static const struct {
        const char *prompt;
        kiln_status status;
        const char *word;
    } cases[] = {{"<lora:gone:1>", KILN_NOT_FOUND, "no LoRA 'gone'"},
                 {"<lora:../ink:1>", KILN_BAD_ARGUMENT, "no name of a LoRA"},
                 {"<lora::1>", KILN_BAD_ARGUMENT, "names no file"},
                 {"<lora:ink:much>", KILN_BAD_ARGUMENT, "no strength"},
                 {"<lora:ink:nan>", KILN_BAD_ARGUMENT, "no strength"},
                 {"<wora:ink:1>", KILN_BAD_ARGUMENT, "only lora and hypernet"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        kiln_draw_options o = with(cases[i].prompt);
        kiln_image *out = NULL;
        assert_refused(kiln_draw(s, &o, &out, err), cases[i].status, cases[i].word);
    }
    kiln_draw_options o = with("a cat");
    kiln_image *out = NULL;
    o.negative = "<lora:ink:1>";
    assert_refused(kiln_draw(s, &o, &out, err), KILN_BAD_ARGUMENT, "negative prompt");
    kiln_map *map = NULL;
    assert_refused(kiln_encode_text(s, "a cat <lora:ink:1>", 1, NULL, &map, err), KILN_UNSUPPORTED,
                   "encoded alone");
    write_lora(in_folder("wide.safetensors"), NULL, 48, 32);
    o = with("<lora:wide:1>");
    assert_refused(kiln_draw(s, &o, &out, err), KILN_MISMATCH, "does not fit the model's weight");
    assert_int_equal(remove(in_folder("wide.safetensors")), 0);
    kiln_session_free(s);
    assert_int_equal(kiln_model_close(m), KILN_OK);
}

/* A model with a LoRA merged draws as the LoRA over the model; and what it has over the base is the LoRA again. */
static void in_and_out_of_a_model(void **state)
{
    (void)state;
    char merged[200], taken[200], ink[200];
    snprintf(merged, sizeof merged, "%s", in_folder("merged.safetensors"));
    snprintf(taken, sizeof taken, "%s", in_folder("taken.safetensors"));
    snprintf(ink, sizeof ink, "%s", in_folder("ink.safetensors"));
    const kiln_lora full = {ink, 1, 1};
    kiln_convert_options c = kiln_convert_defaults();
    c.type = "f32";
    c.loras = &full;
    c.lora_count = 1;
    assert_ok(kiln_convert(TINY_PATH, merged, &c, err));
    kiln_extract_options x = kiln_extract_defaults();
    double error = 1;
    x.rank = 2;
    x.type = "f32";
    assert_ok(kiln_extract_lora(merged, TINY_PATH, taken, &x, &error, err));
    assert_true(error < 1e-3);
    kiln_model *m = tiny_open(2, KILN_PRECISION_F32);
    kiln_session *s = tiny_session(m);
    kiln_image *pictures[2];
    for (int i = 0; i < 2; i++) {
        const kiln_lora l = {i ? taken : ink, 1, 1};
        kiln_draw_options o = with("a cat");
        o.loras = &l;
        o.lora_count = 1;
        pictures[i] = tiny_draw(s, &o);
    }
    const uint8_t *a = kiln_image_pixels(pictures[0]), *b = kiln_image_pixels(pictures[1]);
    for (int i = 0; i < kiln_image_width(pictures[0]) * kiln_image_height(pictures[0]) * 3; i++)
        if (abs((int)a[i] - (int)b[i]) > 1)
            fail_msg("the LoRA that was taken out draws something else");
    kiln_image_free(pictures[0]);
    kiln_image_free(pictures[1]);
    kiln_session_free(s);
    assert_int_equal(kiln_model_close(m), KILN_OK);
    assert_refused(kiln_extract_lora(TINY_PATH, TINY_PATH, taken, &x, NULL, err), KILN_MISMATCH,
                   "does not differ");
    x.rank = 0;
    assert_refused(kiln_extract_lora(merged, TINY_PATH, taken, &x, NULL, err), KILN_BAD_ARGUMENT, "rank");
}

/* Exact where the rank is that of the matrix; never worse than the singular values say where it is not. */
static void nearest_of_a_rank(void **state)
{
    (void)state;
    enum { ROWS = 40, COLUMNS = 23, RANK = 5 };
    float left[ROWS * RANK], right[RANK * COLUMNS], m[ROWS * COLUMNS], up[ROWS * RANK], down[RANK * COLUMNS];
    uint32_t random = 7;
    for (int i = 0; i < ROWS * RANK; i++)
        left[i] = (float)((random = random * 1664525u + 1013904223u) >> 8) / 8388608.0f - 1;
    for (int i = 0; i < RANK * COLUMNS; i++)
        right[i] = (float)((random = random * 1664525u + 1013904223u) >> 8) / 8388608.0f - 1;
    for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < COLUMNS; c++) {
            m[r * COLUMNS + c] = 0;
            for (int k = 0; k < RANK; k++)
                m[r * COLUMNS + c] += left[r * RANK + k] * right[k * COLUMNS + c];
        }
    for (int rank = RANK; rank >= 2; rank -= 3) {
        double kept, whole = 0, lost = 0;
        assert_ok(low_rank_nearest(m, ROWS, COLUMNS, rank, up, down, &kept, err));
        for (int r = 0; r < ROWS; r++)
            for (int c = 0; c < COLUMNS; c++) {
                double sum = 0;
                for (int k = 0; k < rank; k++)
                    sum += (double)up[r * rank + k] * (double)down[k * COLUMNS + c];
                double d = (double)m[r * COLUMNS + c] - sum;
                whole += (double)m[r * COLUMNS + c] * (double)m[r * COLUMNS + c];
                lost += d * d;
            }
        assert_true(fabs(whole - kept - lost) < 1e-4 * whole);
        if (rank == RANK)
            assert_true(lost < 1e-10 * whole);
        else
            assert_true(lost > 1e-3 * whole && lost < 0.7 * whole);
    }
    double kept;
    assert_refused(low_rank_nearest(m, ROWS, COLUMNS, 24, up, down, &kept, err), KILN_BAD_ARGUMENT,
                   "rank 24");
}

/* A word that travels in a LoRA is known where the prompt names the LoRA, without anything else, and only there. */
static void words_in_a_lora(void **state)
{
    (void)state;
    kiln_model *m = tiny_open(1, KILN_PRECISION_F32);
    kiln_session *s = tiny_session(m);
    kiln_image *pictures[5], *out = NULL;
    static const char *const prompts[] = {"a zogg", "a zogg <lora:words:1>", "a zogg", "a cat <lora:words:1>",
                                          "a cat"};
    for (int i = 0; i < 5; i++) {
        kiln_draw_options o = with(prompts[i]);
        pictures[i] = tiny_draw(s, &o);
    }
    assert_false(same(pictures[0], pictures[1]));
    assert_true(same(pictures[0], pictures[2]));
    assert_true(same(pictures[3], pictures[4]));
    const char *text = kiln_image_text(pictures[1], "parameters");
    assert_non_null(strstr(text, "TI hashes: \"zogg: "));
    assert_null(strstr(kiln_image_text(pictures[3], "parameters"), "TI hashes"));
    for (int i = 0; i < 5; i++)
        kiln_image_free(pictures[i]);
    /* The same file as an embedding: the same word, no clash, the same picture. */
    kiln_session_free(s);
    kiln_model_close(m);
    kiln_model_options mo = kiln_model_defaults();
    const char *file = in_folder("words.safetensors");
    mo.threads = 1;
    mo.precision = KILN_PRECISION_F32;
    mo.words.files = &file;
    mo.words.count = 1;
    assert_ok(kiln_model_open(TINY_PATH, &mo, &m, err));
    s = tiny_session(m);
    kiln_draw_options o = with("a zogg"), both = with("a zogg <lora:words:1>");
    kiln_image *by_model = tiny_draw(s, &o), *by_both = tiny_draw(s, &both);
    assert_true(same(by_model, by_both));
    kiln_image_free(by_model);
    kiln_image_free(by_both);
    /* Of another width, it is said when the prompt has it. */
    o = with("a cat <lora:wide:1>");
    by_model = tiny_draw(s, &o);
    kiln_image_free(by_model);
    kiln_session_free(s);
    kiln_model_close(m);
    m = tiny_open(1, KILN_PRECISION_F32);
    s = tiny_session(m);
    o = with("a zogg <lora:wide:1>");
    assert_refused(kiln_draw(s, &o, &out, err), KILN_MISMATCH, "width 48");
    assert_null(out);
    kiln_session_free(s);
    kiln_model_close(m);
}

static void write_line(const char *name, const char *text)
{
    FILE *f = fopen(in_folder(name), "wb");
    assert_non_null(f);
    assert_int_equal(fputs(text, f) >= 0 && fclose(f) == 0, 1);
}

/* Pictures of one batch whose texts name different LoRAs, or none, are those of their texts alone; and so is what comes after. */
static void wildcards_choose_loras(void **state)
{
    (void)state;
    kiln_model *m = tiny_open(1, KILN_PRECISION_F32);
    kiln_session *s = tiny_session(m);
    kiln_templates t = {.wildcards = folder};
    kiln_draw_options o = with("a cat __choice__");
    kiln_image *all[4], *one;
    write_line("choice.txt", "<lora:ink:1>\nplain\n<lora:words:1> zogg\n");
    o.templates = &t;
    o.width = o.height = 32;
    o.steps = 2;
    o.batch = 4;
    o.seed = 4; /* the lines 0, 2, 2 and 1 */
    o.negative = "dog";
    assert_ok(kiln_draw(s, &o, all, err));
    for (int k = 0; k < 4; k++) {
        char *prompt, *negative;
        kiln_draw_options alone = o;
        assert_ok(
            kiln_fill_templates(&t, o.seed + (uint64_t)k, o.prompt, o.negative, &prompt, &negative, err));
        alone.prompt = prompt;
        alone.templates = NULL;
        alone.batch = 1;
        alone.seed = o.seed + (uint64_t)k;
        one = tiny_draw_alone(m, &alone);
        assert_true(same_pixels(all[k], one));
        bool tagged = strstr(kiln_image_text(all[k], "parameters"), "Lora hashes") != NULL;
        assert_int_equal(tagged, strstr(prompt, "<lora:") != NULL);
        kiln_image_free(one);
        kiln_image_free(all[k]);
        free(prompt);
        free(negative);
    }
    /* What the last line names is looked for before the first picture is drawn. */
    write_line("choice.txt", "<lora:ink:1>\n<lora:gone:1>\n<lora:ink:1>\n");
    assert_refused(kiln_draw(s, &o, all, err), KILN_NOT_FOUND, "gone");
    (void)remove(in_folder("choice.txt"));
    kiln_session_free(s);
    assert_int_equal(kiln_model_close(m), KILN_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wildcards_choose_loras), cmocka_unit_test(words_in_a_lora),
        cmocka_unit_test(names_and_strengths),    cmocka_unit_test(by_file_as_by_name),
        cmocka_unit_test(what_is_wrong_is_said),  cmocka_unit_test(in_and_out_of_a_model),
        cmocka_unit_test(nearest_of_a_rank),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
