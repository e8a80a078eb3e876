/* grid_axis.c - see grid_axis.h. */
#include "grid_axis.h"

#include "message.h"
#include "values.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What A1111 calls an axis, where Kiln's option has another name. Blanks for dashes are no other name. */
static const char *const other_names[][2] = {
    {"cfg scale", "cfg"},         {"schedule type", "schedule"}, {"denoising", "strength"},
    {"checkpoint name", "model"}, {"sigma churn", "s-churn"},    {"sigma noise", "s-noise"},
};

/* Options that say nothing about one picture by itself. */
static const char *const no_axis[] = {"output",
                                      "batch",
                                      "like",
                                      "preview",
                                      "preview-every",
                                      "preview-decoder",
                                      "profile",
                                      "trace",
                                      "quiet",
                                      "memory",
                                      "cond",
                                      "negative-cond",
                                      "init",
                                      "control",
                                      "image-prompt",
                                      "vary",
                                      "image-prompt-model"};

static bool same_name(const char *a, const char *b, size_t length)
{
    if (strlen(a) != length)
        return false;
    for (size_t i = 0; i < length; i++) {
        char own = (char)tolower((unsigned char)b[i]);
        if (a[i] != (own == ' ' || own == '_' ? '-' : own) && a[i] != own)
            return false;
    }
    return true;
}

static bool may_be_axis(const option *o)
{
    for (size_t i = 0; i < sizeof no_axis / sizeof *no_axis; i++)
        if (strcmp(o->name, no_axis[i]) == 0)
            return false;
    return o->kind != OPTION_LIST && o->kind != OPTION_FLAG && o->kind != OPTION_BYTES && o->help;
}

/* The option whose name is the first `length` bytes of `name`; options of the grid itself come after `grid`. */
static const option *find(const command *c, const char *name, size_t length)
{
    for (size_t i = 0; i < sizeof other_names / sizeof *other_names; i++)
        if (same_name(other_names[i][0], name, length)) {
            name = other_names[i][1];
            length = strlen(name);
            break;
        }
    for (int i = 0; command_option(c, i); i++)
        if (may_be_axis(command_option(c, i)) && same_name(command_option(c, i)->name, name, length))
            return command_option(c, i);
    return NULL;
}

static bool is_replace(const char *name, size_t length)
{
    return same_name("replace", name, length) || same_name("prompt s/r", name, length);
}

/* ------------------------------------------------------------------------------------ values */

static bool add(grid_axis *a, const char *text, size_t length)
{
    char **more = realloc(a->values, ((size_t)a->count + 1) * sizeof *more);
    char *copy = malloc(length + 1);
    if (more)
        a->values = more;
    if (!more || !copy) {
        free(copy);
        complain("not enough memory");
        return false;
    }
    memcpy(copy, text, length);
    copy[length] = 0;
    a->values[a->count++] = copy;
    return true;
}

static int full(const grid_axis *a)
{
    if (a->count <= GRID_AXIS_VALUES)
        return EXIT_OK;
    return complain_usage("axis %s: more than %d values", a->type, (int)GRID_AXIS_VALUES);
}

/* "1-5", "1-5 (+2)", "1-10 [5]", with numbers that may be negative or have a point; false: no range. */
static bool read_range(const char *text, double *from, double *to, double *step, int *count)
{
    char *end, *close;
    *step = 0;
    *count = 0;
    *from = strtod(text, &end);
    if (end == text || *end != '-')
        return false;
    const char *second = end + 1;
    *to = strtod(second, &end);
    if (end == second || !isfinite(*from) || !isfinite(*to))
        return false;
    end += strspn(end, " ");
    if (!*end) {
        *step = *to >= *from ? 1 : -1;
        return true;
    }
    double number = strtod(end + 1, &close);
    close += strspn(close, " ");
    if (!isfinite(number) || !*close || close[1])
        return false;
    if (*end == '(' && *close == ')') {
        *step = number;
        return number != 0;
    }
    if (*end != '[' || *close != ']' || number < 1 || number > GRID_AXIS_VALUES || floor(number) < number)
        return false;
    *count = (int)number;
    return true;
}

static int add_range(grid_axis *a, double from, double to, double step, int count)
{
    char text[64];
    bool whole = a->option->kind == OPTION_INTEGER || a->option->kind == OPTION_SEED;
    int many = count;
    if (count == 0) {
        double steps = (to - from) / step;
        if (steps < 0 || steps > GRID_AXIS_VALUES)
            return complain_usage("axis %s: from %g to %g by %g are no values, or more than %d", a->type,
                                  from, to, step, (int)GRID_AXIS_VALUES);
        many = (int)(steps + 1e-9) + 1;
    }
    for (int i = 0; i < many && i <= GRID_AXIS_VALUES; i++) {
        double x = count == 0 ? from + i * step : count > 1 ? from + (to - from) * i / (count - 1) : from;
        snprintf(text, sizeof text, whole ? "%.0f" : "%.10g", whole ? floor(x) : x);
        if (!add(a, text, strlen(text)))
            return EXIT_FAILED;
    }
    return full(a);
}

static int add_value(grid_axis *a, const char *text, size_t length)
{
    char number[64];
    double from, to, step;
    int count;
    bool counts = a->option && (a->option->kind == OPTION_INTEGER || a->option->kind == OPTION_NUMBER ||
                                a->option->kind == OPTION_SEED);
    if (counts && length < sizeof number) {
        memcpy(number, text, length);
        number[length] = 0;
        if (read_range(number, &from, &to, &step, &count))
            return add_range(a, from, to, step, count);
    }
    return add(a, text, length) ? full(a) : EXIT_FAILED;
}

/* One value up to a comma that stands in no quotes; "" in quotes is a quote. *text moves behind the comma. */
static int take(grid_axis *a, const char **text)
{
    const char *t = *text + strspn(*text, " ");
    char *value = malloc(strlen(t) + 1);
    size_t length = 0, kept = 0;
    if (!value) {
        complain("not enough memory");
        return EXIT_FAILED;
    }
    for (bool quoted = false; *t && (quoted || *t != ','); t++) {
        if (*t != '"') {
            value[length++] = *t;
        } else if (quoted && t[1] == '"') {
            value[length++] = *t++;
        } else {
            quoted = !quoted;
            kept = length; /* blanks inside quotes stay */
        }
    }
    while (length > kept && value[length - 1] == ' ')
        length--;
    *text = *t ? t + 1 : NULL;
    int status = add_value(a, value, length);
    free(value);
    return status;
}

static int read_lines(grid_axis *a, const char *path)
{
    FILE *file = fopen(path, "r");
    if (!file) {
        complain("axis %s: %s cannot be read", a->type, path);
        return EXIT_FAILED;
    }
    char *line = NULL;
    size_t room = 0;
    ssize_t length;
    int status = EXIT_OK;
    while (status == EXIT_OK && (length = getline(&line, &room, file)) >= 0) {
        while (length > 0 && isspace((unsigned char)line[length - 1]))
            length--;
        if (length > 0 && line[0] != '#')
            status = add(a, line, (size_t)length) ? full(a) : EXIT_FAILED;
    }
    free(line);
    fclose(file);
    return status;
}

int grid_axis_read(const command *c, const char *text, grid_axis *out)
{
    *out = (grid_axis){0};
    const char *equals = strchr(text, '=');
    size_t length = equals ? (size_t)(equals - text) : 0;
    if (length == 0)
        return complain_usage("'%s' is no axis: NAME=VALUES is expected, such as \"steps=10,20,40\"", text);
    bool replace = is_replace(text, length);
    out->option = replace ? NULL : find(c, text, length);
    if (!replace && !out->option)
        return complain_usage(
            "'%.*s' cannot be an axis: an option of 'kiln draw' is expected (steps, cfg, seed, "
            "sampler, prompt ...), or replace",
            (int)length, text);
    out->type = replace ? "replace" : out->option->name;
    const char *rest = equals + 1;
    int status = EXIT_OK;
    if (*rest == '@')
        status = read_lines(out, rest + 1);
    else
        while (status == EXIT_OK && rest && *rest)
            status = take(out, &rest);
    if (status == EXIT_OK && out->count == 0)
        return complain_usage("axis %s has no values", out->type);
    return status;
}

void grid_axis_free(grid_axis *a)
{
    for (int i = 0; i < a->count; i++)
        free(a->values[i]);
    free(a->values);
    *a = (grid_axis){0};
}
