/* taught_words.c - see taught_words.h. */
#include "text/taught_words.h"

#include <stdlib.h>
#include <string.h>

static bool same_run(const taught_run *run, const token_list *tokens)
{
    return run->count == tokens->count &&
           memcmp(run->ids, tokens->ids, tokens->count * sizeof *run->ids) == 0;
}

static kiln_status insert(taught_words *words, const taught_run *added, kiln_error *err)
{
    taught_run *bigger = realloc(words->runs, ((size_t)words->count + 1) * sizeof *bigger);
    if (!bigger)
        return fail(err, KILN_NO_MEMORY, "out of memory for the words of embeddings");
    words->runs = bigger;
    int at = words->count++;
    for (; at > 0 && bigger[at - 1].count < added->count; at--)
        bigger[at] = bigger[at - 1];
    bigger[at] = *added;
    return KILN_OK;
}

kiln_status taught_words_add(taught_words *words, const tokenizer *t, const char *name, int word, int vectors,
                             int *clash, kiln_error *err)
{
    token_list tokens = {0};
    *clash = -1;
    kiln_status status = tokenizer_encode(t, name, &tokens, err);
    for (int i = 0; !status && i < words->count; i++)
        if (same_run(&words->runs[i], &tokens)) {
            *clash = words->runs[i].word == word ? -1 : words->runs[i].word;
            token_list_free(&tokens);
            return KILN_OK;
        }
    if (!status && tokens.count) {
        const taught_run run = {.ids = tokens.ids, .count = tokens.count, .word = word, .vectors = vectors};
        status = insert(words, &run, err);
        if (!status)
            return KILN_OK; /* the ids are the run's now */
    }
    token_list_free(&tokens);
    return status;
}

void taught_words_free(taught_words *words)
{
    for (int i = 0; i < words->count; i++)
        free(words->runs[i].ids);
    free(words->runs);
    *words = (taught_words){0};
}

const taught_run *taught_words_find(const taught_words *words, const int32_t *ids, size_t count)
{
    for (int i = 0; words && i < words->count; i++) {
        const taught_run *run = &words->runs[i];
        if (run->count <= count && memcmp(run->ids, ids, run->count * sizeof *ids) == 0)
            return run;
    }
    return NULL;
}
