/* floors: base tensor formats graph ops backend plan nn model text weights diffusion image pipeline train */
/* test_train_prior.c - dreambooth: class pictures are drawn, recorded and kept; the loss is that of the subject and that of
 * the class; a run that is killed ends in the same bytes; what is missing is said. */
#include "train/training.h"
#include "training_case.h"

#include <math.h>
#include <signal.h>
#include <sys/wait.h>

#define DREAMBOOTH                                                                                           \
    "method=dreambooth", "base=" TINY_MODEL, "resolution=32", "train_batch_size=2", "learning_rate=1e-3",    \
        "instance_prompt=a photo of sks disc", "class_prompt=a photo of a disc",                             \
        "with_prior_preservation=true", "num_class_images=3", "num_class_validation_images=2",               \
        "class_steps=2", "save_every_n_steps=0", "validate_every_n_epochs=0", "plot_every_n_steps=0"

typedef struct watched {
    double loss[64], of_class; /* by step; the last class loss */
    int steps, drawings;       /* sentences about pictures to be drawn */
    int64_t die_at;            /* after that step, by SIGKILL; 0: never */
    bool die_drawing;
    char said[8192];
} watched;

static watched w;

static bool watch(void *user, const kiln_training_event *e)
{
    watched *to = user;
    if (e->kind == KILN_TRAINING_STEP && to->steps < 64) {
        to->loss[to->steps++] = e->loss;
        if (!isnan(e->class_validation_loss))
            to->of_class = e->class_validation_loss;
        if (e->step == to->die_at)
            kill(getpid(), SIGKILL);
    }
    if (e->kind == KILN_TRAINING_NOTE || e->kind == KILN_TRAINING_INFORMATION) {
        size_t used = strlen(to->said);
        snprintf(to->said + used, sizeof to->said - used, "%s\n", e->text);
        to->drawings += strstr(e->text, "class pictures: drawing") != NULL;
        if (to->die_drawing && strstr(e->text, "class pictures: drawing"))
            kill(getpid(), SIGKILL);
    }
    return true;
}

/* Run to the end; the recipe is freed. */
static kiln_status go(kiln_training_recipe *r, watched *to, kiln_error *err)
{
    kiln_training_options o = {.resume = "latest", .progress = watch, .user = to};
    kiln_training *t = NULL;
    kiln_status status = kiln_training_open(r, &o, &t, err);
    if (!status)
        status = kiln_training_run(t, err);
    kiln_training_close(t);
    kiln_training_recipe_free(r);
    return status;
}

static void train(kiln_training_recipe *r)
{
    w = (watched){0};
    train_ok(go(r, &w, err));
}

static char *read_all(const char *folder, const char *name, size_t *size)
{
    char path[3 * CASE_PATH];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "rb");
    if (!f)
        fail_msg("there is no %s", path);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    long end = ftell(f);
    assert_true(end >= 0);
    rewind(f);
    char *bytes = malloc((size_t)end + 1);
    assert_non_null(bytes);
    *size = fread(bytes, 1, (size_t)end, f);
    bytes[*size] = '\0';
    fclose(f);
    return bytes;
}

static bool same_file(const char *a, const char *b, const char *name)
{
    size_t size_a, size_b;
    char *in_a = read_all(a, name, &size_a), *in_b = read_all(b, name, &size_b);
    bool same = size_a == size_b && memcmp(in_a, in_b, size_a) == 0;
    free(in_a);
    free(in_b);
    return same;
}

static void write_all(const char *folder, const char *name, const char *text)
{
    char path[3 * CASE_PATH];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    fclose(f);
}

#define WEIGHTS "checkpoints/latest/unet/diffusion_pytorch_model.safetensors"
#define STATE "checkpoints/latest/training_state/state.safetensors"

/* The pictures of a case without captions of their own. */
static training_case subject(void)
{
    training_case c = case_begin(5, 32);
    char path[CASE_PATH];
    for (int i = 0; i < 5; i++) {
        snprintf(path, sizeof path, "%s/data/%02d.txt", c.folder, i);
        assert_int_equal(unlink(path), 0);
    }
    return c;
}

static const char *run_folder(const training_case *c, const char *name)
{
    static char path[4][CASE_PATH];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s", c->folder, name);
    return path[turn];
}

/* ------------------------------------------------------------------------------------ the loss */

static void weight_0_is_a_plain_finetune(void **state)
{
    (void)state;
    training_case c = subject();
    train(case_recipe(&c, "plain", DREAMBOOTH, "max_train_steps=4", "with_prior_preservation=false", NULL));
    train(case_recipe(&c, "zero", DREAMBOOTH, "max_train_steps=4", "prior_loss_weight=0", NULL));
    assert_int_equal(access(run_folder(&c, "zero/class"), F_OK), -1); /* of no use */
    train(case_recipe(&c, "one", DREAMBOOTH, "max_train_steps=4", NULL));
    assert_true(same_file(run_folder(&c, "plain"), run_folder(&c, "zero"), WEIGHTS));
    assert_true(same_file(run_folder(&c, "plain"), run_folder(&c, "zero"), STATE));
    assert_false(same_file(run_folder(&c, "plain"), run_folder(&c, "one"), WEIGHTS));
    case_end(&c);
}

/* The loss of one sample alone, unweighted. */
static double loss_of(kiln_training *t, order_sample sample)
{
    step_plan *p;
    char *caption = NULL;
    train_ok(order_caption(t->order, &sample, &caption, err));
    assert_string_equal(caption, sample.regularisation ? "a photo of a disc" : "a photo of sks disc");
    const bool pairs = t->recipe.with_prior_preservation;
    const objective_shape size = {1, sample.height_px, sample.width_px};
    sample.regularisation = false;
    t->recipe.with_prior_preservation = false;
    const char *const captions[] = {caption};
    const objective_batch batch = {.shape = size, .samples = &sample, .captions = captions};
    train_ok(step_plan_get(t, &size, false, &p, err));
    train_ok(t->objective->kind->fill(t->objective, &batch, p->run, err));
    train_ok(plan_run(p->plan, p->run, &t->stop, NULL, NULL, err));
    t->recipe.with_prior_preservation = pairs;
    free(caption);
    return (double)p->loss[0];
}

static void loss_is_the_sum_of_both(void **state)
{
    (void)state;
    training_case c = subject();
    train(case_recipe(&c, "run", DREAMBOOTH, "max_train_steps=1", "prior_loss_weight=0.3", NULL));
    kiln_training *t = NULL;
    kiln_training_recipe *r =
        case_recipe(&c, "by-hand", DREAMBOOTH, "max_train_steps=1", "prior_loss_weight=0.3", NULL);
    train_ok(kiln_training_open(r, NULL, &t, err));
    order_sample samples[4];
    assert_int_equal(order_batch_count(t->order, 2), 4);
    order_batch(t->order, 0, 2, samples);
    double each[4];
    for (int i = 0; i < 4; i++) {
        assert_int_equal(samples[i].regularisation, i >= 2);
        each[i] = loss_of(t, samples[i]);
    }
    double expected = (each[0] + each[1]) / 2 + 0.3 * (each[2] + each[3]) / 2;
    print_message("subject %.5f, class %.5f, together %.7f; the training says %.7f\n",
                  (each[0] + each[1]) / 2, (each[2] + each[3]) / 2, expected, w.loss[0]);
    assert_true(fabs(w.loss[0] - expected) < 2e-6 * expected);
    kiln_training_close(t);
    kiln_training_recipe_free(r);
    case_end(&c);
}

static void what_became_of_the_class_is_told(void **state)
{
    (void)state;
    training_case c = subject();
    size_t size;
    train(case_recipe(&c, "still", DREAMBOOTH, "max_train_steps=2", "learning_rate=0", NULL));
    char *report = read_all(run_folder(&c, "still"), "class-preservation.json", &size);
    assert_non_null(strstr(report, "\"change\": 0.0"));
    assert_non_null(strstr(report, "\"pictures\": 2"));
    free(report);
    assert_non_null(strstr(w.said, "of the base"));
    assert_non_null(strstr(w.said, "(+0.0%)"));
    double still = w.of_class;
    train(case_recipe(&c, "moved", DREAMBOOTH, "max_train_steps=4", "class_validate_every_n_steps=2",
                      "optimizer=SGD", "learning_rate=0.05", NULL));
    assert_true(fabs(w.of_class - still) > 1e-6);
    char *csv = read_all(run_folder(&c, "moved"), "loss.csv", &size);
    assert_non_null(strstr(csv, ",class_validation_loss\n"));
    int measured = 0;
    for (const char *line = strchr(csv, '\n'); line[1]; line = strchr(line + 1, '\n'))
        measured += strchr(line + 1, '\n')[-1] != ',';
    assert_int_equal(measured, 2);
    free(csv);
    case_end(&c);
}

/* ------------------------------------------------------------------------------------ class pictures */

static void pictures_are_kept_while_nothing_changes(void **state)
{
    (void)state;
    training_case c = subject();
    char folder[CASE_PATH], own[3 * CASE_PATH];
    size_t size, again;
    snprintf(folder, sizeof folder, "class_data_dir=%s/class", c.folder);
    train(case_recipe(&c, "a", DREAMBOOTH, "max_train_steps=1", folder, NULL));
    assert_int_equal(w.drawings, 2);
    const char *class = run_folder(&c, "class");
    char *record = read_all(class, "class-pictures.json", &size);
    assert_non_null(strstr(record, "\"count\": 3"));
    assert_non_null(strstr(record, "\"prompt\": \"a photo of a disc\""));
    assert_non_null(strstr(record, "\"sampler\": \"DPM++ 2M\""));
    assert_non_null(strstr(record, "\"base\": \""));
    assert_non_null(strstr(record, "\"class-000002.png\""));
    char *first = read_all(class, "class-000001.png", &size);
    /* Others are drawn into the run's own folder, these stay. */
    train(case_recipe(&c, "b", DREAMBOOTH, "max_train_steps=1", folder, NULL));
    assert_int_equal(w.drawings, 1);
    assert_true(same_file(run_folder(&c, "a"), run_folder(&c, "b"), WEIGHTS));
    /* One is lost, and one was never finished. */
    snprintf(own, sizeof own, "%s/class-000001.png", class);
    assert_int_equal(unlink(own), 0);
    write_all(class, "class-000002.png", "torn");
    char *hash = strstr(strstr(record, "\"class-000002.png\""), "\"sha256\": \"") + 11;
    memmove(hash, hash + 64, strlen(hash + 64) + 1);
    write_all(class, "class-pictures.json", record);
    train(case_recipe(&c, "d", DREAMBOOTH, "max_train_steps=1", folder, NULL));
    assert_non_null(strstr(w.said, "drawing 2 of 'a photo of a disc'"));
    char *second = read_all(class, "class-000001.png", &again);
    assert_int_equal(size, again);
    assert_memory_equal(first, second, size);
    assert_true(same_file(run_folder(&c, "a"), run_folder(&c, "d"), WEIGHTS));
    free(first);
    free(second);
    free(record);
    case_end(&c);
}

static void pictures_are_drawn_anew_for_another_prompt(void **state)
{
    (void)state;
    training_case c = subject();
    char folder[CASE_PATH], aside[3 * CASE_PATH];
    size_t size, again;
    snprintf(folder, sizeof folder, "class_data_dir=%s/class", c.folder);
    train(case_recipe(&c, "a", DREAMBOOTH, "max_train_steps=1", folder, NULL));
    const char *class = run_folder(&c, "class");
    char *before = read_all(class, "class-000000.png", &size);
    case_picture(class, 0, 32); /* the user's own, with a caption: one fewer is drawn */
    write_all(class, "class-000001.png", "painted over");
    train(case_recipe(&c, "b", DREAMBOOTH, "max_train_steps=1", folder, "class_prompt=a drawing of a disc",
                      NULL));
    assert_non_null(strstr(w.said, "another prompt (\"a photo of a disc\")"));
    assert_non_null(strstr(w.said, "drawing 2 of 'a drawing of a disc'"));
    assert_non_null(strstr(w.said, "was changed since it was drawn"));
    snprintf(aside, sizeof aside, "%s/class-000001.png.changed", class);
    assert_int_equal(access(aside, F_OK), 0);
    snprintf(aside, sizeof aside, "%s/class-000002.png", class);
    assert_int_equal(access(aside, F_OK), -1);
    snprintf(aside, sizeof aside, "%s/00.png", class);
    assert_int_equal(access(aside, F_OK), 0);
    char *after = read_all(class, "class-000000.png", &again);
    assert_true(size != again || memcmp(before, after, size) != 0);
    free(before);
    free(after);
    case_end(&c);
}

/* A record is input: it names files of the folder, and no others. */
static void a_strange_record_does_no_harm(void **state)
{
    (void)state;
    training_case c = subject();
    char folder[CASE_PATH];
    snprintf(folder, sizeof folder, "class_data_dir=%s/class", c.folder);
    assert_int_equal(mkdir(run_folder(&c, "class"), 0777), 0);
    write_all(run_folder(&c, "class"), "class-pictures.json",
              "{\"settings\": {}, \"pictures\": {\"../data/00.png\": {\"sha256\": \"\"}, "
              "\"class-000001.png\": 7}}");
    train(case_recipe(&c, "a", DREAMBOOTH, "max_train_steps=1", folder, NULL));
    assert_int_equal(access(run_folder(&c, "data/00.png"), F_OK), 0);
    write_all(run_folder(&c, "class"), "class-pictures.json", "{\"settings\"");
    train(case_recipe(&c, "b", DREAMBOOTH, "max_train_steps=1", folder, NULL));
    assert_non_null(strstr(w.said, "this record cannot be read"));
    case_end(&c);
}

/* Folders as kohya's scripts have them. */
static void kohya_folders_are_understood(void **state)
{
    (void)state;
    training_case c = subject();
    char data[CASE_PATH], reg[CASE_PATH], path[CASE_PATH];
    snprintf(path, sizeof path, "%s/train", c.folder);
    assert_int_equal(mkdir(path, 0777), 0);
    snprintf(reg, sizeof reg, "%s/train/4_a photo of sks disc", c.folder);
    assert_int_equal(rename(run_folder(&c, "data"), reg), 0);
    snprintf(path, sizeof path, "%s/reg", c.folder);
    assert_int_equal(mkdir(path, 0777), 0);
    snprintf(path, sizeof path, "%s/reg/1_a photo of a disc", c.folder);
    assert_int_equal(mkdir(path, 0777), 0);
    for (int i = 0; i < 3; i++) {
        case_picture(path, i, 32);
        char caption[3 * CASE_PATH];
        snprintf(caption, sizeof caption, "%s/%02d.txt", path, i);
        assert_int_equal(unlink(caption), 0);
    }
    snprintf(data, sizeof data, "train_data_dir=%s/train", c.folder);
    snprintf(reg, sizeof reg, "reg_data_dir=%s/reg", c.folder);
    kiln_training *t = NULL;
    kiln_training_recipe *r = case_recipe(&c, "run", DREAMBOOTH, data, reg, "method=text_to_image",
                                          "instance_prompt=", "class_prompt=", "max_train_steps=1", NULL);
    w = (watched){0};
    kiln_training_options o = {.progress = watch, .user = &w};
    train_ok(kiln_training_open(r, &o, &t, err));
    assert_int_equal(w.drawings, 0);
    assert_non_null(strstr(w.said, "is not measured"));
    assert_int_equal(order_samples_per_epoch(t->order), 20);
    order_sample samples[4];
    char *caption = NULL;
    order_batch(t->order, 0, 2, samples);
    train_ok(order_caption(t->order, &samples[0], &caption, err));
    assert_string_equal(caption, "a photo of sks disc");
    free(caption);
    train_ok(order_caption(t->order, &samples[3], &caption, err));
    assert_string_equal(caption, "a photo of a disc");
    free(caption);
    train_ok(kiln_training_run(t, err));
    kiln_training_close(t);
    kiln_training_recipe_free(r);
    case_end(&c);
}

/* ------------------------------------------------------------------------------------ killed */

/* In a process of its own, as every part of this test: threads do not outlive a fork. The signal that ended it, or 0. */
static int go_apart(kiln_training_recipe *r, watched how)
{
    int end = 0;
    fflush(NULL);
    pid_t process = fork();
    if (process == 0) {
        kiln_error err = {0};
        kiln_status status = go(r, &how, &err);
        if (status)
            fprintf(stderr, "%s\n", err.text);
        _exit(status ? 1 : 0);
    }
    assert_int_equal(waitpid(process, &end, 0), process);
    kiln_training_recipe_free(r);
    assert_true(WIFSIGNALED(end) || WEXITSTATUS(end) == 0);
    return WIFSIGNALED(end) ? WTERMSIG(end) : 0;
}

static void killed_it_ends_in_the_same_bytes(void **state)
{
    (void)state;
    training_case c = subject();
#define LONG                                                                                                 \
    DREAMBOOTH, "max_train_steps=6", "save_every_n_steps=2", "train_text_encoder=true", "flip_aug=true",     \
        "random_crop=true", "caption_dropout_rate=0.2", "ema_decay=0.9", "class_validate_every_n_steps=2"
    assert_int_equal(go_apart(case_recipe(&c, "whole", LONG, NULL), (watched){0}), 0);
    assert_int_equal(go_apart(case_recipe(&c, "run", LONG, NULL), (watched){.die_drawing = true}), SIGKILL);
    assert_int_equal(go_apart(case_recipe(&c, "run", LONG, NULL), (watched){.die_at = 1}), SIGKILL);
    assert_int_equal(go_apart(case_recipe(&c, "run", LONG, NULL), (watched){.die_at = 3}), SIGKILL);
    assert_int_equal(access(run_folder(&c, "run/checkpoints/step-00000002"), F_OK), 0);
    assert_int_equal(go_apart(case_recipe(&c, "run", LONG, NULL), (watched){0}), 0);
    const char *whole = run_folder(&c, "whole"), *again = run_folder(&c, "run");
    assert_true(same_file(whole, again, WEIGHTS));
    assert_true(same_file(whole, again, STATE));
    assert_true(same_file(whole, again, "checkpoints/latest/text_encoder/model.safetensors"));
    assert_true(same_file(whole, again, "class/class-000002.png"));
    assert_true(same_file(whole, again, "class-preservation.json")); /* the base's loss was not forgotten */
    case_end(&c);
}

/* ------------------------------------------------------------------------------------ sentences */

static void refuses(const training_case *c, kiln_status expected, const char *word, const char *a,
                    const char *b)
{
    kiln_training_recipe *r = case_recipe(c, "refused", DREAMBOOTH, a, b, NULL);
    train_fails(go(r, &w, err), expected, word);
}

static void what_is_missing_is_said(void **state)
{
    (void)state;
    training_case c = subject();
    char folder[CASE_PATH];
    w = (watched){0};
    refuses(&c, KILN_BAD_ARGUMENT, "method dreambooth needs instance_prompt", "instance_prompt=", NULL);
    refuses(&c, KILN_BAD_ARGUMENT, "with_prior_preservation needs class_prompt", "class_prompt=", NULL);
    refuses(&c, KILN_BAD_ARGUMENT, "are the same", "instance_prompt=a photo of a disc", NULL);
    refuses(&c, KILN_BAD_ARGUMENT, "one of them is enough", "class_data_dir=x", "reg_data_dir=y");
    refuses(&c, KILN_BAD_ARGUMENT, "for methods that learn from words", "method=vae", NULL);
    snprintf(folder, sizeof folder, "class_data_dir=%s/data", c.folder);
    refuses(&c, KILN_BAD_ARGUMENT, "a folder of their own", folder, NULL);
    assert_int_equal(mkdir(run_folder(&c, "empty"), 0777), 0);
    snprintf(folder, sizeof folder, "class_data_dir=%s/empty", c.folder);
    refuses(&c, KILN_NOT_FOUND, "without class_prompt none can be drawn", folder, "class_prompt=");
    refuses(&c, KILN_NOT_FOUND, "num_class_images is 0", folder, "num_class_images=0");
    refuses(&c, KILN_BAD_ARGUMENT, "a model made from nothing cannot draw them", folder, "base=");
    refuses(&c, KILN_NOT_FOUND, "nowhere", "train_data_dir=nowhere", NULL);
    assert_int_equal(w.drawings, 0);
    snprintf(folder, sizeof folder, "%s/bare", c.folder);
    assert_int_equal(mkdir(folder, 0777), 0);
    case_picture(folder, 0, 32);
    snprintf(folder, sizeof folder, "%s/bare/00.txt", c.folder);
    assert_int_equal(unlink(folder), 0);
    snprintf(folder, sizeof folder, "class_data_dir=%s/bare", c.folder);
    refuses(&c, KILN_BAD_FORMAT, "class_prompt gives one to all", folder, "class_prompt=");
    kiln_training_recipe *r = NULL;
    train_ok(kiln_training_recipe_read(NULL, &r, err));
    train_fails(kiln_training_recipe_set(r, "class_promt", "x", err), KILN_BAD_ARGUMENT,
                "did you mean class_prompt?");
    train_fails(kiln_training_recipe_set(r, "with_prior_preservaton", "true", err), KILN_BAD_ARGUMENT,
                "did you mean with_prior_preservation?");
    train_fails(kiln_training_recipe_set(r, "num_class_image", "9", err), KILN_BAD_ARGUMENT,
                "did you mean num_class_images?");
    train_fails(kiln_training_recipe_set(r, "num_class_images", "-1", err), KILN_BAD_ARGUMENT, "from 0");
    kiln_training_recipe_free(r);
    case_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_it_ends_in_the_same_bytes), /* first: before this process has threads */
        cmocka_unit_test(weight_0_is_a_plain_finetune),
        cmocka_unit_test(loss_is_the_sum_of_both),
        cmocka_unit_test(what_became_of_the_class_is_told),
        cmocka_unit_test(pictures_are_kept_while_nothing_changes),
        cmocka_unit_test(pictures_are_drawn_anew_for_another_prompt),
        cmocka_unit_test(a_strange_record_does_no_harm),
        cmocka_unit_test(kohya_folders_are_understood),
        cmocka_unit_test(what_is_missing_is_said),
    };
    return cmocka_run_group_tests_name("train_prior", tests, NULL, NULL);
}
