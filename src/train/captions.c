/* captions.c - see captions.h. A caption is cut into tags held as (start, length) of one copy of the text. */
#include "train/captions.h"

#include "image/byte_buffer.h"
#include "train/mix.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct tag {
    const char *start;
    size_t length;
} tag;

typedef struct tag_list {
    tag *tags;
    size_t count, kept; /* the first `kept` are fixed */
} tag_list;

static kiln_status no_memory(kiln_error *err)
{
    return fail(err, KILN_NO_MEMORY, "no memory for a caption");
}

static bool is_rate(double value)
{
    return value >= 0 && value <= 1;
}

kiln_status caption_options_check(const caption_options *options, kiln_error *err)
{
    if (!is_rate(options->caption_dropout_rate))
        return fail(err, KILN_BAD_ARGUMENT, "caption_dropout_rate is between 0 and 1, not %g",
                    options->caption_dropout_rate);
    if (!is_rate(options->caption_tag_dropout_rate))
        return fail(err, KILN_BAD_ARGUMENT, "caption_tag_dropout_rate is between 0 and 1, not %g",
                    options->caption_tag_dropout_rate);
    if (options->keep_tokens < 0)
        return fail(err, KILN_BAD_ARGUMENT, "keep_tokens is 0 or more, not %d", options->keep_tokens);
    if (options->caption_dropout_every_n_epochs < 0)
        return fail(err, KILN_BAD_ARGUMENT, "caption_dropout_every_n_epochs is 0 (never) or more, not %d",
                    options->caption_dropout_every_n_epochs);
    return KILN_OK;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static tag trimmed(const char *start, const char *end)
{
    while (start < end && is_blank(*start))
        start++;
    while (end > start && is_blank(end[-1]))
        end--;
    return (tag){start, (size_t)(end - start)};
}

/* Append the tags of start..end. */
static void cut(const char *start, const char *end, const char *separator, tag_list *list)
{
    size_t width = strlen(separator);
    while (start <= end) {
        const char *next = strstr(start, separator);
        if (!next || next > end)
            next = end;
        tag found = trimmed(start, next);
        if (found.length)
            list->tags[list->count++] = found;
        start = next + width;
        if (next == end)
            break;
    }
}

static kiln_status cut_caption(const caption_options *options, const char *text, const char *separator,
                               tag_list *list, kiln_error *err)
{
    *list = (tag_list){0};
    size_t most = strlen(text) + 1;
    list->tags = calloc(most, sizeof *list->tags);
    if (!list->tags)
        return no_memory(err);
    const char *end = text + strlen(text), *mark = NULL;
    if (options->keep_tokens_separator && *options->keep_tokens_separator)
        mark = strstr(text, options->keep_tokens_separator);
    if (mark) {
        cut(text, mark, separator, list);
        list->kept = list->count;
        cut(mark + strlen(options->keep_tokens_separator), end, separator, list);
        return KILN_OK;
    }
    cut(text, end, separator, list);
    list->kept = (size_t)options->keep_tokens < list->count ? (size_t)options->keep_tokens : list->count;
    return KILN_OK;
}

static void drop_and_shuffle(const caption_options *options, uint64_t bits, tag_list *list)
{
    size_t to = list->kept;
    for (size_t i = list->kept; i < list->count; i++)
        if (!(mix_unit(mix_word(bits ^ (2 * i + 16))) < options->caption_tag_dropout_rate))
            list->tags[to++] = list->tags[i];
    list->count = to;
    if (!options->shuffle_caption)
        return;
    for (size_t i = list->count; i > list->kept + 1; i--) {
        size_t j = list->kept + mix_below(mix_word(bits ^ (2 * i + 17)), (uint32_t)(i - list->kept));
        tag swapped = list->tags[i - 1];
        list->tags[i - 1] = list->tags[j];
        list->tags[j] = swapped;
    }
}

static char *joined(const tag_list *list, const char *separator)
{
    byte_buffer text = {0};
    for (size_t i = 0; i < list->count; i++) {
        if (i) {
            byte_buffer_add_text(&text, separator);
            if (!is_blank(separator[strlen(separator) - 1]))
                byte_buffer_add_text(&text, " ");
        }
        byte_buffer_add(&text, list->tags[i].start, list->tags[i].length);
    }
    return byte_buffer_take_text(&text);
}

/* Prefix, line, suffix. */
static char *dressed(const caption_options *options, const char *line)
{
    byte_buffer text = {0};
    if (options->caption_prefix && *options->caption_prefix) {
        byte_buffer_add_text(&text, options->caption_prefix);
        byte_buffer_add_text(&text, " ");
    }
    byte_buffer_add_text(&text, line);
    if (options->caption_suffix && *options->caption_suffix) {
        byte_buffer_add_text(&text, " ");
        byte_buffer_add_text(&text, options->caption_suffix);
    }
    return byte_buffer_take_text(&text);
}

static bool works_on_tags(const caption_options *options, const char *text)
{
    bool marked = options->keep_tokens_separator && *options->keep_tokens_separator &&
                  strstr(text, options->keep_tokens_separator);
    return options->shuffle_caption || options->caption_tag_dropout_rate > 0 || marked;
}

static kiln_status made(const caption_options *options, const char *line, bool random, uint64_t bits,
                        char **out, kiln_error *err)
{
    char *text = dressed(options, line);
    if (!text)
        return no_memory(err);
    if (!works_on_tags(options, text)) {
        *out = text;
        return KILN_OK;
    }
    const char *separator =
        options->caption_separator && *options->caption_separator ? options->caption_separator : ",";
    tag_list list;
    kiln_status status = cut_caption(options, text, separator, &list, err);
    if (status == KILN_OK) {
        if (random)
            drop_and_shuffle(options, bits, &list);
        *out = joined(&list, separator);
        status = *out ? KILN_OK : no_memory(err);
    }
    free(list.tags);
    free(text);
    return status;
}

kiln_status caption_make(const caption_options *options, const char *const *captions, int count,
                         uint64_t seed, int64_t epoch, int64_t sample, char **out, kiln_error *err)
{
    *out = NULL;
    kiln_status status = caption_options_check(options, err);
    if (status != KILN_OK)
        return status;
    uint64_t bits = mix(seed, MIX_CAPTION, (uint64_t)epoch, (uint64_t)sample);
    int every = options->caption_dropout_every_n_epochs;
    bool dropped = mix_unit(mix_word(bits ^ 1)) < options->caption_dropout_rate ||
                   (every > 0 && epoch > 0 && epoch % every == 0);
    if (count <= 0 || dropped) {
        *out = calloc(1, 1);
        return *out ? KILN_OK : no_memory(err);
    }
    return made(options, captions[mix_below(mix_word(bits ^ 2), (uint32_t)count)], true, bits, out, err);
}

kiln_status caption_plain(const caption_options *options, const char *const *captions, int count, char **out,
                          kiln_error *err)
{
    *out = NULL;
    if (count <= 0) {
        *out = calloc(1, 1);
        return *out ? KILN_OK : no_memory(err);
    }
    return made(options, captions[0], false, 0, out, err);
}

bool caption_varies(const caption_options *options, int count)
{
    return count > 1 || options->shuffle_caption || options->caption_tag_dropout_rate > 0;
}
