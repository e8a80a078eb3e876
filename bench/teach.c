/* teach.c - teaching a model from five pictures: what a step takes of time, and what the whole run takes of memory.
 *
 *     bench_teach [--only emoji|sd15] [--method NAME] [--steps N] [--threads N] [--json FILE] [--keep FOLDER]
 *
 * Every method (textual_inversion, hypernetwork, lora, dreambooth) is trained by the library's own trainer, in a process of
 * its own: of the bundled model, and of Stable Diffusion 1.5 at 512x512 with random weights in f16, as people have it (2.1 GB,
 * written for this into a folder for temporary files, or FOLDER, where it is used again). The first step, which plans and
 * encodes, does not count in the time, and everything counts in the memory: opening, hashing, encoding, the steps; resident is
 * the largest set that the system saw (VmHWM). Nothing is saved. */
#include "bench/measure.h"

#include "kiln/kiln.h"
#include "kiln/train.h"

#include "image/picture_file.h"

#include <ftw.h>
#include <math.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

enum { PICTURES = 5, PATH = 1024 };

typedef struct options {
    const char *only, *method, *json, *keep, *one; /* one: a case in this process, of the model in `base` */
    const char *base;
    int steps, threads;
} options;

typedef struct teach_case {
    const char *name, *method, *model;
    const char *recipe; /* lines */
} teach_case;

#define SD15 "resolution=512\ntrain_batch_size=1\ngradient_checkpointing=true\n"
#define EMOJI "resolution=128\ntrain_batch_size=4\n"
#define WORD "placeholder_token=zogg\ninitializer_token=cat\nnum_vectors=4\nlearning_rate=5e-3\n"
#define LORA "network_dim=8\nnetwork_alpha=4\n"
#define DREAM                                                                                                \
    "instance_prompt=a zwx cat\noptimizer=AdamW8bit\nlearning_rate=5e-6\nnum_class_validation_images=0\n"

static const teach_case cases[] = {
    {"emoji-textual_inversion", "textual_inversion", "emoji", EMOJI WORD},
    {"emoji-hypernetwork", "hypernetwork", "emoji", EMOJI},
    {"emoji-lora", "lora", "emoji", EMOJI LORA},
    {"emoji-dreambooth", "dreambooth", "emoji", EMOJI DREAM},
    {"sd15-textual_inversion", "textual_inversion", "sd15", SD15 WORD},
    {"sd15-hypernetwork", "hypernetwork", "sd15", SD15},
    {"sd15-lora", "lora", "sd15", SD15 LORA},
    {"sd15-dreambooth", "dreambooth", "sd15", SD15 DREAM},
};
enum { CASES = sizeof cases / sizeof *cases };

/* ------------------------------------------------------------------------------------ what is trained on */

static int remove_one(const char *path, const struct stat *about, int kind, struct FTW *where)
{
    (void)about;
    (void)kind;
    (void)where;
    return remove(path);
}

/* Five pictures of coloured waves. */
static bool write_pictures(const char *folder, int side)
{
    for (int i = 0; i < PICTURES; i++) {
        char path[PATH + 40];
        kiln_error err;
        image *p = NULL;
        if (image_new(side, side, 3, 8, &p, &err) != KILN_OK)
            return false;
        for (int k = 0; k < side * side * 3; k++) {
            int column = k / 3 % side, row = k / 3 / side, channel = k % 3;
            double wave = sin((double)(column * (i + 1) + row * 3) / 40 + channel);
            ((unsigned char *)p->pixels)[k] = (unsigned char)(128 + 100 * wave);
        }
        snprintf(path, sizeof path, "%s/%d.png", folder, i);
        bool good = image_write(path, p, NULL, NULL, &err) == KILN_OK;
        image_free(p);
        snprintf(path, sizeof path, "%s/%d.txt", folder, i);
        FILE *f = good ? fopen(path, "w") : NULL;
        if (!f)
            return false;
        fprintf(f, "a picture of waves\n");
        fclose(f);
    }
    return true;
}

static bool spawn(char *const list[])
{
    int status = 1;
    pid_t child;
    if (posix_spawn(&child, list[0], NULL, NULL, list, environ) != 0)
        return false;
    return waitpid(child, &status, 0) == child && status == 0;
}

/* The program beside this one writes it. */
static bool write_checkpoint(const char *path)
{
    char self[PATH], program[PATH + 20], kind[] = "sd15", target[PATH];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (access(path, R_OK) == 0)
        return true;
    if (length <= 0)
        return false;
    self[length] = 0;
    snprintf(program, sizeof program, "%.*s/make_checkpoint", (int)(strrchr(self, '/') - self), self);
    snprintf(target, sizeof target, "%s", path);
    return spawn((char *[]){program, kind, target, NULL});
}

/* ------------------------------------------------------------------------------------ one case, in this process */

typedef struct run {
    const teach_case *what;
    const options *options;
    double started, best;
    int64_t trained, all;
    bool bad;
} run;

static void report(const run *r)
{
    double resident = (double)bench_resident();
    printf("%-5s %-18s %9.1f ms/step, %7.3f steps/s; trained %9lld of %10lld parameters; resident %6.2f GB\n",
           r->what->model, r->what->method, r->best * 1e3, 1 / r->best, (long long)r->trained,
           (long long)r->all, resident / 1e9);
    if (r->bad)
        printf("    (the loss is not finite: these random weights overflow)\n");
    fflush(stdout);
    FILE *to = r->options->json ? fopen(r->options->json, "a") : NULL;
    if (!to)
        return;
    fprintf(to,
            "{\"stage\": \"teach %s\", \"step_ms\": %.2f, \"steps_per_second\": %.4f, \"resident\": %.0f}\n",
            r->what->name, r->best * 1e3, 1 / r->best, resident);
    fclose(to);
}

/* Ends the process where the trainer would begin to save: checkpoints of several gigabytes are not what is measured. */
static bool heard(void *user, const kiln_training_event *e)
{
    run *r = user;
    if (e->kind == KILN_TRAINING_INFORMATION || e->kind == KILN_TRAINING_NOTE)
        printf("    %s\n", e->text);
    if (e->kind != KILN_TRAINING_STEP)
        return true;
    double seconds = bench_now() - r->started;
    r->started = bench_now();
    if (e->step > 1)
        r->best = fmin(r->best, seconds);
    r->bad = r->bad || !isfinite(e->loss);
    if (e->step < r->options->steps)
        return true;
    report(r);
    _exit(0);
}

/* In the current folder, which is empty. */
static bool run_one(const options *o, const teach_case *c, kiln_error *err)
{
    run r = {.what = c, .options = o, .best = INFINITY};
    kiln_training_recipe *recipe = NULL;
    kiln_training *t = NULL;
    FILE *f = mkdir("data", 0777) == 0 && write_pictures("data", strcmp(c->model, "sd15") ? 128 : 512)
                  ? fopen("recipe.train", "w")
                  : NULL;
    if (!f)
        return false;
    fprintf(f, "method=%s\nbase=%s\n%strain_data_dir=data\noutput_dir=run\nmax_train_steps=1000000\n",
            c->method, o->base, c->recipe);
    fprintf(f, "threads=%d\nsave_every_n_steps=0\nvalidate_every_n_epochs=0\nplot_every_n_steps=0\n",
            o->threads);
    fclose(f);
    kiln_status status = kiln_training_recipe_read("recipe.train", &recipe, err);
    if (!status)
        status = kiln_training_open(recipe, &(kiln_training_options){.progress = heard, .user = &r}, &t, err);
    kiln_training_recipe_free(recipe);
    if (status)
        return false;
    kiln_training_size(t, &r.trained, &r.all);
    r.started = bench_now();
    return kiln_training_run(t, err) == KILN_OK;
}

/* ------------------------------------------------------------------------------------ all of them */

/* A process in a folder of its own. */
static bool run_alone(const options *o, const teach_case *c, const char *base, const char *temporary)
{
    char folder[PATH], before[PATH], program[] = "/proc/self/exe", steps[16], threads[16];
    bool good = false;
    snprintf(folder, sizeof folder, "%s/kiln-teach-XXXXXX", temporary);
    snprintf(steps, sizeof steps, "%d", o->steps);
    snprintf(threads, sizeof threads, "%d", o->threads);
    if (!mkdtemp(folder) || !getcwd(before, sizeof before) || chdir(folder) != 0)
        return false;
    char one[] = "--one", of[] = "--base", steps_option[] = "--steps", threads_option[] = "--threads",
         json[] = "--json";
    char *list[] = {program, one,  (char *)c->name, of,  (char *)base, steps_option, steps, threads_option,
                    threads, json, (char *)o->json, NULL};
    if (!o->json)
        list[9] = NULL;
    good = spawn(list);
    if (chdir(before) == 0)
        nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return good;
}

static bool run_all(const options *o)
{
    char checkpoint[PATH], bundled[PATH];
    const char *temporary = o->keep ? o->keep : getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp";
    bool good = realpath(BENCH_EMOJI, bundled) != NULL;
    snprintf(checkpoint, sizeof checkpoint, "%s/kiln-random-sd15.safetensors", temporary);
    for (int i = 0; i < CASES; i++) {
        const teach_case *c = &cases[i];
        bool large = strcmp(c->model, "sd15") == 0;
        if ((o->only && strcmp(o->only, c->model) != 0) || (o->method && strcmp(o->method, c->method) != 0))
            continue;
        good = (!large || write_checkpoint(checkpoint)) && good;
        good = run_alone(o, c, large ? checkpoint : bundled, temporary) && good;
    }
    if (!o->keep)
        remove(checkpoint);
    return good;
}

int main(int argc, char **argv)
{
    options o = {.steps = 4};
    kiln_error err = {.text = "the pictures could not be written"};
    for (int i = 1; i + 1 < argc; i += 2) {
        const char *name = argv[i];
        const char **text = strcmp(name, "--only") == 0     ? &o.only
                            : strcmp(name, "--method") == 0 ? &o.method
                            : strcmp(name, "--json") == 0   ? &o.json
                            : strcmp(name, "--keep") == 0   ? &o.keep
                            : strcmp(name, "--one") == 0    ? &o.one
                            : strcmp(name, "--base") == 0   ? &o.base
                                                            : NULL;
        if (text)
            *text = argv[i + 1];
        else if (strcmp(name, "--steps") == 0)
            o.steps = (int)fmax(2, strtod(argv[i + 1], NULL));
        else if (strcmp(name, "--threads") == 0)
            o.threads = (int)strtol(argv[i + 1], NULL, 10);
        else {
            fprintf(stderr, "bench_teach: unknown option %s\n", name);
            return 2;
        }
    }
    if (!o.one)
        return run_all(&o) ? 0 : 1;
    for (int i = 0; i < CASES; i++)
        if (strcmp(cases[i].name, o.one) == 0 && !run_one(&o, &cases[i], &err))
            printf("%-24s failed: %s\n", o.one, err.text);
    return 1;
}
