/* infotext_quote.c - values of fields as JSON strings (RFC 8259, section 7), only where needed. */
#include "image/infotext.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r') || (c >= 0x1C && c <= 0x1F);
}

static bool needs_quotes(const char *value)
{
    size_t length = strlen(value);
    if (length == 0)
        return false;
    return strpbrk(value, ",\n:") || value[0] == '"' || is_blank(value[0]) || is_blank(value[length - 1]);
}

void infotext_quote(byte_buffer *to, const char *value)
{
    static const char from[] = "\"\\\n\r\t\b\f", letters[] = "\"\\nrtbf";
    if (!needs_quotes(value)) {
        byte_buffer_add_text(to, value);
        return;
    }
    byte_buffer_add_text(to, "\"");
    for (; *value; value++) {
        const char *special = strchr(from, *value);
        char escaped[8];
        if (special)
            snprintf(escaped, sizeof escaped, "\\%c", letters[special - from]);
        else if ((unsigned char)*value < 0x20)
            snprintf(escaped, sizeof escaped, "\\u%04x", (unsigned)*value);
        else
            snprintf(escaped, sizeof escaped, "%c", *value);
        byte_buffer_add_text(to, escaped);
    }
    byte_buffer_add_text(to, "\"");
}

/* Four hexadecimal digits; false when they are not. */
static bool hexadecimal(const char *p, const char *end, uint32_t *out)
{
    *out = 0;
    if (end - p < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        const char *digits = "0123456789abcdef0123456789ABCDEF", *found = p[i] ? strchr(digits, p[i]) : NULL;
        if (!found)
            return false;
        *out = *out << 4 | (uint32_t)((found - digits) & 15);
    }
    return true;
}

/* The character of \uXXXX, or of two of them that make a surrogate pair; *p is behind the first 'u'. 0
 * (also for \u0000, which no string of ours can hold) when malformed. */
static uint32_t escaped_character(const char **p, const char *end)
{
    uint32_t c, low;
    if (!hexadecimal(*p, end, &c))
        return 0;
    *p += 4;
    if (c >= 0xD800 && c < 0xDC00) {
        if (end - *p < 6 || (*p)[0] != '\\' || (*p)[1] != 'u' || !hexadecimal(*p + 2, end, &low) ||
            low < 0xDC00 || low > 0xDFFF)
            return 0;
        *p += 6;
        return 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
    }
    return c >= 0xDC00 && c < 0xE000 ? 0 : c;
}

/* Decode what is between the quotes; false when it is not valid JSON. */
static bool decode(byte_buffer *to, const char *p, const char *end)
{
    static const char letters[] = "\"\\/nrtbf", meanings[] = "\"\\/\n\r\t\b\f";
    while (p < end) {
        char c = *p++;
        if ((unsigned char)c < 0x20 || c == '"')
            return false;
        if (c != '\\') {
            byte_buffer_add(to, &c, 1);
            continue;
        }
        if (p == end)
            return false;
        char letter = *p++;
        if (letter == 'u') {
            char bytes[4];
            uint32_t character = escaped_character(&p, end);
            if (character == 0)
                return false;
            byte_buffer_add(to, bytes, text_put_character(character, bytes));
            continue;
        }
        const char *found = letter ? strchr(letters, letter) : NULL;
        if (!found)
            return false;
        byte_buffer_add(to, &meanings[found - letters], 1);
    }
    return true;
}

void infotext_unquote(byte_buffer *to, const char *value, size_t size)
{
    size_t before = to->size;
    if (size >= 2 && value[0] == '"' && value[size - 1] == '"' && decode(to, value + 1, value + size - 1))
        return;
    to->size = before;
    byte_buffer_add(to, value, size);
}
