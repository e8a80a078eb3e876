/* grid.c - `kiln grid`: pictures that differ in one, two or three options, side by side on one labelled sheet (the X/Y/Z
 * plot of A1111).
 *
 * The model is opened once for all cells that have it, and each cell is written as soon as it is drawn, so that a grid that
 * was stopped goes on where it was. */
#include "commands.h"
#include "drawing.h"
#include "grid_cells.h"
#include "interrupt.h"
#include "message.h"
#include "output.h"

#include <kiln/sheet.h>

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct grid_values {
    draw_values draw; /* the first: the shared options are in it */
    const char *axes[GRID_AXES];
    const char *folder, *font, *title;
    int columns, cell;
} grid_values;

typedef struct grid_run {
    grid_values values;
    kiln_draw_options options;
    kiln_image *init;
    grid_cells cells;
    char *folder; /* of their files */
} grid_run;

#define AT(member) offsetof(grid_values, member)

static const option grid_options[] = {
    {"x", 'x', OPTION_TEXT, AT(axes[0]), "NAME=VALUES", NULL, 0, 0, NULL,
     "an option and its values for the columns: \"steps=10,20,40\", \"cfg=1-9 (+2)\", \"seed=1-20 [5]\"; "
     "alone, the "
     "pictures go on in the next row"},
    {"y", 'y', OPTION_TEXT, AT(axes[1]), "NAME=VALUES", NULL, 0, 0, NULL, "... for the rows"},
    {"z", 'z', OPTION_TEXT, AT(axes[2]), "NAME=VALUES", NULL, 0, 0, NULL,
     "... for whole grids, one below the other"},
    {"cells", 0, OPTION_TEXT, AT(folder), "FOLDER", "beside the sheet", 0, 0, NULL,
     "where the single pictures are kept; those that are there already are not drawn again"},
    {"columns", 0, OPTION_INTEGER, AT(columns), "N", "about square", 1, 4096, NULL,
     "of a sheet with --x alone"},
    {"cell", 0, OPTION_INTEGER, AT(cell), "PX", "as drawn", 16, 4096, NULL,
     "larger side of the pictures on the sheet"},
    {"title", 0, OPTION_TEXT, AT(title), "TEXT", "the prompt", 0, 0, NULL, "on top of the sheet"},
    {"font", 0, OPTION_TEXT, AT(font), "FILE", "a usual one", 0, 0, NULL, "of the labels"},
    {0},
};

static void begin(void *self, const kiln_recipe *recipe)
{
    grid_run *r = self;
    r->options = kiln_draw_defaults();
    if (recipe)
        kiln_recipe_apply(recipe, &r->options);
    r->values.draw = draw_values_of(&r->options);
    r->values.draw.output = "grid.png";
}

/* ------------------------------------------------------------------------------------ the command line */

static bool along(const grid_run *r, const char *name)
{
    for (int k = 0; k < GRID_AXES; k++)
        if (r->cells.axes[k].count && r->cells.axes[k].option &&
            strcmp(r->cells.axes[k].option->name, name) == 0)
            return true;
    return false;
}

static int read_axes(grid_run *r, const command *c)
{
    r->cells.command = c;
    for (int k = 0; k < GRID_AXES; k++) {
        if (!r->values.axes[k])
            continue;
        if (k > 0 && !r->values.axes[k - 1])
            return complain_usage("--%c without --%c", "xyz"[k], "xyz"[k - 1]);
        int status = grid_axis_read(c, r->values.axes[k], &r->cells.axes[k]);
        if (status)
            return status;
        for (int i = 0; i < k; i++)
            if (r->cells.axes[i].option == r->cells.axes[k].option && r->cells.axes[k].option)
                return complain_usage("%s is on two axes", r->cells.axes[k].type);
    }
    return EXIT_OK;
}

static int check_command_line(const drawing *d, const void *self)
{
    grid_run *r = (grid_run *)self;
    const draw_values *v = d->values;
    int status = read_axes(r, d->arguments.command);
    if (status)
        return status;
    if (!r->values.axes[0])
        return complain_usage(
            "what to compare? kiln grid \"a lighthouse\" --x \"steps=10,20\" --y \"cfg=4,7\"");
    if (!v->prompt && !v->condition && !along(r, "prompt"))
        return complain_usage(
            "what to draw? kiln grid \"a lighthouse\" --x ..., or an axis prompt=@prompts.txt");
    if (v->batch != 1)
        return complain_usage("a grid has one picture in a cell; an axis \"seed=1-%d\" shows several",
                              v->batch);
    if (v->upscale != 0)
        return complain_usage("--upscale is not for grids; --hires-scale is");
    if (arguments_given(&d->arguments, "columns") && r->values.axes[1])
        return complain_usage("--columns is for grids with --x alone: with --y the columns are those of --x");
    if (!along(r, "model"))
        status = drawing_check_model(d);
    return status;
}

/* ------------------------------------------------------------------------------------ cells */

/* "sheet.png" keeps its cells in "sheet-cells". */
static char *folder_of(const grid_values *v)
{
    if (v->folder)
        return strdup(v->folder);
    const char *slash = strrchr(v->draw.output, '/'), *dot = strrchr(v->draw.output, '.');
    size_t length = dot && (!slash || dot > slash) ? (size_t)(dot - v->draw.output) : strlen(v->draw.output);
    char *made = malloc(length + 7);
    if (made) {
        memcpy(made, v->draw.output, length);
        strcpy(made + length, "-cells");
    }
    return made;
}

static int make_cells(grid_run *r)
{
    draw_values *base = &r->values.draw;
    if (base->seed.random) /* one for all of them */
        base->seed = (seed_choice){kiln_seed_random(), false};
    if (base->variation_seed.random &&
        (base->seeding.variation_strength > 0 || along(r, "variation-strength")))
        base->variation_seed = (seed_choice){kiln_seed_random(), false};
    int status = grid_cells_make(&r->cells, base);
    for (int i = 0; i < r->cells.count; i++)
        if (r->cells.cell[i].values.seed.random)
            r->cells.cell[i].values.seed = (seed_choice){kiln_seed_random(), false};
    r->folder = folder_of(&r->values);
    if (status == EXIT_OK && !r->folder) {
        complain("not enough memory");
        status = EXIT_FAILED;
    }
    return status ? status : grid_cells_name(&r->cells, r->folder);
}

/* Only once there is a picture to keep. */
static int make_folder(const char *folder)
{
    if (mkdir(folder, 0777) == 0 || errno == EEXIST)
        return EXIT_OK;
    complain("%s: the folder of the single pictures cannot be made: %s", folder, strerror(errno));
    return EXIT_FAILED;
}

static int read_inputs(drawing *d, void *self)
{
    (void)d;
    grid_run *r = self;
    kiln_error err = {0};
    if (r->values.draw.init && kiln_image_read(r->values.draw.init, &r->init, &err) != KILN_OK)
        return complain_error(&err);
    int status = make_cells(r);
    if (status == EXIT_OK) /* whose model is opened next */
        d->values = &r->cells.cell[0].values;
    return status;
}

/* The options of a cell, with its model open. */
static int show(drawing *d, grid_run *r, grid_cell *c, int *open)
{
    d->values = &c->values;
    if (c->group != *open) {
        model_close(&d->open);
        int status = drawing_open(d);
        if (status)
            return status;
        *open = c->group;
    }
    drawing_apply(d);
    d->options->init = r->init;
    return EXIT_OK;
}

/* The size that the picture of the options at hand will have. */
static picture_size size_drawn(const drawing *d)
{
    const kiln_draw_options *o = d->options;
    picture_size size = {o->width, o->height}, own;
    double scale = o->hires_scale > 1 ? o->hires_scale : 1;
    kiln_model_size(d->open.model, &own.width, &own.height);
    if (o->hires_width && o->hires_height)
        return (picture_size){o->hires_width, o->hires_height};
    size.width = (int)((size.width ? size.width : own.width) * scale);
    size.height = (int)((size.height ? size.height : own.height) * scale);
    return size;
}

/* What is wrong with any cell of a model, or with a sheet of them, is found before the first of them is drawn. */
static int check_group(drawing *d, grid_run *r, const kiln_sheet *sheet, int group, int *open)
{
    for (int i = 0; i < r->cells.count; i++) {
        grid_cell *c = &r->cells.cell[i];
        if (c->group != group || c->picture)
            continue;
        kiln_error err = {0};
        kiln_memory_plan plan;
        int status = show(d, r, c, open);
        if (status)
            return status;
        if (kiln_draw_plan(d->open.session, d->options, &plan, &err) != KILN_OK)
            return complain_error(&err);
        picture_size size = size_drawn(d);
        if (kiln_sheet_check(sheet, size.width, size.height, &err) != KILN_OK) {
            complain("%s; --cell shows the pictures smaller", err.text);
            return EXIT_FAILED;
        }
    }
    return EXIT_OK;
}

static void tell(const grid_run *r, int i, int number, int of)
{
    char text[200];
    fprintf(stderr, "kiln: picture %d of %d", number, of);
    int rest = i;
    for (int k = 0; k < GRID_AXES; rest /= grid_along(&r->cells, k), k++)
        if (r->cells.axes[k].count)
            fprintf(stderr, "%s %s", k ? "," : ":",
                    grid_label(&r->cells.axes[k], rest % grid_along(&r->cells, k), text, sizeof text));
    fputc('\n', stderr);
}

static int draw_cell(drawing *d, grid_run *r, grid_cell *c, int *open)
{
    kiln_error err = {0};
    int status = show(d, r, c, open);
    if (status)
        return status;
    kiln_status drawn = kiln_draw(d->open.session, d->options, &c->picture, &err);
    progress_clear();
    if (drawn != KILN_OK)
        return complain_error(&err);
    status = make_folder(r->folder);
    return status ? status : grid_cell_keep(c);
}

static int draw_cells(drawing *d, grid_run *r, const kiln_sheet *sheet)
{
    int open = 0, done = grid_cells_find(&r->cells), found = done, status = EXIT_OK;
    if (found && !d->values->quiet)
        fprintf(stderr, "kiln: %d of %d pictures are there already\n", found, r->cells.count);
    for (int group = 0; group < r->cells.groups && status == EXIT_OK; group++) {
        status = check_group(d, r, sheet, group, &open);
        for (int i = 0; i < r->cells.count && status == EXIT_OK; i++) {
            grid_cell *c = &r->cells.cell[i];
            if (c->group != group || c->picture)
                continue;
            if (interrupt_seen())
                return EXIT_STOPPED;
            if (!d->values->quiet)
                tell(r, i, ++done, r->cells.count);
            status = draw_cell(d, r, c, &open);
        }
    }
    return status;
}

/* ------------------------------------------------------------------------------------ the sheet */

enum { LABEL = 1024 };

/* The labels of an axis; `list` points into `texts`. Both NULL where there is no axis. */
typedef struct axis_labels {
    const char **list;
    char *texts;
} axis_labels;

static int labels_make(const grid_axis *a, axis_labels *out)
{
    if (a->count == 0)
        return EXIT_OK;
    out->list = calloc((size_t)a->count, sizeof *out->list);
    out->texts = malloc((size_t)a->count * LABEL);
    if (!out->list || !out->texts) {
        complain("not enough memory");
        return EXIT_FAILED;
    }
    for (int i = 0; i < a->count; i++)
        out->list[i] = grid_label(a, i, out->texts + (size_t)i * LABEL, LABEL);
    return EXIT_OK;
}

/* What the sheet carries: the recipe of its first picture, and what A1111 writes of its plot. */
static kiln_status describe(const grid_run *r, kiln_image *sheet, kiln_error *err)
{
    const char *first = kiln_image_text(r->cells.cell[0].picture, "parameters");
    char *text = NULL;
    size_t size;
    FILE *to = open_memstream(&text, &size);
    if (!to)
        return KILN_OK;
    fprintf(to, "%s, Script: X/Y/Z plot", first ? first : "");
    for (int k = 0; k < GRID_AXES; k++) {
        if (!r->cells.axes[k].count)
            continue;
        fprintf(to, ", %c Type: %s, %c Values: ", "XYZ"[k], r -> cells.axes[k].type, "XYZ"[k]);
        print_json_string(to, strchr(r->values.axes[k], '=') + 1);
    }
    kiln_status status = KILN_OK;
    if (fclose(to) == 0)
        status = kiln_image_set_text(sheet, "parameters", text, err);
    free(text);
    return status;
}

/* The sheet before it is drawn. `pictures` and `captions` are its own. */
typedef struct form {
    kiln_sheet sheet;
    const kiln_image **pictures;
    const char **captions;
} form;

static int form_make(const grid_run *r, const axis_labels labels[GRID_AXES], form *f)
{
    const grid_cells *g = &r->cells;
    bool list = g->axes[1].count == 0;
    int columns = g->axes[0].count, rows = grid_along(g, 1);
    if (list) {
        columns = r->values.columns ? r->values.columns : (int)ceil(sqrt(g->count));
        columns = columns < g->count ? columns : g->count;
        rows = (g->count + columns - 1) / columns;
    }
    size_t room = (size_t)columns * (size_t)rows * (size_t)grid_along(g, 2);
    f->pictures = calloc(room + 1, sizeof *f->pictures);
    f->captions = calloc(room + 1, sizeof *f->captions);
    if (!f->pictures || !f->captions || room < (size_t)g->count) {
        complain("not enough memory");
        return EXIT_FAILED;
    }
    for (int i = 0; i < g->count; i++)
        f->captions[i] = list ? labels[0].list[i] : NULL;
    f->sheet = (kiln_sheet){.columns = columns,
                            .rows = rows,
                            .layers = grid_along(g, 2),
                            .pictures = f->pictures,
                            .captions = f->captions,
                            .column_labels = list ? NULL : labels[0].list,
                            .row_labels = labels[1].list,
                            .layer_labels = labels[2].list,
                            .title = r->values.title      ? r->values.title
                                     : along(r, "prompt") ? NULL
                                                          : r->values.draw.prompt,
                            .font = r->values.font,
                            .cell_px = r->values.cell};
    return EXIT_OK;
}

static void form_free(form *f)
{
    free(f->pictures);
    free(f->captions);
}

static int write_sheet(const grid_run *r, form *f, const char *output)
{
    kiln_error err = {0};
    kiln_image *sheet = NULL;
    for (int i = 0; i < r->cells.count; i++)
        f->pictures[i] = r->cells.cell[i].picture;
    kiln_status status = kiln_sheet_draw(&f->sheet, &sheet, &err);
    if (!status)
        status = describe(r, sheet, &err);
    if (!status)
        status = kiln_image_write(output, sheet, 0, &err);
    kiln_image_free(sheet);
    return status ? complain_error(&err) : EXIT_OK;
}

static int paint(drawing *d, void *self)
{
    grid_run *r = self;
    axis_labels labels[GRID_AXES] = {{0}};
    form f = {0};
    int status = EXIT_OK;
    for (int k = 0; k < GRID_AXES && status == EXIT_OK; k++)
        status = labels_make(&r->cells.axes[k], &labels[k]);
    if (status == EXIT_OK)
        status = form_make(r, labels, &f);
    if (status == EXIT_OK)
        status = draw_cells(d, r, &f.sheet);
    d->values = &r->values.draw; /* not of a cell: those are gone before the drawing is */
    if (status == EXIT_OK)
        status = write_sheet(r, &f, r->values.draw.output);
    form_free(&f);
    for (int k = 0; k < GRID_AXES; k++) {
        free(labels[k].list);
        free(labels[k].texts);
    }
    if (status == EXIT_OK)
        printf("%s (%d pictures, seed %llu)\n", r->values.draw.output, r->cells.count,
               (unsigned long long)r->values.draw.seed.value);
    return status;
}

static int run(const command *c, int argc, char **argv)
{
    grid_run r = {0};
    drawing d = {.all = &r.values, .values = &r.values.draw, .options = &r.options};
    drawing_kind kind = {.begin = begin,
                         .expects_picture = "name it with --init",
                         .check = check_command_line,
                         .read = read_inputs,
                         .paint = paint,
                         .self = &r};
    int status = drawing_command(&d, &kind, c, argc, argv);
    grid_cells_free(&r.cells);
    free(r.folder);
    kiln_image_free(r.init);
    return status;
}

const command grid_command = {
    .name = "grid",
    .summary = "pictures side by side that differ in up to three options",
    .usage = "[PROMPT] --x NAME=VALUES [--y NAME=VALUES [--z NAME=VALUES]] [options]",
    .about = "Draws PROMPT once for every combination of the axes' values, and puts the pictures on one "
             "sheet with labels. "
             "An axis is any option of 'kiln draw' that says something about a picture, with values between "
             "commas, or a "
             "range: 1-5, 1-9 (+2), 1-20 [5] for five numbers. A value with a comma is put in double quotes; "
             "@FILE takes the "
             "lines of a file (prompt=@prompts.txt). replace=cat,dog,fox puts the others in the place of the "
             "first word in "
             "the prompt. Each picture is kept in a folder as soon as it is drawn, so that the same command "
             "goes on where it "
             "was stopped.",
    .plain_minimum = 0,
    .plain_maximum = 1,
    .plain_name = "a prompt",
    .options = grid_options,
    .shared = drawing_option_table,
    .also = draw_option_table,
    .more_print = draw_print_names,
    .run = run,
};
