/* tokenize.c - the public call that shows how a text is cut into tokens. */
#include "base/error.h"

#include "pipeline/explain.h"
#include "text/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static kiln_status open_any(const char *path, tokenizer **out, kiln_error *err)
{
    struct stat is;
    char folder[4096];
    if (stat(path, &is) != 0)
        return fail_system(err, "%s", path);
    if (!S_ISDIR(is.st_mode))
        return tokenizer_open_gz(path, out, err);
    /* A model's folder holds its tokenizer in a folder of that name. */
    snprintf(folder, sizeof folder, "%s/tokenizer", path);
    return tokenizer_open(stat(folder, &is) == 0 && S_ISDIR(is.st_mode) ? folder : path, out, err);
}

/* The text of every token, a NUL after each, in one block. */
static kiln_status collect_pieces(const tokenizer *t, const token_list *list, char **out, kiln_error *err)
{
    size_t total = 0;
    for (size_t i = 0; i < list->count; i++)
        total += strlen(tokenizer_piece(t, list->ids[i]) ? tokenizer_piece(t, list->ids[i]) : "?") + 1;
    char *p = *out = malloc(total + 1);
    if (!p)
        return fail(err, KILN_NO_MEMORY, "out of memory for the tokens");
    for (size_t i = 0; i < list->count; i++) {
        const char *piece = tokenizer_piece(t, list->ids[i]);
        size_t length = strlen(piece ? piece : "?") + 1;
        memcpy(p, piece ? piece : "?", length);
        p += length;
    }
    *p = '\0';
    return KILN_OK;
}

kiln_status kiln_tokenize(const char *path, const char *text, int32_t **ids, char **pieces, size_t *count,
                          kiln_error *err)
{
    *ids = NULL;
    *pieces = NULL;
    *count = 0;
    tokenizer *t = NULL;
    token_list list = {0};
    kiln_status status = open_any(path, &t, err);
    if (status == KILN_OK)
        status = tokenizer_encode(t, text, &list, err);
    if (status == KILN_OK)
        status = collect_pieces(t, &list, pieces, err);
    if (status == KILN_OK && !list.ids && !(list.ids = calloc(1, sizeof *list.ids)))
        status = fail(err, KILN_NO_MEMORY, "out of memory for the tokens");
    if (status == KILN_OK) {
        *ids = list.ids;
        *count = list.count;
        list = (token_list){0};
    } else {
        free(*pieces);
        *pieces = NULL;
    }
    token_list_free(&list);
    tokenizer_close(t);
    return status;
}

kiln_status kiln_explain_prompt(const char *path, const char *prompt, int steps, const kiln_words *words,
                                char **out, kiln_error *err)
{
    *out = NULL;
    tokenizer *t = NULL;
    model_words *known = NULL;
    if (!path || !prompt)
        return fail(err, KILN_BAD_ARGUMENT, "a tokenizer and a prompt are needed");
    kiln_status status = open_any(path, &t, err);
    if (status == KILN_OK)
        status = word_files_read(words, &known, err);
    if (status == KILN_OK && known)
        status = model_words_cut(known, 0, t, err);
    if (status == KILN_OK)
        status = explain_prompt(t, prompt, steps, known, out, err);
    model_words_free(known);
    tokenizer_close(t);
    return status;
}
