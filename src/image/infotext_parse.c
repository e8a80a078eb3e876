/* infotext_parse.c - text to recipe. The field syntax is this expression, tried from left to right:
 *
 *     \s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)
 *
 * It needs no backtracking machine: a key holds no colon, so the longest run of key characters is the only
 * candidate; a quoted value ends at the first bare quote or is no quoted value. */
#include "image/infotext.h"

#include <stdlib.h>
#include <string.h>

enum { FEWEST_FIELDS = 3 };

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r') || (c >= 0x1C && c <= 0x1F);
}

/* \w; every character beyond ASCII counts as a letter. */
static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           (unsigned char)c >= 0x80;
}

static bool continues_character(char c)
{
    return ((unsigned char)c & 0xC0) == 0x80;
}

typedef struct span {
    const char *start, *end;
} span;

/* The end of the key that starts at p, or NULL: two characters or more, then a colon. */
static const char *end_of_key(const char *p, const char *end)
{
    size_t characters = 0;
    if (p == end || !is_word(*p) || continues_character(*p))
        return NULL;
    for (; p < end && (is_word(*p) || *p == ' ' || *p == '-' || *p == '/'); p++)
        characters += !continues_character(*p);
    return characters >= 2 && p < end && *p == ':' ? p : NULL;
}

/* The end of the quoted value that starts at p and that a comma or the end follows, or NULL. */
static const char *end_of_quoted(const char *p, const char *end)
{
    if (p == end || *p != '"')
        return NULL;
    const char *first = ++p;
    while (p < end && *p != '"') {
        if (*p == '\\' && ++p == end)
            return NULL;
        p++;
    }
    if (p >= end || p == first)
        return NULL;
    p++;
    return p == end || *p == ',' ? p : NULL;
}

/* The next field in [*at, end); steps behind it and its comma. */
static bool next_field(const char **at, const char *end, span *key, span *value)
{
    for (const char *p = *at; p < end; p++) {
        while (p < end && is_blank(*p))
            p++;
        const char *stop = end_of_key(p, end);
        if (!stop)
            continue;
        *key = (span){p, stop};
        value->start = stop + 1;
        while (value->start < end && is_blank(*value->start))
            value->start++;
        value->end = end_of_quoted(value->start, end);
        if (!value->end) {
            value->end = memchr(value->start, ',', (size_t)(end - value->start));
            if (!value->end)
                value->end = end;
        }
        *at = value->end < end ? value->end + 1 : end;
        return true;
    }
    return false;
}

static size_t count_fields(const char *at, const char *end)
{
    size_t count = 0;
    span key, value;
    while (next_field(&at, end, &key, &value))
        count++;
    return count;
}

static char *copy_span(const char *start, const char *end)
{
    byte_buffer copy = {0};
    byte_buffer_add(&copy, start, (size_t)(end - start));
    return byte_buffer_take_text(&copy);
}

static bool read_fields(infotext *info, const char *at, const char *end)
{
    span key, value;
    info->fields = calloc(count_fields(at, end) + 1, sizeof *info->fields);
    while (info->fields && next_field(&at, end, &key, &value)) {
        byte_buffer text = {0};
        infotext_unquote(&text, value.start, (size_t)(value.end - value.start));
        infotext_field field = {copy_span(key.start, key.end), byte_buffer_take_text(&text)};
        info->fields[info->count++] = field;
        if (!field.key || !field.value)
            return false;
    }
    return info->fields != NULL;
}

static const char *start_of_last_line(const char *text, const char *end)
{
    while (end > text && end[-1] != '\n')
        end--;
    return end;
}

/* Where the negative prompt's line starts in [text, end), or NULL; *body is behind its label. */
static const char *find_negative(const char *text, const char *end, const char **body)
{
    static const char label[] = "Negative prompt:";
    const size_t length = sizeof label - 1;
    for (const char *line = text; line < end; line++) {
        const char *p = line, *stop = memchr(line, '\n', (size_t)(end - line));
        while (p < end && is_blank(*p) && *p != '\n')
            p++;
        if ((size_t)(end - p) >= length && memcmp(p, label, length) == 0) {
            *body = p + length;
            if (*body < end && **body == ' ')
                ++*body;
            return line;
        }
        if (!stop)
            return NULL;
        line = stop;
    }
    return NULL;
}

/* The lines in [start, end) without the line break that ends them, and without carriage returns at the end of
 * any line. */
static char *copy_lines(const char *start, const char *end)
{
    byte_buffer copy = {0};
    if (end > start && end[-1] == '\n')
        end--;
    for (const char *run = start; start < end; start = run) {
        for (run = start; run < end && *run == '\r';)
            run++;
        if (run == end)
            break;
        if (*run == '\n')
            start = run;
        byte_buffer_add(&copy, start, (size_t)(++run - start));
    }
    return byte_buffer_take_text(&copy);
}

kiln_status infotext_parse(const char *text, infotext **out, kiln_error *err)
{
    const char *end = text + strlen(text), *body = NULL;
    *out = NULL;
    if (!text_is_utf8(text, (size_t)(end - text)))
        return fail(err, KILN_BAD_FORMAT, "the generation parameters are not valid UTF-8");
    infotext *info = calloc(1, sizeof *info);
    const char *last_end = end;
    while (last_end > text && is_blank(last_end[-1]))
        last_end--;
    const char *last = start_of_last_line(text, last_end);
    bool good = info != NULL;
    if (good && count_fields(last, last_end) >= FEWEST_FIELDS) {
        good = read_fields(info, last, last_end);
        end = last;
    }
    const char *negative = find_negative(text, end, &body);
    if (good) {
        info->prompt = copy_lines(text, negative ? negative : end);
        info->negative = negative ? copy_lines(body, end) : copy_lines(end, end);
        good = info->prompt && info->negative;
    }
    if (!good) {
        infotext_free(info);
        return fail(err, KILN_NO_MEMORY, "not enough memory for the generation parameters");
    }
    *out = info;
    return KILN_OK;
}

kiln_status infotext_from_picture(const picture_text *text, const char *name, infotext **out, kiln_error *err)
{
    static const char *const others[][2] = {
        {"workflow", "ComfyUI"},     {"prompt", "ComfyUI"}, {"invokeai_metadata", "InvokeAI"},
        {"sd-metadata", "InvokeAI"}, {"Dream", "InvokeAI"},
    };
    *out = NULL;
    const char *parameters = picture_text_get(text, PICTURE_TEXT_PARAMETERS);
    if (parameters) {
        kiln_status status = infotext_parse(parameters, out, err);
        return status == KILN_OK ? status : fail_within(err, status, "%s", name);
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (picture_text_get(text, others[i][0]))
            return fail(
                err, KILN_UNSUPPORTED,
                "%s: made by %s, which records its own '%s' data and no generation parameters that can be "
                "read as a recipe",
                name, others[i][1], others[i][0]);
    const char *software = picture_text_get(text, "Software");
    if (software && strcmp(software, "NovelAI") == 0)
        return fail(err, KILN_UNSUPPORTED, "%s: made by NovelAI, whose parameters cannot be read as a recipe",
                    name);
    return fail(err, KILN_NOT_FOUND, "%s: the picture holds no generation parameters", name);
}

static bool read_number(const char **p, int *out)
{
    long value = 0;
    const char *start = *p;
    for (; **p >= '0' && **p <= '9'; ++*p) {
        value = value * 10 + (**p - '0');
        if (value > 1000000000)
            return false;
    }
    *out = (int)value;
    return *p > start;
}

bool infotext_get_size(const infotext *info, const char *key, int *width, int *height)
{
    const char *p = infotext_get(info, key);
    return p && read_number(&p, width) && *p++ == 'x' && read_number(&p, height) && *p == '\0';
}

kiln_status infotext_set(infotext *info, const char *key, const char *value, kiln_error *err)
{
    if (!value)
        return KILN_OK;
    byte_buffer probe = {0};
    byte_buffer_add_text(&probe, key);
    byte_buffer_add_text(&probe, ":");
    bool sound = probe.size > 0 && !probe.short_of_memory &&
                 end_of_key((char *)probe.bytes, (char *)probe.bytes + probe.size) ==
                     (char *)probe.bytes + probe.size - 1;
    byte_buffer_fini(&probe);
    if (!sound)
        return fail(err, KILN_BAD_ARGUMENT, "'%s' cannot be the name of a generation parameter", key);
    char *copy = copy_span(value, value + strlen(value));
    for (size_t i = info->count; copy && i-- > 0;) {
        if (strcmp(info->fields[i].key, key) != 0)
            continue;
        free(info->fields[i].value);
        info->fields[i].value = copy;
        return KILN_OK;
    }
    char *name = copy_span(key, key + strlen(key));
    infotext_field *fields = realloc(info->fields, (info->count + 1) * sizeof *fields);
    if (fields)
        info->fields = fields;
    if (!copy || !name || !fields) {
        free(copy);
        free(name);
        return fail(err, KILN_NO_MEMORY, "not enough memory for the generation parameters");
    }
    info->fields[info->count++] = (infotext_field){name, copy};
    return KILN_OK;
}
