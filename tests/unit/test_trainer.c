/* floors: base tensor formats graph ops backend plan nn model text weights diffusion image pipeline train */
/* test_trainer.c - trainings of every method begin, learn, and say what is wrong. */
#include "training_case.h"

#include <math.h>

typedef struct watched {
    int64_t steps;
    double first, last; /* means of the first and the last quarter's losses */
    double loss[4000], validation, psnr;
    int samples, saved;
    char note[1024];
} watched;

static bool watch(void *user, const kiln_training_event *e)
{
    watched *w = user;
    if (e->kind == KILN_TRAINING_STEP && w->steps < 4000)
        w->loss[w->steps++] = e->loss;
    if (e->kind == KILN_TRAINING_VALIDATION) {
        w->validation = e->validation_loss;
        w->psnr = e->validation_psnr;
    }
    w->samples += e->kind == KILN_TRAINING_SAMPLED;
    w->saved += e->kind == KILN_TRAINING_SAVED;
    if (e->kind == KILN_TRAINING_NOTE)
        snprintf(w->note, sizeof w->note, "%s", e->text);
    return true;
}

static void summarise(watched *w)
{
    int64_t n = w->steps / 4;
    w->first = w->last = 0;
    for (int64_t i = 0; i < n; i++) {
        w->first += w->loss[i] / (double)n;
        w->last += w->loss[w->steps - 1 - i] / (double)n;
    }
}

/* Run to the end. */
static void run(kiln_training_recipe *r, watched *w)
{
    kiln_training_options o = kiln_training_defaults();
    kiln_training *t = NULL;
    memset(w, 0, sizeof *w);
    o.progress = watch;
    o.user = w;
    train_ok(kiln_training_open(r, &o, &t, err));
    train_ok(kiln_training_run(t, err));
    assert_int_equal(kiln_training_step(t), kiln_training_steps(t));
    kiln_training_close(t);
    kiln_training_recipe_free(r);
    summarise(w);
}

static watched w;

static void text_to_image_learns(void **state)
{
    (void)state;
    training_case c = case_begin(8, 16);
    run(case_recipe(&c, "run", TINY_TEXT_TO_IMAGE, "max_train_steps=80", "learning_rate=3e-3", NULL), &w);
    print_message("text_to_image from nothing: loss %.4f -> %.4f\n", w.first, w.last);
    assert_true(w.last < 0.8 * w.first);
    assert_int_equal(w.saved, 1);
    case_end(&c);
}

static void text_encoder_stays_frozen(void **state)
{
    (void)state;
    training_case c = case_begin(8, 16);
    run(case_recipe(&c, "run", "base=" TINY_MODEL, "resolution=32", "train_batch_size=2",
                    "max_train_steps=12", "learning_rate=1e-3", "optimizer=Lion", "min_snr_gamma=5",
                    "noise_offset=0.05", "prediction_type=v_prediction", "zero_terminal_snr=true",
                    "cache_text_encoder_outputs=true", "gradient_accumulation_steps=2", "ema_decay=0.9",
                    "validation_split=0.3", "validate_every_n_steps=4", "validate_every_n_epochs=0", NULL),
        &w);
    print_message("finetuning: loss %.4f -> %.4f, validation %.4f\n", w.first, w.last, w.validation);
    assert_int_equal(w.steps, 12);
    assert_true(w.validation > 0);
    case_end(&c);
}

/* The folder that a training leaves is a model: it is opened and draws pictures of `side` px. */
static void draws(const training_case *c, int side)
{
    char path[CASE_PATH];
    kiln_model *m = NULL;
    kiln_session *s = NULL;
    kiln_image *drawn = NULL;
    snprintf(path, sizeof path, "%s/run/checkpoints/latest", c->folder);
    kiln_draw_options o = kiln_draw_defaults();
    o.prompt = "a red disc";
    o.steps = 2;
    train_ok(kiln_model_open(path, NULL, &m, err));
    train_ok(kiln_session_new(m, &s, err));
    train_ok(kiln_draw(s, &o, &drawn, err));
    assert_int_equal(kiln_image_width(drawn), side);
    kiln_image_free(drawn);
    kiln_session_free(s);
    kiln_model_close(m);
}

static void scheduler_of(const training_case *c, const char *folder, char text[4096])
{
    char path[2 * CASE_PATH];
    snprintf(path, sizeof path, "%s/%s/checkpoints/latest/scheduler/scheduler_config.json", c->folder,
             folder);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    text[fread(text, 1, 4095, f)] = '\0';
    fclose(f);
}

static void flow_learns(void **state)
{
    (void)state;
    training_case c = case_begin(8, 16);
    run(case_recipe(&c, "run", TINY_PIXEL, "prediction_type=flow", "flow_shift=1.5", "max_train_steps=80",
                    "learning_rate=3e-3", "sample_every_n_steps=80", "sample_steps=4", NULL),
        &w);
    print_message("flow: loss %.4f -> %.4f; %s\n", w.first, w.last, w.note);
    assert_true(w.last < 0.8 * w.first);
    assert_int_equal(w.samples, 1);
    draws(&c, 8);
    char text[4096], base[CASE_PATH];
    scheduler_of(&c, "run", text);
    assert_non_null(strstr(text, "\"FlowMatchEulerDiscreteScheduler\""));
    assert_non_null(strstr(text, "\"shift\": 1.5"));
    /* What goes on from it is of its kind, unless the recipe says another. */
    static watched next;
    snprintf(base, sizeof base, "base=%s/run/checkpoints/latest", c.folder);
    run(case_recipe(&c, "next", TINY_PIXEL, base, "max_train_steps=8", "learning_rate=1e-5", NULL), &next);
    print_message("flow, gone on with: loss %.4f\n", next.first);
    assert_true(next.first < 0.8 * w.first);
    scheduler_of(&c, "next", text);
    assert_non_null(strstr(text, "\"shift\": 1.5"));
    run(case_recipe(&c, "noise", TINY_PIXEL, base, "prediction_type=epsilon", "max_train_steps=1", NULL),
        &next);
    scheduler_of(&c, "noise", text);
    assert_non_null(strstr(text, "\"DDIMScheduler\""));
    case_end(&c);
}

static void pixel_learns(void **state)
{
    (void)state;
    training_case c = case_begin(8, 8);
    run(case_recipe(&c, "run", TINY_PIXEL, "max_train_steps=80", "learning_rate=3e-3",
                    "sample_every_n_steps=80", "sample_steps=4", NULL),
        &w);
    print_message("pixel: loss %.4f -> %.4f; %s\n", w.first, w.last, w.note);
    assert_true(w.last < 0.8 * w.first);
    assert_int_equal(w.samples, 1);
    draws(&c, 8);
    case_end(&c);
}

static void vae_learns(void **state)
{
    (void)state;
    training_case c = case_begin(8, 16);
    run(case_recipe(&c, "run", "method=vae", "resolution=16", "vae.block_out_channels=16, 16",
                    "vae.layers_per_block=1", "vae.norm_num_groups=4", "train_batch_size=4",
                    "max_train_steps=80", "learning_rate=3e-3", "save_every_n_steps=0", "ema_decay=0.9",
                    "sample_every_n_steps=80", NULL),
        &w);
    /* The next training takes it as its VAE; its latents are about as large as noise. */
    char base[CASE_PATH];
    snprintf(base, sizeof base, "vae.base=%s/run/checkpoints/latest", c.folder);
    static watched next;
    run(case_recipe(&c, "next", TINY_TEXT_TO_IMAGE, "max_train_steps=1", base, NULL), &next);
    char path[CASE_PATH], text[4096] = "";
    snprintf(path, sizeof path, "%s/next/checkpoints/latest/vae/config.json", c.folder);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    assert_true(fread(text, 1, sizeof text - 1, f) > 0);
    fclose(f);
    assert_non_null(strstr(text, "\"scaling_factor\": "));
    double factor = strtod(strstr(text, "\"scaling_factor\": ") + 18, NULL);
    assert_true(factor > 0 && fabs(factor - 0.18215) > 1e-4);
    print_message("vae: scaling factor %.4f; loss %.4f -> %.4f; %s\n", factor, w.first, w.last, w.note);
    assert_true(w.last < 0.8 * w.first);
    assert_int_equal(w.samples, 1);
    case_end(&c);
}

/* The figures are the pictures', not the batch's: a rate of 0 leaves the weights as they are. */
static void validation_goes_in_batches(void **state)
{
    (void)state;
    training_case c = case_begin(15, 16);
    double loss[3], psnr[3], pixel[3];
    static const char *const batches[] = {"train_batch_size=1", "train_batch_size=2", "train_batch_size=4"};
    for (int i = 0; i < 3; i++) {
        char run_name[24];
        snprintf(run_name, sizeof run_name, "vae-%d", i);
        run(case_recipe(&c, run_name, "method=vae", "resolution=16", "vae.block_out_channels=16, 16",
                        "vae.layers_per_block=1", "vae.norm_num_groups=4", "max_train_steps=1",
                        "learning_rate=0", "validation_split=0.4", "validate_every_n_steps=1", batches[i],
                        NULL),
            &w);
        loss[i] = w.validation;
        psnr[i] = w.psnr;
        snprintf(run_name, sizeof run_name, "pixel-%d", i);
        run(case_recipe(&c, run_name, TINY_PIXEL, "max_train_steps=1", "learning_rate=0",
                        "validation_split=0.4", "validate_every_n_steps=1", batches[i], NULL),
            &w);
        assert_true(isnan(w.psnr));
        print_message("%s: validation loss %.9g and %.9g, PSNR %.6f dB\n", batches[i], loss[i], w.validation,
                      psnr[i]);
        assert_true(psnr[i] > 0 && psnr[i] < 60);
        assert_true(fabs(loss[i] - loss[0]) < 1e-6 * loss[0] && fabs(psnr[i] - psnr[0]) < 1e-5);
        pixel[i] = w.validation;
        assert_true(fabs(pixel[i] - pixel[0]) < 1e-6 * pixel[0]);
    }
    case_end(&c);
}

/* bf16 products with f32 masters follow the loss of f32. */
static void bf16_follows_f32(void **state)
{
    (void)state;
    training_case c = case_begin(8, 16);
    static watched exact;
    run(case_recipe(&c, "f32", TINY_TEXT_TO_IMAGE, "max_train_steps=24", "learning_rate=3e-3", NULL), &exact);
    run(case_recipe(&c, "bf16", TINY_TEXT_TO_IMAGE, "max_train_steps=24", "learning_rate=3e-3",
                    "mixed_precision=bf16", NULL),
        &w);
    double worst = 0;
    for (int i = 0; i < 24; i++)
        worst = fmax(worst, fabs(w.loss[i] - exact.loss[i]) / exact.loss[i]);
    print_message("bf16 against f32: the loss differs by %.2f%% at most over 24 steps\n", 100 * worst);
    assert_true(worst < 0.05);
    case_end(&c);
}

static void checkpoints_draw(void **state)
{
    (void)state;
    training_case c = case_begin(4, 16);
    run(case_recipe(&c, "run", TINY_TEXT_TO_IMAGE, "max_train_steps=2", "ema_decay=0.9",
                    "save_precision=fp16", NULL),
        &w);
    draws(&c, 16);
    run(case_recipe(&c, "words", TINY_PIXEL, "conditional=true",
                    "text_encoder.tokenizer=" TINY_MODEL "/tokenizer", "text_encoder.hidden_size=16",
                    "text_encoder.num_hidden_layers=1", "text_encoder.num_attention_heads=2",
                    "max_train_steps=2", NULL),
        &w);
    case_end(&c);
}

static void a_loss_that_is_no_number_ends_it(void **state)
{
    (void)state;
    training_case c = case_begin(4, 8);
    kiln_training *t = NULL;
    kiln_training_recipe *r = case_recipe(&c, "run", TINY_PIXEL, "max_train_steps=50", "learning_rate=1e30",
                                          "optimizer=SGD", "max_grad_norm=0", "save_every_n_steps=1", NULL);
    train_ok(kiln_training_open(r, NULL, &t, err));
    train_fails(kiln_training_run(t, err), KILN_BAD_FORMAT, "no longer a number");
    kiln_training_close(t);
    kiln_training_recipe_free(r);
    case_end(&c);
}

/* Opening says what is wrong before any work. */
static void refuses(const training_case *c, kiln_status expected, const char *word, const char *setting)
{
    kiln_training *t = NULL;
    kiln_training_recipe *r = case_recipe(c, "refused", TINY_PIXEL, setting, NULL);
    train_fails(kiln_training_open(r, NULL, &t, err), expected, word);
    assert_null(t);
    kiln_training_recipe_free(r);
}

static void says_what_is_wrong(void **state)
{
    (void)state;
    training_case c = case_begin(2, 8);
    char empty[CASE_PATH], setting[CASE_PATH + 32];
    snprintf(empty, sizeof empty, "%s/empty", c.folder);
    assert_int_equal(mkdir(empty, 0777), 0);
    snprintf(setting, sizeof setting, "train_data_dir=%s", empty);
    refuses(&c, KILN_NOT_FOUND, "no picture", setting);
    refuses(&c, KILN_NOT_FOUND, "nowhere", "train_data_dir=nowhere");
    refuses(&c, KILN_BAD_ARGUMENT, "multiples of", "resolution=9");
    refuses(&c, KILN_BAD_ARGUMENT, "nothing to train", "trainable=no.such.*");
    refuses(&c, KILN_BAD_ARGUMENT, "vae.base", "method=text_to_image");
    refuses(&c, KILN_BAD_FORMAT, "norm_num_groups", "unet.norm_num_groups=5");
    case_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_to_image_learns),
        cmocka_unit_test(text_encoder_stays_frozen),
        cmocka_unit_test(flow_learns),
        cmocka_unit_test(pixel_learns),
        cmocka_unit_test(vae_learns),
        cmocka_unit_test(validation_goes_in_batches),
        cmocka_unit_test(bf16_follows_f32),
        cmocka_unit_test(checkpoints_draw),
        cmocka_unit_test(a_loss_that_is_no_number_ends_it),
        cmocka_unit_test(says_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
