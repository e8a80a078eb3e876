/* picture_text.c - see picture_text.h. */
#include "image/picture_text.h"

#include <stdlib.h>
#include <string.h>

picture_text *picture_text_new(void)
{
    return calloc(1, sizeof(picture_text));
}

void picture_text_free(picture_text *list)
{
    if (!list)
        return;
    for (size_t i = 0; i < list->count; i++) {
        free(list->entries[i].keyword);
        free(list->entries[i].text);
    }
    free(list->entries);
    free(list);
}

/* Append a pair; `text` (malloced, may be NULL after a failed allocation) is taken over. */
static kiln_status append(picture_text *list, const char *keyword, char *text, kiln_error *err)
{
    size_t length = strlen(keyword) + 1;
    char *name = malloc(length);
    picture_text_entry *entries = realloc(list->entries, (list->count + 1) * sizeof *entries);
    if (entries)
        list->entries = entries;
    if (!name || !entries || !text) {
        free(name);
        free(text);
        return fail(err, KILN_NO_MEMORY, "not enough memory for the text '%s' of a picture", keyword);
    }
    memcpy(name, keyword, length);
    list->entries[list->count++] = (picture_text_entry){name, text};
    return KILN_OK;
}

kiln_status picture_text_add(picture_text *list, const char *keyword, const char *text, kiln_error *err)
{
    size_t length = strlen(text) + 1;
    char *copy = malloc(length);
    if (copy)
        memcpy(copy, text, length);
    return append(list, keyword, copy, err);
}

static bool has_high_bytes(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)text[i] >= 0x80)
            return true;
    return false;
}

kiln_status picture_text_add_latin1(picture_text *list, const char *keyword, const char *text, size_t size,
                                    kiln_error *err)
{
    size = strnlen(text, size);
    bool high = has_high_bytes(text, size) && !text_is_utf8(text, size);
    char *copy = malloc(size * (high ? 2 : 1) + 1), *to = copy;
    for (size_t i = 0; copy && i < size; i++) {
        if (high)
            to += text_put_character((unsigned char)text[i], to);
        else
            *to++ = text[i];
    }
    if (copy)
        *to = '\0';
    return append(list, keyword, copy, err);
}

const char *picture_text_get(const picture_text *list, const char *keyword)
{
    for (size_t i = 0; list && i < list->count; i++)
        if (strcmp(list->entries[i].keyword, keyword) == 0)
            return list->entries[i].text;
    return NULL;
}

/* Number of bytes in the sequence that a first byte starts, 0 when it starts none. */
static size_t sequence_length(unsigned char first)
{
    if (first < 0x80)
        return 1;
    if (first < 0xC2 || first > 0xF4)
        return 0;
    return first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
}

bool text_is_utf8(const char *text, size_t size)
{
    static const uint32_t smallest[5] = {0, 0, 0x80, 0x800, 0x10000};
    for (size_t i = 0; i < size;) {
        size_t length = sequence_length((unsigned char)text[i]);
        if (length == 0 || length > size - i)
            return false;
        for (size_t k = 1; k < length; k++)
            if (((unsigned char)text[i + k] & 0xC0) != 0x80)
                return false;
        const char *p = text + i;
        uint32_t character = text_next_character(&p);
        if (character < smallest[length] || character > 0x10FFFF ||
            (character >= 0xD800 && character < 0xE000))
            return false;
        i += length;
    }
    return true;
}

uint32_t text_next_character(const char **p)
{
    const unsigned char *s = (const unsigned char *)*p;
    size_t length = sequence_length(*s);
    uint32_t character = length <= 1 ? *s : *s & (0x7Fu >> length);
    for (size_t k = 1; k < length; k++)
        character = character << 6 | (s[k] & 0x3Fu);
    *p += length ? length : 1;
    return character;
}

size_t text_put_character(uint32_t c, char *to)
{
    if (c < 0x80) {
        to[0] = (char)c;
        return 1;
    }
    size_t length = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t k = length - 1; k > 0; k--, c >>= 6)
        to[k] = (char)(0x80 | (c & 0x3F));
    to[0] = (char)((0xF00u >> length & 0xF0u) | c);
    return length;
}
