/* texts.c - see texts.h. */
#include "pipeline/texts.h"

#include "formats/name_index.h"
#include "pipeline/seeding.h"
#include "pipeline/templates.h"

#include <stdlib.h>
#include <string.h>

static kiln_status no_memory(kiln_error *err)
{
    return fail(err, KILN_NO_MEMORY, "out of memory for the prompts");
}

/* Keeps `*text`, which is freed, in the texts' own memory. NULL stays NULL. */
static bool keep(texts *t, char **text, const char **out)
{
    *out = *text ? arena_text(&t->memory, *text) : NULL;
    bool good = *out || !*text;
    free(*text);
    *text = NULL;
    return good;
}

/* Styles are the same for all pictures. */
static kiln_status apply_styles(texts *t, const open_templates *open, const kiln_draw_options *o,
                                kiln_error *err)
{
    char *prompt = NULL, *negative = NULL, *names = templates_style_names(o->templates);
    kiln_status status = templates_style(open, o->prompt, false, &prompt, err);
    if (status == KILN_OK)
        status = templates_style(open, o->negative, true, &negative, err);
    bool kept = keep(t, &prompt, &t->prompt_template);
    kept = keep(t, &negative, &t->negative_template) && kept;
    kept = keep(t, &names, &t->styles) && kept;
    return status == KILN_OK && !kept ? no_memory(err) : status;
}

/* The pair's number in the list, where it is put when it is another than all before. */
static kiln_status add_pair(texts *t, name_index *known, char *prompt, char *negative, int *out,
                            kiln_error *err)
{
    /* No text has this byte: it is no UTF-8. */
    char *key = arena_format(&t->memory, "%s\xff%s%s", prompt ? prompt : "\xff", negative ? "+" : "-",
                             negative ? negative : "");
    int64_t found = key ? name_index_find(known, key) : NAME_MISSING;
    *out = found == NAME_MISSING ? t->count : (int)found;
    if (found != NAME_MISSING)
        return KILN_OK;
    picture_texts own = {prompt ? arena_text(&t->memory, prompt) : NULL,
                         negative ? arena_text(&t->memory, negative) : NULL};
    if (!key || (prompt && !own.prompt) || (negative && !own.negative) ||
        !name_index_put(known, key, (uint32_t)t->count))
        return no_memory(err);
    t->list[t->count++] = own;
    return KILN_OK;
}

static kiln_status fill_picture(texts *t, open_templates *open, name_index *known, int picture, uint64_t seed,
                                kiln_error *err)
{
    char *prompt = NULL, *negative = NULL;
    kiln_status status = KILN_OK;
    if (t->prompt_template)
        status = templates_fill(open, t->prompt_template, false, seed, &prompt, err);
    if (status == KILN_OK && t->negative_template)
        status = templates_fill(open, t->negative_template, true, seed, &negative, err);
    if (status == KILN_OK)
        status = add_pair(t, known, prompt, negative, &t->of[picture], err);
    free(prompt);
    free(negative);
    return status;
}

/* A template that is the text of every picture is none. */
static void forget_plain(texts *t)
{
    bool prompt = false, negative = false;
    for (int i = 0; i < t->count; i++) {
        prompt = prompt || (t->prompt_template && strcmp(t->prompt_template, t->list[i].prompt) != 0);
        negative =
            negative || (t->negative_template && strcmp(t->negative_template, t->list[i].negative) != 0);
    }
    t->prompt_template = prompt ? t->prompt_template : NULL;
    t->negative_template = negative ? t->negative_template : NULL;
}

static kiln_status fill_all(texts *t, const kiln_draw_options *o, kiln_error *err)
{
    open_templates open;
    name_index known = {0};
    kiln_status status = templates_open(&open, o->templates, err);
    if (status == KILN_OK)
        status = apply_styles(t, &open, o, err);
    for (int k = 0; status == KILN_OK && k < o->batch; k++)
        status = fill_picture(t, &open, &known, k, seeding_seed(o, k), err);
    if (status == KILN_OK)
        forget_plain(t);
    name_index_fini(&known);
    templates_close(&open);
    return status;
}

kiln_status texts_of(const kiln_draw_options *o, texts *out, kiln_error *err)
{
    *out = (texts){0};
    size_t pictures = o->templates ? (size_t)o->batch : 1;
    out->list = calloc(pictures, sizeof *out->list);
    out->of = o->templates ? calloc(pictures, sizeof *out->of) : NULL;
    if (!out->list || (o->templates && !out->of))
        return no_memory(err);
    if (o->templates)
        return fill_all(out, o, err);
    out->list[out->count++] = (picture_texts){o->prompt, o->negative};
    return KILN_OK;
}

void texts_free(texts *t)
{
    arena_fini(&t->memory);
    free(t->list);
    free(t->of);
    *t = (texts){0};
}

int texts_index(const texts *t, int picture)
{
    return t->of ? t->of[picture] : 0;
}

kiln_draw_options texts_options(const texts *t, int number, const kiln_draw_options *o)
{
    kiln_draw_options own = *o;
    own.prompt = t->list[number].prompt;
    own.negative = t->list[number].negative;
    own.templates = NULL;
    return own;
}
