/* test_embedding.c - embeddings in every layout: read, refused, written, and read back, by Kiln and by torch.
 * floors: base tensor formats image */
#include "formats/embedding.h"
#include "formats/safetensors.h"
#include "formats/torch_write.h"
#include "image/embedding_picture.h"
#include "image/picture_file.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define REAL TEST_SHARED "/real/embeddings/"
#define PNG TEST_SHARED "/real/embeddings_png/"
#define GOLDEN TEST_SHARED "/golden/grads/"

static void need(const char *path)
{
    if (access(path, R_OK) != 0) {
        print_message("%s is not here: skipped\n", path);
        skip();
    }
}

static embedding_list open_good(const char *path)
{
    embedding_list list;
    kiln_error err = {0};
    if (embedding_open(path, &list, &err))
        fail_msg("%s", err.text);
    return list;
}

static void expect_refused(const char *path, kiln_status status, const char *word)
{
    embedding_list list;
    kiln_error err = {0};
    assert_int_equal(embedding_open(path, &list, &err), status);
    assert_null(list.items);
    if (!strstr(err.text, word))
        fail_msg("'%s' does not say '%s'", err.text, word);
    print_message("%s\n", err.text);
}

static bool same(const embedding *a, const embedding *b)
{
    bool equal = a->vectors == b->vectors;
    for (int k = 0; k < EMBEDDING_ENCODERS && equal; k++)
        equal = a->width[k] == b->width[k] &&
                (!a->width[k] || memcmp(a->values[k], b->values[k],
                                        (size_t)a->vectors * (size_t)a->width[k] * sizeof(float)) == 0);
    return equal;
}

/* ------------------------------------------------------------------------------------ real files */

static void test_real_files(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        int vectors, width, width_2;
        const char *name, *token, *dialect;
    } files[] = {
        {REAL "EasyNegative.pt", 8, 768, 0, NULL, NULL, "kohya"},
        {REAL "EasyNegative.safetensors", 8, 768, 0, NULL, NULL, "kohya"},
        {REAL "bad-artist-anime.pt", 2, 768, 0, "bad-artist-2", NULL, "A1111"},
        {REAL "bad-artist.pt", 2, 768, 0, NULL, NULL, "A1111"},
        {REAL "bad-prompt.pt", 16, 768, 0, NULL, NULL, "A1111"},
        {REAL "bad_prompt_version2.pt", 8, 768, 0, NULL, NULL, "A1111"},
        {REAL "badhandv4.pt", 6, 768, 0, NULL, NULL, "A1111"},
        {REAL "birch_rinongal_mps_embeddings.pt", 1, 768, 0, NULL, NULL, "original (textual_inversion)"},
        {REAL "fastai_learned_embeds.bin", 1, 768, 0, NULL, "<birb-style>", "diffusers"},
        {REAL "soejrd_learned_embeds.bin", 1, 768, 0, NULL, "<sjoerd>", "diffusers"},
        {REAL "ttekcor_learned_embeds.safetensors", 1, 768, 0, NULL, "<detail-schemas>", "diffusers"},
        {REAL "gasai_yuno-1000.pt", 8, 768, 0, "gasai yuno", NULL, "A1111"},
        {REAL "gasai_yuno-10000.pt", 8, 768, 0, "gasai yuno", NULL, "A1111"},
        {REAL "myPuppet768.pt", 1, 768, 1280, NULL, NULL, "XL-Textual-Inversion"},
        {PNG "gasai_yuno-1000.png", 8, 768, 0, "gasai yuno", NULL, "A1111 picture"},
        {PNG "gasai_yuno-10000.png", 8, 768, 0, "gasai yuno", NULL, "A1111 picture"},
        {PNG "a1111_test_embedding.png", 8, 768, 0, NULL, NULL, "A1111 picture"},
        {GOLDEN "embedding_a1111.pt", 2, 32, 0, NULL, NULL, "A1111"},
        {GOLDEN "learned_embeds.bin", 1, 32, 0, NULL, "<oracle>", "diffusers"},
        {GOLDEN "embedding.safetensors", 2, 32, 0, NULL, NULL, "kohya"},
    };
    need(REAL "EasyNegative.pt");
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        embedding_list list = open_good(files[i].path);
        const embedding *e = list.items;
        print_message(
            "%s: %d of %d, %d; name %s, token %s, step %lld, on %s (%s); %s\n", files[i].path, e->vectors,
            e->width[0], e->width[1], e->name ? e->name : "-", e->token ? e->token : "-", (long long)e->step,
            e->checkpoint_name ? e->checkpoint_name : "-", e->checkpoint ? e->checkpoint : "-", e->dialect);
        assert_int_equal(list.count, 1);
        assert_int_equal(e->vectors, files[i].vectors);
        assert_int_equal(e->width[0], files[i].width);
        assert_int_equal(e->width[1], files[i].width_2);
        assert_string_equal(e->dialect, files[i].dialect);
        assert_string_equal(e->token ? e->token : "-", files[i].token ? files[i].token : "-");
        if (files[i].name)
            assert_string_equal(e->name ? e->name : "-", files[i].name);
        embedding_list_fini(&list);
    }
}

static void test_twins(void **state)
{
    (void)state;
    static const char *const twins[][2] = {
        {REAL "EasyNegative.pt", REAL "EasyNegative.safetensors"},
        {REAL "gasai_yuno-1000.pt", PNG "gasai_yuno-1000.png"},
        {REAL "gasai_yuno-10000.pt", PNG "gasai_yuno-10000.png"},
        {GOLDEN "embedding_a1111.pt", GOLDEN "embedding.safetensors"},
    };
    need(REAL "EasyNegative.pt");
    for (size_t i = 0; i < sizeof twins / sizeof *twins; i++) {
        embedding_list a = open_good(twins[i][0]), b = open_good(twins[i][1]);
        assert_true(same(a.items, b.items));
        embedding_list_fini(&a);
        embedding_list_fini(&b);
    }
}

/* The pictures' pixels alone say the same as their texts. */
static void test_pixels_alone(void **state)
{
    (void)state;
    static const char *const pictures[] = {PNG "gasai_yuno-1000.png", PNG "gasai_yuno-10000.png",
                                           PNG "a1111_test_embedding.png"};
    need(pictures[0]);
    for (size_t i = 0; i < 3; i++) {
        kiln_error err = {0};
        image *p = NULL;
        embedding e = {0};
        bool found = false;
        embedding_list list = open_good(pictures[i]);
        assert_int_equal(image_read(pictures[i], &p, NULL, &err), KILN_OK);
        if (embedding_of_picture(p, NULL, pictures[i], &found, &e, &err))
            fail_msg("%s", err.text);
        assert_true(found);
        assert_true(same(&e, list.items));
        embedding_fini(&e);
        embedding_list_fini(&list);
        image_free(p);
    }
}

static void test_real_refusals(void **state)
{
    (void)state;
    need(REAL "empty.pt");
    expect_refused(REAL "empty.pt", KILN_BAD_FORMAT, "no tensors at all");
    expect_refused(REAL "aesthetic_aivazovsky.pt", KILN_BAD_FORMAT, "holds no embedding");
    expect_refused(REAL "aesthetic_laion_7plus.pt", KILN_BAD_FORMAT, "holds no embedding");
    expect_refused(REAL "allmyPuppet768.pt", KILN_BAD_FORMAT, "holds 11 embeddings");
    expect_refused(TEST_SHARED "/golden/grads/lora_kohya.safetensors", KILN_BAD_FORMAT, "LoRA");
    expect_refused(REAL "not-there.pt", KILN_NOT_FOUND, "not-there");
}

/* ------------------------------------------------------------------------------------ made files */

static char folder[64];

static const char *in_folder(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/kiln-embedding-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    char command[96];
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    return system(command);
}

typedef struct made_tensor {
    const char *name;
    shape shape;
    float first;
} made_tensor;

static void make_file(const char *path, int count, const made_tensor *tensors)
{
    safetensors_writer *w;
    kiln_error err = {0};
    assert_int_equal(safetensors_writer_open(path, &w, &err), KILN_OK);
    for (int i = 0; i < count; i++)
        assert_int_equal(safetensors_writer_declare(w, tensors[i].name, DTYPE_F32, tensors[i].shape, &err),
                         KILN_OK);
    for (int i = 0; i < count; i++) {
        size_t bytes = (size_t)shape_count(tensors[i].shape) * sizeof(float);
        float *values = calloc(1, bytes + 1);
        assert_non_null(values);
        if (bytes)
            values[0] = tensors[i].first;
        assert_int_equal(safetensors_writer_write(w, tensors[i].name, values, bytes, &err), KILN_OK);
        free(values);
    }
    if (safetensors_writer_finish(w, &err))
        fail_msg("%s", err.text);
}

static void test_made_refusals(void **state)
{
    (void)state;
    static const struct {
        kiln_status status;
        const char *says;
        int count;
        made_tensor tensors[2];
    } cases[] = {
        {KILN_BAD_FORMAT, "NaN", 1, {{"emb_params", {2, {2, 8}}, NAN}}},
        {KILN_BAD_FORMAT, "NaN or infinity", 1, {{"<word>", {1, {8}}, INFINITY}}},
        {KILN_BAD_FORMAT, "is empty", 1, {{"emb_params", {2, {0, 8}}, 0}}},
        {KILN_BAD_FORMAT, "at most 75", 1, {{"emb_params", {2, {76, 8}}, 0}}},
        {KILN_BAD_FORMAT, "[vectors,width]", 1, {{"emb_params", {3, {1, 2, 8}}, 0}}},
        {KILN_BAD_FORMAT, "2 embeddings", 2, {{"<one>", {1, {8}}, 0}, {"<two>", {1, {8}}, 0}}},
        {KILN_BAD_FORMAT, "clip_g) only", 1, {{"clip_g", {2, {1, 1280}}, 0}}},
        {KILN_BAD_FORMAT,
         "the other text encoder's has",
         2,
         {{"clip_l", {2, {1, 8}}, 0}, {"clip_g", {2, {2, 8}}, 0}}},
        {KILN_BAD_FORMAT, "a second tensor", 2, {{"clip_l", {2, {1, 8}}, 0}, {"emb_params", {2, {1, 8}}, 0}}},
        {KILN_UNSUPPORTED, "Stable Diffusion 3", 2, {{"clip_l", {2, {1, 8}}, 0}, {"t5xxl", {2, {1, 8}}, 0}}},
        {KILN_BAD_FORMAT,
         "holds no embedding",
         2,
         {{"a.weight", {2, {1, 8}}, 0}, {"b.weight", {2, {1, 8}}, 0}}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        make_file(in_folder("bad.safetensors"), cases[i].count, cases[i].tensors);
        expect_refused(in_folder("bad.safetensors"), cases[i].status, cases[i].says);
    }
}

static void test_in_a_lora(void **state)
{
    (void)state;
    static const made_tensor bundle[] = {
        {"lora_unet_mid_block_attentions_0_proj_in.lora_down.weight", {2, {4, 8}}, 1},
        {"bundle_emb.a.word.string_to_param.*", {2, {3, 8}}, 2},
        {"bundle_emb.pair.clip_g", {2, {2, 16}}, 3},
        {"bundle_emb.pair.clip_l", {2, {2, 8}}, 4},
    };
    make_file(in_folder("lora.safetensors"), 4, bundle);
    embedding_list list = open_good(in_folder("lora.safetensors"));
    assert_int_equal(list.count, 2);
    const embedding *a = &list.items[0], *pair = &list.items[1];
    assert_string_equal(a->name, "a.word");
    assert_int_equal(a->vectors, 3);
    assert_true(a->values[0][0] == 2);
    assert_string_equal(pair->name, "pair");
    assert_int_equal(pair->vectors, 2);
    assert_true(pair->values[0][0] == 4 && pair->values[1][0] == 3 && pair->width[1] == 16);
    embedding_list_fini(&list);
    static const made_tensor pivotal[] = {{"unet:0:down", {2, {4, 8}}, 1},
                                          {"unet:0:up", {2, {8, 4}}, 1},
                                          {"<s1>", {1, {8}}, 5},
                                          {"<s2>", {1, {8}}, 6}};
    make_file(in_folder("lora.safetensors"), 4, pivotal);
    list = open_good(in_folder("lora.safetensors"));
    assert_int_equal(list.count, 2);
    assert_string_equal(list.items[0].token, "<s1>");
    assert_true(list.items[1].values[0][0] == 6);
    embedding_list_fini(&list);
}

/* ------------------------------------------------------------------------------------ writing */

static embedding example(bool pair)
{
    embedding e = {.step = 100};
    const int width[2] = {32, pair ? 48 : 0};
    assert_int_equal(embedding_allocate(&e, 3, width, NULL), KILN_OK);
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < 3 * width[k]; i++)
            e.values[k][i] = (float)(sin(i * 1.7 + k) / 3);
    e.values[0][5] = 1e-38f;
    e.values[0][6] = -0.0f;
    return e;
}

static const struct {
    embedding_layout layout;
    const char *file, *dialect, *pair_dialect;
} layouts[] = {
    {EMBEDDING_A1111, "word.pt", "A1111", "kohya SDXL"},
    {EMBEDDING_KOHYA, "word-kohya.safetensors", "kohya", "kohya SDXL"},
    {EMBEDDING_DIFFUSERS, "word-diffusers.safetensors", "diffusers", "kohya SDXL"},
};

static void test_written_files(void **state)
{
    (void)state;
    for (int pair = 0; pair < 2; pair++) {
        embedding e = example(pair);
        const embedding_note note = {"modelspec.title", "word"};
        for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++) {
            kiln_error err = {0};
            const char *path = in_folder(layouts[i].file);
            if (embedding_write(&e, layouts[i].layout, "<word>", &note, 1, path, &err))
                fail_msg("%s", err.text);
            embedding_list list = open_good(path);
            assert_true(same(list.items, &e));
            assert_string_equal(list.items->dialect, pair ? layouts[i].pair_dialect : layouts[i].dialect);
            if (!pair && layouts[i].layout == EMBEDDING_A1111) {
                assert_string_equal(list.items->name, "<word>");
                assert_int_equal(list.items->step, 100);
            }
            if (!pair && layouts[i].layout == EMBEDDING_DIFFUSERS)
                assert_string_equal(list.items->token, "<word>");
            embedding_list_fini(&list);
        }
        embedding_fini(&e);
    }
}

static const char torch_program[] =
    "/usr/bin/python3 -c '\n"
    "import sys, math, json, struct, base64, zlib\n"
    "try:\n"
    "    import torch, numpy as np\n"
    "    from PIL import Image\n"
    "except ImportError:\n"
    "    sys.exit(77)\n"
    "f = sys.argv[1] + \"/\"\n"
    "pt = torch.load(f + \"word.pt\")\n"
    "v = pt[\"string_to_param\"][\"*\"]\n"
    "assert v.shape == (3, 32) and pt[\"step\"] == 100 and pt[\"name\"] == \"<word>\"\n"
    "assert pt[\"string_to_token\"] == {\"*\": 265} and pt[\"sd_checkpoint\"] is None\n"
    "def tensors(path):\n"
    "    b = open(path, \"rb\").read()\n"
    "    n, = struct.unpack(\"<Q\", b[:8])\n"
    "    h = json.loads(b[8:8 + n])\n"
    "    h.pop(\"__metadata__\")\n"
    "    return {k: torch.tensor(np.frombuffer(b[8 + n + t[\"data_offsets\"][0]:8 + n + "
    "t[\"data_offsets\"][1]],\n"
    "            np.float32).reshape(t[\"shape\"])) for k, t in h.items()}\n"
    "assert torch.equal(tensors(f + \"word-kohya.safetensors\")[\"emb_params\"], v)\n"
    "assert torch.equal(tensors(f + \"word-diffusers.safetensors\")[\"<word>\"], v)\n"
    "p = Image.open(f + \"word.png\")\n"
    "j = json.loads(base64.b64decode(p.text[\"sd-ti-embedding\"]))\n"
    "t = torch.tensor(j[\"string_to_param\"][\"*\"][\"TORCHTENSOR\"], dtype=torch.float32)\n"
    "assert torch.equal(t, v) and j[\"name\"] == \"<word>\"\n"
    "a = np.array(p.convert(\"RGB\")).astype(np.uint8)\n"
    "lit = (a > 0).all(2)\n"
    "c, r = np.where(lit.any(0))[0], np.where(lit.any(1))[0]\n"
    "a = a[r[0]:r[-1] + 1, c[0]:c[-1] + 1] & 15\n"
    "black = np.where(a.sum((0, 2)) == 0)[0]\n"
    "low, high = a[:, :black.min()], a[:, black.max() + 1:]\n"
    "def unmask(b):\n"
    "    s, m = 0, []\n"
    "    for i in range(b.size):\n"
    "        s = (1664525 * s + 1013904223) % 2**32\n"
    "        m.append(s % 255 & 15)\n"
    "    return b.flatten() ^ np.array(m, np.uint8)\n"
    "j2 = json.loads(zlib.decompressobj().decompress((unmask(high) << 4 | unmask(low)).tobytes()))\n"
    "assert j2 == j\n"
    "torch.save({\"string_to_token\": {\"*\": 265}, \"string_to_param\": torch.nn.ParameterDict({\"*\": "
    "v})}, f + \"theirs.pt\")\n"
    "torch.save({\"<theirs>\": v[0].half()}, f + \"theirs.bin\")\n"
    "' ";

static image *front_picture(void)
{
    image *p = NULL;
    assert_int_equal(image_new(96, 80, 3, 8, &p, NULL), KILN_OK);
    for (int i = 0; i < 96 * 80 * 3; i++)
        ((unsigned char *)p->pixels)[i] = (unsigned char)(i * 7);
    return p;
}

static void test_written_pictures(void **state)
{
    (void)state;
    embedding e = example(false), pair = example(true);
    image *front = front_picture(), *made = NULL;
    picture_text *texts = picture_text_new();
    kiln_error err = {0};
    if (embedding_to_picture(&e, "<word>", front, &made, texts, &err))
        fail_msg("%s", err.text);
    assert_int_equal(image_write(in_folder("word.png"), made, texts, NULL, &err), KILN_OK);
    embedding_list list = open_good(in_folder("word.png"));
    assert_true(same(list.items, &e));
    assert_string_equal(list.items->name, "<word>");
    embedding_list_fini(&list);
    /* Without the text, and as a WebP without loss. */
    const image_write_options lossless = {.lossless = true};
    assert_int_equal(image_write(in_folder("bare.png"), made, NULL, NULL, &err), KILN_OK);
    assert_int_equal(image_write(in_folder("bare.webp"), made, NULL, &lossless, &err), KILN_OK);
    for (int i = 0; i < 2; i++) {
        list = open_good(in_folder(i ? "bare.webp" : "bare.png"));
        assert_true(same(list.items, &e));
        embedding_list_fini(&list);
    }
    image_free(made);
    assert_int_equal(image_write(in_folder("plain.png"), front, NULL, NULL, &err), KILN_OK);
    expect_refused(in_folder("plain.png"), KILN_NOT_FOUND, "without an embedding");
    assert_int_equal(embedding_to_picture(&pair, "word", front, &made, texts, &err), KILN_UNSUPPORTED);
    assert_null(made);
    picture_text_free(texts);
    image_free(front);
    embedding_fini(&e);
    embedding_fini(&pair);
}

static void test_damaged_texts(void **state)
{
    (void)state;
    static const char *const texts[] = {"?!", "AAAA", "e30=", /* {} */
                                        "eyJzdHJpbmdfdG9fcGFyYW0iOnsiKiI6eyJUT1JDSFRFTlNPUiI6W119fX0="};
    image *front = front_picture();
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        picture_text *list = picture_text_new();
        kiln_error err = {0};
        embedding e = {0};
        bool found = false;
        assert_int_equal(picture_text_add(list, "sd-ti-embedding", texts[i], &err), KILN_OK);
        assert_int_equal(embedding_of_picture(front, list, "x.png", &found, &e, &err), KILN_BAD_FORMAT);
        print_message("%s\n", err.text);
        assert_null(e.values[0]);
        picture_text_free(list);
    }
    image_free(front);
}

/* Runs after the tests that write: reads what they left, and writes files for Kiln. */
static void test_torch(void **state)
{
    (void)state;
    char command[sizeof torch_program + 96];
    embedding e = example(false);
    assert_int_equal(embedding_write(&e, EMBEDDING_A1111, "<word>", NULL, 0, in_folder("word.pt"), NULL),
                     KILN_OK);
    for (size_t i = 1; i < 3; i++)
        assert_int_equal(
            embedding_write(&e, layouts[i].layout, "<word>", NULL, 0, in_folder(layouts[i].file), NULL),
            KILN_OK);
    snprintf(command, sizeof command, "%s'%s'", torch_program, folder);
    int status = system(command);
    if (access("/usr/bin/python3", X_OK) != 0 || status == 77 << 8) {
        embedding_fini(&e);
        print_message("no torch here: skipped\n");
        skip();
    }
    assert_int_equal(status, 0);
    embedding_list list = open_good(in_folder("theirs.pt"));
    assert_true(same(list.items, &e));
    embedding_list_fini(&list);
    list = open_good(in_folder("theirs.bin"));
    assert_int_equal(list.items->vectors, 1);
    assert_string_equal(list.items->token, "<theirs>");
    for (int i = 0; i < 32; i++)
        assert_true(fabsf(list.items->values[0][i] - e.values[0][i]) < 2e-4f);
    embedding_list_fini(&list);
    embedding_fini(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_real_files),    cmocka_unit_test(test_twins),
        cmocka_unit_test(test_pixels_alone),  cmocka_unit_test(test_real_refusals),
        cmocka_unit_test(test_made_refusals), cmocka_unit_test(test_in_a_lora),
        cmocka_unit_test(test_written_files), cmocka_unit_test(test_written_pictures),
        cmocka_unit_test(test_damaged_texts), cmocka_unit_test(test_torch),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
