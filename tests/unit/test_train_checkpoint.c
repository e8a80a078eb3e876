/* floors: base tensor formats graph ops backend plan nn model text weights diffusion image pipeline train */
/* test_train_checkpoint.c - a training that was interrupted ends in the same bytes; what is damaged or changed is told. */
#include "training_case.h"

#include <signal.h>
#include <sys/wait.h>

enum { STEPS = 12 };

#define SMALL                                                                                                \
    TINY_PIXEL, "flip_aug=true", "ema_decay=0.9", "max_train_steps=12", "save_last_n=100",                   \
        "lr_scheduler=cosine", "lr_warmup_steps=2"

typedef struct stopping {
    int64_t after; /* ask to stop when this step is done; 0: never */
    int64_t first; /* the first step that was done; 0: none */
    char notes[2048];
} stopping;

static bool watch(void *user, const kiln_training_event *e)
{
    stopping *s = user;
    if (e->kind == KILN_TRAINING_NOTE)
        snprintf(s->notes + strlen(s->notes), sizeof s->notes - strlen(s->notes), "%s\n", e->text);
    if (e->kind == KILN_TRAINING_STEP && !s->first)
        s->first = e->step;
    return !(e->kind == KILN_TRAINING_STEP && s->after && e->step == s->after);
}

/* Open and run; the status of whichever failed. */
static kiln_status train(kiln_training_recipe *r, const char *resume, bool accept, stopping *s,
                         kiln_error *err)
{
    kiln_training *t = NULL;
    kiln_training_options o = {.resume = resume, .accept_changes = accept, .progress = watch, .user = s};
    kiln_status status = kiln_training_open(r, &o, &t, err);
    if (!status)
        status = kiln_training_run(t, err);
    kiln_training_close(t);
    kiln_training_recipe_free(r);
    return status;
}

static char *read_whole(const char *path, size_t *size)
{
    FILE *f = fopen(path, "rb");
    if (!f)
        fail_msg("%s is missing", path);
    fseek(f, 0, SEEK_END);
    *size = (size_t)ftell(f);
    rewind(f);
    char *bytes = malloc(*size + 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *size, f), *size);
    fclose(f);
    return bytes;
}

static void assert_same_file(const training_case *c, const char *run_a, const char *run_b, const char *file)
{
    char a[2 * CASE_PATH], b[2 * CASE_PATH];
    size_t size_a, size_b;
    snprintf(a, sizeof a, "%s/%s/checkpoints/step-%08d/%s", c->folder, run_a, STEPS, file);
    snprintf(b, sizeof b, "%s/%s/checkpoints/step-%08d/%s", c->folder, run_b, STEPS, file);
    char *bytes_a = read_whole(a, &size_a), *bytes_b = read_whole(b, &size_b);
    if (size_a != size_b || memcmp(bytes_a, bytes_b, size_a) != 0)
        fail_msg("%s and %s differ", a, b);
    free(bytes_a);
    free(bytes_b);
}

/* Model and state of the last step, byte for byte. */
static void assert_same_end(const training_case *c, const char *run_a, const char *run_b)
{
    assert_same_file(c, run_a, run_b, "unet/diffusion_pytorch_model.safetensors");
    assert_same_file(c, run_a, run_b, "training_state/state.safetensors");
}

/* ---- a process of its own, killed with SIGKILL */

static int64_t killed_after;

static bool kill_self(void *user, const kiln_training_event *e)
{
    (void)user;
    if (e->kind == KILN_TRAINING_STEP && e->step == killed_after)
        kill(getpid(), SIGKILL);
    return true;
}

/* This program as "kill FOLDER RUN STEP SETTING". */
static int child(char **argv)
{
    training_case c;
    kiln_training *t = NULL;
    kiln_training_options o = {.progress = kill_self};
    snprintf(c.folder, sizeof c.folder, "%s", argv[2]);
    kiln_training_recipe *r = case_recipe(&c, argv[3], SMALL, argv[5], NULL);
    killed_after = strtol(argv[4], NULL, 10);
    if (kiln_training_open(r, &o, &t, NULL) == KILN_OK)
        (void)!kiln_training_run(t, NULL);
    return 0;
}

/* A training that is killed when step `after` is done; nothing of the parent's threads goes into it. */
static void train_and_kill(const training_case *c, const char *run, int after, const char *setting)
{
    char step[16];
    int how = 0;
    snprintf(step, sizeof step, "%d", after);
    pid_t process = fork();
    if (process == 0) {
        execl("/proc/self/exe", "test_train_checkpoint", "kill", c->folder, run, step, setting, (char *)NULL);
        _exit(1);
    }
    waitpid(process, &how, 0);
    assert_true(WIFSIGNALED(how));
}

static void an_interrupted_training_ends_in_the_same_bytes(void **state)
{
    (void)state;
    training_case c = case_begin(7, 8);
    stopping s = {0};
    train_ok(train(case_recipe(&c, "whole", SMALL, NULL), NULL, false, &s, err));
    for (int k = 1; k <= 7; k += 3) { /* 1, 4, 7 */
        char run[32];
        snprintf(run, sizeof run, "stopped-%d", k);
        stopping at = {.after = k};
        train_fails(train(case_recipe(&c, run, SMALL, NULL), NULL, false, &at, err), KILN_CANCELLED,
                    "stopped after step");
        stopping rest = {0};
        train_ok(train(case_recipe(&c, run, SMALL, NULL), "latest", false, &rest, err));
        assert_int_equal(rest.first, k + 1);
        assert_same_end(&c, "whole", run);
    }
    for (int k = 3; k <= 11; k += 4) { /* 3, 7, 11; checkpoints at 2, 4, 6, ... */
        char run[32];
        snprintf(run, sizeof run, "killed-%d", k);
        train_and_kill(&c, run, k, "save_every_n_steps=2");
        stopping rest = {0};
        train_ok(train(case_recipe(&c, run, SMALL, NULL), "latest", false, &rest, err));
        assert_int_equal(rest.first,
                         k); /* killed before the checkpoint of an even step: back to the one before */
        assert_same_end(&c, "whole", run);
    }
    case_end(&c);
}

static void threads_change_nothing(void **state)
{
    (void)state;
    static const char *const precisions[] = {"mixed_precision=no", "mixed_precision=bf16"};
    training_case c = case_begin(7, 8);
    for (int i = 0; i < 2; i++) {
        char run[3][32];
        for (int threads = 1; threads <= 3; threads++) {
            char setting[32];
            stopping s = {0};
            snprintf(setting, sizeof setting, "threads=%d", threads);
            snprintf(run[threads - 1], sizeof run[0], "threads-%d-%d", i, threads);
            train_ok(train(case_recipe(&c, run[threads - 1], SMALL, setting, precisions[i], NULL), NULL,
                           false, &s, err));
        }
        assert_same_end(&c, run[0], run[1]);
        assert_same_end(&c, run[0], run[2]);
    }
    case_end(&c);
}

static void damage(const training_case *c, const char *file, int step)
{
    char path[2 * CASE_PATH];
    snprintf(path, sizeof path, "%s/run/checkpoints/step-%08d/%s", c->folder, step, file);
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    fseek(f, -5, SEEK_END);
    int byte = fgetc(f);
    fseek(f, -5, SEEK_END);
    fputc(byte ^ 1, f);
    fclose(f);
}

static void a_damaged_checkpoint_is_named_and_the_one_before_used(void **state)
{
    (void)state;
    training_case c = case_begin(7, 8);
    stopping s = {0}, at = {.after = 8};
    train_ok(train(case_recipe(&c, "whole", SMALL, NULL), NULL, false, &s, err));
    train_fails(train(case_recipe(&c, "run", SMALL, "save_every_n_steps=4", NULL), NULL, false, &at, err),
                KILN_CANCELLED, "step 8");
    damage(&c, "training_state/state.safetensors", 8);
    train_ok(train(case_recipe(&c, "run", SMALL, NULL), "latest", false, &s, err));
    assert_non_null(strstr(s.notes, "step-00000008: damaged: 'training_state/state.safetensors'"));
    assert_same_end(&c, "whole", "run");
    damage(&c, "unet/diffusion_pytorch_model.safetensors", STEPS);
    damage(&c, "unet/diffusion_pytorch_model.safetensors", 4);
    train_fails(train(case_recipe(&c, "run", SMALL, NULL), "latest", false, &s, err), KILN_BAD_FORMAT,
                "damaged");
    case_end(&c);
}

static void changes_are_refused_unless_accepted(void **state)
{
    (void)state;
    training_case c = case_begin(6, 8);
    char data[CASE_PATH];
    stopping s = {0}, at = {.after = 3};
    train_fails(train(case_recipe(&c, "run", SMALL, NULL), NULL, false, &at, err), KILN_CANCELLED, "step 3");
    train_fails(train(case_recipe(&c, "run", SMALL, NULL), NULL, false, &s, err), KILN_BAD_ARGUMENT,
                "resume");
    train_fails(train(case_recipe(&c, "run", SMALL, "optimizer=Lion", NULL), "latest", false, &s, err),
                KILN_MISMATCH, "AdamW");
    train_fails(train(case_recipe(&c, "run", SMALL, "frozen=conv_in.*", NULL), "latest", false, &s, err),
                KILN_MISMATCH, "other parameters");
    train_fails(train(case_recipe(&c, "run", SMALL, "unet.base=" TINY_MODEL, NULL), "latest", false, &s, err),
                KILN_MISMATCH, "base");
    snprintf(data, sizeof data, "%s/data", c.folder);
    case_picture(data, 6, 8);
    train_fails(train(case_recipe(&c, "run", SMALL, NULL), "latest", false, &s, err), KILN_MISMATCH,
                "pictures or captions");
    train_ok(train(case_recipe(&c, "run", SMALL, NULL), "latest", true, &s, err));
    case_end(&c);
}

static bool there_is(const training_case *c, const char *name)
{
    char path[2 * CASE_PATH];
    snprintf(path, sizeof path, "%s/run/checkpoints/%s", c->folder, name);
    return access(path, F_OK) == 0;
}

static void the_last_and_the_best_are_kept(void **state)
{
    (void)state;
    training_case c = case_begin(8, 8);
    stopping s = {0};
    train_ok(train(case_recipe(&c, "run", SMALL, "save_every_n_steps=2", "save_last_n=2",
                               "validation_split=0.3", "validate_every_n_steps=1", NULL),
                   NULL, false, &s, err));
    assert_true(there_is(&c, "step-00000012"));
    assert_false(there_is(&c, "step-00000002/unet") && there_is(&c, "step-00000004/unet") &&
                 there_is(&c, "step-00000006/unet"));
    assert_true(there_is(&c, "best/training_state/state.safetensors"));
    assert_true(there_is(&c, "latest/model_index.json"));
    assert_false(there_is(&c, ".unfinished"));
    case_end(&c);
}

/* The checkpoint that a run went on from is read until its end: later ones must not be without its tokenizer. */
static void a_resumed_run_keeps_what_it_reads(void **state)
{
    (void)state;
    training_case c = case_begin(6, 16);
    stopping s = {0}, at = {.after = 2};
    train_fails(
        train(case_recipe(&c, "run", TINY_TEXT_TO_IMAGE, "max_train_steps=6", NULL), NULL, false, &at, err),
        KILN_CANCELLED, "step 2");
    train_ok(train(case_recipe(&c, "run", TINY_TEXT_TO_IMAGE, "max_train_steps=6", "save_every_n_steps=1",
                               "save_last_n=1", NULL),
                   "latest", false, &s, err));
    assert_true(there_is(&c, "step-00000006/tokenizer/vocab.json"));
    assert_true(there_is(&c, "step-00000006/vae/config.json"));
    assert_false(there_is(&c, "step-00000005"));
    case_end(&c);
}

/* A second run in the same folder would write over the first one's. */
static void one_run_at_a_time(void **state)
{
    (void)state;
    training_case c = case_begin(4, 8);
    kiln_training *t = NULL;
    kiln_training_recipe *r = case_recipe(&c, "run", SMALL, NULL);
    train_ok(kiln_training_open(r, NULL, &t, err));
    fflush(NULL);
    pid_t process = fork();
    if (process == 0) {
        kiln_training *other = NULL;
        _exit(kiln_training_open(r, NULL, &other, NULL) == KILN_BUSY ? 0 : 1);
    }
    int how = 1;
    waitpid(process, &how, 0);
    assert_true(WIFEXITED(how) && WEXITSTATUS(how) == 0);
    kiln_training_close(t);
    kiln_training_recipe_free(r);
    case_end(&c);
}

int main(int argc, char **argv)
{
    if (argc == 6 && strcmp(argv[1], "kill") == 0)
        return child(argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_interrupted_training_ends_in_the_same_bytes),
        cmocka_unit_test(threads_change_nothing),
        cmocka_unit_test(a_damaged_checkpoint_is_named_and_the_one_before_used),
        cmocka_unit_test(changes_are_refused_unless_accepted),
        cmocka_unit_test(the_last_and_the_best_are_kept),
        cmocka_unit_test(a_resumed_run_keeps_what_it_reads),
        cmocka_unit_test(one_run_at_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
