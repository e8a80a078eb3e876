/* options.c - see options.h. */
#include "options.h"

#include "message.h"
#include "values.h"

#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------ near words */

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Levenshtein distance, one row at a time; words longer than the row count as far. */
static size_t edit_distance(const char *a, const char *b)
{
    size_t row[40], m = strlen(a), n = strlen(b);
    if (n + 1 > sizeof row / sizeof *row)
        return SIZE_MAX;
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 1; i <= m; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t changed = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            row[j] = least(changed, least(row[j], row[j - 1]) + 1);
        }
    }
    return row[n];
}

const char *nearest_word(const char *word, const char *(*next)(const void *state, int i), const void *state)
{
    const char *best = NULL;
    size_t distance = strlen(word) / 3 + 2;
    for (int i = 0; next(state, i); i++) {
        const char *candidate = next(state, i);
        size_t d = edit_distance(word, candidate);
        /* A word cut short ("neg" for "negative") is as near as a slip of one letter. */
        if (strlen(word) >= 3 && strncmp(candidate, word, strlen(word)) == 0)
            d = 1;
        if (d < distance) {
            distance = d;
            best = candidate;
        }
    }
    return best;
}

bool command_replaces(const command *c, const option *table, const option *o)
{
    for (const option *own = c->options; table != c->options && own && own->name; own++)
        if (strcmp(own->name, o->name) == 0)
            return true;
    return false;
}

const option *command_option(const command *c, int i)
{
    const option *const tables[] = {c->shared, c->options, c->also};
    for (size_t k = 0; k < sizeof tables / sizeof *tables; k++)
        for (const option *o = tables[k]; o && o->name; o++)
            if (!command_replaces(c, tables[k], o) && i-- == 0)
                return o;
    return NULL;
}

static const char *option_name_at(const void *state, int i)
{
    const option *o = command_option(state, i);
    return o ? o->name : NULL;
}

/* ------------------------------------------------------------------------------ values */

/* What the option expects, in words. */
static const char *expectation(const option *o, char *text, size_t size)
{
    switch (o->kind) {
    case OPTION_INTEGER:
        snprintf(text, size, "a whole number from %.0f to %.0f", o->minimum, o->maximum);
        break;
    case OPTION_NUMBER:
        snprintf(text, size, "a number from %g to %g", o->minimum, o->maximum);
        break;
    case OPTION_SEED:
        snprintf(text, size, "a whole number from 0 to 18446744073709551615, or -1 for a random one");
        break;
    case OPTION_SIZE:
        snprintf(text, size, "WxH with sides from %.0f to %.0f pixels (512x768, say)", o->minimum,
                 o->maximum);
        break;
    case OPTION_BYTES:
        snprintf(text, size, "an amount of memory such as 6G or 512M");
        break;
    case OPTION_CHOICE:
        snprintf(text, size, "one of %s", o->choices);
        break;
    case OPTION_LIST:
        snprintf(text, size, "%s, %d times at most", o->value, OPTION_LIST_MAX);
        break;
    default:
        snprintf(text, size, "%s", o->value ? o->value : "no value");
    }
    return text;
}

static bool store_item(const char *text, option_list *list)
{
    if (list->count == OPTION_LIST_MAX)
        return false;
    list->items[list->count++] = text;
    return true;
}

static bool store(const option *o, const char *text, void *values)
{
    void *place = (char *)values + o->offset;
    long long integer;
    switch (o->kind) {
    case OPTION_FLAG:
        *(bool *)place = true;
        return true;
    case OPTION_TEXT:
        *(const char **)place = text;
        return true;
    case OPTION_LIST:
        return store_item(text, place);
    case OPTION_CHOICE:
        *(const char **)place = text;
        return value_choice(text, o->choices);
    case OPTION_INTEGER:
        if (!value_integer(text, (long long)o->minimum, (long long)o->maximum, &integer))
            return false;
        *(int *)place = (int)integer;
        return true;
    case OPTION_NUMBER:
        return value_number(text, o->minimum, o->maximum, place);
    case OPTION_SEED:
        return value_seed(text, place);
    case OPTION_SIZE:
        return value_size(text, (int)o->minimum, (int)o->maximum, place);
    case OPTION_BYTES:
        return value_bytes(text, place);
    }
    return false;
}

/* ------------------------------------------------------------------------------ the command line */

typedef struct parser {
    const command *command;
    int argc, at;
    char **argv;
    void *values;
    arguments *out;
} parser;

/* The option written as --name or --name=value (`length` bytes of name), or as a letter. */
static const option *find_long(const command *c, const char *name, size_t length, int *place)
{
    const option *o;
    for (int i = 0; (o = command_option(c, i)); i++)
        if (strlen(o->name) == length && memcmp(o->name, name, length) == 0) {
            *place = i;
            return o;
        }
    return NULL;
}

static const option *find_letter(const command *c, char letter, int *place)
{
    const option *o;
    for (int i = 0; (o = command_option(c, i)); i++)
        if (o->letter && o->letter == letter) {
            *place = i;
            return o;
        }
    return NULL;
}

static int unknown_option(const command *c, const char *written)
{
    char name[40] = "";
    const char *word = written + strspn(written, "-");
    size_t length = strcspn(word, "=");
    if (length < sizeof name)
        memcpy(name, word, length);
    const char *near = length > 1 ? nearest_word(name, option_name_at, c) : NULL;
    if (near)
        return complain_usage("unknown option '%s' (did you mean --%s?); 'kiln %s --help' lists the options",
                              written, near, c->name);
    return complain_usage("unknown option '%s'; 'kiln %s --help' lists the options", written, c->name);
}

/* Take the option's value: what follows '=' or the letter, or else the next argument, whatever it begins with. */
static int take(parser *p, const option *o, int place, const char *attached)
{
    char expected[160];
    p->out->given[place] = true;
    if (o->kind == OPTION_FLAG) {
        if (attached)
            return complain_usage("option --%s takes no value, found '%s'", o->name, attached);
        store(o, NULL, p->values);
        return EXIT_OK;
    }
    const char *text = attached;
    if (!text) {
        if (p->at >= p->argc)
            return complain_usage("option --%s expects %s, and nothing follows it", o->name,
                                  expectation(o, expected, sizeof expected));
        text = p->argv[p->at++];
    }
    if (!store(o, text, p->values))
        return complain_usage("option --%s expects %s, found '%s'", o->name,
                              expectation(o, expected, sizeof expected), text);
    return EXIT_OK;
}

static int take_plain(parser *p, const char *text)
{
    if (p->out->count >= p->command->plain_maximum)
        return complain_usage(
            "'kiln %s' has no place for the argument '%s' (a text of several words needs quotes)",
            p->command->name, text);
    p->out->plain[p->out->count++] = text;
    return EXIT_OK;
}

static int take_option(parser *p, const char *written)
{
    if (strcmp(written, "--help") == 0 || strcmp(written, "-h") == 0) {
        p->out->help = true;
        return EXIT_OK;
    }
    int place = 0;
    if (written[1] == '-') {
        const char *name = written + 2, *equals = strchr(name, '=');
        const option *o =
            find_long(p->command, name, equals ? (size_t)(equals - name) : strlen(name), &place);
        return o ? take(p, o, place, equals ? equals + 1 : NULL) : unknown_option(p->command, written);
    }
    const option *o = find_letter(p->command, written[1], &place);
    return o ? take(p, o, place, written[2] ? written + 2 : NULL) : unknown_option(p->command, written);
}

int arguments_parse(const command *c, int argc, char **argv, void *values, arguments *out)
{
    *out = (arguments){.command = c};
    parser p = {.command = c, .argc = argc, .argv = argv, .values = values, .out = out};
    bool only_plain = false;
    while (p.at < argc && !out->help) {
        const char *word = argv[p.at++];
        int status = EXIT_OK;
        if (!only_plain && strcmp(word, "--") == 0)
            only_plain = true;
        else if (!only_plain && word[0] == '-' && word[1])
            status = take_option(&p, word);
        else
            status = take_plain(&p, word);
        if (status)
            return status;
    }
    if (!out->help && out->count < c->plain_minimum)
        return complain_usage("'kiln %s' expects %s: kiln %s %s", c->name, c->plain_name, c->name, c->usage);
    return EXIT_OK;
}

bool arguments_given(const arguments *a, const char *name)
{
    int place = 0;
    return find_long(a->command, name, strlen(name), &place) && a->given[place];
}
