/* floors: base tensor formats graph ops backend plan nn model text weights diffusion image pipeline train */
/* test_train_two_encoders.c - SDXL: both text encoders are part of the step's graph, give the states that they give when
 * drawing, are trained, frozen, saved and gone on with by their own names. */
#include "training_heard.h"

#include <math.h>

#define SDXL_TINY TEST_SHARED "/golden/models/sdxl-tiny"
#define SDXL                                                                                                 \
    "base=" SDXL_TINY, "resolution=32", "train_batch_size=2", "validate_every_n_epochs=0",                   \
        "save_every_n_steps=0", "plot_every_n_steps=0"
#define BOTH SDXL, "train_text_encoder=true", "text_encoder_lr=1e-3", "learning_rate=1e-3"

static bool same_file(const training_case *c, const char *run_a, const char *run_b, const char *file)
{
    const char *const runs[2] = {run_a, run_b};
    char *bytes[2];
    size_t size[2];
    for (int i = 0; i < 2; i++) {
        char path[2 * CASE_PATH];
        snprintf(path, sizeof path, "%s/%s/checkpoints/latest/%s", c->folder, runs[i], file);
        FILE *f = fopen(path, "rb");
        if (!f)
            fail_msg("%s is missing", path);
        fseek(f, 0, SEEK_END);
        size[i] = (size_t)ftell(f);
        rewind(f);
        bytes[i] = malloc(size[i] + 1);
        assert_non_null(bytes[i]);
        assert_int_equal(fread(bytes[i], 1, size[i], f), size[i]);
        fclose(f);
    }
    bool same = size[0] == size[1] && memcmp(bytes[0], bytes[1], size[0]) == 0;
    free(bytes[0]);
    free(bytes[1]);
    return same;
}

#define TEXT_1 "text_encoder/model.safetensors"
#define TEXT_2 "text_encoder_2/model.safetensors"
#define UNET "unet/diffusion_pytorch_model.safetensors"

static bool is_absent(void)
{
    if (access(SDXL_TINY, R_OK) == 0)
        return false;
    print_message("the reference models are not here: skipped\n");
    return true;
}

static void states_are_those_of_drawing(void **state)
{
    (void)state;
    if (is_absent())
        skip();
    training_case c = case_begin(4, 32);
    heard frozen = train(case_recipe(&c, "frozen", SDXL, "max_train_steps=1", NULL), NULL, 0);
    heard both = train(case_recipe(&c, "both", BOTH, "max_train_steps=1", NULL), NULL, 0);
    print_message("loss with states from the session %.7f, from the step's graph %.7f\n", frozen.first,
                  both.first);
    assert_true(fabs(frozen.first - both.first) < 2e-6 * frozen.first);
    assert_false(same_file(&c, "frozen", "both", TEXT_1));
    assert_false(same_file(&c, "frozen", "both", TEXT_2));
    case_end(&c);
}

static void one_of_them_can_be_frozen(void **state)
{
    (void)state;
    if (is_absent())
        skip();
    training_case c = case_begin(4, 32);
    train(case_recipe(&c, "few", BOTH, "frozen=text_encoder_2.*", "max_train_steps=1", "save_precision=fp32",
                      NULL),
          NULL, 0);
    train(case_recipe(&c, "more", BOTH, "frozen=text_encoder_2.*", "max_train_steps=3", "save_precision=fp32",
                      NULL),
          NULL, 0);
    assert_true(same_file(&c, "few", "more", TEXT_2));
    assert_false(same_file(&c, "few", "more", TEXT_1));
    assert_false(same_file(&c, "few", "more", UNET));
    train(case_recipe(&c, "second", BOTH, "train_unet=false", "trainable=text_encoder_2.*",
                      "max_train_steps=2", "save_precision=fp32", NULL),
          NULL, 0);
    assert_false(same_file(&c, "few", "second", TEXT_2));
    case_end(&c);
}

static void it_goes_on_and_draws(void **state)
{
    (void)state;
    if (is_absent())
        skip();
    training_case c = case_begin(4, 32);
    train(case_recipe(&c, "whole", BOTH, "max_train_steps=4", "ema_decay=0.9", NULL), NULL, 0);
    train(case_recipe(&c, "parts", BOTH, "max_train_steps=4", "ema_decay=0.9", "gradient_checkpointing=true",
                      NULL),
          NULL, 2);
    train(case_recipe(&c, "parts", BOTH, "max_train_steps=4", "ema_decay=0.9", NULL), "latest", 0);
    static const char *const files[] = {TEXT_1, TEXT_2, UNET, "training_state/state.safetensors"};
    for (int i = 0; i < 4; i++)
        if (!same_file(&c, "whole", "parts", files[i]))
            fail_msg("%s differs", files[i]);
    char path[CASE_PATH];
    kiln_model *m = NULL;
    kiln_session *s = NULL;
    kiln_image *drawn = NULL;
    snprintf(path, sizeof path, "%s/parts/checkpoints/latest", c.folder);
    kiln_draw_options o = kiln_draw_defaults();
    o.prompt = "a red disc";
    o.steps = 2;
    o.width = o.height = 32;
    train_ok(kiln_model_open(path, NULL, &m, err));
    train_ok(kiln_session_new(m, &s, err));
    train_ok(kiln_draw(s, &o, &drawn, err));
    kiln_image_free(drawn);
    kiln_session_free(s);
    kiln_model_close(m);
    case_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(states_are_those_of_drawing),
        cmocka_unit_test(one_of_them_can_be_frozen),
        cmocka_unit_test(it_goes_on_and_draws),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
