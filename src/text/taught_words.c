/* taught_words.c - see taught_words.h. */
#include "text/taught_words.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static bool same_run(const taught_run *run, const token_list *tokens)
{
    return run->count == tokens->count &&
           memcmp(run->ids, tokens->ids, tokens->count * sizeof *run->ids) == 0;
}

static bool is_mark(const char *name)
{
    size_t length = strlen(name);
    return length > 2 && name[0] == '<' && name[length - 1] == '>';
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
        taught_run run = {.ids = tokens.ids, .count = tokens.count, .word = word, .vectors = vectors};
        run.mark = is_mark(name) ? strdup(name) : NULL;
        status = is_mark(name) && !run.mark
                     ? fail(err, KILN_NO_MEMORY, "out of memory for the words of embeddings")
                     : insert(words, &run, err);
        if (!status)
            return KILN_OK; /* the ids are the run's now */
        free(run.mark);
    }
    token_list_free(&tokens);
    return status;
}

void taught_words_free(taught_words *words)
{
    for (int i = 0; i < words->count; i++) {
        free(words->runs[i].ids);
        free(words->runs[i].mark);
    }
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

const taught_run *taught_words_find_mark(const taught_words *words, const char *text, size_t length,
                                         size_t *begin)
{
    for (size_t at = 0; words && at < length; at++)
        for (int i = 0; text[at] == '<' && i < words->count; i++) {
            const taught_run *run = &words->runs[i];
            size_t size = run->mark ? strlen(run->mark) : 0;
            if (size && size <= length - at && strncasecmp(text + at, run->mark, size) == 0) {
                *begin = at;
                return run;
            }
        }
    return NULL;
}
