/* prompt_template.c - see prompt_template.h.
 *
 * Texts are filled from left to right, a line or a variant at once where it is chosen: the order of the choices is part of what a
 * seed means. */
#include "text/prompt_template.h"

#include "text/prompt_parts.h"
#include "text/prompt_template_parts.h"
#include "text/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* More is no prompt but a mistake, or an attack. */
enum { MAX_CHOICES = 10000, MAX_DEPTH = 32 };

typedef struct filling {
    const template_rules *rules;
    prompt_chance *chance;
    FILE *to;
    size_t written;
    int choices, depth;
    const char *files[MAX_DEPTH + 1]; /* of the lines that are being filled; NULL: a variant */
} filling;

static kiln_status put(filling *f, const char *text, size_t length, kiln_error *err)
{
    f->written += length;
    if (f->written > TOKENIZER_MAX_TEXT)
        return fail(err, KILN_BAD_ARGUMENT, "the prompt becomes longer than the %d bytes that can be encoded",
                    TOKENIZER_MAX_TEXT);
    (void)fwrite(text, 1, length, f->to);
    return KILN_OK;
}

static kiln_status fill(filling *f, const char *text, size_t length, kiln_error *err);

/* A chosen text, from `file` or from a variant (NULL). */
static kiln_status fill_chosen(filling *f, const template_option *o, kiln_error *err)
{
    if (f->depth == MAX_DEPTH)
        return fail(err, KILN_BAD_ARGUMENT, "wildcards and variants are nested deeper than %d", MAX_DEPTH);
    for (int i = 0; o->file && i < f->depth; i++)
        if (f->files[i] && strcmp(f->files[i], o->file) == 0)
            return fail(err, KILN_BAD_ARGUMENT, "%s: its line '%.*s' leads back to the file itself", o->file,
                        (int)(o->length < 80 ? o->length : 80), o->text);
    f->files[f->depth++] = o->file;
    kiln_status status = fill(f, o->text, o->length, err);
    f->depth--;
    return status;
}

static kiln_status count_choice(filling *f, kiln_error *err)
{
    return ++f->choices <= MAX_CHOICES
               ? KILN_OK
               : fail(err, KILN_BAD_ARGUMENT, "the prompt leaves more than %d choices", MAX_CHOICES);
}

/* One line; its weight counts where variants are known. */
static kiln_status fill_line(filling *f, const wildcard_lines *lines, kiln_error *err)
{
    kiln_status status = count_choice(f, err);
    if (status != KILN_OK)
        return status;
    if (!f->rules->variants) {
        const wildcard_line *line = &lines->list[prompt_chance_below(f->chance, lines->count)];
        return fill_chosen(f, &(template_option){line->text, strlen(line->text), line->file, 1}, err);
    }
    template_options options = {0};
    template_option chosen;
    status = template_options_of_lines(lines, &options, err);
    if (status == KILN_OK)
        status = template_choose(&options, f->chance, &chosen, err);
    if (status == KILN_OK)
        status = fill_chosen(f, &chosen, err);
    template_options_free(&options);
    return status;
}

/* `text` is what stands between the braces. */
static kiln_status fill_variant(filling *f, const char *text, size_t length, kiln_error *err)
{
    template_variant v;
    kiln_status status = count_choice(f, err);
    if (status == KILN_OK)
        status = template_variant_of(text, length, f->rules, &v, err);
    if (status != KILN_OK)
        return status;
    uint32_t wanted = v.low;
    if (v.high > v.low)
        wanted += prompt_chance_below(f->chance, v.high - v.low + 1);
    for (uint32_t i = 0; status == KILN_OK && i < wanted; i++) {
        template_option chosen;
        status = template_choose(&v.options, f->chance, &chosen, err);
        if (status == KILN_OK && i)
            status = put(f, v.separator, v.separator_length, err);
        if (status == KILN_OK)
            status = fill_chosen(f, &chosen, err);
    }
    template_options_free(&v.options);
    return status;
}

/* ------------------------------------------------------------------------------------ what stands where */

typedef struct place {
    const char *text;
    size_t length, at;
    size_t tag_end; /* of the extra network's tag last seen; before it, names belong to the tag */
} place;

/* "<lora:" at `at`: where the tag ends, or 0. */
static size_t tag_at(const place *p)
{
    size_t i = p->at + 1;
    while (i < p->length && (p->text[i] == '_' || (p->text[i] >= '0' && p->text[i] <= '9') ||
                             ((p->text[i] | 32) >= 'a' && (p->text[i] | 32) <= 'z')))
        i++;
    if (i == p->at + 1 || i >= p->length || p->text[i] != ':')
        return 0;
    const char *end = memchr(p->text + i, '>', p->length - i);
    return end ? (size_t)(end - p->text) : 0;
}

/* The name between two pairs of underscores at `at`; false where there is none. */
static bool name_at(const place *p, size_t *length)
{
    size_t begin = p->at + 2, i = begin;
    while (i + 1 < p->length && (unsigned char)p->text[i] > ' ' &&
           (p->text[i] != '_' || p->text[i + 1] != '_'))
        i++;
    *length = i - begin;
    return i > begin && i + 1 < p->length && p->text[i] == '_' && p->text[i + 1] == '_';
}

/* *taken: how many bytes stood for the line; 0: this is no wildcard. */
static kiln_status fill_wildcard(filling *f, const place *p, size_t *taken, kiln_error *err)
{
    size_t length = 0;
    *taken = 0;
    if (!f->rules->wildcards.find || p->at + 1 >= p->length || p->text[p->at + 1] != '_' ||
        !name_at(p, &length))
        return KILN_OK;
    char *name = strndup(p->text + p->at + 2, length);
    wildcard_lines lines;
    kiln_error own = {0};
    if (!name)
        return fail(err, KILN_NO_MEMORY, "out of memory for the prompt");
    kiln_status status = f->rules->wildcards.find(f->rules->wildcards.self, name, &lines, &own);
    free(name);
    if (status == KILN_NOT_FOUND && p->at < p->tag_end)
        return KILN_OK;
    if (status != KILN_OK) {
        if (err)
            *err = own;
        return status;
    }
    *taken = length + 4;
    return fill_line(f, &lines, err);
}

/* What stands at `at`, with its length in *taken. */
static kiln_status fill_one(filling *f, place *p, const size_t *closing, size_t *taken, kiln_error *err)
{
    const char *at = p->text + p->at;
    kiln_status status = KILN_OK;
    *taken = 0;
    if (*at == '_')
        status = fill_wildcard(f, p, taken, err);
    if (status != KILN_OK || *taken)
        return status;
    bool variable = *at == '$' && p->at + 1 < p->length && at[1] == '{' && (!p->at || at[-1] != '$');
    if (f->rules->variants && variable)
        return fail(err, KILN_UNSUPPORTED, "the prompt has a variable, '%.*s': variables are not known here",
                    (int)(p->length - p->at < 40 ? p->length - p->at : 40), at);
    if (closing && *at == '{' && closing[p->at]) {
        *taken = closing[p->at] + 1 - p->at;
        return fill_variant(f, at + 1, *taken - 2, err);
    }
    if (*at == '<' && p->at >= p->tag_end)
        p->tag_end = tag_at(p);
    *taken = template_skip(p->text, p->length, p->at);
    /* A pair of underscores that begins no name does not end one either. */
    if (*at == '_' && p->at + 1 < p->length && at[1] == '_')
        *taken = 2;
    return put(f, at, *taken, err);
}

static kiln_status fill(filling *f, const char *text, size_t length, kiln_error *err)
{
    place p = {.text = text, .length = length};
    size_t *closing = NULL, taken = 0;
    kiln_status status = KILN_OK;
    if (f->rules->variants)
        status = template_braces(text, length, &closing, err);
    for (; status == KILN_OK && p.at < length; p.at += taken)
        status = fill_one(f, &p, closing, &taken, err);
    free(closing);
    return status;
}

kiln_status template_fill(const char *text, const template_rules *rules, prompt_chance *chance, char **out,
                          kiln_error *err)
{
    *out = NULL;
    size_t size = 0;
    filling f = {.rules = rules, .chance = chance, .to = open_memstream(out, &size)};
    if (!f.to)
        return fail(err, KILN_NO_MEMORY, "out of memory for the prompt");
    kiln_status status = fill(&f, text, strlen(text), err);
    if (fclose(f.to) != 0 && status == KILN_OK)
        status = fail(err, KILN_NO_MEMORY, "out of memory for the prompt");
    if (status != KILN_OK) {
        free(*out);
        *out = NULL;
    }
    return status;
}
