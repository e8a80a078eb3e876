/* templates.c - see templates.h. */
#include "pipeline/templates.h"

#include "image/byte_buffer.h"
#include "pipeline/beside.h"
#include "weights/small_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_none(const char *name)
{
    return strcmp(name, "None") == 0;
}

/* ------------------------------------------------------------------------------------ styles */

static kiln_status read_styles(open_templates *t, kiln_error *err)
{
    kiln_status status = KILN_OK;
    for (int i = 0; status == KILN_OK && i < t->rules->style_file_count; i++) {
        arena file = {0};
        const char *path = t->rules->style_files[i], *text = NULL;
        size_t size = 0;
        status = small_file_read(path, &file, &text, &size, err);
        if (status == KILN_OK)
            status = styles_add(&t->styles, text, size, path, err);
        arena_fini(&file);
    }
    return status;
}

static kiln_status refuse_style(const open_templates *t, const char *name, kiln_error *err)
{
    char like[400], files[600] = "";
    size_t used = 0;
    styles_like(&t->styles, name, like, sizeof like);
    for (int i = 0; i < t->rules->style_file_count && used < sizeof files; i++)
        used += (size_t)snprintf(files + used, sizeof files - used, "%s%s", i ? ", " : "",
                                 t->rules->style_files[i]);
    if (!t->rules->style_file_count)
        return fail(err, KILN_NOT_FOUND, "there is no file with styles to look for '%s' in", name);
    return fail(err, KILN_NOT_FOUND, "%s: there is no style '%s'%s%s", files, name, *like ? "; it has " : "",
                like);
}

static kiln_status check_styles(const open_templates *t, kiln_error *err)
{
    for (int i = 0; i < t->rules->style_count; i++)
        if (!is_none(t->rules->styles[i]) && !styles_find(&t->styles, t->rules->styles[i]))
            return refuse_style(t, t->rules->styles[i], err);
    return KILN_OK;
}

kiln_status templates_open(open_templates *t, const kiln_templates *rules, kiln_error *err)
{
    *t = (open_templates){.rules = rules, .wildcards.folder = rules->wildcards};
    kiln_status status = rules->style_count ? read_styles(t, err) : KILN_OK;
    if (status == KILN_OK)
        status = check_styles(t, err);
    if (status == KILN_OK && rules->wildcards)
        status = wildcard_folder_check(&t->wildcards, err);
    return status;
}

void templates_close(open_templates *t)
{
    styles_free(&t->styles);
    wildcard_folder_free(&t->wildcards);
}

kiln_status templates_style(const open_templates *t, const char *prompt, bool negative, char **out,
                            kiln_error *err)
{
    *out = strdup(prompt ? prompt : "");
    kiln_status status = *out ? KILN_OK : fail(err, KILN_NO_MEMORY, "out of memory for the prompt");
    bool any = prompt != NULL;
    for (int i = 0; status == KILN_OK && i < t->rules->style_count; i++) {
        const style *s = styles_find(&t->styles, t->rules->styles[i]);
        if (!s || is_none(s->name))
            continue;
        char *before = *out;
        const char *own = negative ? s->negative : s->prompt;
        any = any || *own;
        status = style_merge(own, before, out, err);
        free(before);
    }
    if (status != KILN_OK || !any) {
        free(*out);
        *out = NULL;
    }
    return status;
}

char *templates_style_names(const kiln_templates *rules)
{
    byte_buffer names = {0};
    for (int i = 0; i < rules->style_count; i++) {
        if (is_none(rules->styles[i]))
            continue;
        byte_buffer_add_text(&names, names.size ? "; " : "");
        byte_buffer_add_text(&names, rules->styles[i]);
    }
    return names.size ? byte_buffer_take_text(&names) : NULL;
}

/* ------------------------------------------------------------------------------------ wildcards */

kiln_status templates_fill(open_templates *t, const char *text, bool negative, uint64_t seed, char **out,
                           kiln_error *err)
{
    const kiln_templates *r = t->rules;
    template_rules rules = {.variants = r->variants};
    prompt_chance chance;
    if (r->wildcards)
        rules.wildcards = wildcard_folder_source(&t->wildcards);
    if (negative ? r->negative_is_filled : r->prompt_is_filled)
        rules = (template_rules){0};
    prompt_chance_init(&chance, seed);
    return template_fill(text, &rules, &chance, out, err);
}

/* ------------------------------------------------------------------------------------ the public calls */

static kiln_status fill_one(open_templates *t, uint64_t seed, const char *text, bool negative, char **out,
                            kiln_error *err)
{
    char *styled = NULL;
    kiln_status status = templates_style(t, text, negative, &styled, err);
    if (status == KILN_OK && styled)
        status = templates_fill(t, styled, negative, seed, out, err);
    free(styled);
    return status;
}

kiln_status kiln_fill_templates(const kiln_templates *rules, uint64_t seed, const char *prompt,
                                const char *negative, char **prompt_out, char **negative_out, kiln_error *err)
{
    *prompt_out = *negative_out = NULL;
    if (!prompt)
        return fail(err, KILN_BAD_ARGUMENT, "there is no prompt to fill");
    open_templates t;
    kiln_status status = templates_open(&t, rules ? rules : &(kiln_templates){0}, err);
    if (status == KILN_OK)
        status = fill_one(&t, seed, prompt, false, prompt_out, err);
    if (status == KILN_OK)
        status = fill_one(&t, seed, negative, true, negative_out, err);
    templates_close(&t);
    if (status != KILN_OK) {
        free(*prompt_out);
        *prompt_out = NULL;
    }
    return status;
}

static char *find_beside(const char *model, const char *name, bool (*there)(const char *))
{
    for (int up = 1; model && up <= BESIDE_UP; up++) {
        char above[BESIDE_PATH], path[BESIDE_PATH + 16];
        folder_above(model, up, above);
        snprintf(path, sizeof path, "%s/%s", above, name);
        if (there(path))
            return strdup(path);
    }
    return NULL;
}

char *kiln_wildcards_beside(const char *model_path)
{
    return find_beside(model_path, "wildcards", path_is_folder);
}

char *kiln_styles_beside(const char *model_path)
{
    return find_beside(model_path, "styles.csv", path_is_file);
}
