/* draw.c - `kiln draw`: pictures from a prompt.
 *
 * In this order, so that nothing is found wrong after the long work that could have been found before it: the
 * command line, the recipe of --like, the places to write to, the files to read, the model, the plan of memory. */
#include "commands.h"
#include "draw_options.h"
#include "help.h"
#include "interrupt.h"
#include "message.h"
#include "output.h"
#include "progress.h"
#include "recipe.h"

#include <stdlib.h>
#include <string.h>

/* Everything that one drawing holds. */
typedef struct drawing {
    arguments arguments;
    draw_values values;
    kiln_draw_options options;
    kiln_recipe *recipe; /* of --like */
    kiln_image *init;
    kiln_map *condition, *negative_condition;
    open_model open;
    FILE *trace;
    progress_view view;
    kiln_image **pictures;
} drawing;

static int read_map(const char *path, kiln_map **out)
{
    kiln_error err = {0};
    if (kiln_map_load(path, out, &err) != KILN_OK)
        return complain_error(&err);
    if (strcmp(kiln_map_kind(*out), "conditioning") == 0)
        return EXIT_OK;
    complain("%s: holds %s, and a drawing needs conditioning (as 'kiln encode \"a text\"' writes)", path,
             kiln_map_kind(*out));
    return EXIT_FAILED;
}

static int read_inputs(drawing *d)
{
    kiln_error err = {0};
    const draw_values *v = &d->values;
    if (v->init && kiln_image_read(v->init, &d->init, &err) != KILN_OK)
        return complain_error(&err);
    int status = v->condition ? read_map(v->condition, &d->condition) : EXIT_OK;
    if (status == EXIT_OK && v->negative_condition)
        status = read_map(v->negative_condition, &d->negative_condition);
    return status;
}

/* A LoRA is an error in this version, wherever it is named: a tag that is silently dropped gives another picture than
 * the one asked for. */
static int refuse_lora(const draw_values *v)
{
    if (v->lora) {
        FILE *file = fopen(v->lora, "rb");
        if (!file)
            complain("%s: no such LoRA file", v->lora);
        else
            complain("%s: LoRA is not applied in this version", v->lora);
        if (file)
            fclose(file);
        return EXIT_FAILED;
    }
    const char *const texts[] = {v->prompt, v->negative};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const char *tag = texts[i] ? strstr(texts[i], "<lora:") : NULL;
        if (tag && strchr(tag, '>')) {
            complain("LoRA is not applied in this version: take %.*s out of the prompt",
                     (int)(strchr(tag, '>') - tag + 1), tag);
            return EXIT_FAILED;
        }
    }
    return EXIT_OK;
}

/* Read the command line; with --like once more, over the recipe. */
static int read_command_line(drawing *d, const command *c, int argc, char **argv)
{
    d->options = kiln_draw_defaults();
    d->values = draw_values_of(&d->options);
    d->values.prompt = NULL;
    int status = arguments_parse(c, argc, argv, &d->values, &d->arguments);
    if (status || d->arguments.help)
        return status;
    if (d->values.like) {
        const char *path = d->values.like;
        status = recipe_read(path, &d->recipe, NULL);
        if (status)
            return status;
        kiln_recipe_apply(d->recipe, &d->options);
        d->values = draw_values_of(&d->options);
        d->values.seed.random = kiln_recipe_field(d->recipe, "Seed") == NULL;
        d->values.model.precision = recipe_precision(d->recipe);
        status = arguments_parse(c, argc, argv, &d->values, &d->arguments);
        if (!status && recipe_needs_picture(d->recipe) && !d->values.init)
            return complain_usage(
                "%s was drawn from another picture, which it does not carry: name it with --init", path);
    }
    if (!status && d->arguments.count)
        d->values.prompt = d->arguments.plain[0];
    return status;
}

static int check_command_line(const drawing *d)
{
    const draw_values *v = &d->values;
    if (d->arguments.count && arguments_given(&d->arguments, "prompt"))
        return complain_usage("the prompt is given twice: as '%s' and with --prompt", d->arguments.plain[0]);
    if (!v->prompt && !v->condition)
        return complain_usage("what to draw? kiln draw \"a lighthouse at dusk\" [options]");
    if (arguments_given(&d->arguments, "strength") && !v->init)
        return complain_usage("--strength says how far to leave the picture of --init, and there is none");
    int status = refuse_lora(v);
    if (status == EXIT_OK && !model_path(&v->model))
        status = EXIT_USAGE;
    return status;
}

static int check_outputs(const drawing *d)
{
    const draw_values *v = &d->values;
    int status = output_check_pictures(v->output, v->batch);
    if (status == EXIT_OK && v->preview)
        status = output_check_pictures(v->preview, 1);
    return status;
}

static void write_trace(void *user, const kiln_trace *t)
{
    FILE *file = user;
    fprintf(file, "%s\t%s\t%s\t", t->path, t->op, t->kernel);
    for (int i = 0; i < t->rank; i++)
        fprintf(file, "%s%lld", i ? "x" : "", (long long)t->shape[i]);
    fprintf(file, "\t%.1f\t%g\t%g\t%g\t%lld\n", t->microseconds, t->minimum, t->mean, t->maximum,
            (long long)t->not_finite);
}

static void prepare(drawing *d)
{
    draw_values_apply(&d->values, &d->options);
    d->options.init = d->init;
    d->options.conditioning = d->condition;
    d->options.negative_conditioning = d->negative_condition;
    d->view = (progress_view){.preview = d->values.preview, .quiet = d->values.quiet};
    d->options.progress = progress_show;
    d->options.user = &d->view;
    if (!d->options.prompt)
        d->options.prompt = "";
    kiln_session_profile(d->open.session, d->values.profile);
}

/* Only once everything else is known to be right: a trace that was begun stays, since it tells how a drawing failed. */
static int begin_trace(drawing *d)
{
    if (!d->values.trace)
        return EXIT_OK;
    d->trace = fopen(d->values.trace, "w");
    if (!d->trace) {
        complain("%s: the trace cannot be written there", d->values.trace);
        return EXIT_FAILED;
    }
    fprintf(d->trace, "path\top\tkernel\tshape\tmicroseconds\tminimum\tmean\tmaximum\tnot_finite\n");
    kiln_session_trace(d->open.session, write_trace, d->trace, true);
    return EXIT_OK;
}

static int print_plan(drawing *d)
{
    kiln_error err = {0};
    kiln_memory_plan plan;
    if (kiln_draw_plan(d->open.session, &d->options, &plan, &err) != KILN_OK)
        return complain_error(&err);
    if (!d->values.quiet)
        fprintf(stderr, "kiln: %s, seed %llu; takes %s of memory (weights %s, activations %s)\n",
                kiln_model_family(d->open.model), (unsigned long long)d->options.seed, bytes_text(plan.peak),
                bytes_text(plan.weights), bytes_text(plan.activations));
    return EXIT_OK;
}

static int write_pictures(const drawing *d)
{
    for (int k = 0; k < d->options.batch; k++) {
        kiln_error err = {0};
        char *name = output_name(d->values.output, k);
        kiln_status status = KILN_NO_MEMORY;
        if (name)
            status = kiln_image_write(name, d->pictures[k], 0, &err);
        if (status == KILN_OK)
            printf("%s (seed %llu)\n", name, (unsigned long long)d->options.seed + (unsigned long long)k);
        free(name);
        if (status != KILN_OK)
            return complain_error(&err);
    }
    return EXIT_OK;
}

static int print_profile(const drawing *d)
{
    kiln_error err = {0};
    char *text = NULL;
    if (!d->values.profile)
        return EXIT_OK;
    if (kiln_session_profile_text(d->open.session, &text, &err) != KILN_OK)
        return complain_error(&err);
    fputs(text, stderr);
    free(text);
    return EXIT_OK;
}

static int draw(drawing *d)
{
    kiln_error err = {0};
    int status = model_open(&d->values.model, &d->open);
    if (status)
        return status;
    prepare(d);
    status = print_plan(d);
    if (status == EXIT_OK)
        status = begin_trace(d);
    if (status)
        return status;
    d->pictures = calloc((size_t)d->options.batch, sizeof(kiln_image *));
    if (!d->pictures) {
        complain("not enough memory");
        return EXIT_FAILED;
    }
    kiln_status drawn = kiln_draw(d->open.session, &d->options, d->pictures, &err);
    progress_clear();
    if (drawn != KILN_OK)
        return complain_error(&err);
    if (d->recipe) {
        recipe_warn_of_rest(d->recipe, d->values.like);
        recipe_compare_models(d->recipe, d->values.like, d->pictures[0]);
    }
    status = write_pictures(d);
    return status ? status : print_profile(d);
}

static void release(drawing *d)
{
    for (int k = 0; d->pictures && k < d->options.batch; k++)
        kiln_image_free(d->pictures[k]);
    free(d->pictures);
    model_close(&d->open);
    kiln_map_free(d->condition);
    kiln_map_free(d->negative_condition);
    kiln_image_free(d->init);
    kiln_recipe_free(d->recipe);
    if (d->trace)
        fclose(d->trace);
}

static int run(const command *c, int argc, char **argv)
{
    drawing d = {0};
    int status = read_command_line(&d, c, argc, argv);
    if (status == EXIT_OK && d.arguments.help) {
        help_command(c);
        release(&d);
        return EXIT_OK;
    }
    interrupt_watch(NULL);
    if (status == EXIT_OK)
        status = check_command_line(&d);
    if (status == EXIT_OK)
        status = check_outputs(&d);
    if (status == EXIT_OK)
        status = read_inputs(&d);
    if (status == EXIT_OK)
        status = draw(&d);
    release(&d);
    return status;
}

const command draw_command = {
    .name = "draw",
    .summary = "draw pictures from a prompt",
    .usage = "PROMPT [options]",
    .about = "Draws PROMPT with the model and writes the picture, with its recipe inside.",
    .plain_minimum = 0,
    .plain_maximum = 1,
    .plain_name = "a prompt",
    .options = draw_option_table,
    .more_print = draw_print_names,
    .run = run,
};
