/* prompt_template_options.c - see prompt_template_parts.h. */
#include "text/prompt_parts.h"
#include "text/prompt_template_parts.h"

#include <stdlib.h>
#include <string.h>

static kiln_status no_memory(kiln_error *err)
{
    return fail(err, KILN_NO_MEMORY, "out of memory for the prompt");
}

size_t template_skip(const char *text, size_t length, size_t at)
{
    if (text[at] == '\\' && at + 1 < length)
        return 2;
    if (!prompt_is_comment(text, at))
        return 1;
    const char *end = memchr(text + at, '\n', length - at);
    return end ? (size_t)(end - text) - at : length - at;
}

kiln_status template_braces(const char *text, size_t length, size_t **out, kiln_error *err)
{
    size_t *closing = *out = calloc(length + 1, sizeof *closing), *open = calloc(length + 1, sizeof *open);
    size_t depth = 0;
    if (!closing || !open) {
        free(closing);
        free(open);
        *out = NULL;
        return no_memory(err);
    }
    for (size_t i = 0; i < length; i += template_skip(text, length, i)) {
        if (text[i] == '{')
            open[depth++] = i;
        else if (text[i] == '}' && depth)
            closing[open[--depth]] = i;
    }
    free(open);
    return KILN_OK;
}

/* ------------------------------------------------------------------------------------ numbers */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* "0.5::" at the beginning goes into the weight. */
static void take_weight(template_option *o)
{
    size_t i = 0;
    double value = 0, unit = 1;
    int digits = 0;
    for (bool point = false; i < o->length && (is_digit(o->text[i]) || (o->text[i] == '.' && !point)); i++) {
        if (o->text[i] == '.') {
            point = true;
            continue;
        }
        value = value * 10 + (o->text[i] - '0');
        unit *= point ? 10 : 1;
        digits++;
    }
    if (!digits || digits > 15 || o->length - i < 2 || memcmp(o->text + i, "::", 2) != 0)
        return;
    o->weight = value / unit;
    o->text += i + 2;
    o->length -= i + 2;
}

static template_option option_of(const char *text, size_t length, const char *file)
{
    while (length && is_space(*text)) {
        text++;
        length--;
    }
    while (length && is_space(text[length - 1]))
        length--;
    template_option o = {text, length, file, 1};
    take_weight(&o);
    return o;
}

/* A number of at most 5 digits: its length; 0 where there is none. */
static size_t take_number(const char *text, size_t length, uint32_t *out)
{
    size_t i = 0;
    *out = 0;
    for (; i < length && i < 5 && is_digit(text[i]); i++)
        *out = *out * 10 + (uint32_t)(text[i] - '0');
    return i;
}

static bool dollars_at(const char *text, size_t length, size_t at)
{
    return at + 1 < length && text[at] == '$' && text[at + 1] == '$';
}

/* "1-3$$" and, after it, a separator with "$$": their length; 0 where there are none. */
static size_t take_count(const char *text, size_t length, template_variant *v)
{
    uint32_t low, high;
    size_t first = take_number(text, length, &low), at = first;
    bool range = at < length && text[at] == '-';
    at += range;
    size_t second = range ? take_number(text + at, length - at, &high) : 0;
    at += second;
    if ((!first && !second) || !dollars_at(text, length, at))
        return 0;
    at += 2;
    v->low = first ? low : 1;
    v->high = !range ? v->low : second ? high : UINT32_MAX;
    for (size_t i = at; i < length && !strchr("|{}", text[i]); i++)
        if (dollars_at(text, length, i)) {
            v->separator = text + at;
            v->separator_length = i - at;
            return i + 2;
        }
    return at;
}

/* ------------------------------------------------------------------------------------ options */

kiln_status template_options_of_lines(const wildcard_lines *lines, template_options *out, kiln_error *err)
{
    *out = (template_options){malloc(lines->count * sizeof *out->list), lines->count};
    if (!out->list)
        return no_memory(err);
    for (uint32_t i = 0; i < lines->count; i++)
        out->list[i] = option_of(lines->list[i].text, strlen(lines->list[i].text), lines->list[i].file);
    return KILN_OK;
}

void template_options_free(template_options *o)
{
    free(o->list);
    *o = (template_options){0};
}

/* Cut at every | that is in no bracket of its own. */
static kiln_status cut(const char *text, size_t length, template_options *out, kiln_error *err)
{
    size_t begin = 0, inside = 0, room = 1;
    for (size_t i = 0; i < length; i++)
        room += text[i] == '|';
    *out = (template_options){malloc(room * sizeof *out->list), 0};
    if (!out->list)
        return no_memory(err);
    for (size_t i = 0; i < length; i += template_skip(text, length, i)) {
        if (text[i] == '{' || text[i] == '[')
            inside++;
        else if ((text[i] == '}' || text[i] == ']') && inside)
            inside--;
        else if (text[i] == '|' && !inside) {
            out->list[out->count++] = option_of(text + begin, i - begin, NULL);
            begin = i + 1;
        }
    }
    out->list[out->count++] = option_of(text + begin, length - begin, NULL);
    return KILN_OK;
}

/* One wildcard alone stands for its lines. */
static kiln_status take_lines(const template_rules *rules, template_options *options, kiln_error *err)
{
    const template_option *o = &options->list[0];
    size_t n = o->length;
    if (options->count != 1 || !rules->wildcards.find || n < 5 || memcmp(o->text, "__", 2) != 0 ||
        memcmp(o->text + n - 2, "__", 2) != 0)
        return KILN_OK;
    char *name = strndup(o->text + 2, n - 4);
    wildcard_lines lines;
    if (!name)
        return no_memory(err);
    for (const char *c = name; *c; c++)
        if ((unsigned char)*c <= ' ' || (c[0] == '_' && c[1] == '_')) {
            free(name);
            return KILN_OK;
        }
    kiln_status status = rules->wildcards.find(rules->wildcards.self, name, &lines, err);
    free(name);
    if (status != KILN_OK)
        return status;
    template_options_free(options);
    return template_options_of_lines(&lines, options, err);
}

kiln_status template_variant_of(const char *text, size_t length, const template_rules *rules,
                                template_variant *out, kiln_error *err)
{
    *out = (template_variant){.low = 1, .high = 1, .separator = ", ", .separator_length = 2};
    size_t prefix = take_count(text, length, out);
    kiln_status status = cut(text + prefix, length - prefix, &out->options, err);
    if (status == KILN_OK && prefix)
        status = take_lines(rules, &out->options, err);
    if (status == KILN_OK && out->low > out->high)
        status = fail(err, KILN_BAD_ARGUMENT, "a variant asks for %u to %u of its texts: '{%.*s}'", out->low,
                      out->high, (int)(length < 80 ? length : 80), text);
    if (status != KILN_OK)
        template_options_free(&out->options);
    out->high = out->high < out->options.count ? out->high : out->options.count;
    out->low = out->low < out->high ? out->low : out->high;
    return status;
}

/* ------------------------------------------------------------------------------------ choosing */

kiln_status template_choose(template_options *o, prompt_chance *chance, template_option *out, kiln_error *err)
{
    double sum = 0;
    uint32_t last = 0, chosen = o->count;
    bool equal = true;
    for (uint32_t i = 0; i < o->count; i++) {
        sum += o->list[i].weight;
        equal = equal && o->list[i].weight == o->list[0].weight;
        last = o->list[i].weight > 0 ? i : last;
    }
    if (!(sum > 0))
        return fail(err, KILN_BAD_ARGUMENT, "nothing can be chosen: all weights are 0 where '%.*s' may stand",
                    (int)(o->count && o->list[0].length < 80 ? o->list[0].length : 0),
                    o->count ? o->list[0].text : "");
    if (equal) {
        chosen = prompt_chance_below(chance, o->count);
    } else {
        double at = prompt_chance_share(chance) * sum;
        for (uint32_t i = 0; chosen == o->count && i < last; i++) {
            if (at < o->list[i].weight)
                chosen = i;
            at -= o->list[i].weight;
        }
        chosen = chosen == o->count ? last : chosen;
    }
    *out = o->list[chosen];
    memmove(&o->list[chosen], &o->list[chosen + 1], (o->count - chosen - 1) * sizeof *o->list);
    o->count--;
    return KILN_OK;
}
