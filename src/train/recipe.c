/* recipe.c - see recipe.h. */
#include "train/recipe.h"

#include "weights/small_file.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ------------------------------------------------------------------------------------ the nearest name */

enum { NAME_MAX_LENGTH = 80 };

static int smallest(int a, int b, int c)
{
    return a < b ? (a < c ? a : c) : (b < c ? b : c);
}

/* Edit distance (Levenshtein 1966), of at most NAME_MAX_LENGTH characters each. */
static int distance(const char *a, const char *b)
{
    int row[NAME_MAX_LENGTH + 1];
    int columns = (int)strlen(b);
    if (columns > NAME_MAX_LENGTH || strlen(a) > NAME_MAX_LENGTH)
        return NAME_MAX_LENGTH;
    for (int j = 0; j <= columns; j++)
        row[j] = j;
    for (int i = 1; a[i - 1]; i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= columns; j++) {
            int above = row[j];
            row[j] = smallest(row[j - 1] + 1, above + 1, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
        }
    }
    return row[columns];
}

static const char *nearest_key(const char *name)
{
    const char *best = NULL;
    int least = NAME_MAX_LENGTH, length = (int)strlen(name);
    for (int i = 0; recipe_key_at(i); i++) {
        int d = distance(name, recipe_key_at(i)->name);
        if (d < least) {
            least = d;
            best = recipe_key_at(i)->name;
        }
    }
    return least <= 2 + length / 4 ? best : NULL;
}

/* The key of a part ("unet.attention") that is called so, or NULL. */
static const char *key_of_part(const char *name)
{
    for (int i = 0; recipe_key_at(i); i++) {
        const char *dot = strchr(recipe_key_at(i)->name, '.');
        if (dot && strcmp(dot + 1, name) == 0)
            return recipe_key_at(i)->name;
    }
    return NULL;
}

static kiln_status unknown_key(const recipe *r, const char *name, kiln_error *err)
{
    const char *near = nearest_key(name), *inner = key_of_part(name);
    const char *place = r->name ? r->name : "the recipe";
    if (inner)
        near = inner;
    if (near)
        return fail(err, KILN_BAD_ARGUMENT, "%s: there is no key '%s' (did you mean %s?)", place, name, near);
    return fail(err, KILN_BAD_ARGUMENT, "%s: there is no key '%s'", place, name);
}

/* ------------------------------------------------------------------------------------ values */

typedef struct assignment {
    recipe *recipe;
    const recipe_key *key;
    const char *text;
    kiln_error *err;
} assignment;

static kiln_status refuse(const assignment *a, const char *expected)
{
    return fail(a->err, KILN_BAD_ARGUMENT, "%s: %s must be %s, not '%s'",
                a->recipe->name ? a->recipe->name : "the recipe", a->key->name, expected, a->text);
}

static kiln_status refuse_range(const assignment *a, const char *kind)
{
    char expected[120];
    snprintf(expected, sizeof expected, "%s from %.10g to %.10g", kind, a->key->minimum, a->key->maximum);
    return refuse(a, expected);
}

/* A whole decimal number; no hexadecimal, no infinity. */
static bool parse_number(const char *text, double *out)
{
    char *end;
    if (!text[0] || strspn(text, "+-0123456789.eE") != strlen(text))
        return false;
    *out = strtod(text, &end);
    return *end == '\0' && isfinite(*out);
}

static bool parse_whole(const char *text, double low, double high, int64_t *out)
{
    char *end;
    if (!text[0] || strspn(text, "+-0123456789") != strlen(text))
        return false;
    errno = 0;
    long long n = strtoll(text, &end, 10);
    *out = n;
    return errno == 0 && *end == '\0' && end != text && (double)n >= low && (double)n <= high;
}

static kiln_status set_text(const assignment *a, void *to)
{
    const char *copy = arena_text(&a->recipe->memory, a->text);
    if (!copy)
        return fail(a->err, KILN_NO_MEMORY, "out of memory for a recipe");
    *(const char **)to = copy;
    return KILN_OK;
}

static kiln_status set_choice(const assignment *a, void *to)
{
    char expected[400];
    size_t length = strlen(a->text);
    for (const char *word = a->key->choices; length; word = strchr(word, '|') + 1) {
        size_t n = strcspn(word, "|");
        if (n == length && strncasecmp(word, a->text, n) == 0) {
            *(const char **)to = arena_text_part(&a->recipe->memory, word, n);
            return *(const char **)to ? KILN_OK : fail(a->err, KILN_NO_MEMORY, "out of memory for a recipe");
        }
        if (!word[n])
            break;
    }
    snprintf(expected, sizeof expected, "one of %s", a->key->choices);
    return refuse(a, expected);
}

static kiln_status set_bool(const assignment *a, bool *to)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};
    for (int i = 0; i < 8; i++)
        if (strcasecmp(a->text, words[i]) == 0) {
            *to = i % 2;
            return KILN_OK;
        }
    return refuse(a, "true or false");
}

static kiln_status set_list(const assignment *a, recipe_list *to)
{
    recipe_list list = {0};
    const char *p = a->text;
    while (*p) {
        char *end;
        p += strspn(p, " \t[,x");
        if (!*p || *p == ']')
            break;
        errno = 0;
        long n = strtol(p, &end, 10);
        if (end == p || errno || (double)n < a->key->minimum || (double)n > a->key->maximum ||
            list.count == RECIPE_LIST || !strchr(" \t,x]", *end))
            return refuse_range(a, "up to eight whole numbers, separated by commas,");
        list.number[list.count++] = (int)n;
        p = end;
    }
    if (!list.count)
        return refuse_range(a, "one or more whole numbers");
    *to = list;
    return KILN_OK;
}

static kiln_status assign(const assignment *a)
{
    void *to = (char *)a->recipe + a->key->offset;
    int64_t whole;
    double number;
    switch (a->key->kind) {
    case RECIPE_TEXT:
        return set_text(a, to);
    case RECIPE_CHOICE:
        return set_choice(a, to);
    case RECIPE_BOOL:
        return set_bool(a, to);
    case RECIPE_NUMBERS:
        return set_list(a, to);
    case RECIPE_INTEGER:
        if (!parse_whole(a->text, a->key->minimum, a->key->maximum, &whole))
            return refuse_range(a, "a whole number");
        *(int *)to = (int)whole;
        return KILN_OK;
    case RECIPE_STEPS:
        if (!parse_whole(a->text, a->key->minimum, a->key->maximum, &whole))
            return refuse_range(a, "a whole number");
        *(int64_t *)to = whole;
        return KILN_OK;
    case RECIPE_SEED:
        if (!parse_whole(a->text, 0, 9.2e18, &whole))
            return refuse(a, "a whole number from 0");
        *(uint64_t *)to = (uint64_t)whole;
        return KILN_OK;
    case RECIPE_NUMBER:
        if (!parse_number(a->text, &number) || number < a->key->minimum || number > a->key->maximum)
            return refuse_range(a, "a number");
        *(double *)to = number;
        return KILN_OK;
    }
    return KILN_INTERNAL;
}

kiln_status recipe_set(recipe *r, const char *name, const char *text, kiln_error *err)
{
    const recipe_key *key = recipe_key_find(name);
    if (!key)
        return unknown_key(r, name, err);
    return assign(&(assignment){r, key, text, err});
}

kiln_status recipe_init(recipe *r, kiln_error *err)
{
    *r = (recipe){0};
    kiln_status status = KILN_OK;
    for (int i = 0; recipe_key_at(i) && !status; i++)
        status = assign(&(assignment){r, recipe_key_at(i), recipe_key_at(i)->standard, err});
    return status;
}

void recipe_fini(recipe *r)
{
    arena_fini(&r->memory);
    *r = (recipe){0};
}

/* ------------------------------------------------------------------------------------ files */

/* Without spaces at both ends; the text is changed. */
static char *trimmed(char *text)
{
    text += strspn(text, " \t\r");
    size_t n = strlen(text);
    while (n && strchr(" \t\r", text[n - 1]))
        text[--n] = '\0';
    return text;
}

/* The value without a comment and without quotes around it; NULL when a quote is not closed. */
static char *value_of(char *text)
{
    text = trimmed(text);
    if (*text == '"') {
        char *end = strchr(text + 1, '"');
        if (!end || (end[1] && trimmed(end + 1)[0] && trimmed(end + 1)[0] != '#'))
            return NULL;
        *end = '\0';
        return text + 1;
    }
    for (char *p = text; *p; p++)
        if (*p == '#' && (p == text || p[-1] == ' ' || p[-1] == '\t'))
            *p = '\0';
    return trimmed(text);
}

typedef struct reading {
    recipe *recipe;
    const char *name;
    int line;
    char section[32]; /* "unet." or "" */
} reading;

static kiln_status read_heading(reading *r, char *text, kiln_error *err)
{
    static const char *const prefixes[] = {"unet", "vae", "text_encoder", "upscaler"};
    char *end = strchr(text, ']');
    if (!end || (*trimmed(end + 1) && *trimmed(end + 1) != '#'))
        return fail(err, KILN_BAD_ARGUMENT, "%s: line %d: a heading is [name], not '%s'", r->name, r->line,
                    text);
    *end = '\0';
    r->section[0] = '\0';
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        if (strcmp(trimmed(text + 1), prefixes[i]) == 0)
            snprintf(r->section, sizeof r->section, "%s.", prefixes[i]);
    return KILN_OK;
}

static kiln_status read_line(reading *r, char *text, kiln_error *err)
{
    char key[NAME_MAX_LENGTH + 40];
    text = trimmed(text);
    if (!*text || *text == '#')
        return KILN_OK;
    if (*text == '[')
        return read_heading(r, text, err);
    char *equals = strchr(text, '=');
    if (!equals)
        return fail(err, KILN_BAD_ARGUMENT, "%s: line %d: expected 'key = value', not '%s'", r->name, r->line,
                    text);
    *equals = '\0';
    char *name = trimmed(text), *given = value_of(equals + 1);
    if (!given)
        return fail(err, KILN_BAD_ARGUMENT, "%s: line %d: the quotes of %s are not closed", r->name, r->line,
                    name);
    if (strlen(name) > NAME_MAX_LENGTH)
        return fail(err, KILN_BAD_ARGUMENT, "%s: line %d: '%.40s...' is no key", r->name, r->line, name);
    snprintf(key, sizeof key, "%s%s", r->section, name);
    if (r->section[0] && !recipe_key_find(key) && recipe_key_find(name))
        snprintf(key, sizeof key, "%s", name);
    char place[300];
    const char *before = r->recipe->name;
    snprintf(place, sizeof place, "%s: line %d", r->name, r->line);
    r->recipe->name = place;
    kiln_status status = recipe_set(r->recipe, key, given, err);
    r->recipe->name = before;
    return status;
}

kiln_status recipe_read_text(recipe *r, const char *name, const char *text, size_t length, kiln_error *err)
{
    char *copy = malloc(length + 1);
    if (!copy)
        return fail(err, KILN_NO_MEMORY, "out of memory for a recipe");
    memcpy(copy, text, length);
    copy[length] = '\0';
    reading at = {.recipe = r, .name = name};
    kiln_status status =
        strlen(copy) == length ? KILN_OK : fail(err, KILN_BAD_FORMAT, "%s: this is no text", name);
    for (char *line = copy, *next; !status && line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        at.line++;
        status = read_line(&at, line, err);
    }
    free(copy);
    return status;
}

kiln_status recipe_read_file(recipe *r, const char *path, kiln_error *err)
{
    arena memory = {0};
    const char *text;
    size_t length;
    kiln_status status = small_file_read(path, &memory, &text, &length, err);
    if (!status)
        status = recipe_read_text(r, path, text, length, err);
    arena_fini(&memory);
    if (!status && !(r->name = arena_text(&r->memory, path)))
        status = fail(err, KILN_NO_MEMORY, "out of memory for a recipe");
    return status;
}

/* ------------------------------------------------------------------------------------ the resolved recipe */

/* The shortest text that reads back as the same number. */
static void number_text(double number, char *text, size_t size)
{
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, size, "%.*g", digits, number);
        if (strtod(text, NULL) == number)
            return;
    }
}

void recipe_value_text(const recipe *r, const recipe_key *key, char text[RECIPE_VALUE])
{
    const void *from = (const char *)r + key->offset;
    const recipe_list *list = from;
    size_t used = 0;
    switch (key->kind) {
    case RECIPE_TEXT:
    case RECIPE_CHOICE:
        snprintf(text, RECIPE_VALUE, "%s", *(const char *const *)from);
        break;
    case RECIPE_BOOL:
        snprintf(text, RECIPE_VALUE, "%s", *(const bool *)from ? "true" : "false");
        break;
    case RECIPE_INTEGER:
        snprintf(text, RECIPE_VALUE, "%d", *(const int *)from);
        break;
    case RECIPE_STEPS:
        snprintf(text, RECIPE_VALUE, "%" PRId64, *(const int64_t *)from);
        break;
    case RECIPE_SEED:
        snprintf(text, RECIPE_VALUE, "%" PRIu64, *(const uint64_t *)from);
        break;
    case RECIPE_NUMBER:
        number_text(*(const double *)from, text, RECIPE_VALUE);
        break;
    case RECIPE_NUMBERS:
        text[0] = '\0';
        for (int i = 0; i < list->count; i++)
            used +=
                (size_t)snprintf(text + used, RECIPE_VALUE - used, "%s%d", i ? ", " : "", list->number[i]);
        break;
    }
}

static bool is_sectioned(const recipe_key *key)
{
    return strchr(key->name, '.') != NULL;
}

char *recipe_text_of(const recipe *r)
{
    char *text = NULL, shown[RECIPE_VALUE];
    size_t size = 0;
    const char *heading = "";
    FILE *to = open_memstream(&text, &size);
    if (!to)
        return NULL;
    for (int i = 0; recipe_key_at(i); i++) {
        const recipe_key *key = recipe_key_at(i);
        if (strcmp(heading, key->heading) != 0)
            fprintf(to, "%s[%s]\n", i ? "\n" : "", key->heading);
        heading = key->heading;
        recipe_value_text(r, key, shown);
        bool quoted = key->kind == RECIPE_TEXT;
        fprintf(to, "%s = %s%s%s\n", is_sectioned(key) ? strchr(key->name, '.') + 1 : key->name,
                quoted ? "\"" : "", shown, quoted ? "\"" : "");
    }
    if (fclose(to) == 0)
        return text;
    free(text);
    return NULL;
}

/* ------------------------------------------------------------------------------------ what keys are together */

static kiln_status conflict(const recipe *r, kiln_error *err, const char *sentence)
{
    return fail(err, KILN_BAD_ARGUMENT, "%s: %s", r->name ? r->name : "the recipe", sentence);
}

static kiln_status check_sizes(recipe *r, kiln_error *err)
{
    if (r->resolution.count > 2)
        return conflict(r, err, "resolution is one side, or width and height");
    if (r->resolution.count == 1)
        r->resolution = (recipe_list){2, {r->resolution.number[0], r->resolution.number[0]}};
    if (r->min_bucket_reso > r->max_bucket_reso)
        return conflict(r, err, "min_bucket_reso is larger than max_bucket_reso");
    recipe_unet *u = &r->unet;
    int levels = u->block_out_channels.count;
    recipe_list *each[] = {&u->attention, &u->attention_head_dim};
    for (int k = 0; k < 2; k++) {
        if (each[k]->count != 1 && each[k]->count != levels) {
            /* The default speaks of four levels; of fewer, the finest keep theirs and the coarsest has no attention. */
            if (k == 1 || each[k]->count != 4 || each[k]->number[3])
                return conflict(
                    r, err,
                    k ? "unet.attention_head_dim needs one number, or one per level of "
                        "unet.block_out_channels"
                      : "unet.attention needs one number, or one per level of unet.block_out_channels");
            *each[k] = (recipe_list){.count = levels};
            for (int i = 0; i < levels; i++)
                each[k]->number[i] = i + 1 < levels;
        }
        for (int i = each[k]->count; i < levels; i++)
            each[k]->number[i] = each[k]->number[0];
        each[k]->count = levels;
    }
    if (!r->text_encoder.intermediate_size)
        r->text_encoder.intermediate_size = 4 * r->text_encoder.hidden_size;
    return KILN_OK;
}

kiln_status recipe_check(recipe *r, kiln_error *err)
{
    if (!r->train_data_dir[0])
        return conflict(r, err, "train_data_dir is missing: the folder of pictures to learn from");
    if (!r->output_dir[0])
        return conflict(r, err, "output_dir is missing: the folder of this run");
    if (!r->max_train_steps && !r->max_train_epochs)
        return conflict(r, err,
                        "max_train_steps and max_train_epochs are both 0: when is the training to end?");
    if (r->max_timestep && r->max_timestep <= r->min_timestep)
        return conflict(r, err, "max_timestep must be larger than min_timestep");
    if (r->beta_end <= r->beta_start)
        return conflict(r, err, "beta_end must be larger than beta_start");
    if (recipe_teaches(r) && (!r->base[0] || r->unet.base[0] || r->vae.base[0] || r->text_encoder.base[0]))
        return conflict(r, err,
                        "this method teaches something to a model that stays as it is: base is missing, or "
                        "unet.base, vae.base or text_encoder.base is set");
    if (strchr(r->output_name, '/'))
        return conflict(r, err, "output_name is a name without folders");
    if (r->cache_text_encoder_outputs && r->train_text_encoder)
        return conflict(r, err, "cache_text_encoder_outputs and train_text_encoder cannot both be on");
    if (strcmp(r->method, "vae") != 0 && !r->train_unet && !r->train_text_encoder)
        return conflict(r, err, "train_unet and train_text_encoder are both off: nothing is trained");
    kiln_status status = recipe_check_prior(r, err);
    return status ? status : check_sizes(r, err);
}
