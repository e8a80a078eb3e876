/* exif.c - see exif.h. */
#include "image/exif.h"

#include "image/picture_text.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { TAG_ORIENTATION = 0x0112, TAG_EXIF_DIRECTORY = 0x8769, TAG_USER_COMMENT = 0x9286 };
enum { TYPE_BYTE = 1, TYPE_SHORT = 3, TYPE_LONG = 4, TYPE_UNDEFINED = 7 };
enum { ENTRY_BYTES = 12, COMMENT_CODE_BYTES = 8 };

typedef struct tiff {
    const unsigned char *bytes;
    size_t size;
    bool big_endian;
} tiff;

typedef struct tiff_entry {
    uint32_t type, count, value; /* value: as SHORT, LONG or offset, whichever the type says */
} tiff_entry;

static uint32_t read_u16(const tiff *t, size_t at)
{
    const unsigned char *p = t->bytes + at;
    return t->big_endian ? (uint32_t)p[0] << 8 | p[1] : (uint32_t)p[1] << 8 | p[0];
}

static uint32_t read_u32(const tiff *t, size_t at)
{
    uint32_t first = read_u16(t, at), second = read_u16(t, at + 2);
    return t->big_endian ? first << 16 | second : second << 16 | first;
}

static bool tiff_open(const unsigned char *block, size_t size, tiff *t)
{
    if (size >= 6 && memcmp(block, "Exif\0", 5) == 0) {
        block += 6;
        size -= 6;
    }
    *t = (tiff){block, size, size > 0 && block[0] == 'M'};
    return size >= 8 && (memcmp(block, "II*\0", 4) == 0 || memcmp(block, "MM\0*", 4) == 0);
}

static bool find_entry(const tiff *t, size_t directory, uint32_t tag, tiff_entry *out)
{
    if (directory > t->size || t->size - directory < 2)
        return false;
    size_t count = read_u16(t, directory), room = (t->size - directory - 2) / ENTRY_BYTES;
    for (size_t i = 0; i < count && i < room; i++) {
        size_t at = directory + 2 + i * ENTRY_BYTES;
        if (read_u16(t, at) != tag)
            continue;
        out->type = read_u16(t, at + 2);
        out->count = read_u32(t, at + 4);
        out->value = out->type == TYPE_SHORT ? read_u16(t, at + 8) : read_u32(t, at + 8);
        return true;
    }
    return false;
}

int exif_orientation(const unsigned char *block, size_t size)
{
    tiff t;
    tiff_entry entry;
    if (!tiff_open(block, size, &t) || !find_entry(&t, read_u32(&t, 4), TAG_ORIENTATION, &entry))
        return 1;
    if ((entry.type != TYPE_SHORT && entry.type != TYPE_LONG) || entry.value < 1 || entry.value > 8)
        return 1;
    return (int)entry.value;
}

static unsigned utf16_unit(const unsigned char *p, bool big_endian)
{
    return big_endian ? (unsigned)p[0] << 8 | p[1] : (unsigned)p[1] << 8 | p[0];
}

/* Which byte order a UTF-16 text has: that of its mark, else the one in which more high bytes are zero. */
static bool utf16_is_big_endian(const unsigned char *p, size_t units, bool otherwise)
{
    size_t first = 0, second = 0;
    if (units > 0 && (utf16_unit(p, true) == 0xFEFF || utf16_unit(p, false) == 0xFEFF))
        return utf16_unit(p, true) == 0xFEFF;
    for (size_t i = 0; i < units; i++) {
        first += p[2 * i] == 0;
        second += p[2 * i + 1] == 0;
    }
    return first == second ? otherwise : first > second;
}

static char *text_from_utf16(const unsigned char *p, size_t units, bool file_is_big_endian)
{
    bool big = utf16_is_big_endian(p, units, file_is_big_endian);
    char *text = malloc(units * 3 + 1), *to = text;
    for (size_t i = 0; text && i < units; i++) {
        uint32_t c = utf16_unit(p + 2 * i, big);
        if (c == 0)
            break;
        if (i == 0 && c == 0xFEFF)
            continue;
        if (c >= 0xD800 && c < 0xE000) {
            uint32_t low = c < 0xDC00 && i + 1 < units ? utf16_unit(p + 2 * i + 2, big) : 0;
            bool paired = low >= 0xDC00 && low < 0xE000;
            c = paired ? 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00) : 0xFFFD;
            i += paired;
        }
        to += text_put_character(c, to);
    }
    if (text)
        *to = '\0';
    return text;
}

/* Text in an unnamed or 8-bit code: UTF-8 when it is that, else Latin-1. */
static char *text_from_bytes(const unsigned char *p, size_t size)
{
    size = strnlen((const char *)p, size);
    bool utf8 = text_is_utf8((const char *)p, size);
    char *text = malloc(size * 2 + 1), *to = text;
    for (size_t i = 0; text && i < size; i++) {
        if (utf8)
            *to++ = (char)p[i];
        else
            to += text_put_character(p[i], to);
    }
    if (text)
        *to = '\0';
    return text;
}

char *exif_user_comment(const unsigned char *block, size_t size)
{
    tiff t;
    tiff_entry entry;
    if (!tiff_open(block, size, &t) || !find_entry(&t, read_u32(&t, 4), TAG_EXIF_DIRECTORY, &entry) ||
        !find_entry(&t, entry.value, TAG_USER_COMMENT, &entry))
        return NULL;
    if ((entry.type != TYPE_UNDEFINED && entry.type != TYPE_BYTE) || entry.count <= COMMENT_CODE_BYTES ||
        entry.value > t.size || entry.count > t.size - entry.value)
        return NULL;
    const unsigned char *text = t.bytes + entry.value + COMMENT_CODE_BYTES;
    size_t bytes = entry.count - COMMENT_CODE_BYTES;
    if (memcmp(t.bytes + entry.value, "UNICODE", 8) == 0)
        return text_from_utf16(text, bytes / 2, t.big_endian);
    return text_from_bytes(text, bytes);
}

static void put_number(byte_buffer *to, uint32_t value, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--)
        byte_buffer_add(to, &(unsigned char){(unsigned char)(value >> (8 * i))}, 1);
}

static void put_entry(byte_buffer *to, uint32_t tag, uint32_t type, uint32_t count, uint32_t value)
{
    put_number(to, tag, 2);
    put_number(to, type, 2);
    put_number(to, count, 4);
    put_number(to, value, 4);
}

static void put_utf16(byte_buffer *to, const char *text)
{
    while (*text) {
        uint32_t c = text_next_character(&text);
        if (c >= 0x10000) {
            put_number(to, 0xD800 + ((c - 0x10000) >> 10), 2);
            put_number(to, 0xDC00 + ((c - 0x10000) & 0x3FF), 2);
        } else {
            put_number(to, c, 2);
        }
    }
}

void exif_put_user_comment(byte_buffer *to, const char *comment, bool ascii)
{
    enum { FIRST_DIRECTORY = 8, EXIF_DIRECTORY = 26, COMMENT = 44 };
    byte_buffer text = {0};
    if (ascii)
        byte_buffer_add_text(&text, comment);
    else
        put_utf16(&text, comment);
    to->short_of_memory |= text.short_of_memory;
    byte_buffer_add(to, "MM\0*", 4);
    put_number(to, FIRST_DIRECTORY, 4);
    put_number(to, 1, 2);
    put_entry(to, TAG_EXIF_DIRECTORY, TYPE_LONG, 1, EXIF_DIRECTORY);
    put_number(to, 0, 4);
    put_number(to, 1, 2);
    put_entry(to, TAG_USER_COMMENT, TYPE_UNDEFINED, (uint32_t)(text.size + COMMENT_CODE_BYTES), COMMENT);
    put_number(to, 0, 4);
    byte_buffer_add(to, ascii ? "ASCII\0\0\0" : "UNICODE\0", COMMENT_CODE_BYTES);
    byte_buffer_add(to, text.bytes, text.size);
    byte_buffer_fini(&text);
}
