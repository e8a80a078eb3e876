/* model_words.c - see model_words.h. */
#include "pipeline/model_words.h"

#include "formats/hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void model_words_free(model_words *all)
{
    if (!all)
        return;
    for (int i = 0; i < all->count; i++) {
        free(all->words[i].name);
        free(all->words[i].path);
        free(all->words[i].alias);
        free(all->words[i].problem);
        embedding_fini(&all->words[i].embedding);
    }
    free(all->words);
    taught_words_free(&all->taught[0]);
    taught_words_free(&all->taught[1]);
    free(all);
}

/* ------------------------------------------------------------------------------------ names */

static bool same_vectors(const embedding *a, const embedding *b)
{
    bool same = a->vectors == b->vectors && a->vectors > 0;
    for (int k = 0; k < EMBEDDING_ENCODERS && same; k++)
        same = a->width[k] == b->width[k] &&
               (!a->width[k] || memcmp(a->values[k], b->values[k],
                                       (size_t)a->vectors * (size_t)a->width[k] * sizeof(float)) == 0);
    return same;
}

static kiln_status set_problem(model_word *w, kiln_status status, const char *text, kiln_error *err)
{
    if (w->problem)
        return KILN_OK;
    w->status = status;
    w->problem = strdup(text);
    return w->problem ? KILN_OK : fail(err, KILN_NO_MEMORY, "out of memory for the words of embeddings");
}

static kiln_status set_clash(model_words *all, int word, int other, const char *name, kiln_error *err)
{
    model_word *w = &all->words[other];
    kiln_error why;
    if (same_vectors(&w->embedding, &all->words[word].embedding))
        return KILN_OK;
    fail(&why, KILN_BAD_ARGUMENT, "the word '%s' is of two embeddings, %s and %s: rename one of the files",
         name, w->path, all->words[word].path);
    return set_problem(w, KILN_BAD_ARGUMENT, why.text, err);
}

kiln_status model_words_cut(model_words *all, int encoder, const tokenizer *t, kiln_error *err)
{
    kiln_status status = KILN_OK;
    for (int i = 0; i < all->count; i++) {
        const model_word *w = &all->words[i];
        const char *const names[] = {w->name, w->alias};
        for (int k = 0; k < 2 && names[k] && !status; k++) {
            int clash, vectors = w->embedding.vectors ? w->embedding.vectors : 1;
            kiln_error why;
            /* A name that is not UTF-8 cannot stand in a prompt. */
            status = taught_words_add(&all->taught[encoder], t, names[k], i, vectors, &clash, &why);
            if (status == KILN_BAD_ARGUMENT)
                status = KILN_OK;
            else if (status)
                return fail(err, status, "%s", why.text);
            else if (clash >= 0)
                status = set_clash(all, i, clash, names[k], err);
        }
    }
    return status;
}

/* ------------------------------------------------------------------------------------ the model */

static kiln_status fit(const kiln_model *m, model_word *w, kiln_error *err)
{
    const clip_text_config *configs[] = {&m->parts->text, &m->parts->text_2};
    const embedding *e = &w->embedding;
    kiln_error why;
    for (int k = 0; k < EMBEDDING_ENCODERS && !w->problem; k++) {
        bool there = model_has(m, k == 0 ? NETWORK_TEXT_1 : NETWORK_TEXT_2);
        if (there && e->width[k] == configs[k]->width)
            continue;
        if (!there && !e->width[k])
            continue;
        fail(&why, KILN_MISMATCH,
             "%s: the embedding '%s' has vectors of width %d%s, the model's text encoder %s %d", w->path,
             w->name, e->width[k], k ? " for a second text encoder" : "",
             there ? "wants" : "is not there, it has", there ? configs[k]->width : 0);
        if (!there)
            fail(&why, KILN_MISMATCH,
                 "%s: the embedding '%s' is for two text encoders (widths %d and %d), the model has one",
                 w->path, w->name, e->width[0], e->width[1]);
        return set_problem(w, KILN_MISMATCH, why.text, err);
    }
    return KILN_OK;
}

kiln_status model_words_fit(const kiln_model *m, model_words *all, kiln_error *err)
{
    kiln_status status = KILN_OK;
    for (int i = 0; i < all->count && !status; i++)
        status = fit(m, &all->words[i], err);
    for (int k = 0; k < 2 && !status; k++)
        if (m->tokenizers[k])
            status = model_words_cut(all, k, m->tokenizers[k], err);
    return status;
}

kiln_status model_words_open(kiln_model *m, const kiln_words *from, kiln_error *err)
{
    kiln_status status = word_files_read(from, &m->words, err);
    if (status || !m->words)
        return status;
    status = model_words_fit(m, m->words, err);
    for (int i = 0; i < m->words->count && !status; i++) {
        const model_word *w = &m->words->words[i];
        for (int k = 0; !status && w->problem && w->status == KILN_MISMATCH && k < from->count; k++)
            if (strcmp(from->files[k], w->path) == 0)
                status = fail(err, w->status, "%s", w->problem);
    }
    return status;
}

const taught_words *model_words_taught(const model_words *all, network_kind encoder)
{
    return all ? &all->taught[encoder == NETWORK_TEXT_2] : NULL;
}

/* ------------------------------------------------------------------------------------ use */

kiln_status model_words_check(const model_words *all, const token_chunks *chunks, kiln_error *err)
{
    for (int w = 0; chunks->vectors && w < chunks->count; w++)
        for (int i = 0; i < CHUNK_LENGTH; i++) {
            int word = chunks->vectors[w][i].word;
            if (word >= 0 && all->words[word].problem)
                return fail(err, all->words[word].status,
                            "the prompt has the word '%s', which cannot be used: %s", all->words[word].name,
                            all->words[word].problem);
        }
    return KILN_OK;
}

void model_words_fill(const model_words *all, network_kind encoder, const chunk_vector *window, int width,
                      int32_t *ids, float *vectors)
{
    int k = encoder == NETWORK_TEXT_2;
    memset(vectors, 0, (size_t)CHUNK_LENGTH * (size_t)width * sizeof *vectors);
    for (int i = 0; i < CHUNK_LENGTH; i++) {
        if (window[i].word < 0)
            continue;
        const embedding *e = &all->words[window[i].word].embedding;
        ids[i] = NO_TOKEN;
        memcpy(vectors + (size_t)i * (size_t)width, e->values[k] + (size_t)window[i].vector * (size_t)width,
               (size_t)width * sizeof *vectors);
    }
}

char *model_words_hashes(const model_words *all, const bool *used)
{
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);
    for (int i = 0; to && i < all->count; i++) {
        file_hashes hashes;
        if (!used[i] || hash_file_some(all->words[i].path, HASH_SHA256, &hashes, NULL, NULL, NULL) != KILN_OK)
            continue;
        if (ftell(to) > 0)
            (void)fputs(", ", to);
        /* The list is parted by these two. */
        for (const char *p = all->words[i].name; *p; p++)
            if (*p != ':' && *p != ',')
                (void)fputc(*p, to);
        (void)fprintf(to, ": %.12s", hashes.sha256);
    }
    if (to && fclose(to) != 0) {
        free(text);
        return NULL;
    }
    if (text && !*text) {
        free(text);
        text = NULL;
    }
    return text;
}
