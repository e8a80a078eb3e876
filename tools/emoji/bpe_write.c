/* bpe_write.c - a trained vocabulary as CLIP's files. Ids follow OpenAI's order: the printable bytes, the others, the
 * same again as ends of words, the merges as they were learnt, then start and end. */
#include "emoji/bpe_parts.h"
#include "emoji/text_file.h"
#include "text/vocabulary.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define START_TOKEN "<|startoftext|>"
#define END_TOKEN "<|endoftext|>"

static bool add_entry(json_t *words, const char *text, int *id)
{
    return json_object_set_new(words, text, json_integer((*id)++)) == 0;
}

char *bpe_vocabulary_json(const bpe *b)
{
    json_t *words = json_object();
    int id = 0;
    bool ok = words && b->symbol_count >= BPE_LETTERS;
    for (unsigned end = 0; ok && end < 2; end++)
        for (int printable = 1; printable >= 0; printable--)
            for (unsigned byte = 0; ok && byte < 256; byte++)
                if ((vocabulary_letter_of_byte(byte) == byte) == (printable == 1))
                    ok = add_entry(words, b->symbols[byte + 256 * end], &id);
    for (size_t i = BPE_LETTERS; ok && i < b->symbol_count; i++)
        ok = add_entry(words, b->symbols[i], &id);
    ok = ok && add_entry(words, START_TOKEN, &id) && add_entry(words, END_TOKEN, &id);
    /* Two ways to merge to one string would leave a gap in the ids; the second never becomes a pair, as the first
     * has taken its letters, but a gap must not go unseen. */
    ok = ok && json_object_size(words) == (size_t)id;
    char *text = ok ? json_dumps(words, JSON_COMPACT) : NULL;
    json_decref(words);
    return text;
}

char *bpe_merges_text(const bpe *b)
{
    static const char head[] = "#version: 0.2\n";
    size_t size = sizeof head;
    for (size_t i = 0; i < b->merge_count; i++)
        size += strlen(b->symbols[b->merges[i].left]) + strlen(b->symbols[b->merges[i].right]) + 2;
    char *text = malloc(size), *at = text;
    if (!text)
        return NULL;
    at += sprintf(at, "%s", head);
    for (size_t i = 0; i < b->merge_count; i++)
        at += sprintf(at, "%s %s\n", b->symbols[b->merges[i].left], b->symbols[b->merges[i].right]);
    return text;
}

static json_t *token(const char *text)
{
    return json_pack("{s:s, s:b, s:b, s:b, s:b}", "content", text, "lstrip", 0, "normalized", 1, "rstrip", 0,
                     "single_word", 0);
}

/* One of the two small files. The pad token is the end, as in OpenAI's first CLIP. */
static char *special_text(bool config, int max_length)
{
    json_t *root = json_object();
    json_object_set_new(root, "bos_token", token(START_TOKEN));
    json_object_set_new(root, "eos_token", token(END_TOKEN));
    json_object_set_new(root, "unk_token", token(END_TOKEN));
    json_object_set_new(root, "pad_token", json_string(END_TOKEN));
    if (config) {
        json_object_set_new(root, "add_prefix_space", json_false());
        json_object_set_new(root, "do_lower_case", json_true());
        json_object_set_new(root, "errors", json_string("replace"));
        json_object_set_new(root, "model_max_length", json_integer(max_length));
        json_object_set_new(root, "tokenizer_class", json_string("CLIPTokenizer"));
    }
    char *text = json_dumps(root, JSON_INDENT(2));
    json_decref(root);
    return text;
}

kiln_status bpe_write(const bpe *b, const char *folder, int max_length, kiln_error *err)
{
    static const char *const names[] = {"vocab.json", "merges.txt", "tokenizer_config.json",
                                        "special_tokens_map.json"};
    char *texts[] = {bpe_vocabulary_json(b), bpe_merges_text(b), special_text(true, max_length),
                     special_text(false, max_length)};
    kiln_status status = text_file_folder(folder, err);
    for (size_t i = 0; i < 4; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        if (!status)
            status = texts[i] ? text_file_write(path, texts[i], strlen(texts[i]), err)
                              : fail(err, KILN_INTERNAL, "%s could not be made", path);
        free(texts[i]);
    }
    return status;
}
