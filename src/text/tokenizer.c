/* tokenizer.c - encoding and decoding with an open tokenizer; see tokenizer.h. */
#include "text/tokenizer_build.h"

#include "text/clean.h"
#include "text/merging.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

void token_list_free(token_list *list)
{
    if (!list)
        return;
    free(list->ids);
    *list = (token_list){0};
}

static kiln_status append_id(token_list *list, int32_t id, kiln_error *err)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 64;
        int32_t *ids = realloc(list->ids, capacity * sizeof *ids);
        if (!ids)
            return fail(err, KILN_NO_MEMORY, "not enough memory for %zu tokens", capacity);
        list->ids = ids;
        list->capacity = capacity;
    }
    list->ids[list->count++] = id;
    return KILN_OK;
}

/* What one call of tokenizer_encode works with. */
typedef struct encoding {
    const tokenizer *with;
    pcre2_match_data *match;
    merging merging;
    token_list *out;
} encoding;

/* The two special tokens are words of the pattern too: after lower-casing, <|STARTOFTEXT|> is one. */
static bool is_special_word(const char *word, size_t length)
{
    return (length == strlen(TOKENIZER_START) && memcmp(word, TOKENIZER_START, length) == 0) ||
           (length == strlen(TOKENIZER_END) && memcmp(word, TOKENIZER_END, length) == 0);
}

static kiln_status encode_word(encoding *e, const char *word, size_t length, kiln_error *err)
{
    const tokenizer *t = e->with;
    if (is_special_word(word, length)) {
        const added_token *added = tokenizer_find_added(t, word, length);
        int32_t id = added ? added->id : vocabulary_id(&t->words, word, length);
        return append_id(e->out, id < 0 ? t->unknown : id, err);
    }
    size_t count;
    kiln_status status = merging_run(&e->merging, &t->words, word, length, &count, err);
    for (size_t i = 0; !status && i < count; i++) {
        int32_t id = t->words.symbols[e->merging.symbols[i]].id;
        status = append_id(e->out, id < 0 ? t->unknown : id, err);
    }
    return status;
}

/* Ordinary text between added tokens. */
static kiln_status encode_plain(encoding *e, const char *text, size_t length, kiln_error *err)
{
    char *clean;
    size_t size, at = 0;
    kiln_status status = clean_text(text, length, &clean, &size, err);
    while (!status && at < size) {
        int found =
            pcre2_match(e->with->pattern, (PCRE2_SPTR)clean, size, at, PCRE2_NO_UTF_CHECK, e->match, NULL);
        if (found == PCRE2_ERROR_NOMATCH)
            break;
        if (found < 0) {
            status = fail(err, found == PCRE2_ERROR_NOMEMORY ? KILN_NO_MEMORY : KILN_INTERNAL,
                          "cutting the text into words failed (PCRE2 error %d)", found);
            break;
        }
        const PCRE2_SIZE *range = pcre2_get_ovector_pointer(e->match);
        status = encode_word(e, clean + range[0], range[1] - range[0], err);
        at = range[1];
    }
    free(clean);
    return status;
}

/* The longest added token that starts here. */
static const added_token *added_at(const tokenizer *t, const char *text, size_t length)
{
    const added_token *best = NULL;
    if (!t->added_starts[(unsigned char)*text])
        return NULL;
    for (size_t i = 0; i < t->added_count; i++) {
        const added_token *a = &t->added[i];
        if (a->length <= length && (!best || a->length > best->length) &&
            memcmp(a->text, text, a->length) == 0)
            best = a;
    }
    return best;
}

/* A token that wants to be a word of its own is left in the text where a character other than a space
 * touches it. */
static bool stands_alone(const added_token *a, const char *text, size_t at, size_t length)
{
    size_t end = at + a->length;
    return !a->single_word || ((at == 0 || text[at - 1] == ' ') && (end == length || text[end] == ' '));
}

static kiln_status encode_text(encoding *e, const char *text, size_t length, kiln_error *err)
{
    size_t plain = 0; /* where the ordinary text before `at` begins */
    kiln_status status = KILN_OK;
    for (size_t at = 0; !status && at < length;) {
        const added_token *a = added_at(e->with, text + at, length - at);
        if (!a || !stands_alone(a, text, at, length)) {
            at += a ? a->length : 1;
            continue;
        }
        /* White space at the sides needs no stripping: cleaning drops it. */
        status = encode_plain(e, text + plain, at - plain, err);
        if (!status)
            status = append_id(e->out, a->id, err);
        plain = at += a->length;
    }
    return status ? status : encode_plain(e, text + plain, length - plain, err);
}

kiln_status tokenizer_encode_part(const tokenizer *t, const char *text, size_t length, token_list *out,
                                  kiln_error *err)
{
    if (length > TOKENIZER_MAX_TEXT)
        return fail(err, KILN_BAD_ARGUMENT, "the text has %zu bytes; at most %d can be encoded", length,
                    TOKENIZER_MAX_TEXT);
    kiln_status status = clean_check_utf8(text, length, err);
    if (status)
        return status;
    size_t before = out->count;
    encoding e = {.with = t, .out = out, .match = pcre2_match_data_create(1, NULL)};
    if (!e.match)
        return fail(err, KILN_NO_MEMORY, "not enough memory to encode a text");
    status = encode_text(&e, text, length, err);
    pcre2_match_data_free(e.match);
    merging_fini(&e.merging);
    if (status)
        out->count = before;
    return status;
}

kiln_status tokenizer_encode(const tokenizer *t, const char *text, token_list *out, kiln_error *err)
{
    return tokenizer_encode_part(t, text, strlen(text), out, err);
}

/* ---------------------------------------------------------------------------------- decoding */

typedef struct byte_buffer {
    char *bytes;
    size_t count, capacity;
} byte_buffer;

static bool append_bytes(byte_buffer *b, const char *bytes, size_t count)
{
    if (b->capacity - b->count < count) {
        size_t capacity = (b->count + count) * 2 + 64;
        char *grown = realloc(b->bytes, capacity);
        if (!grown)
            return false;
        b->bytes = grown;
        b->capacity = capacity;
    }
    if (count)
        memcpy(b->bytes + b->count, bytes, count);
    b->count += count;
    return true;
}

/* A word of the vocabulary back from the byte alphabet; the end of a word is a space. */
static bool append_piece(byte_buffer *to, const vocabulary_symbol *piece)
{
    const size_t end = strlen(VOCABULARY_WORD_END);
    size_t length = piece->length;
    bool ends = length >= end && memcmp(piece->text + length - end, VOCABULARY_WORD_END, end) == 0, ok = true;
    if (ends)
        length -= end;
    for (size_t i = 0; ok && i < length;) {
        utf8proc_int32_t c;
        utf8proc_ssize_t n =
            utf8proc_iterate((const utf8proc_uint8_t *)piece->text + i, (utf8proc_ssize_t)(length - i), &c);
        if (n <= 0)
            return append_bytes(to, piece->text + i, length - i);
        int byte = vocabulary_byte_of_letter((uint32_t)c);
        /* A letter outside the alphabet (a word that no encoding can give) stands for itself. */
        char one = (char)byte;
        ok = byte < 0 ? append_bytes(to, piece->text + i, (size_t)n) : append_bytes(to, &one, 1);
        i += (size_t)n;
    }
    return ok && (!ends || append_bytes(to, " ", 1));
}

static kiln_status append_decoded(byte_buffer *to, const tokenizer *t, int32_t id, kiln_error *err)
{
    const added_token *added = NULL;
    for (size_t i = 0; !added && i < t->added_count; i++)
        if (t->added[i].id == id)
            added = &t->added[i];
    const vocabulary_symbol *piece = added ? NULL : vocabulary_of_id(&t->words, id);
    if (!added && !piece)
        return fail(err, KILN_BAD_ARGUMENT, "there is no token %" PRId32 "; the vocabulary has %" PRId32, id,
                    tokenizer_size(t));
    bool spaced = !to->count || to->bytes[to->count - 1] == ' ';
    bool ok = piece ? append_piece(to, piece)
                    : (spaced || append_bytes(to, " ", 1)) && append_bytes(to, added->text, added->length) &&
                          append_bytes(to, " ", 1);
    return ok ? KILN_OK : fail(err, KILN_NO_MEMORY, "not enough memory to decode tokens");
}

/* The bytes as valid UTF-8: what is not becomes U+FFFD. */
static bool append_valid(byte_buffer *to, const byte_buffer *from)
{
    bool ok = true;
    for (size_t i = 0; ok && i < from->count;) {
        utf8proc_int32_t c;
        utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)from->bytes + i,
                                              (utf8proc_ssize_t)(from->count - i), &c);
        bool good = n > 0 && c != 0;
        ok = good ? append_bytes(to, from->bytes + i, (size_t)n) : append_bytes(to, "\xEF\xBF\xBD", 3);
        i += good ? (size_t)n : 1;
    }
    return ok && append_bytes(to, "", 1);
}

kiln_status tokenizer_decode(const tokenizer *t, const int32_t *ids, size_t count, char **out,
                             kiln_error *err)
{
    *out = NULL;
    byte_buffer raw = {0}, text = {0};
    kiln_status status = KILN_OK;
    for (size_t i = 0; !status && i < count; i++)
        status = append_decoded(&raw, t, ids[i], err);
    if (status) {
        free(raw.bytes);
        return status;
    }
    while (raw.count && raw.bytes[raw.count - 1] == ' ')
        raw.count--;
    bool ok = append_valid(&text, &raw);
    free(raw.bytes);
    if (!ok) {
        free(text.bytes);
        return fail(err, KILN_NO_MEMORY, "not enough memory to decode %zu tokens", count);
    }
    *out = text.bytes;
    return KILN_OK;
}

/* --------------------------------------------------------------------------------- questions */

const added_token *tokenizer_find_added(const tokenizer *t, const char *text, size_t length)
{
    for (size_t i = 0; i < t->added_count; i++)
        if (t->added[i].length == length && memcmp(t->added[i].text, text, length) == 0)
            return &t->added[i];
    return NULL;
}

const char *tokenizer_piece(const tokenizer *t, int32_t id)
{
    for (size_t i = 0; i < t->added_count; i++)
        if (t->added[i].id == id)
            return t->added[i].text;
    const vocabulary_symbol *piece = vocabulary_of_id(&t->words, id);
    return piece ? piece->text : NULL;
}

int32_t tokenizer_lookup(const tokenizer *t, const char *piece)
{
    const added_token *added = tokenizer_find_added(t, piece, strlen(piece));
    return added ? added->id : vocabulary_id(&t->words, piece, strlen(piece));
}

int32_t tokenizer_size(const tokenizer *t)
{
    int32_t size = (int32_t)t->words.id_limit;
    for (size_t i = 0; i < t->added_count; i++)
        if (t->added[i].id >= size)
            size = t->added[i].id + 1;
    return size;
}

int32_t tokenizer_start_id(const tokenizer *t)
{
    return t->start;
}

int32_t tokenizer_end_id(const tokenizer *t)
{
    return t->end;
}

int32_t tokenizer_pad_id(const tokenizer *t)
{
    return t->pad;
}

int32_t tokenizer_unknown_id(const tokenizer *t)
{
    return t->unknown;
}

int64_t tokenizer_max_length(const tokenizer *t)
{
    return t->max_length;
}
