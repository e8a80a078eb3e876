/* floors: base tensor formats graph ops backend plan nn model text weights diffusion image pipeline
 *
 * test_edit_models.c - models whose UNet takes more than latents: nine channels (inpainting), eight (changes a picture by
 * words), seven (x4 upscaler). The first two are made from the tiny model: where the further channels have no weight, an
 * ordinary drawing has to come of them. */
#include "formats/safetensors.h"
#include "kiln/edit.h"
#include "unit/weights_files.h"

#include "unit/tiny_model.h"

#include <sys/stat.h>

static char folder[64];

static void text_file(const char *name, const char *text)
{
    char path[200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

/* conv_in [16,4,3,3] with more input channels, of weight `further`. */
static void widen(const float *from, int channels, float further, float *to)
{
    for (int o = 0; o < 16; o++)
        for (int c = 0; c < channels; c++)
            for (int k = 0; k < 9; k++)
                to[(o * channels + c) * 9 + k] =
                    c < 4 ? from[(o * 4 + c) * 9 + k] : further * (float)((o * 7 + c * 3 + k) % 5 - 2);
}

static void write_unet(int channels, float further)
{
    char path[200];
    kiln_error err = {0};
    tensor_file *file = must_open(TINY_PATH "/unet/diffusion_pytorch_model.safetensors");
    safetensors_writer *w = NULL;
    snprintf(path, sizeof path, "%s/unet/diffusion_pytorch_model.safetensors", folder);
    assert_int_equal(safetensors_writer_open(path, &w, &err), KILN_OK);
    for (size_t i = 0; i < tensor_file_count(file); i++) {
        const tensor_entry *e = tensor_file_entry(file, i);
        shape s = e->shape;
        if (strcmp(e->name, "conv_in.weight") == 0)
            s.dim[1] = channels;
        assert_int_equal(safetensors_writer_declare(w, e->name, DTYPE_F32, s, &err), KILN_OK);
    }
    for (size_t i = 0; i < tensor_file_count(file); i++) {
        const tensor_entry *e = tensor_file_entry(file, i);
        float *numbers = must_read(file, e->name), wide[16 * 9 * 9];
        bool first = strcmp(e->name, "conv_in.weight") == 0;
        if (first)
            widen(numbers, channels, further, wide);
        size_t count = first ? (size_t)(16 * channels * 9) : (size_t)shape_count(e->shape);
        assert_int_equal(
            safetensors_writer_write(w, e->name, first ? wide : numbers, count * sizeof(float), &err),
            KILN_OK);
        free(numbers);
    }
    assert_int_equal(safetensors_writer_finish(w, &err), KILN_OK);
    tensor_file_close(file);
}

/* The tiny model with a UNet of so many channels. */
static kiln_model *open_wide(int channels, float further)
{
    static const char *const parts[] = {"vae", "text_encoder", "tokenizer", "scheduler", "model_index.json"};
    char path[200], target[400], config[8192] = "", *at;
    kiln_model *m = NULL;
    kiln_model_options o = kiln_model_defaults();
    strcpy(folder, "/tmp/kiln-edit-XXXXXX");
    assert_non_null(mkdtemp(folder));
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, parts[i]);
        snprintf(target, sizeof target, "%s/%s", TINY_PATH, parts[i]);
        assert_int_equal(symlink(target, path), 0);
    }
    snprintf(path, sizeof path, "%s/unet", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    FILE *f = fopen(TINY_PATH "/unet/config.json", "r");
    assert_non_null(f);
    assert_true(fread(config, 1, sizeof config - 1, f) > 100);
    fclose(f);
    at = strstr(config, "\"in_channels\": 4");
    assert_non_null(at);
    at[strlen("\"in_channels\": ")] = (char)('0' + channels);
    text_file("unet/config.json", config);
    write_unet(channels, further);
    o.threads = 1;
    o.precision = KILN_PRECISION_F32;
    assert_ok(kiln_model_open(folder, &o, &m, err));
    return m;
}

static void remove_folder(void)
{
    static const char *const names[] = {"vae",
                                        "text_encoder",
                                        "tokenizer",
                                        "scheduler",
                                        "model_index.json",
                                        "unet/config.json",
                                        "unet/diffusion_pytorch_model.safetensors"};
    char path[200];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        unlink(path);
    }
    snprintf(path, sizeof path, "%s/unet", folder);
    rmdir(path);
    rmdir(folder);
}

/* The largest difference of two 8-bit pictures. */
static int difference(const kiln_image *a, const kiln_image *b)
{
    const uint8_t *p = kiln_image_pixels(a), *q = kiln_image_pixels(b);
    int most = 0;
    assert_int_equal(kiln_image_width(a), kiln_image_width(b));
    for (int i = 0; i < kiln_image_width(a) * kiln_image_height(a) * 3; i++)
        most = abs(p[i] - q[i]) > most ? abs(p[i] - q[i]) : most;
    return most;
}

static kiln_image *paint(kiln_model *m, const kiln_image *picture, const kiln_image *mask,
                         const char *sampler, double weight)
{
    kiln_session *s = tiny_session(m);
    kiln_inpaint_options o = kiln_inpaint_defaults();
    kiln_image *out = NULL;
    o.draw.prompt = "a red door";
    o.draw.steps = 3;
    o.draw.sampler = sampler;
    o.draw.seed = 8;
    o.mask_weight = weight;
    o.mask_blur = 0;
    o.picture = picture;
    o.mask = mask;
    assert_ok(kiln_inpaint(s, &o, &out, err));
    kiln_session_free(s);
    return out;
}

static void nine_channels_are_told_the_mask(void **state)
{
    (void)state;
    kiln_image *picture = tiny_picture(32, 32, 3), *mask = NULL;
    kiln_selection box = {.x = 9, .y = 7, .width = 12, .height = 15};
    assert_ok(kiln_select(picture, &box, &mask, err));
    kiln_model *plain = tiny_open(1, KILN_PRECISION_F32), *blind = open_wide(9, 0);
    kiln_image *a = paint(plain, picture, mask, "Euler", 1), *b = paint(blind, picture, mask, "Euler", 1);
    assert_true(difference(a, b) <= 1);
    kiln_model_close(blind);
    remove_folder();
    kiln_model *seeing = open_wide(9, 0.05f);
    static const char *const samplers[] = {"Euler", "model"};
    for (int k = 0; k < 2; k++) {
        kiln_image *c = paint(seeing, picture, mask, samplers[k], 1),
                   *d = paint(seeing, picture, mask, samplers[k], 0);
        assert_true(difference(a, c) > 1 && difference(c, d) > 0);
        const uint8_t *p = kiln_image_pixels(picture), *q = kiln_image_pixels(c);
        for (int i = 0; i < 32 * 32; i++)
            if (i % 32 < 9 || i % 32 >= 21 || i / 32 < 7 || i / 32 >= 22)
                assert_memory_equal(p + 3 * i, q + 3 * i, 3);
        kiln_image_free(c);
        kiln_image_free(d);
    }
    kiln_model_close(seeing);
    remove_folder();
    kiln_model_close(plain);
    kiln_image_free(a);
    kiln_image_free(b);
    kiln_image_free(mask);
    kiln_image_free(picture);
}

static void eight_channels_change_a_picture(void **state)
{
    (void)state;
    kiln_image *picture = tiny_picture(32, 32, 3), *out = NULL;
    kiln_draw_options o = tiny_options("make it snow", 6);
    kiln_model *plain = tiny_open(1, KILN_PRECISION_F32), *blind = open_wide(8, 0);
    o.init = picture;
    kiln_image *a = tiny_draw_alone(plain, &o), *b = tiny_draw_alone(blind, &o);
    assert_true(difference(a, b) <= 1);
    kiln_model_close(blind);
    remove_folder();
    kiln_model *seeing = open_wide(8, 0.05f);
    kiln_image *c = tiny_draw_alone(seeing, &o);
    o.image_cfg = 3;
    kiln_image *d = tiny_draw_alone(seeing, &o);
    assert_true(difference(a, c) > 1 && difference(c, d) > 0);
    assert_non_null(strstr(kiln_image_text(d, "parameters"), "Image CFG scale: 3"));
    o.init = NULL;
    kiln_session *s = tiny_session(seeing);
    assert_refused(kiln_draw(s, &o, &out, err), KILN_BAD_ARGUMENT, "changes a picture");
    kiln_session_free(s);
    kiln_image_free(a);
    kiln_image_free(b);
    kiln_image_free(c);
    kiln_image_free(d);
    kiln_image_free(picture);
    kiln_model_close(seeing);
    remove_folder();
    kiln_model_close(plain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nine_channels_are_told_the_mask),
        cmocka_unit_test(eight_channels_change_a_picture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
