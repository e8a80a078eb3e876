/* drawing.c - see drawing.h. */
#include "drawing.h"

#include "help.h"
#include "interrupt.h"
#include "message.h"
#include "output.h"
#include "recipe.h"

#include <stdlib.h>
#include <string.h>

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

int drawing_read_maps(drawing *d)
{
    int status = d->values->condition ? read_map(d->values->condition, &d->condition) : EXIT_OK;
    if (status == EXIT_OK && d->values->negative_condition)
        status = read_map(d->values->negative_condition, &d->negative_condition);
    if (d->recipe && recipe_is_steered(d->recipe) && !steering_given(&d->values->steering))
        warn("%s was steered by pictures that it does not carry: without --control or --image-prompt another "
             "picture comes of it",
             d->values->like);
    if (status == EXIT_OK)
        status = steering_open(&d->values->steering, &d->values->model, &d->steering);
    return status == EXIT_OK ? lora_inputs_read(&d->values->loras, &d->loras) : status;
}

/* The plain argument that is the prompt, or --prompt. */
static int take_prompt(drawing *d, int at)
{
    if (d->arguments.count <= at)
        return EXIT_OK;
    if (arguments_given(&d->arguments, "prompt"))
        return complain_usage("the prompt is given twice: as '%s' and with --prompt", d->arguments.plain[at]);
    d->values->prompt = d->arguments.plain[at];
    return EXIT_OK;
}

int drawing_read_command_line(drawing *d, const drawing_kind *kind, const command *c, int argc, char **argv)
{
    kind->begin(kind->self, NULL);
    d->values->prompt = NULL;
    d->values->cfg = CFG_OF_MODEL;
    int status = arguments_parse(c, argc, argv, d->all, &d->arguments);
    if (status || d->arguments.help)
        return status;
    if (d->values->like) {
        const char *path = d->values->like;
        status = recipe_read(path, &d->recipe, NULL);
        if (status == EXIT_OK)
            status = recipe_check_command(d->recipe, path, c->name);
        if (status)
            return status;
        kind->begin(kind->self, d->recipe);
        if (!kiln_recipe_field(d->recipe, "CFG scale"))
            d->values->cfg = CFG_OF_MODEL;
        d->values->seed.random = kiln_recipe_field(d->recipe, "Seed") == NULL;
        d->values->model.precision = recipe_precision(d->recipe);
        status = arguments_parse(c, argc, argv, d->all, &d->arguments);
        if (!status && kind->expects_picture && recipe_needs_picture(d->recipe) && !d->values->init)
            return complain_usage("%s was drawn from another picture, which it does not carry: %s", path,
                                  kind->expects_picture);
    }
    return status ? status : take_prompt(d, kind->prompt_at);
}

int drawing_check_model(const drawing *d)
{
    return model_path(&d->values->model) ? EXIT_OK : EXIT_USAGE;
}

int drawing_check(const drawing *d)
{
    if (arguments_given(&d->arguments, "variation-seed") && d->values->seeding.variation_strength == 0)
        return complain_usage("--variation-seed has no effect without --variation-strength");
    return drawing_check_model(d);
}

int drawing_check_outputs(const drawing *d)
{
    int status = output_check_pictures(d->values->output, d->values->batch);
    if (status == EXIT_OK && d->values->preview)
        status = output_check_pictures(d->values->preview, 1);
    return status;
}

/* A recipe's prompts are what its templates became: they are not templates once more. */
static void give_templates(drawing *d)
{
    kiln_draw_options recorded = {0};
    template_inputs_open(&d->templates, &d->values->templates, model_path(&d->values->model));
    if (d->recipe)
        kiln_recipe_apply(d->recipe, &recorded);
    d->templates.templates.prompt_is_filled = d->recipe && d->values->prompt == recorded.prompt;
    d->templates.templates.negative_is_filled = d->recipe && d->values->negative == recorded.negative;
    d->options->templates = &d->templates.templates;
}

void drawing_apply(drawing *d)
{
    draw_values_apply(d->values, d->options);
    give_templates(d);
    if (d->values->cfg == CFG_OF_MODEL)
        d->options->cfg = kiln_model_guidance(d->open.model);
    d->options->conditioning = d->condition;
    d->options->negative_conditioning = d->negative_condition;
    steering_give(&d->steering, d->options);
    lora_inputs_give(&d->loras, d->options);
    d->view = (progress_view){.preview = d->values->preview, .quiet = d->values->quiet};
    d->options->progress = progress_show;
    d->options->user = &d->view;
    if (!d->options->prompt)
        d->options->prompt = "";
}

int drawing_open(drawing *d)
{
    int status = model_open(&d->values->model, &d->open);
    if (status)
        return status;
    drawing_apply(d);
    kiln_session_profile(d->open.session, d->values->profile);
    return EXIT_OK;
}

static void print_plan(const drawing *d, const kiln_memory_plan *plan)
{
    if (!d->values->quiet)
        fprintf(stderr, "kiln: %s, seed %llu; takes %s of memory (weights %s, activations %s)\n",
                kiln_model_family(d->open.model), (unsigned long long)d->options->seed,
                bytes_text(plan->peak), bytes_text(plan->weights), bytes_text(plan->activations));
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

static int begin_trace(drawing *d)
{
    if (!d->values->trace)
        return EXIT_OK;
    d->trace = fopen(d->values->trace, "w");
    if (!d->trace) {
        complain("%s: the trace cannot be written there", d->values->trace);
        return EXIT_FAILED;
    }
    fprintf(d->trace, "path\top\tkernel\tshape\tmicroseconds\tminimum\tmean\tmaximum\tnot_finite\n");
    kiln_session_trace(d->open.session, write_trace, d->trace, true);
    return EXIT_OK;
}

static int make_room(drawing *d)
{
    d->pictures = calloc((size_t)d->options->batch, sizeof(kiln_image *));
    if (d->pictures)
        return EXIT_OK;
    complain("not enough memory");
    return EXIT_FAILED;
}

static void print_seeds(const char *name, const kiln_draw_options *o, int k)
{
    bool varies = o->seeding.variation_strength > 0;
    printf("%s (seed %llu", name, (unsigned long long)o->seed + (varies ? 0 : (unsigned long long)k));
    if (varies)
        printf(", variation seed %llu",
               (unsigned long long)o->seeding.variation_seed + (unsigned long long)k);
    printf(")\n");
}

static int write_pictures(const drawing *d)
{
    for (int k = 0; k < d->options->batch; k++) {
        kiln_error err = {0};
        char *name = output_name(d->values->output, k);
        kiln_status status = KILN_NO_MEMORY;
        if (name)
            status = kiln_image_write(name, d->pictures[k], 0, &err);
        if (status == KILN_OK)
            print_seeds(name, d->options, k);
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
    if (!d->values->profile)
        return EXIT_OK;
    if (kiln_session_profile_text(d->open.session, &text, &err) != KILN_OK)
        return complain_error(&err);
    fputs(text, stderr);
    free(text);
    return EXIT_OK;
}

int drawing_begin(drawing *d, const kiln_memory_plan *plan)
{
    print_plan(d, plan);
    int status = begin_trace(d);
    return status ? status : make_room(d);
}

int drawing_finish(const drawing *d)
{
    if (d->recipe) {
        recipe_warn_of_rest(d->recipe, d->values->like);
        recipe_compare_models(d->recipe, d->values->like, d->pictures[0]);
    }
    int status = write_pictures(d);
    return status ? status : print_profile(d);
}

void drawing_release(drawing *d)
{
    for (int k = 0; d->pictures && k < d->options->batch; k++)
        kiln_image_free(d->pictures[k]);
    free(d->pictures);
    model_close(&d->open);
    kiln_map_free(d->condition);
    kiln_map_free(d->negative_condition);
    steering_close(&d->steering);
    lora_inputs_close(&d->loras);
    template_inputs_close(&d->templates);
    kiln_recipe_free(d->recipe);
    if (d->trace)
        fclose(d->trace);
}

static int run_steps(drawing *d, const drawing_kind *kind)
{
    int status = kind->check(d, kind->self);
    if (status == EXIT_OK)
        status = drawing_check_outputs(d);
    if (status == EXIT_OK)
        status = kind->read(d, kind->self);
    if (status == EXIT_OK)
        status = drawing_read_maps(d);
    if (status == EXIT_OK)
        status = drawing_open(d);
    return status == EXIT_OK ? kind->paint(d, kind->self) : status;
}

int drawing_command(drawing *d, const drawing_kind *kind, const command *c, int argc, char **argv)
{
    int status = drawing_read_command_line(d, kind, c, argc, argv);
    if (status == EXIT_OK && d->arguments.help) {
        help_command(c);
    } else {
        interrupt_watch(NULL);
        if (status == EXIT_OK)
            status = run_steps(d, kind);
    }
    drawing_release(d);
    return status;
}
