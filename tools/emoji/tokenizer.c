/* tokenizer.c - emoji_tokenizer: trains a tokenizer in CLIP's format on captions, and tries it on them. */
#include "text/tokenizer.h"

#include "emoji/bpe.h"
#include "emoji/options.h"
#include "emoji/text_file.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_INPUTS = 64 };

static const char usage[] =
    "emoji_tokenizer CAPTIONS... -o FOLDER [--vocabulary 4096] [--length 77]\n"
    "    CAPTIONS: metadata.jsonl (or any .jsonl with \"text\"), or a text file with a caption a line.\n";

/* What is done with each caption. */
typedef kiln_status (*caption_function)(void *user, const char *caption, kiln_error *err);

static kiln_status with_line(const char *path, long number, char *line, bool json, caption_function use,
                             void *user, kiln_error *err)
{
    if (!*line)
        return KILN_OK;
    if (!json)
        return use(user, line, err);
    json_error_t problem;
    json_t *root = json_loads(line, 0, &problem);
    json_t *texts = json_object_get(root, "text");
    size_t count = json_is_array(texts) ? json_array_size(texts) : 1;
    kiln_status status = KILN_OK;
    for (size_t i = 0; !status && i < count; i++) {
        const char *text = json_string_value(json_is_array(texts) ? json_array_get(texts, i) : texts);
        status = text ? use(user, text, err)
                      : fail(err, KILN_BAD_FORMAT, "%s: line %ld has no \"text\"", path, number);
    }
    json_decref(root);
    return status;
}

static kiln_status each_caption(const char *path, caption_function use, void *user, kiln_error *err)
{
    char *text;
    size_t size, length = strlen(path);
    kiln_status status = text_file_read(path, &text, &size, err);
    if (status)
        return status;
    bool json = length > 6 && strcmp(path + length - 6, ".jsonl") == 0;
    long number = 0;
    for (char *line = text; !status && line < text + size;) {
        char *end = memchr(line, '\n', (size_t)(text + size - line));
        end = end ? end : text + size;
        *end = '\0';
        status = with_line(path, ++number, line, json, use, user, err);
        line = end + 1;
    }
    free(text);
    return status;
}

static kiln_status learn_from(void *user, const char *caption, kiln_error *err)
{
    return bpe_add(user, caption, err);
}

typedef struct trial {
    const tokenizer *t;
    token_list ids;
    long captions, tokens, most, changed;
} trial;

/* Spaces and case are not kept by the encoding: compare what is left. */
static bool same_letters(const tokenizer *t, const char *a, const char *b, kiln_error *err)
{
    token_list x = {0}, y = {0};
    bool same = !tokenizer_encode(t, a, &x, err) && !tokenizer_encode(t, b, &y, err) && x.count == y.count &&
                memcmp(x.ids, y.ids, x.count * sizeof *x.ids) == 0;
    token_list_free(&x);
    token_list_free(&y);
    return same;
}

static kiln_status try_caption(void *user, const char *caption, kiln_error *err)
{
    trial *m = user;
    m->ids.count = 0;
    char *back;
    kiln_status status = tokenizer_encode(m->t, caption, &m->ids, err);
    if (!status)
        status = tokenizer_decode(m->t, m->ids.ids, m->ids.count, &back, err);
    if (status)
        return status;
    m->captions++;
    m->tokens += (long)m->ids.count;
    m->most = (long)m->ids.count > m->most ? (long)m->ids.count : m->most;
    m->changed += m->captions % 16 == 1 && !same_letters(m->t, caption, back, err);
    free(back);
    return KILN_OK;
}

static kiln_status run(const char **inputs, int count, const char *out, int vocabulary, int length,
                       kiln_error *err)
{
    bpe *b;
    tokenizer *t = NULL;
    kiln_status status = bpe_new(&b, err);
    for (int i = 0; !status && i < count; i++)
        status = each_caption(inputs[i], learn_from, b, err);
    if (!status)
        status = bpe_train(b, vocabulary, err);
    if (!status)
        status = bpe_write(b, out, length, err);
    if (!status)
        printf("%zu different words, %zu merges, a vocabulary of %zu\n", bpe_word_count(b),
               bpe_merge_count(b), bpe_vocabulary(b));
    bpe_free(b);
    if (!status)
        status = tokenizer_open(out, &t, err);
    trial m = {.t = t};
    for (int i = 0; !status && i < count; i++)
        status = each_caption(inputs[i], try_caption, &m, err);
    if (!status && m.captions)
        printf(
            "%ld captions take %.2f tokens in the mean and %ld at most; %ld of %ld tried come back changed\n",
            m.captions, (double)m.tokens / (double)m.captions, m.most, m.changed, (m.captions + 15) / 16);
    token_list_free(&m.ids);
    tokenizer_close(t);
    return status;
}

int main(int argc, char **argv)
{
    const char *inputs[MAX_INPUTS], *out = NULL;
    long vocabulary = 4096, length = 77;
    bool help = false;
    int count;
    kiln_error err = {0};
    const option_rule rules[] = {
        {.name = "-o", .text = &out},
        {.name = "--vocabulary", .number = &vocabulary, .least = 514, .most = 65536},
        {.name = "--length", .number = &length, .least = 8, .most = 4096},
        {.name = "--help", .flag = &help},
        {0},
    };
    kiln_status status = options_read(argc, argv, rules, inputs, MAX_INPUTS, &count, &err);
    if (!status && help) {
        fputs(usage, stdout);
        return 0;
    }
    if (!status && (!count || !out))
        status = fail(&err, KILN_BAD_ARGUMENT, "captions and -o FOLDER are needed; --help tells more");
    if (!status)
        status = run(inputs, count, out, (int)vocabulary, (int)length, &err);
    if (status)
        fprintf(stderr, "emoji_tokenizer: %s\n", err.text);
    return status ? 1 : 0;
}
