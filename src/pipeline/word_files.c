/* word_files.c - from a folder and a list of files to words; see model_words.h. */
#include "pipeline/model_words.h"

#include "image/embedding_picture.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

enum { FOLDER_DEPTH = 8, WORDS_MAX = 100000, PATH_BYTES = 4096 };

static kiln_status no_memory(kiln_error *err)
{
    return fail(err, KILN_NO_MEMORY, "out of memory for the words of embeddings");
}

static bool ends(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcasecmp(text + n - m, end) == 0;
}

/* The file's name without folders and extension. */
static char *stem_of(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *dot = strrchr(name, '.');
    return strndup(name, dot && dot != name ? (size_t)(dot - name) : strlen(name));
}

/* A new word; NULL when memory is short, or there are too many. */
static model_word *add_word(model_words *all, const char *path, const char *name, char *stem)
{
    model_word *bigger =
        all->count < WORDS_MAX ? realloc(all->words, ((size_t)all->count + 1) * sizeof *bigger) : NULL;
    if (bigger)
        all->words = bigger;
    model_word w = {.path = strdup(path), .name = name ? strdup(name) : stem};
    if (name)
        free(stem);
    if (!bigger || !w.path || !w.name) {
        free(w.path);
        free(w.name);
        return NULL;
    }
    all->words[all->count] = w;
    return &all->words[all->count++];
}

/* What the file says it is called. A1111 does not count the name within a .pt, which is often that of an earlier file. */
static const char *told_name(const embedding *e)
{
    bool picture = e->dialect && strcmp(e->dialect, "A1111 picture") == 0;
    const char *told = e->token ? e->token : picture ? e->name : NULL;
    return told && strcmp(told, "*") != 0 ? told : NULL;
}

static kiln_status take_words(model_words *all, const char *path, embedding_list *list, kiln_error *err)
{
    for (int i = 0; i < list->count; i++) {
        embedding *e = &list->items[i];
        const char *told = told_name(e);
        /* Of several in a LoRA, each has a name of its own. */
        const char *own =
            list->count > 1 || (e->name && !told && strcmp(e->dialect, "A1111") != 0) ? e->name : NULL;
        model_word *w = add_word(all, path, list->count > 1 && !own ? e->token : own, stem_of(path));
        if (!w)
            return no_memory(err);
        w->alias = told && strcasecmp(told, w->name) != 0 ? strdup(told) : NULL;
        w->embedding = *e;
        *e = (embedding){0};
    }
    return KILN_OK;
}

/* One file. A listed one (`listed`) must be right; of a folder's, the problem is kept. */
static kiln_status add_file(model_words *all, const char *path, bool listed, kiln_error *err)
{
    embedding_list list;
    kiln_error why;
    kiln_status status = embedding_open(path, &list, &why);
    if (status == KILN_OK) {
        status = take_words(all, path, &list, err);
        embedding_list_fini(&list);
        return status;
    }
    if (listed || status == KILN_NO_MEMORY)
        return fail(err, status, "%s", why.text);
    if (status == KILN_NOT_FOUND)
        return KILN_OK;
    model_word *w = add_word(all, path, NULL, stem_of(path));
    if (!w || !(w->problem = strdup(why.text)))
        return no_memory(err);
    w->status = status;
    return KILN_OK;
}

static bool may_hold_words(const char *name)
{
    static const char *const endings[] = {".pt", ".bin", ".safetensors", ".png", ".webp"};
    bool known = false;
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        known = known || ends(name, endings[i]);
    return known && name[0] != '.' && !ends(name, ".preview.png");
}

static int not_hidden(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static kiln_status add_folder(model_words *all, const char *folder, int depth, kiln_error *err)
{
    struct dirent **entries = NULL;
    char path[PATH_BYTES];
    struct stat is;
    int count = scandir(folder, &entries, not_hidden, alphasort);
    if (count < 0)
        return fail_system(err, "%s: the folder of embeddings cannot be read", folder);
    kiln_status status = KILN_OK;
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        bool fits = snprintf(path, sizeof path, "%s/%s", folder, name) < (int)sizeof path;
        if (!status && fits && stat(path, &is) == 0) {
            if (S_ISDIR(is.st_mode) && depth < FOLDER_DEPTH)
                status = add_folder(all, path, depth + 1, err);
            else if (S_ISREG(is.st_mode) && may_hold_words(name))
                status = add_file(all, path, false, err);
        }
        free(entries[i]);
    }
    free(entries);
    return status;
}

kiln_status word_files_read(const kiln_words *from, model_words **out, kiln_error *err)
{
    *out = NULL;
    if (!from || (!from->folder && !from->count))
        return KILN_OK;
    model_words *all = calloc(1, sizeof *all);
    kiln_status status = all ? KILN_OK : no_memory(err);
    if (!status && from->folder)
        status = add_folder(all, from->folder, 0, err);
    for (int i = 0; !status && i < from->count; i++)
        status = add_file(all, from->files[i], true, err);
    if (status) {
        model_words_free(all);
        return status;
    }
    *out = all;
    return KILN_OK;
}

/* ------------------------------------------------------------------------------------ words in LoRAs */

static kiln_status copy_embedding(const embedding *from, embedding *to, kiln_error *err)
{
    kiln_status status = from->vectors ? embedding_allocate(to, from->vectors, from->width, err) : KILN_OK;
    for (int k = 0; k < EMBEDDING_ENCODERS && !status; k++)
        if (from->vectors && from->width[k])
            memcpy(to->values[k], from->values[k],
                   (size_t)from->vectors * (size_t)from->width[k] * sizeof(float));
    return status;
}

/* Names, vectors, and what is wrong with the files; what does not fit or clashes comes out again. */
static kiln_status copy_words(const model_words *from, model_words *to, kiln_error *err)
{
    kiln_status status = KILN_OK;
    for (int i = 0; from && i < from->count && !status; i++) {
        const model_word *w = &from->words[i];
        char *name = strdup(w->name);
        model_word *made = name ? add_word(to, w->path, NULL, name) : NULL;
        if (!made)
            return no_memory(err);
        if ((w->alias && !(made->alias = strdup(w->alias))) ||
            (w->problem && !(made->problem = strdup(w->problem))))
            return no_memory(err);
        made->status = w->status;
        status = copy_embedding(&w->embedding, &made->embedding, err);
    }
    return status;
}

kiln_status model_words_extend(const kiln_model *m, const tensor_file *const *files, int count,
                               model_words **out, kiln_error *err)
{
    model_words *all = *out = calloc(1, sizeof *all);
    kiln_status status = all ? copy_words(m->words, all, err) : no_memory(err);
    for (int i = 0; i < count && !status; i++) {
        embedding_list list = {0};
        status = embedding_list_read(files[i], &list, err);
        if (!status)
            status = take_words(all, tensor_file_path(files[i]), &list, err);
        embedding_list_fini(&list);
    }
    if (!status)
        status = model_words_fit(m, all, err);
    if (status) {
        model_words_free(all);
        *out = NULL;
    }
    return status;
}
