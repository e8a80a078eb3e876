/* floors: base tensor formats graph ops backend plan nn model text weights diffusion image pipeline train
 * wraps: pwrite64 write fwrite fputs fflush fsync fclose rename mkdir symlink unlink remove rmdir open64 fopen64 mkstemp64 ftruncate64 fchmod
 *
 * test_train_killed.c - a training that is killed (SIGKILL) at any call that changes a file goes on and ends in the same
 * bytes; nothing that it leaves behind is taken for whole, and the next run removes it.
 *
 * The linker leads every such call of the library to this file, which counts them. For each number there is a process that
 * kills itself at that call: before it, or, where bytes are written, after half of them. */
#include "training_case.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/wait.h>

enum { STEPS = 4, CALLS_MAX = 100000 };

#if defined(__SANITIZE_ADDRESS__)
enum { STRIDE_SAVING = 23, STRIDE_BEGINNING = 61 };
#else
enum { STRIDE_SAVING = 1, STRIDE_BEGINNING = 7 };
#endif

/* ------------------------------------------------------------------------------------ the calls */

static bool counting;
static int calls, deadly; /* 0: none */

/* Whether this call is the one. */
static bool now(void)
{
    return counting && ++calls == deadly;
}

static void die(void)
{
    kill(getpid(), SIGKILL);
}

#define WRAP(type, name, parameters, arguments)                                                              \
    type __real_##name parameters;                                                                           \
    type __wrap_##name parameters;                                                                           \
    type __wrap_##name parameters                                                                            \
    {                                                                                                        \
        if (now())                                                                                           \
            die();                                                                                           \
        return __real_##name arguments;                                                                      \
    }

WRAP(int, fputs, (const char *text, FILE *to), (text, to))
WRAP(int, fflush, (FILE * to), (to))
WRAP(int, fsync, (int file), (file))
WRAP(int, fclose, (FILE * file), (file))
WRAP(int, rename, (const char *from, const char *to), (from, to))
WRAP(int, mkdir, (const char *path, mode_t mode), (path, mode))
WRAP(int, symlink, (const char *target, const char *path), (target, path))
WRAP(int, unlink, (const char *path), (path))
WRAP(int, remove, (const char *path), (path))
WRAP(int, rmdir, (const char *path), (path))
WRAP(int, mkstemp64, (char *name), (name))
WRAP(int, ftruncate64, (int file, off_t size), (file, size))
WRAP(int, fchmod, (int file, mode_t mode), (file, mode))

/* Only what makes or empties a file. */
FILE *__real_fopen64(const char *path, const char *mode);
FILE *__wrap_fopen64(const char *path, const char *mode);
FILE *__wrap_fopen64(const char *path, const char *mode)
{
    if (mode[0] != 'r' && now())
        die();
    return __real_fopen64(path, mode);
}

int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & O_CREAT ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    if (flags & O_CREAT && now())
        die();
    return __real_open64(path, flags, mode);
}

ssize_t __real_pwrite64(int file, const void *bytes, size_t size, off_t at);
ssize_t __wrap_pwrite64(int file, const void *bytes, size_t size, off_t at);
ssize_t __wrap_pwrite64(int file, const void *bytes, size_t size, off_t at)
{
    if (now()) {
        (void)!__real_pwrite64(file, bytes, size / 2, at);
        die();
    }
    return __real_pwrite64(file, bytes, size, at);
}

ssize_t __real_write(int file, const void *bytes, size_t size);
ssize_t __wrap_write(int file, const void *bytes, size_t size);
ssize_t __wrap_write(int file, const void *bytes, size_t size)
{
    if (now()) {
        (void)!__real_write(file, bytes, size / 2);
        die();
    }
    return __real_write(file, bytes, size);
}

size_t __real_fwrite(const void *bytes, size_t size, size_t count, FILE *to);
size_t __wrap_fwrite(const void *bytes, size_t size, size_t count, FILE *to);
size_t __wrap_fwrite(const void *bytes, size_t size, size_t count, FILE *to)
{
    if (now()) {
        (void)!__real_fwrite(bytes, size, count / 2, to);
        __real_fflush(to);
        die();
    }
    return __real_fwrite(bytes, size, count, to);
}

/* ------------------------------------------------------------------------------------ one process */

/* What a process says by its exit status. */
enum { WENT_WELL = 0, FAILED = 1, NAMED_DAMAGE = 2 };

typedef struct sitting {
    int kill_at;        /* the call, counted from... */
    int64_t after_step; /* ...when this step was done; -1: the beginning */
    int64_t stop_after; /* ask to stop when this step is done; 0: never */
    bool damage;        /* a checkpoint was called damaged */
    kiln_error err;
} sitting;

static bool watch(void *user, const kiln_training_event *e)
{
    sitting *s = user;
    if (e->kind == KILN_TRAINING_NOTE && strstr(e->text, "damaged"))
        s->damage = true;
    if (e->kind == KILN_TRAINING_STEP && e->step == s->after_step)
        counting = true;
    return !(e->kind == KILN_TRAINING_STEP && e->step == s->stop_after);
}

#define SMALL                                                                                                \
    TINY_PIXEL, "flip_aug=true", "ema_decay=0.9", "max_train_steps=4", "lr_scheduler=cosine",                \
        "save_last_n=1", "unet.block_out_channels=8", "unet.attention=0", "unet.mid_block=none"

static int sit(const training_case *c, const char *run, sitting *s)
{
    kiln_training *t = NULL;
    kiln_training_options o = {.resume = "latest", .progress = watch, .user = s};
    kiln_training_recipe *r = case_recipe(c, run, SMALL, "save_every_n_steps=2", NULL);
    calls = 0;
    deadly = s->kill_at;
    counting = s->after_step < 0;
    kiln_status status = kiln_training_open(r, &o, &t, &s->err);
    if (!status)
        status = kiln_training_run(t, &s->err);
    kiln_training_close(t);
    kiln_training_recipe_free(r);
    counting = false;
    return s->damage                                                          ? NAMED_DAMAGE
           : status == KILN_OK || (status == KILN_CANCELLED && s->stop_after) ? WENT_WELL
                                                                              : FAILED;
}

/* In a process of its own; how it ended, as waitpid says. */
static int sit_apart(const training_case *c, const char *run, sitting s)
{
    int how = 0;
    fflush(NULL);
    pid_t process = fork();
    if (process == 0) {
        int end = sit(c, run, &s);
        if (end == FAILED)
            fprintf(stderr, "%s\n", s.err.text);
        _exit(end);
    }
    assert_int_equal(waitpid(process, &how, 0), process);
    return how;
}

static bool was_killed(int how)
{
    return WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL;
}

static bool went_well(int how)
{
    return WIFEXITED(how) && WEXITSTATUS(how) == WENT_WELL;
}

/* ------------------------------------------------------------------------------------ what is there afterwards */

static void run_command(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void run_command(const char *format, ...)
{
    char line[4 * CASE_PATH];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (system(line) != 0)
        fail_msg("%s", line);
}

static void no_leftovers(const char *folder)
{
    static const char *const bad[] = {".unfinished", ".removed", ".replaced", ".tmp",
                                      ".part",       ".latest",  ".best"};
    DIR *d = opendir(folder);
    assert_non_null(d);
    for (const struct dirent *e = readdir(d); e; e = readdir(d))
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
            if (strstr(e->d_name, bad[i]))
                fail_msg("%s/%s was left behind", folder, e->d_name);
    closedir(d);
}

/* The end is that of a training that was never killed, and all that lies there is whole. */
static void check_end(const training_case *c, const char *run)
{
    char folder[CASE_PATH], checkpoints[2 * CASE_PATH], target[64] = "";
    snprintf(folder, sizeof folder, "%s/%s", c->folder, run);
    snprintf(checkpoints, sizeof checkpoints, "%s/checkpoints", folder);
    no_leftovers(folder);
    no_leftovers(checkpoints);
    snprintf(checkpoints, sizeof checkpoints, "%s/checkpoints/latest", folder);
    assert_true(readlink(checkpoints, target, sizeof target - 1) > 0);
    assert_string_equal(target, "step-00000004");
    /* All but the recipe, which has the name of its run. */
    run_command(
        "test $(wc -l <%s/loss.csv) = %d && cd %s && sha256sum -c --quiet checksums.sha256 &&"
        " grep -v recipe.txt checksums.sha256 >../sums &&"
        " grep -v recipe.txt ../../../whole/checkpoints/step-00000004/checksums.sha256 | cmp - ../sums",
        folder, STEPS + 1, checkpoints);
}

/* Kill at every `stride`-th call from where the template's training goes on, each in a fresh copy of the template. */
static int kill_everywhere(const training_case *c, const char *template, int64_t after_step, int stride)
{
    int call = 1;
    for (; call < CALLS_MAX; call += stride) {
        if (template)
            run_command("cd %s && rm -rf run && cp -RP %s run", c->folder, template);
        else
            run_command("rm -rf %s/run", c->folder);
        int how = sit_apart(c, "run", (sitting){.kill_at = call, .after_step = after_step});
        if (!was_killed(how) && !went_well(how))
            fail_msg("call %d: ended with %#x", call, how);
        if (!was_killed(how))
            return call;
        how = sit_apart(c, "run", (sitting){.kill_at = 0});
        if (!went_well(how))
            fail_msg("killed at call %d, it did not go on well: %#x", call, how);
        check_end(c, "run");
    }
    fail_msg("there are more than %d calls", CALLS_MAX);
    return call;
}

static void begin(training_case *c)
{
    *c = case_begin(7, 8);
    assert_true(went_well(sit_apart(c, "whole", (sitting){.kill_at = 0})));
}

static void killed_while_saving(void **state)
{
    (void)state;
    training_case c;
    begin(&c);
    assert_true(went_well(sit_apart(&c, "half", (sitting){.stop_after = 2})));
    int count = kill_everywhere(&c, "half", STEPS, STRIDE_SAVING);
    print_message("killed at each %d. of %d calls while the last checkpoint was saved\n", STRIDE_SAVING,
                  count - 1);
    assert_true(count > 100);
    case_end(&c);
}

static void killed_from_the_beginning(void **state)
{
    (void)state;
    training_case c;
    begin(&c);
    int count = kill_everywhere(&c, NULL, -1, STRIDE_BEGINNING);
    print_message("killed at each %d. of %d calls of a whole training\n", STRIDE_BEGINNING, count - 1);
    assert_true(count > 300);
    case_end(&c);
}

/* A kill between the two renames of a checkpoint that takes the place of one of its step. */
static void a_checkpoint_that_gave_way_comes_back(void **state)
{
    (void)state;
    training_case c;
    begin(&c);
    run_command(
        "cd %s/whole/checkpoints && mv step-00000004 step-00000004.replaced && mkdir .unfinished .removed",
        c.folder);
    assert_true(went_well(sit_apart(&c, "whole", (sitting){.kill_at = 0})));
    run_command("cp -RP %s/whole %s/run", c.folder, c.folder);
    check_end(&c, "run");
    case_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(killed_while_saving),
        cmocka_unit_test(killed_from_the_beginning),
        cmocka_unit_test(a_checkpoint_that_gave_way_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
