/* extra_networks.c - see extra_networks.h. */
#include "text/extra_networks.h"

#include "text/prompt_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* The length of the tag that begins at `text`, 0 for none; *kind is that of its kind. */
static size_t tag_length(const char *text, size_t *kind)
{
    *kind = 0;
    if (*text != '<')
        return 0;
    while (is_word(text[1 + *kind]))
        ++*kind;
    if (!*kind || text[1 + *kind] != ':')
        return 0;
    const char *end = strchr(text, '>');
    return end && end > text + 2 + *kind ? (size_t)(end - text) + 1 : 0;
}

void extra_networks_strip(char *text)
{
    char *to = text;
    while (*text) {
        size_t kind, length = tag_length(text, &kind);
        if (length)
            text += length;
        else
            *to++ = *text++;
    }
    *to = '\0';
}

/* Cut "name:0.8:unet=1" at its colons. */
static kiln_status cut_items(extra_networks *all, extra_network *n, const char *text, size_t length,
                             kiln_error *err)
{
    const char *end = text + length;
    while (text <= end) {
        const char *colon = memchr(text, ':', (size_t)(end - text)), *stop = colon ? colon : end;
        if (n->count == EXTRA_NETWORK_ITEMS)
            return fail(err, KILN_BAD_ARGUMENT, "%s in the prompt has more than %d values", n->text,
                        EXTRA_NETWORK_ITEMS);
        const char *equals = memchr(text, '=', (size_t)(stop - text)), *from = equals ? equals + 1 : text;
        /* A name may hold an equals sign. */
        if (!n->count)
            from = text;
        n->item[n->count].key =
            from == text ? NULL : arena_text_part(&all->memory, text, (size_t)(equals - text));
        n->item[n->count].value = arena_text_part(&all->memory, from, (size_t)(stop - from));
        if (!n->item[n->count].value || (from != text && !n->item[n->count].key))
            return fail(err, KILN_NO_MEMORY, "out of memory for the prompt");
        n->count++;
        text = stop + 1;
    }
    if (!n->item[0].value[0])
        return fail(err, KILN_BAD_ARGUMENT, "%s in the prompt names no file", n->text);
    return KILN_OK;
}

static kiln_status add_tag(extra_networks *all, const char *tag, size_t length, size_t kind, kiln_error *err)
{
    if (all->count == EXTRA_NETWORKS_MAX)
        return fail(err, KILN_BAD_ARGUMENT, "the prompt names more than %d extra networks",
                    EXTRA_NETWORKS_MAX);
    extra_network *n = &all->network[all->count++];
    n->text = arena_text_part(&all->memory, tag, length);
    n->kind = arena_text_part(&all->memory, tag + 1, kind);
    if (!n->text || !n->kind)
        return fail(err, KILN_NO_MEMORY, "out of memory for the prompt");
    if (!extra_network_is(n, "lora") && !extra_network_is(n, "hypernet"))
        return fail(err, KILN_BAD_ARGUMENT,
                    "%s in the prompt: there is no extra network of the kind '%s', only lora and hypernet",
                    n->text, n->kind);
    return cut_items(all, n, tag + kind + 2, length - kind - 3, err);
}

kiln_status extra_networks_of(const char *prompt, extra_networks *out, kiln_error *err)
{
    char *text = NULL;
    *out = (extra_networks){0};
    kiln_status status = prompt_without_comments(prompt, &text, err);
    for (const char *at = text; status == KILN_OK && *at;) {
        size_t kind, length = tag_length(at, &kind);
        if (length)
            status = add_tag(out, at, length, kind, err);
        at += length ? length : 1;
    }
    free(text);
    return status;
}

void extra_networks_free(extra_networks *all)
{
    arena_fini(&all->memory);
    *all = (extra_networks){0};
}

bool extra_network_is(const extra_network *n, const char *kind)
{
    return strcmp(n->kind, kind) == 0 || (strcmp(kind, "lora") == 0 && strcmp(n->kind, "lyco") == 0);
}

static const char *find_item(const extra_network *n, int position, const char *key)
{
    const char *found = NULL;
    for (int i = 0, plain = 0; i < n->count; i++) {
        bool named = n->item[i].key != NULL;
        if (named ? key && strcmp(n->item[i].key, key) == 0 : plain++ == position)
            found = n->item[i].value;
    }
    return found;
}

kiln_status extra_network_number(const extra_network *n, int position, const char *key, double *out,
                                 kiln_error *err)
{
    const char *text = find_item(n, position, key);
    char *end = NULL;
    double v = text ? strtod(text, &end) : 0;
    if (!text)
        return KILN_OK;
    if (end == text || *end || !(fabs(v) <= 1000))
        return fail(err, KILN_BAD_ARGUMENT, "%s in the prompt: '%s' is no strength from -1000 to 1000",
                    n->text, text);
    *out = v;
    return KILN_OK;
}
