/* clean.c - see clean.h. */
#include "text/clean.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

kiln_status clean_check_utf8(const char *text, size_t length, kiln_error *err)
{
    for (size_t i = 0; i < length;) {
        utf8proc_int32_t c;
        utf8proc_ssize_t n =
            utf8proc_iterate((const utf8proc_uint8_t *)text + i, (utf8proc_ssize_t)(length - i), &c);
        if (n <= 0)
            return fail(err, KILN_BAD_ARGUMENT, "the text is not UTF-8: byte 0x%02X at position %zu",
                        (unsigned)(unsigned char)text[i], i);
        i += (size_t)n;
    }
    return KILN_OK;
}

/* Unicode's White_Space. */
static bool is_space(int32_t c)
{
    if ((c >= '\t' && c <= '\r') || c == ' ' || c == 0x85)
        return true;
    utf8proc_category_t category = utf8proc_category(c);
    return category == UTF8PROC_CATEGORY_ZS || category == UTF8PROC_CATEGORY_ZL ||
           category == UTF8PROC_CATEGORY_ZP;
}

/* What Python strips at the ends besides white space: the four separators of ASCII. */
static bool is_separator(int32_t c)
{
    return c >= 0x1C && c <= 0x1F;
}

bool clean_is_word(int32_t c)
{
    if (c == '_')
        return true;
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
        return true;
    default:
        return false;
    }
}

/* Unicode's Case_Ignorable: by category, and the word-break classes MidLetter, MidNumLet, Single_Quote. */
static bool is_case_ignorable(int32_t c)
{
    static const uint16_t others[] = {0x27,   0x2E,   0x3A,   0xB7,   0x387,  0x55F,  0x5F4,  0x2018, 0x2019,
                                      0x2024, 0x2027, 0xFE13, 0xFE52, 0xFE55, 0xFF07, 0xFF0E, 0xFF1A};
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
        return true;
    default:
        for (size_t i = 0; i < sizeof others / sizeof *others; i++)
            if (c == others[i])
                return true;
        return false;
    }
}

/* Unicode's Cased, for characters that are not case-ignorable. */
static bool is_cased(int32_t c)
{
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
        return true;
    default:
        return c == 0xAA || c == 0xBA || (c >= 0x2160 && c <= 0x217F) || (c >= 0x24B6 && c <= 0x24E9) ||
               (c >= 0x1F130 && c <= 0x1F149) || (c >= 0x1F150 && c <= 0x1F169) ||
               (c >= 0x1F170 && c <= 0x1F189);
    }
}

typedef struct point_list {
    int32_t *at;
    size_t count;
} point_list;

/* A sigma is final when a cased letter stands before it and none after it, case-ignorable ones aside
 * (Unicode, SpecialCasing.txt, Final_Sigma). */
static bool sigma_is_final(const point_list *points, size_t i)
{
    size_t before = i, after = i + 1;
    while (before > 0 && is_case_ignorable(points->at[before - 1]))
        before--;
    if (before == 0 || !is_cased(points->at[before - 1]))
        return false;
    while (after < points->count && is_case_ignorable(points->at[after]))
        after++;
    return after == points->count || !is_cased(points->at[after]);
}

typedef struct text_buffer {
    char *text;
    size_t length;
} text_buffer;

static void append(text_buffer *to, int32_t c)
{
    to->length += (size_t)utf8proc_encode_char(c, (utf8proc_uint8_t *)to->text + to->length);
}

/* NFC, as code points with every run of white space made one space and none at the ends. */
static kiln_status compose(const char *text, size_t size, point_list *out, kiln_error *err)
{
    utf8proc_uint8_t *composed = NULL;
    utf8proc_ssize_t length = utf8proc_map((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)size, &composed,
                                           UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    *out = (point_list){0};
    if (length >= 0)
        out->at = malloc(((size_t)length + 1) * sizeof *out->at);
    if (!out->at) {
        free(composed);
        return fail(err, KILN_NO_MEMORY, "not enough memory to normalise a text of %zu bytes", size);
    }
    for (utf8proc_ssize_t i = 0; i < length;) {
        utf8proc_int32_t c;
        utf8proc_ssize_t n = utf8proc_iterate(composed + i, length - i, &c);
        if (n <= 0)
            break;
        i += n;
        bool space = is_space(c), after_space = out->count && out->at[out->count - 1] == ' ';
        if (!out->count ? !space && !is_separator(c) : !space || !after_space)
            out->at[out->count++] = space ? ' ' : c;
    }
    while (out->count && (out->at[out->count - 1] == ' ' || is_separator(out->at[out->count - 1])))
        out->count--;
    free(composed);
    return KILN_OK;
}

static kiln_status lower(const point_list *points, text_buffer *out, kiln_error *err)
{
    /* No lower-case form is longer than four bytes. */
    out->length = 0;
    out->text = malloc(points->count * 4 + 1);
    if (!out->text)
        return fail(err, KILN_NO_MEMORY, "not enough memory to lower a text of %zu characters",
                    points->count);
    for (size_t i = 0; i < points->count; i++) {
        int32_t c = points->at[i];
        if (c == 0x130) { /* I with a dot above: the only full mapping that is longer than the simple one */
            append(out, 'i');
            append(out, 0x307);
        } else if (c == 0x3A3) {
            append(out, sigma_is_final(points, i) ? 0x3C2 : 0x3C3);
        } else {
            append(out, utf8proc_tolower(c));
        }
    }
    out->text[out->length] = '\0';
    return KILN_OK;
}

kiln_status clean_text(const char *text, size_t length, char **out, size_t *out_length, kiln_error *err)
{
    *out = NULL;
    *out_length = 0;
    text_buffer lowered = {0};
    point_list points = {0};
    kiln_status status = compose(text, length, &points, err);
    if (!status)
        status = lower(&points, &lowered, err);
    free(points.at);
    if (status)
        return status;
    *out = lowered.text;
    *out_length = lowered.length;
    return KILN_OK;
}

/* Whether a word could go on at this side of a boundary. The text is valid UTF-8. */
static bool word_before(const char *text, size_t at)
{
    size_t start = at;
    utf8proc_int32_t c;
    if (!at)
        return false;
    do
        start--;
    while (start > 0 && ((unsigned char)text[start] & 0xC0) == 0x80);
    return utf8proc_iterate((const utf8proc_uint8_t *)text + start, (utf8proc_ssize_t)(at - start), &c) > 0 &&
           clean_is_word(c);
}

static bool word_after(const char *text, size_t at, size_t length)
{
    utf8proc_int32_t c;
    return at < length &&
           utf8proc_iterate((const utf8proc_uint8_t *)text + at, (utf8proc_ssize_t)(length - at), &c) > 0 &&
           clean_is_word(c);
}

bool clean_is_apart(const char *text, size_t length, size_t begin, size_t end)
{
    return !word_before(text, begin) && !word_after(text, end, length);
}
