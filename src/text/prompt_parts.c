/* prompt_parts.c - see prompt_parts.h. */
#include "text/prompt_parts.h"

#include "text/clean.h"
#include "text/extra_networks.h"

#include <stdlib.h>
#include <string.h>

#define AND_WORD "AND"

bool prompt_is_comment(const char *prompt, size_t at)
{
    const char *next = prompt + at + 1;
    bool key = strncmp(next, "\xef\xb8\x8f", 3) == 0 || strncmp(next, "\xe2\x83\xa3", 3) == 0;
    return prompt[at] == '#' && !key && (at == 0 || prompt[at - 1] != '\\');
}

kiln_status prompt_without_comments(const char *prompt, char **out, kiln_error *err)
{
    size_t written = 0;
    char *to = *out = malloc(strlen(prompt) + 1);
    if (!to)
        return fail(err, KILN_NO_MEMORY, "out of memory for the prompt");
    for (size_t at = 0; prompt[at];) {
        if (!prompt_is_comment(prompt, at)) {
            to[written++] = prompt[at++];
            continue;
        }
        bool whole_line = at == 0 || prompt[at - 1] == '\n';
        while (prompt[at] && prompt[at] != '\n')
            at++;
        at += whole_line && prompt[at];
    }
    to[written] = '\0';
    return KILN_OK;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Take " : 1.2 " off the end of text[0, *length); 1 where there is none. */
static double take_weight(const char *text, size_t *length)
{
    size_t end = *length;
    while (end && is_space(text[end - 1]))
        end--;
    size_t begin = end;
    while (begin && (is_digit(text[begin - 1]) || text[begin - 1] == '.'))
        begin--;
    double value = 0, unit = 1;
    int digits = 0, points = 0;
    for (size_t i = begin; i < end; i++) {
        points += text[i] == '.';
        if (text[i] == '.')
            continue;
        value = value * 10 + (text[i] - '0');
        unit *= points ? 10 : 1;
        digits++;
    }
    bool negative = begin && text[begin - 1] == '-';
    begin -= begin && (text[begin - 1] == '-' || text[begin - 1] == '+');
    while (begin && is_space(text[begin - 1]))
        begin--;
    if (!digits || digits > 15 || points > 1 || !begin || text[begin - 1] != ':')
        return 1;
    for (begin--; begin && is_space(text[begin - 1]);)
        begin--;
    *length = begin;
    return (negative ? -value : value) / unit;
}

static kiln_status add_part(prompt_parts *p, const char *text, size_t length, bool weighted, kiln_error *err)
{
    if (p->count == PROMPT_MAX_PARTS)
        return fail(err, KILN_BAD_ARGUMENT, "the prompt has more than %d parts joined by AND",
                    PROMPT_MAX_PARTS);
    double weight = weighted ? take_weight(text, &length) : 1;
    if (!(weight >= -1000 && weight <= 1000))
        return fail(err, KILN_BAD_ARGUMENT, "the weight of a part of the prompt is -1000 to 1000, not %g",
                    weight);
    char *copy = malloc(length + 1);
    if (!copy)
        return fail(err, KILN_NO_MEMORY, "out of memory for the prompt");
    memcpy(copy, text, length);
    copy[length] = '\0';
    p->part[p->count++] = (prompt_part){copy, weight};
    return KILN_OK;
}

static kiln_status cut(const char *text, bool at_and, prompt_parts *out, kiln_error *err)
{
    size_t length = strlen(text), begin = 0, size = strlen(AND_WORD);
    kiln_status status = KILN_OK;
    for (size_t i = 0; at_and && status == KILN_OK && i + size <= length; i++)
        if (memcmp(text + i, AND_WORD, size) == 0 && clean_is_apart(text, length, i, i + size)) {
            status = add_part(out, text + begin, i - begin, true, err);
            begin = i + size;
            i += size - 1;
        }
    return status == KILN_OK ? add_part(out, text + begin, length - begin, at_and, err) : status;
}

static kiln_status parts(const char *prompt, bool at_and, prompt_parts *out, kiln_error *err)
{
    *out = (prompt_parts){0};
    char *text = NULL;
    kiln_status status = prompt_without_comments(prompt, &text, err);
    if (status == KILN_OK && at_and)
        extra_networks_strip(text);
    if (status == KILN_OK)
        status = cut(text, at_and, out, err);
    if (status != KILN_OK)
        prompt_parts_free(out);
    free(text);
    return status;
}

kiln_status prompt_parts_of(const char *prompt, prompt_parts *out, kiln_error *err)
{
    return parts(prompt, true, out, err);
}

kiln_status prompt_parts_single(const char *prompt, prompt_parts *out, kiln_error *err)
{
    return parts(prompt, false, out, err);
}

void prompt_parts_free(prompt_parts *p)
{
    if (!p)
        return;
    for (int i = 0; i < p->count; i++)
        free(p->part[i].text);
    *p = (prompt_parts){0};
}
