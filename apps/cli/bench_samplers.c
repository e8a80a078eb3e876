/* bench_samplers.c - `kiln bench-samplers`: how near each sampler comes to the solution of its equation, by evaluations of
 * the model.
 *
 * The probability flow of a guided model has one solution for each prompt and seed, which a solver of order 3 finds with
 * many steps; the reverse SDE has one along the seed's path of noise. A row of the table is the distance of finished
 * latents from it, relative to their root mean square, as a mean over all prompts and seeds. Samplers with independent
 * fresh noise, and those without a limit, have nothing to be near to, and are left out. */
#include "bench_measure.h"
#include "bench_report.h"
#include "commands.h"
#include "drawn_from.h"
#include "message.h"
#include "output.h"
#include "values.h"

#include <stdlib.h>
#include <string.h>

enum { DRAWINGS_MOST = 1024 };

static const char usual_samplers[] =
    "Euler,DDIM,Heun,Heun++,DPM2,DPM++ 2M,LMS,PLMS,DEIS,IPNDM,IPNDM_v,UniPC,UniPC curve,RES multistep,"
    "Gradient estimation,Exp Heun,DPM fast ODE,DPM adaptive ODE,DPM++ SDE,DPM++ 2M SDE,DPM++ 3M SDE,SEEDS 2";

#define AT(member) offsetof(bench_values, member)

static const option bench_options[] = {
    {"output", 'o', OPTION_TEXT, AT(table), "FILE", "samplers.csv", 0, 0, NULL,
     "the table; rows that it has of the same settings are not measured again"},
    {"plot", 0, OPTION_TEXT, AT(draw.output), "PICTURE", "samplers.png", 0, 0, NULL,
     "distance over evaluations"},
    {"sampler", 0, OPTION_TEXT, AT(samplers), "NAMES", "22 of them", 0, 0, NULL,
     "between commas; \"all\": all that there are"},
    {"schedule", 0, OPTION_TEXT, AT(schedules), "NAMES", "each sampler's own", 0, 0, NULL,
     "every sampler is measured on each of them"},
    {"steps", 's', OPTION_TEXT, AT(steps), "NUMBERS", "5,8,10,15,20,30,50", 0, 0, NULL,
     "between commas, or a range: 5-50 (+5). What takes more evaluations than the largest of them is left "
     "out"},
    {"prompt", 'p', OPTION_TEXT, AT(prompts), "TEXTS", NULL, 0, 0, NULL,
     "several prompts between commas, or @FILE with one on each line"},
    {"seed", 'S', OPTION_TEXT, AT(seeds), "NUMBERS", "1", 0, 0, NULL, "of each prompt's drawings: 1-3"},
    {"reference-steps", 0, OPTION_INTEGER, AT(reference_steps), "N", "100", 2, 500, NULL,
     "steps of the reference, of three evaluations (of the SDE's, four times as many steps of one); half as "
     "many "
     "tell how exact it is"},
    {"title", 0, OPTION_TEXT, AT(title), "TEXT", "the model's name", 0, 0, NULL, "on top of the plot"},
    {"font", 0, OPTION_TEXT, AT(font), "FILE", "a usual one", 0, 0, NULL, "of its letters"},
    {0},
};

static void begin(void *self, const kiln_recipe *recipe)
{
    bench *b = self;
    b->options = kiln_draw_defaults();
    if (recipe)
        kiln_recipe_apply(recipe, &b->options);
    b->values = (bench_values){.draw = draw_values_of(&b->options),
                               .samplers = usual_samplers,
                               .steps = "5,8,10,15,20,30,50",
                               .seeds = "1",
                               .table = "samplers.csv",
                               .reference_steps = 100};
    b->values.draw.output = "samplers.png";
}

/* ------------------------------------------------------------------------------------ the command line */

/* The values of an option as an axis of a grid has them. */
static int read_list(const char *name, const char *values, grid_axis *out)
{
    size_t size = strlen(name) + strlen(values) + 2;
    char *text = malloc(size);
    if (!text) {
        complain("not enough memory");
        return EXIT_FAILED;
    }
    snprintf(text, size, "%s=%s", name, values);
    int status = grid_axis_read(&draw_command, text, out);
    free(text);
    return status;
}

static int compare_steps(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

static int read_steps(bench *b)
{
    int status = read_list("steps", b->values.steps, &b->steps);
    b->step = status ? NULL : calloc((size_t)b->steps.count, sizeof *b->step);
    if (status || !b->step)
        return status ? status : EXIT_FAILED;
    for (int i = 0; i < b->steps.count; i++) {
        long long steps;
        if (!value_integer(b->steps.values[i], 1, 1000, &steps))
            return complain_usage("--steps: whole numbers from 1 to 1000 are expected, found '%s'",
                                  b->steps.values[i]);
        b->step[i] = (int)steps;
    }
    qsort(b->step, (size_t)b->steps.count, sizeof *b->step, compare_steps);
    return EXIT_OK;
}

static int read_seeds(bench *b)
{
    int status = read_list("seed", b->values.seeds, &b->seeds);
    for (int i = 0; status == EXIT_OK && i < b->seeds.count; i++) {
        seed_choice seed;
        if (!value_seed(b->seeds.values[i], &seed) || seed.random)
            status = complain_usage("--seed: whole numbers are expected, found '%s'", b->seeds.values[i]);
    }
    return status;
}

/* How many prompts there are: a list, or the one of the command line (or the recipe, or the conditioning). */
static int prompt_count(const bench *b)
{
    return b->prompts.count ? b->prompts.count : 1;
}

static int check_command_line(const drawing *d, const void *self)
{
    bench *b = (bench *)self;
    const draw_values *v = d->values;
    if (!v->prompt && !v->condition && !b->values.prompts)
        return complain_usage("what to draw? kiln bench-samplers \"a lighthouse\", or --prompt @prompts.txt");
    if (arguments_given(&d->arguments, "eta") && v->eta > 0 && v->eta != 1)
        return complain_usage("--eta %g: noise is compared with the usual amount (1) or without (0)", v->eta);
    if (v->batch != 1)
        return complain_usage("--batch says nothing here; --seed 1-%d draws several", v->batch);
    int status = read_steps(b);
    if (status == EXIT_OK)
        status = read_seeds(b);
    if (status == EXIT_OK && b->values.prompts)
        status = read_list("prompt", b->values.prompts, &b->prompts);
    if (status == EXIT_OK && strcmp(b->values.samplers, "all") != 0)
        status = read_list("sampler", b->values.samplers, &b->samplers);
    if (status == EXIT_OK && b->values.schedules)
        status = read_list("schedule", b->values.schedules, &b->schedules);
    if (status)
        return status;
    if ((int64_t)b->seeds.count * prompt_count(b) > DRAWINGS_MOST)
        return complain_usage("%d prompts with %d seeds are more than the %d drawings that one row is of",
                              prompt_count(b), b->seeds.count, (int)DRAWINGS_MOST);
    b->drawings = b->seeds.count * prompt_count(b);
    return drawing_check(d);
}

static int read_inputs(drawing *d, void *self)
{
    (void)d;
    bench *b = self;
    int status = output_check_file(b->values.table, ".csv");
    return status ? status : bench_rows_read(b->values.table, &b->rows);
}

/* ------------------------------------------------------------------------------------ who takes part */

static const char *sampler_at(const bench *b, int i)
{
    if (b->samplers.count)
        return i < b->samplers.count ? b->samplers.values[i] : NULL;
    return kiln_sampler_name(i);
}

static bool same_contestant(const contestant *a, const contestant *b)
{
    return strcmp(a->sampler, b->sampler) == 0 && strcmp(a->written, b->written) == 0;
}

/* Add a sampler on a schedule, unless it is there (samplers with levels of their own are the same on all of them), or
 * solves nothing: then `left` gets its name. */
static int invite(drawing *d, bench *b, const char *sampler, const char *schedule, FILE *left)
{
    kiln_error err = {0};
    kiln_solver solver;
    bench_set_sampler(d, sampler, schedule, b->step[b->steps.count - 1]);
    kiln_status status = kiln_draw_solver(d->open.session, d->options, &solver, &err);
    if (status == KILN_UNSUPPORTED && (!b->samplers.count || !arguments_given(&d->arguments, "sampler"))) {
        if (!d->values->quiet)
            fprintf(stderr, "kiln: left out: %s\n", err.text);
        return EXIT_OK;
    }
    if (status != KILN_OK)
        return complain_error(&err);
    contestant c = {sampler, schedule, "", solver.equation, solver.adaptive};
    snprintf(c.written, sizeof c.written, "%s", solver.schedule);
    if (strlen(sampler) >= BENCH_NAME)
        return complain_usage("--sampler: '%s' is no name of a sampler", sampler);
    for (int i = 0; i < b->count; i++)
        if (same_contestant(&b->contestant[i], &c))
            return EXIT_OK;
    if (c.equation == KILN_EQUATION_NONE) {
        fprintf(left, "%s%s", ftell(left) > 0 ? ", " : "", sampler);
        return EXIT_OK;
    }
    if (b->count == BENCH_CONTESTANTS)
        return complain_usage("more than %d samplers on schedules are too many for one plot",
                              (int)BENCH_CONTESTANTS);
    b->contestant[b->count++] = c;
    return EXIT_OK;
}

static int invite_all(drawing *d, bench *b)
{
    char *names = NULL;
    size_t size;
    FILE *left = open_memstream(&names, &size);
    int status = left ? EXIT_OK : EXIT_FAILED, schedules = b->schedules.count ? b->schedules.count : 1;
    for (int i = 0; status == EXIT_OK && sampler_at(b, i); i++)
        for (int k = 0; status == EXIT_OK && k < schedules; k++)
            status = invite(d, b, sampler_at(b, i), b->schedules.count ? b->schedules.values[k] : NULL, left);
    if (left)
        fclose(left);
    if (status == EXIT_OK && names && *names && !d->values->quiet)
        fprintf(stderr, "kiln: left out, since they draw another picture at every number of steps: %s\n",
                names);
    free(names);
    if (status == EXIT_OK && b->count == 0)
        status = complain_usage("--sampler: none of them has a solution to come near to");
    return status;
}

/* ------------------------------------------------------------------------------------ the result */

static int compare_evaluations(const void *a, const void *b)
{
    double x = ((const bench_row *)a)->evaluations, y = ((const bench_row *)b)->evaluations;
    return (x > y) - (x < y);
}

static bool one_sampler(const bench *b)
{
    for (int i = 1; i < b->count; i++)
        if (strcmp(b->contestant[i].sampler, b->contestant[0].sampler) != 0)
            return false;
    return true;
}

/* A contestant is called by what tells it from the others. */
static void label(const bench *b, const contestant *c, bench_series *s)
{
    if (b->schedules.count < 2 || !*c->written)
        snprintf(s->label, sizeof s->label, "%s", c->sampler);
    else if (one_sampler(b))
        snprintf(s->label, sizeof s->label, "%s", c->written);
    else
        snprintf(s->label, sizeof s->label, "%s, %s", c->sampler, c->written);
}

static int collect(const bench *b, const contestant *c, bench_series *s)
{
    label(b, c, s);
    s->row = calloc((size_t)b->steps.count, sizeof *s->row);
    for (int i = 0; s->row && i < (c->adaptive ? 1 : b->steps.count); i++) {
        bench_row like = bench_blank(b, c, b->step[i]);
        const bench_row *row = bench_rows_find(&b->rows, &like);
        if (row)
            s->row[s->count++] = *row;
    }
    if (!s->row) {
        complain("not enough memory");
        return EXIT_FAILED;
    }
    qsort(s->row, (size_t)s->count, sizeof *s->row, compare_evaluations);
    return EXIT_OK;
}

static int report(const drawing *d, bench *b)
{
    bench_series *series = calloc((size_t)b->count, sizeof *series);
    int status = series ? EXIT_OK : EXIT_FAILED;
    for (int i = 0; status == EXIT_OK && i < b->count; i++)
        status = collect(b, &b->contestant[i], &series[i]);
    const char *path = model_path(&b->values.draw.model), *slash = strrchr(path, '/');
    char title[256], subtitle[256];
    snprintf(title, sizeof title, "%s: how near samplers come to the solution",
             slash && slash[1] ? slash + 1 : path);
    snprintf(subtitle, sizeof subtitle, "mean of %d drawings, guidance %g%s%s%s%s", b->drawings,
             d->options->cfg, one_sampler(b) ? ", sampler " : "",
             one_sampler(b) ? b->contestant[0].sampler : "", b->schedules.count == 1 ? ", schedule " : "",
             b->schedules.count == 1 ? b->schedules.values[0] : "");
    bench_report all = {.series = series,
                        .count = b->count,
                        .budgets = b->step,
                        .budget_count = b->steps.count,
                        .title = b->values.title ? b->values.title : title,
                        .subtitle = subtitle,
                        .font = b->values.font};
    if (status == EXIT_OK) {
        bench_report_print(&all);
        status = bench_report_plot(&all, b->values.draw.output);
    }
    if (status == EXIT_OK)
        printf("%s, %s\n", b->values.table, b->values.draw.output);
    for (int i = 0; series && i < b->count; i++)
        free(series[i].row);
    free(series);
    return status;
}

/* What all rows of this run share, as a number: all but sampler, schedule and steps. */
static int find_settings(bench *b)
{
    draw_values same = b->values.draw;
    same.sampler = same.schedule = NULL;
    same.steps = 0;
    same.seed = (seed_choice){0};
    char *text = drawn_from_text(&draw_command, &same), *all = NULL;
    size_t size;
    FILE *to = text ? open_memstream(&all, &size) : NULL;
    if (to) {
        fprintf(to, "%sreference %d\n", text, b->values.reference_steps);
        for (int i = 0; i < b->prompts.count; i++)
            fprintf(to, "%s\n", b->prompts.values[i]);
        for (int i = 0; i < b->seeds.count; i++)
            fprintf(to, "%s\n", b->seeds.values[i]);
    }
    free(text);
    if (!to || fclose(to) != 0) {
        free(all);
        complain("not enough memory");
        return EXIT_FAILED;
    }
    b->settings = drawn_from_digest(all);
    free(all);
    return EXIT_OK;
}

static int paint(drawing *d, void *self)
{
    bench *b = self;
    int status = find_settings(b);
    if (status == EXIT_OK)
        status = invite_all(d, b);
    for (int i = 0; i < b->count && status == EXIT_OK; i++)
        status = bench_measure(d, b, &b->contestant[i]);
    return status ? status : report(d, b);
}

static int run(const command *c, int argc, char **argv)
{
    bench b = {0};
    drawing d = {.all = &b.values, .values = &b.values.draw, .options = &b.options};
    drawing_kind kind = {
        .begin = begin, .check = check_command_line, .read = read_inputs, .paint = paint, .self = &b};
    int status = drawing_command(&d, &kind, c, argc, argv);
    grid_axis *const axes[] = {&b.samplers, &b.schedules, &b.steps, &b.prompts, &b.seeds};
    for (size_t i = 0; i < sizeof axes / sizeof *axes; i++)
        grid_axis_free(axes[i]);
    bench_free_references(&b);
    bench_rows_free(&b.rows);
    free(b.step);
    return status;
}

const command bench_samplers_command = {
    .name = "bench-samplers",
    .summary = "which sampler is how near to the solution, by evaluations of the model",
    .usage = "[PROMPT] [options]",
    .about =
        "Draws PROMPT with every sampler at every number of steps, and measures how far the finished latents "
        "are from the solution of the equation that the sampler solves: the root mean square of the "
        "difference, "
        "relative to that of the solution. Samplers without fresh noise share one solution, those on a path "
        "of "
        "noise another. Samplers that draw another picture at every number of steps are left out.\n\n"
        "Writes a table with a row for each as soon as it is measured (the same command goes on where it was "
        "stopped), and a plot; prints the nearest at each number of evaluations. One evaluation is the "
        "model's "
        "answer with and without the prompt.",
    .plain_minimum = 0,
    .plain_maximum = 1,
    .plain_name = "a prompt",
    .options = bench_options,
    .shared = drawing_option_table,
    .more_print = draw_print_names,
    .run = run,
};
