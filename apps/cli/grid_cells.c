/* grid_cells.c - see grid_cells.h. */
#include "grid_cells.h"

#include "drawn_from.h"
#include "message.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define KEYWORD "kiln grid cell"

int grid_along(const grid_cells *g, int axis)
{
    return g->axes[axis].count > 0 ? g->axes[axis].count : 1;
}

const char *grid_label(const grid_axis *a, int i, char *text, size_t size)
{
    const char *value = a->values[i], *slash = strrchr(value, '/');
    bool bare = !a->option || strcmp(a->option->name, "prompt") == 0 ||
                strcmp(a->option->name, "sampler") == 0 || strcmp(a->option->name, "schedule") == 0;
    bool path = a->option && strcmp(a->option->name, "model") == 0 && slash && slash[1];
    if (bare)
        snprintf(text, size, "%s", *value ? value : "(nothing)");
    else
        snprintf(text, size, "%s %s", a->type, path ? slash + 1 : value);
    return text;
}

/* ------------------------------------------------------------------------------------ values */

/* `text` with every `what` replaced; NULL: no memory. */
static char *replaced(const char *text, const char *what, const char *by)
{
    size_t found = 0, length = strlen(what);
    for (const char *t = text; (t = strstr(t, what)); t += length)
        found++;
    char *made = malloc(strlen(text) + found * strlen(by) + 1), *to = made;
    if (!made)
        return NULL;
    for (const char *next; (next = strstr(text, what)); text = next + length) {
        memcpy(to, text, (size_t)(next - text));
        to += next - text;
        to = stpcpy(to, by);
    }
    strcpy(to, text);
    return made;
}

static int replace_in(const char **value, char **owned, const char *what, const char *by)
{
    if (!*value)
        return EXIT_OK;
    char *made = replaced(*value, what, by);
    if (!made) {
        complain("not enough memory");
        return EXIT_FAILED;
    }
    free(*owned);
    *owned = made;
    *value = made;
    return EXIT_OK;
}

static int replace(grid_cell *c, const grid_axis *a, int i)
{
    const char *what = a->values[0];
    const draw_values *v = &c->values;
    if (!*what || ((!v->prompt || !strstr(v->prompt, what)) && (!v->negative || !strstr(v->negative, what))))
        return complain_usage("axis replace: '%s', its first value, is not in the prompt", what);
    int status = replace_in(&c->values.prompt, &c->prompt, what, a->values[i]);
    return status ? status : replace_in(&c->values.negative, &c->negative, what, a->values[i]);
}

static int set(const command *owner, grid_cell *c, const grid_axis *a, int i)
{
    if (!a->option)
        return replace(c, a, i);
    char name[64];
    arguments ignored;
    snprintf(name, sizeof name, "--%s", a->option->name);
    return arguments_parse(owner, 2, (char *[]){name, a->values[i], NULL}, &c->values, &ignored);
}

/* Whether the value says which model is opened, and how. */
static bool is_of_model(const grid_axis *a)
{
    return a->count && a->option && a->option->offset < offsetof(draw_values, model) + sizeof(model_choice);
}

int grid_cells_make(grid_cells *g, const draw_values *base)
{
    int along[GRID_AXES];
    for (int k = 0; k < GRID_AXES; k++)
        along[k] = grid_along(g, k);
    int64_t count = (int64_t)along[0] * along[1] * along[2];
    if (count > 4096)
        return complain_usage("%d x %d x %d are more than the 4096 pictures that a sheet has", along[0],
                              along[1], along[2]);
    g->cell = calloc((size_t)count, sizeof *g->cell);
    if (!g->cell) {
        complain("not enough memory");
        return EXIT_FAILED;
    }
    g->count = (int)count;
    int status = EXIT_OK;
    for (int n = 0; n < g->count && status == EXIT_OK; n++) {
        grid_cell *c = &g->cell[n];
        const int at[GRID_AXES] = {n % along[0], n / along[0] % along[1], n / along[0] / along[1]};
        c->values = *base;
        /* What is replaced stands in the prompt that another axis may set. */
        for (int pass = 0; pass < 2; pass++)
            for (int k = 0; k < GRID_AXES && status == EXIT_OK; k++)
                if (g->axes[k].count && (g->axes[k].option == NULL) == (pass == 1))
                    status = set(g->command, c, &g->axes[k], at[k]);
        for (int k = 0; k < GRID_AXES; k++)
            if (is_of_model(&g->axes[k]))
                c->group = c->group * along[k] + at[k];
        g->groups = c->group + 1 > g->groups ? c->group + 1 : g->groups;
    }
    return status;
}

/* ------------------------------------------------------------------------------------ files */

int grid_cells_name(grid_cells *g, const char *folder)
{
    for (int i = 0; i < g->count; i++) {
        grid_cell *c = &g->cell[i];
        size_t size = strlen(folder) + 40;
        c->from = drawn_from_text(g->command, &c->values);
        c->path = malloc(size);
        if (!c->from || !c->path) {
            complain("not enough memory");
            return EXIT_FAILED;
        }
        snprintf(c->path, size, "%s/cell-%016llx.png", folder, drawn_from_digest(c->from));
    }
    return EXIT_OK;
}

int grid_cells_find(grid_cells *g)
{
    int found = 0;
    for (int i = 0; i < g->count; i++) {
        grid_cell *c = &g->cell[i];
        struct stat s;
        if (stat(c->path, &s) != 0 || kiln_image_read(c->path, &c->picture, NULL) != KILN_OK)
            continue;
        const char *from = kiln_image_text(c->picture, KEYWORD);
        if (from && strcmp(from, c->from) == 0) {
            found++;
        } else {
            kiln_image_free(c->picture);
            c->picture = NULL;
        }
    }
    return found;
}

int grid_cell_keep(grid_cell *c)
{
    kiln_error err = {0};
    if (kiln_image_set_text(c->picture, KEYWORD, c->from, &err) != KILN_OK ||
        kiln_image_write(c->path, c->picture, 0, &err) != KILN_OK)
        return complain_error(&err);
    return EXIT_OK;
}

void grid_cells_free(grid_cells *g)
{
    for (int i = 0; i < g->count; i++) {
        free(g->cell[i].prompt);
        free(g->cell[i].negative);
        free(g->cell[i].from);
        free(g->cell[i].path);
        kiln_image_free(g->cell[i].picture);
    }
    free(g->cell);
    for (int k = 0; k < GRID_AXES; k++)
        grid_axis_free(&g->axes[k]);
}
