/* train.c - `kiln train`: run a recipe; go on with one that was interrupted. */
#include "commands.h"
#include "help.h"
#include "interrupt.h"
#include "message.h"

#include <kiln/train.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { SETTINGS = 256 };

typedef struct train_values {
    const char *resume, *output, *from;
    bool accept_changes, show, quiet;
} train_values;

static const option train_options[] = {
    {"resume", 'r', OPTION_TEXT, offsetof(train_values, resume), "WHICH", NULL, 0, 0, NULL,
     "go on from 'latest', or from the folder of a checkpoint"},
    {"output", 'o', OPTION_TEXT, offsetof(train_values, output), "DIR", "the recipe's output_dir", 0, 0, NULL,
     "the folder of the run"},
    {"from", 0, OPTION_TEXT, offsetof(train_values, from), "WHAT", NULL, 0, 0, NULL,
     "instead of RECIPE: repeat what made this .safetensors or .pt, checkpoint or run's folder"},
    {"accept-changes", 0, OPTION_FLAG, offsetof(train_values, accept_changes), NULL, NULL, 0, 0, NULL,
     "resume although pictures, captions or the base have changed"},
    {"show", 0, OPTION_FLAG, offsetof(train_values, show), NULL, NULL, 0, 0, NULL,
     "print the resolved recipe and end"},
    {"quiet", 'q', OPTION_FLAG, offsetof(train_values, quiet), NULL, NULL, 0, 0, NULL, "no line of progress"},
    /* Cut out before the table is read, because it may be written many times. */
    {"set", 's', OPTION_TEXT, 0, "KEY=VALUE", NULL, 0, 0, NULL,
     "set a key of the recipe; may be written many times"},
    {0},
};

/* ------------------------------------------------------------------------------------ --set */

typedef struct settings {
    const char *pair[SETTINGS];
    int count;
} settings;

/* Move every --set out of the arguments; returns how many are left, or -1 after complaining. */
static int take_settings(int argc, char **argv, settings *s)
{
    int left = 0;
    for (int i = 0; i < argc; i++) {
        const char *pair = NULL;
        if (strcmp(argv[i], "--set") == 0 || strcmp(argv[i], "-s") == 0)
            pair = i + 1 < argc ? argv[++i] : "";
        else if (strncmp(argv[i], "--set=", 6) == 0)
            pair = argv[i] + 6;
        if (!pair) {
            argv[left++] = argv[i];
            continue;
        }
        if (!strchr(pair, '=') || pair[0] == '=') {
            complain_usage("--set needs KEY=VALUE, not '%s'", pair);
            return -1;
        }
        if (s->count == SETTINGS) {
            complain_usage("--set may be written %d times", SETTINGS);
            return -1;
        }
        s->pair[s->count++] = pair;
    }
    return left;
}

static kiln_status apply_settings(kiln_training_recipe *r, const settings *s, const train_values *v,
                                  kiln_error *err)
{
    kiln_status status = KILN_OK;
    for (int i = 0; i < s->count && status == KILN_OK; i++) {
        const char *equals = strchr(s->pair[i], '=');
        char *key = strndup(s->pair[i], (size_t)(equals - s->pair[i]));
        if (!key)
            return KILN_NO_MEMORY;
        status = kiln_training_recipe_set(r, key, equals + 1, err);
        free(key);
    }
    if (status == KILN_OK && v->output)
        status = kiln_training_recipe_set(r, "output_dir", v->output, err);
    return status;
}

/* ------------------------------------------------------------------------------------ progress */

typedef struct train_view {
    bool quiet, terminal, shown;
    int64_t told; /* step of the last line where there is no terminal */
} train_view;

static void clear_line(train_view *view)
{
    if (view->shown)
        fputs("\r\033[K", stderr);
    view->shown = false;
}

static void show_step(train_view *view, const kiln_training_event *e)
{
    struct winsize size;
    if (view->quiet)
        return;
    if (view->terminal) {
        int columns = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
        fprintf(stderr, "\r%.*s\033[K", columns - 1, e->line);
        view->shown = true;
    } else if (e->step >= view->told + (e->steps + 99) / 100 || e->step == e->steps) {
        fprintf(stderr, "%s\n", e->line);
        view->told = e->step;
    }
    fflush(stderr);
}

static void show_validation(const kiln_training_event *e)
{
    fprintf(stderr, "step %lld  validation loss %.5f", (long long)e->step, e->validation_loss);
    if (!isnan(e->validation_psnr))
        fprintf(stderr, "  PSNR %.2f dB", e->validation_psnr);
    fputs("\n", stderr);
}

static bool on_event(void *user, const kiln_training_event *e)
{
    train_view *view = user;
    if (e->kind == KILN_TRAINING_STEP) {
        show_step(view, e);
        return !interrupt_seen();
    }
    clear_line(view);
    if (e->kind == KILN_TRAINING_VALIDATION)
        show_validation(e);
    else if (e->kind == KILN_TRAINING_NOTE)
        warn("%s", e->text);
    else if (e->kind == KILN_TRAINING_INFORMATION && !view->quiet)
        fprintf(stderr, "%s\n", e->text);
    else if (!view->quiet)
        fprintf(stderr, "%s %s\n", e->kind == KILN_TRAINING_SAVED ? "saved" : "drew", e->text);
    return !interrupt_seen();
}

/* ------------------------------------------------------------------------------------ the command */

static int show_recipe(const kiln_training_recipe *r)
{
    kiln_error err = {0};
    char *text = NULL;
    if (kiln_training_recipe_text(r, &text, &err) != KILN_OK)
        return complain_error(&err);
    fputs(text, stdout);
    free(text);
    return EXIT_OK;
}

static int train(const kiln_training_recipe *r, const train_values *v)
{
    kiln_error err = {0};
    kiln_training *t = NULL;
    train_view view = {.quiet = v->quiet, .terminal = isatty(STDERR_FILENO)};
    kiln_training_options o = kiln_training_defaults();
    o.resume = v->resume;
    o.accept_changes = v->accept_changes;
    o.progress = on_event;
    o.user = &view;
    kiln_status status = kiln_training_open(r, &o, &t, &err);
    if (status == KILN_OK && !v->quiet) {
        int64_t trained, all;
        kiln_training_size(t, &trained, &all);
        fprintf(stderr, "training %.2f M of %.2f M parameters, step %lld of %lld\n", (double)trained * 1e-6,
                (double)all * 1e-6, (long long)kiln_training_step(t), (long long)kiln_training_steps(t));
    }
    bool done = status == KILN_OK && kiln_training_step(t) >= kiln_training_steps(t);
    if (done && !v->quiet)
        fprintf(stderr, "nothing is left to do; --set max_train_steps=N with a larger N goes on\n");
    if (status == KILN_OK)
        status = kiln_training_run(t, &err);
    if (view.shown)
        fputs("\n", stderr);
    kiln_training_close(t);
    if (status == KILN_CANCELLED) {
        complain("%s; --resume latest goes on", err.text);
        return EXIT_STOPPED;
    }
    return status == KILN_OK ? EXIT_OK : complain_error(&err);
}

static int run(const command *c, int argc, char **argv)
{
    train_values values = {0};
    settings given = {.count = 0};
    arguments found;
    kiln_error err = {0};
    kiln_training_recipe *r = NULL;
    argc = take_settings(argc, argv, &given);
    if (argc < 0)
        return EXIT_USAGE;
    int status = arguments_parse(c, argc, argv, &values, &found);
    if (status)
        return status;
    if (found.help) {
        help_command(c);
        return EXIT_OK;
    }
    if ((found.count > 0) == (values.from != NULL)) {
        complain_usage(values.from ? "--from stands in place of a recipe" : "a recipe is missing");
        return EXIT_USAGE;
    }
    interrupt_watch(NULL);
    if (kiln_training_recipe_read(values.from ? values.from : found.plain[0], &r, &err) != KILN_OK ||
        apply_settings(r, &given, &values, &err) != KILN_OK)
        status = complain_error(&err);
    else
        status = values.show ? show_recipe(r) : train(r, &values);
    kiln_training_recipe_free(r);
    return status;
}

static void print_keys(void)
{
    kiln_training_key key;
    const char *heading = "";
    printf("\nKeys of a recipe (key = value, # begins a comment):\n");
    for (int i = 0; kiln_training_key_at(i, &key); i++) {
        if (strcmp(heading, key.heading) != 0)
            printf("\n  %s\n", key.heading);
        heading = key.heading;
        printf("    %-32s %s", key.name, key.help);
        printf("%s%s%s", key.choices ? " (" : "", key.choices ? key.choices : "", key.choices ? ")" : "");
        printf("%s%s%s\n", key.standard[0] ? " [" : "", key.standard, key.standard[0] ? "]" : "");
    }
}

const command train_command = {
    .name = "train",
    .summary = "train a model from a recipe, from nothing or from a base",
    .usage = "RECIPE|--from WHAT [options]",
    .about = "The recipe is a text file of 'key = value' lines. Everything that comes of it lies in its "
             "output_dir: checkpoints that\n"
             "'kiln draw' takes as models, the losses and their plot, sample pictures. Ctrl-C saves and "
             "stops; --resume latest goes on.",
    .plain_minimum = 0,
    .plain_maximum = 1,
    .plain_name = "a recipe",
    .options = train_options,
    .more_print = print_keys,
    .run = run,
};
