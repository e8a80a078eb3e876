/* convert_tokenizer.c - the tokenizer's folder of a converted model: copied from the model, or written from the data
 * directory's copy of OpenAI's merges, from which vocab.json follows. */
#include "pipeline/convert.h"

#include "pipeline/data_file.h"
#include "text/tokenizer.h"
#include "weights/config_text.h"
#include "weights/small_file.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/* CLIP's vocabulary: 256 bytes, as many at the end of a word, one word for each merge, and two marks. */
enum { CLIP_WORDS = 49408, CLIP_MERGES = CLIP_WORDS - 2 * 256 - 2, PATH_BYTES = 4096 };

static kiln_status write_taken(const char *folder, const char *name, char *text, kiln_error *err)
{
    char path[PATH_BYTES];
    kiln_status status =
        text ? KILN_OK : fail(err, KILN_NO_MEMORY, "%s: not enough memory to write '%s'", folder, name);
    if (!status && snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
        status = fail(err, KILN_BAD_ARGUMENT, "%s: the name is too long", folder);
    if (!status)
        status = write_text_file(path, text, strlen(text), err);
    free(text);
    return status;
}

static kiln_status copy_folder(const char *own, const char *to, bool *written, kiln_error *err)
{
    static const char *const names[] = {"vocab.json",     "merges.txt",        "tokenizer_config.json",
                                        "tokenizer.json", "added_tokens.json", "special_tokens_map.json"};
    kiln_status status = KILN_OK;
    for (size_t i = 0; i < sizeof names / sizeof *names && !status; i++) {
        arena memory = {0};
        const char *text, *from = arena_format(&memory, "%s/%s", own, names[i]);
        const char *target = arena_format(&memory, "%s/%s", to, names[i]);
        size_t length;
        if (!from || !target)
            status = fail(err, KILN_NO_MEMORY, "%s: not enough memory", own);
        else if (path_is_file(from)) {
            status = small_file_read(from, &memory, &text, &length, err);
            if (!status)
                status = write_text_file(target, text, length, err);
            *written = true;
        }
        arena_fini(&memory);
    }
    return status;
}

static char *vocabulary_text(const tokenizer *t)
{
    json_t *words = json_object();
    int failures = 0;
    for (int32_t id = 0; id < tokenizer_size(t); id++) {
        const char *piece = tokenizer_piece(t, id);
        failures += piece && json_object_set_new(words, piece, json_integer(id)) != 0;
    }
    char *text = failures ? NULL : json_dumps(words, JSON_COMPACT);
    json_decref(words);
    return text;
}

/* The lines of OpenAI's file that CLIP uses: it holds many more. */
static char *merges_text(const char *path)
{
    enum { LINE = 1024 };
    char line[LINE];
    size_t used = 0, room = 1 << 20;
    gzFile file = gzopen(path, "rb");
    char *text = file ? malloc(room) : NULL;
    if (text)
        used = (size_t)snprintf(text, room, "#version: 0.2\n");
    bool good = text && gzgets(file, line, LINE);
    for (int i = 0; good && i < CLIP_MERGES; i++) {
        good = gzgets(file, line, LINE) && used + LINE < room;
        if (good) {
            size_t length = strcspn(line, "\r\n");
            memcpy(text + used, line, length);
            text[used + length] = '\n';
            used += length + 1;
            text[used] = '\0';
        }
    }
    if (file)
        gzclose(file);
    if (!good) {
        free(text);
        text = NULL;
    }
    return text;
}

static kiln_status write_from_data(const char *data, const char *pad, const char *to, kiln_error *err)
{
    tokenizer *t;
    kiln_status status = tokenizer_open_gz(data, &t, err);
    if (status)
        return status;
    status = write_taken(to, "vocab.json", vocabulary_text(t), err);
    if (!status)
        status = write_taken(to, "merges.txt", merges_text(data), err);
    if (!status)
        status = write_taken(to, "tokenizer_config.json", tokenizer_config_text(pad), err);
    if (!status)
        status = write_taken(to, "special_tokens_map.json", special_tokens_text(pad), err);
    tokenizer_close(t);
    return status;
}

kiln_status convert_tokenizer(const char *own, const char *data, int words, const char *pad, const char *to,
                              bool *written, kiln_error *err)
{
    char merges[PATH_BYTES];
    *written = false;
    if (own)
        return copy_folder(own, to, written, err);
    if (words != CLIP_WORDS ||
        !data_file_find(data, "clip/bpe_simple_vocab_16e6.txt.gz", merges, sizeof merges))
        return KILN_OK;
    kiln_status status = write_from_data(merges, pad, to, err);
    *written = status == KILN_OK;
    return status;
}
