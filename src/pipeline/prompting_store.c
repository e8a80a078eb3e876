/* prompting_store.c - see prompting_store.h. */
#include "pipeline/prompting_store.h"

#include "pipeline/loras.h"

#include <stdlib.h>
#include <string.h>

typedef struct prompting_entry {
    char *prompt, *loras;
    size_t loras_size;
    prompting_rules rules;
    prompting *encoded;
} prompting_entry;

/* The number of steps matters only to words that change over them. */
static bool is_same(const prompting_entry *e, const char *prompt, const prompting_rules *rules,
                    const void *loras, size_t loras_size)
{
    const prompting_rules *own = &e->rules;
    return strcmp(e->prompt, prompt) == 0 && own->clip_skip == rules->clip_skip &&
           own->emphasis == rules->emphasis && own->negative == rules->negative &&
           (own->steps == rules->steps || prompting_is_plain(e->encoded)) && e->loras_size == loras_size &&
           (!loras_size || memcmp(e->loras, loras, loras_size) == 0);
}

static void free_entry(prompting_entry *e)
{
    free(e->prompt);
    free(e->loras);
    prompting_free(e->encoded);
}

static kiln_status make_room(prompting_store *all, kiln_error *err)
{
    if (all->count < all->capacity)
        return KILN_OK;
    int capacity = all->capacity ? 2 * all->capacity : 8;
    prompting_entry *list = realloc(all->list, (size_t)capacity * sizeof *list);
    if (!list)
        return fail(err, KILN_NO_MEMORY, "out of memory for the prompts");
    all->list = list;
    all->capacity = capacity;
    return KILN_OK;
}

kiln_status prompting_store_get(prompting_store *all, kiln_session *s, const char *prompt,
                                const prompting_rules *rules, const prompting **out, kiln_error *err)
{
    size_t size = 0;
    const void *loras = session_loras_key(s, &size);
    *out = NULL;
    for (int i = 0; i < all->count; i++)
        if (is_same(&all->list[i], prompt, rules, loras, size)) {
            *out = all->list[i].encoded;
            return KILN_OK;
        }
    kiln_status status = make_room(all, err);
    if (status != KILN_OK)
        return status;
    prompting_entry e = {
        .prompt = strdup(prompt), .loras = malloc(size + 1), .loras_size = size, .rules = *rules};
    if (!e.prompt || !e.loras)
        status = fail(err, KILN_NO_MEMORY, "out of memory for the prompts");
    else if (size)
        memcpy(e.loras, loras, size);
    if (status == KILN_OK)
        status = prompting_encode(s, prompt, rules, &e.encoded, err);
    if (status != KILN_OK) {
        free_entry(&e);
        return status;
    }
    all->list[all->count++] = e;
    *out = e.encoded;
    return KILN_OK;
}

void prompting_store_free(prompting_store *all)
{
    for (int i = 0; i < all->count; i++)
        free_entry(&all->list[i]);
    free(all->list);
    *all = (prompting_store){0};
}
