/* tokenizer_open.c - a tokenizer from its files: vocabulary and merges. See tokenizer.h; the small files about
 * special tokens are tokenizer_special.c's. */
#include "text/tokenizer_build.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum {
    MAX_FILE_BYTES = 64 * 1024 * 1024,
    MAX_ADDED_TOKENS = 1 << 13,
    /* OpenAI's file goes on for 213,000 lines that CLIP does not use. */
    MAX_UNPACKED_BYTES = 8 * 1024 * 1024
};

/* The words of CLIP. Matched on cleaned text, where the space is the only white space. */
static const char word_pattern[] = "<\\|startoftext\\|>|<\\|endoftext\\|>|'s|'t|'re|'ve|'m|'ll|'d"
                                   "|\\p{L}+|\\p{N}|[^ \\p{L}\\p{N}]+";

kiln_status tokenizer_begin(tokenizer **out, kiln_error *err)
{
    *out = NULL;
    tokenizer *t = calloc(1, sizeof *t);
    if (!t)
        return fail(err, KILN_NO_MEMORY, "not enough memory for a tokenizer");
    kiln_status status = vocabulary_init(&t->words, err);
    if (!status) {
        int code;
        PCRE2_SIZE offset;
        t->pattern = pcre2_compile((PCRE2_SPTR)word_pattern, PCRE2_ZERO_TERMINATED,
                                   PCRE2_UTF | PCRE2_UCP | PCRE2_CASELESS, &code, &offset, NULL);
        if (!t->pattern)
            status = fail(err, KILN_INTERNAL, "the pattern of words was refused (PCRE2 error %d)", code);
    }
    if (status) {
        tokenizer_close(t);
        return status;
    }
    t->start = t->end = t->pad = t->unknown = -1;
    t->max_length = TOKENIZER_DEFAULT_LENGTH;
    *out = t;
    return KILN_OK;
}

void tokenizer_close(tokenizer *t)
{
    if (!t)
        return;
    vocabulary_fini(&t->words);
    pcre2_code_free(t->pattern);
    free(t->added);
    free(t);
}

kiln_status tokenizer_add_token(tokenizer *t, const added_token *token, kiln_error *err)
{
    if (token->length == 0)
        return KILN_OK;
    if (token->id < 0 || token->id >= VOCABULARY_MAX_ID)
        return fail(err, KILN_BAD_FORMAT, "the id of '%.80s' is %" PRId32 "; ids are from 0 to %d",
                    token->text, token->id, VOCABULARY_MAX_ID - 1);
    for (size_t i = 0; i < t->added_count; i++) {
        added_token *old = &t->added[i];
        if (old->length == token->length && memcmp(old->text, token->text, token->length) == 0) {
            const char *text = old->text;
            *old = *token;
            old->text = text;
            return KILN_OK;
        }
    }
    if (t->added_count >= MAX_ADDED_TOKENS)
        return fail(err, KILN_UNSUPPORTED, "there are more than %d added tokens", MAX_ADDED_TOKENS);
    if (t->added_count == t->added_capacity) {
        size_t capacity = t->added_capacity ? t->added_capacity * 2 : 8;
        added_token *added = realloc(t->added, capacity * sizeof *added);
        if (!added)
            return fail(err, KILN_NO_MEMORY, "not enough memory for the added tokens");
        t->added = added;
        t->added_capacity = capacity;
    }
    added_token copy = *token;
    copy.text = arena_text_part(&t->words.texts, token->text, token->length);
    if (!copy.text)
        return fail(err, KILN_NO_MEMORY, "not enough memory for the added tokens");
    t->added[t->added_count++] = copy;
    t->added_starts[(unsigned char)copy.text[0]] = true;
    return KILN_OK;
}

/* --------------------------------------------------------------------- vocabulary and merges */

kiln_status tokenizer_parse_json(const char *folder, const char *file, tokenizer_text text, json_t **out,
                                 kiln_error *err)
{
    json_error_t problem;
    *out = json_loadb(text.data, text.size, 0, &problem);
    if (!*out)
        return fail(err, KILN_BAD_FORMAT, "%s/%s: line %d: %s", folder, file, problem.line, problem.text);
    if (!json_is_object(*out)) {
        json_decref(*out);
        *out = NULL;
        return fail(err, KILN_BAD_FORMAT, "%s/%s is not a JSON object", folder, file);
    }
    return KILN_OK;
}

static kiln_status read_vocabulary(tokenizer *t, const char *folder, const char *file, json_t *words,
                                   kiln_error *err)
{
    const char *word;
    json_t *id;
    json_object_foreach(words, word, id)
    {
        if (!json_is_integer(id))
            return fail(err, KILN_BAD_FORMAT, "%s/%s: the id of '%.80s' is not a whole number", folder, file,
                        word);
        json_int_t n = json_integer_value(id);
        if (n < 0 || n >= VOCABULARY_MAX_ID)
            return fail(err, KILN_BAD_FORMAT, "%s/%s: the id of '%.80s' is %" PRId64 "; ids are from 0 to %d",
                        folder, file, word, (int64_t)n, VOCABULARY_MAX_ID - 1);
        kiln_status status = vocabulary_add(&t->words, word, strlen(word), (int32_t)n, err);
        if (status)
            return fail_within(err, status, "%s/%s", folder, file);
    }
    if (!t->words.id_count)
        return fail(err, KILN_BAD_FORMAT, "%s/%s has no words", folder, file);
    return KILN_OK;
}

/* One line of text: its two words, as far as it has just two. */
typedef struct merge_line {
    const char *word[2];
    size_t length[2];
    int words;
} merge_line;

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static merge_line split_line(const char *line, const char *end)
{
    merge_line m = {0};
    while (line < end) {
        while (line < end && is_blank(*line))
            line++;
        const char *word = line;
        while (line < end && !is_blank(*line))
            line++;
        if (line > word && m.words < 2) {
            m.word[m.words] = word;
            m.length[m.words] = (size_t)(line - word);
        }
        m.words += line > word;
    }
    return m;
}

/* The lines after the first, whatever that says, up to as many as CLIP has. A line that is not a pair counts
 * and has no other effect. */
static kiln_status read_merges(tokenizer *t, const char *text, size_t size, kiln_error *err)
{
    const char *at = text, *end = text + size;
    while (at < end && is_blank(*at))
        at++;
    for (uint32_t line = 0; at < end && line <= TOKENIZER_MERGES; line++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (!stop)
            stop = end;
        merge_line m = split_line(at, stop);
        if (line > 0 && m.words == 2) {
            kiln_status status = vocabulary_add_merge(&t->words, m.word[0], m.length[0], m.word[1],
                                                      m.length[1], line - 1, err);
            if (status)
                return status;
        }
        at = stop < end ? stop + 1 : end;
    }
    return KILN_OK;
}

static kiln_status read_fast_merge(tokenizer *t, const char *folder, size_t index, json_t *merge,
                                   kiln_error *err)
{
    merge_line m = {0};
    if (json_is_string(merge)) { /* "a b" */
        m = split_line(json_string_value(merge), json_string_value(merge) + json_string_length(merge));
    } else if (json_is_array(merge) && json_array_size(merge) == 2) { /* ["a", "b"] */
        for (size_t i = 0; i < 2; i++) {
            json_t *word = json_array_get(merge, i);
            m.words += json_is_string(word) && json_string_length(word) > 0;
            m.word[i] = json_string_value(word);
            m.length[i] = json_string_length(word);
        }
    }
    if (m.words != 2)
        return fail(err, KILN_BAD_FORMAT, "%s/tokenizer.json: merge %zu is not a pair of words", folder,
                    index);
    return vocabulary_add_merge(&t->words, m.word[0], m.length[0], m.word[1], m.length[1], (uint32_t)index,
                                err);
}

static kiln_status read_fast_model(tokenizer *t, const char *folder, json_t *model, kiln_error *err)
{
    const char *type = json_string_value(json_object_get(model, "type"));
    const char *suffix = json_string_value(json_object_get(model, "end_of_word_suffix"));
    json_t *words = json_object_get(model, "vocab"), *merges = json_object_get(model, "merges");
    if ((type && strcmp(type, "BPE") != 0) || !suffix || strcmp(suffix, VOCABULARY_WORD_END) != 0)
        return fail(err, KILN_UNSUPPORTED,
                    "%s/tokenizer.json is not a CLIP tokenizer: model type '%s', word end '%s', expected BPE "
                    "and '%s'",
                    folder, type ? type : "none", suffix ? suffix : "none", VOCABULARY_WORD_END);
    if (!json_is_object(words) || !json_is_array(merges))
        return fail(err, KILN_BAD_FORMAT, "%s/tokenizer.json: the model lacks its vocab or merges", folder);
    kiln_status status = read_vocabulary(t, folder, "tokenizer.json", words, err);
    size_t i;
    json_t *merge;
    json_array_foreach(merges, i, merge)
    {
        if (status || i >= UINT32_MAX)
            break;
        status = read_fast_merge(t, folder, i, merge, err);
    }
    return status;
}

static kiln_status fill_from_fast(tokenizer *t, const tokenizer_files *files, kiln_error *err)
{
    json_t *root;
    kiln_status status = tokenizer_parse_json(files->name, "tokenizer.json", files->fast, &root, err);
    if (status)
        return status;
    status = read_fast_model(t, files->name, json_object_get(root, "model"), err);
    if (!status)
        status = tokenizer_read_special(t, files, json_object_get(root, "added_tokens"), err);
    json_decref(root);
    return status;
}

static kiln_status fill_from_pair(tokenizer *t, const tokenizer_files *files, kiln_error *err)
{
    json_t *words;
    kiln_status status = tokenizer_parse_json(files->name, "vocab.json", files->vocabulary, &words, err);
    if (status)
        return status;
    status = read_vocabulary(t, files->name, "vocab.json", words, err);
    json_decref(words);
    if (!status && (status = read_merges(t, files->merges.data, files->merges.size, err)))
        return fail_within(err, status, "%s/merges.txt", files->name);
    return status ? status : tokenizer_read_special(t, files, NULL, err);
}

/* A merges file that was cut short leaves words that nothing leads to; the ids would be wrong without a word.
 * Some such words are normal: the special tokens, and what people added to a vocabulary by hand. */
static kiln_status check_whole(const tokenizer *t, const char *folder, kiln_error *err)
{
    uint32_t unmade = vocabulary_unmade(&t->words), words = t->words.id_count, allowed = words / 256 + 8;
    if (unmade <= t->added_count + allowed)
        return KILN_OK;
    return fail(err, KILN_BAD_FORMAT,
                "%s: the merges lead to only %" PRIu32 " of the vocabulary's %" PRIu32
                " words: the file of merges is cut short or belongs to another vocabulary",
                folder, words - unmade, words);
}

kiln_status tokenizer_open_memory(const tokenizer_files *files, tokenizer **out, kiln_error *err)
{
    *out = NULL;
    bool pair = files->vocabulary.data && files->merges.data;
    if (!pair && !files->fast.data)
        return fail(err, KILN_NOT_FOUND,
                    "%s: no tokenizer here: neither vocab.json and merges.txt nor "
                    "tokenizer.json",
                    files->name);
    tokenizer *t;
    kiln_status status = tokenizer_begin(&t, err);
    if (status)
        return status;
    status = pair ? fill_from_pair(t, files, err) : fill_from_fast(t, files, err);
    if (!status)
        status = check_whole(t, files->name, err);
    if (!status)
        status = vocabulary_finish(&t->words, err);
    if (status) {
        tokenizer_close(t);
        return status;
    }
    *out = t;
    return KILN_OK;
}

/* ------------------------------------------------------------------------ OpenAI's single file */

static kiln_status add_byte_words(tokenizer *t, int32_t *id, kiln_error *err)
{
    /* Printable bytes first, in order, then the others; the same again as ends of words. */
    for (int end = 0; end < 2; end++)
        for (int printable = 1; printable >= 0; printable--)
            for (unsigned byte = 0; byte < 256; byte++) {
                if ((vocabulary_letter_of_byte(byte) == byte) != (printable == 1))
                    continue;
                uint32_t s = end ? t->words.byte_end_symbol[byte] : t->words.byte_symbol[byte];
                vocabulary_symbol symbol = t->words.symbols[s];
                kiln_status status = vocabulary_add(&t->words, symbol.text, symbol.length, (*id)++, err);
                if (status)
                    return status;
            }
    return KILN_OK;
}

/* Each merge's result is the next word. */
static kiln_status add_merge_words(tokenizer *t, const char *text, size_t size, int32_t *id, kiln_error *err)
{
    const char *at = text, *end = text + size;
    for (uint32_t line = 0; at < end && line <= TOKENIZER_MERGES; line++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (!stop)
            stop = end;
        merge_line m = split_line(at, stop);
        at = stop < end ? stop + 1 : end;
        if (line == 0)
            continue;
        if (m.words != 2)
            return fail(err, KILN_BAD_FORMAT, "line %" PRIu32 " is not a pair of words", line + 1);
        kiln_status status =
            vocabulary_add_merge(&t->words, m.word[0], m.length[0], m.word[1], m.length[1], line - 1, err);
        if (status)
            return status;
        const vocabulary_merge *merge =
            vocabulary_pair(&t->words, vocabulary_find(&t->words, m.word[0], m.length[0]),
                            vocabulary_find(&t->words, m.word[1], m.length[1]));
        vocabulary_symbol merged = t->words.symbols[merge->merged];
        if ((status = vocabulary_add(&t->words, merged.text, merged.length, (*id)++, err)))
            return status;
    }
    return KILN_OK;
}

static kiln_status add_end_words(tokenizer *t, int32_t *id, kiln_error *err)
{
    static const char *const words[] = {TOKENIZER_START, TOKENIZER_END};
    for (int i = 0; i < 2; i++) {
        added_token token = {.text = words[i], .length = strlen(words[i]), .id = (*id)++};
        kiln_status status = vocabulary_add(&t->words, token.text, token.length, token.id, err);
        if (!status)
            status = tokenizer_add_token(t, &token, err);
        if (status)
            return status;
    }
    t->start = *id - 2;
    t->end = t->pad = t->unknown = *id - 1;
    return KILN_OK;
}

kiln_status tokenizer_open_merges(const char *name, const char *text, size_t size, tokenizer **out,
                                  kiln_error *err)
{
    tokenizer *t;
    int32_t id = 0;
    *out = NULL;
    kiln_status status = tokenizer_begin(&t, err);
    if (status)
        return status;
    status = add_byte_words(t, &id, err);
    if (!status)
        status = add_merge_words(t, text, size, &id, err);
    if (!status && id == 512)
        status = fail(err, KILN_BAD_FORMAT, "no merges found");
    if (!status)
        status = add_end_words(t, &id, err);
    if (!status)
        status = vocabulary_finish(&t->words, err);
    if (status) {
        tokenizer_close(t);
        return fail_within(err, status, "%s", name);
    }
    *out = t;
    return KILN_OK;
}

/* Unpack up to the last line that is used. */
static kiln_status unpack_lines(gzFile file, const char *path, char **text, size_t *size, kiln_error *err)
{
    enum { STEP = 64 * 1024 };
    size_t capacity = 0, lines = 0;
    while (lines <= TOKENIZER_MERGES && *size < MAX_UNPACKED_BYTES) {
        if (capacity - *size < STEP) {
            capacity = capacity ? capacity * 2 : 1024 * 1024;
            char *grown = realloc(*text, capacity);
            if (!grown)
                return fail(err, KILN_NO_MEMORY, "%s: not enough memory to unpack", path);
            *text = grown;
        }
        int got = gzread(file, *text + *size, STEP);
        if (got < 0) {
            int code;
            const char *problem = gzerror(file, &code);
            return fail(err, code == Z_ERRNO ? KILN_IO : KILN_BAD_FORMAT, "%s: %s", path, problem);
        }
        if (got == 0)
            break;
        for (int i = 0; i < got; i++)
            lines += (*text)[*size + (size_t)i] == '\n';
        *size += (size_t)got;
    }
    if (lines <= TOKENIZER_MERGES) /* the ids of start and end follow from the number of merges */
        return fail(err, KILN_BAD_FORMAT, "%s has %zu lines; a tokenizer of CLIP has %d or more", path, lines,
                    TOKENIZER_MERGES + 1);
    return KILN_OK;
}

kiln_status tokenizer_open_gz(const char *path, tokenizer **out, kiln_error *err)
{
    *out = NULL;
    errno = 0;
    gzFile file = gzopen(path, "rb");
    if (!file)
        return errno ? fail_system(err, "%s", path)
                     : fail(err, KILN_NO_MEMORY, "%s: not enough memory", path);
    char *text = NULL;
    size_t size = 0;
    kiln_status status = unpack_lines(file, path, &text, &size, err);
    gzclose_r(file);
    if (!status)
        status = tokenizer_open_merges(path, text, size, out, err);
    free(text);
    return status;
}

/* ---------------------------------------------------------------------------------- a folder */

/* The whole file, or nothing (and KILN_OK) when it does not exist. */
static kiln_status read_file(const char *folder, const char *name, tokenizer_text *out, kiln_error *err)
{
    *out = (tokenizer_text){0};
    char path[4096];
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path)
        return fail(err, KILN_BAD_ARGUMENT, "%.200s...: the path is too long", folder);
    FILE *file = fopen(path, "rb");
    if (!file)
        return errno == ENOENT ? KILN_OK : fail_system(err, "%s", path);
    char *data = NULL;
    size_t size = 0, capacity = 0, got;
    do {
        capacity = capacity ? capacity * 2 : 1 << 16;
        char *grown = size > MAX_FILE_BYTES ? NULL : realloc(data, capacity);
        if (!grown) {
            free(data);
            fclose(file);
            return size > MAX_FILE_BYTES
                       ? fail(err, KILN_UNSUPPORTED, "%s is larger than %d bytes", path, MAX_FILE_BYTES)
                       : fail(err, KILN_NO_MEMORY, "%s: not enough memory to read", path);
        }
        data = grown;
        got = fread(data + size, 1, capacity - size, file);
        size += got;
    } while (size == capacity);
    if (ferror(file)) {
        kiln_status status = fail_system(err, "%s", path);
        fclose(file);
        free(data);
        return status;
    }
    fclose(file);
    *out = (tokenizer_text){data, size};
    return KILN_OK;
}

kiln_status tokenizer_open(const char *folder, tokenizer **out, kiln_error *err)
{
    *out = NULL;
    tokenizer_files files = {.name = folder};
    struct {
        const char *name;
        tokenizer_text *text;
    } wanted[] = {{"vocab.json", &files.vocabulary},        {"merges.txt", &files.merges},
                  {"tokenizer_config.json", &files.config}, {"special_tokens_map.json", &files.special_map},
                  {"added_tokens.json", &files.added},      {"tokenizer.json", &files.fast}};
    kiln_status status = KILN_OK;
    for (size_t i = 0; !status && i < sizeof wanted / sizeof *wanted; i++) {
        if (wanted[i].text == &files.fast && files.vocabulary.data && files.merges.data)
            break;
        status = read_file(folder, wanted[i].name, wanted[i].text, err);
    }
    if (!status)
        status = tokenizer_open_memory(&files, out, err);
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        free((void *)wanted[i].text->data);
    return status;
}
