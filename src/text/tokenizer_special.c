/* tokenizer_special.c - which tokens are special: tokenizer_config.json, special_tokens_map.json,
 * added_tokens.json, and the added tokens of tokenizer.json.
 *
 * Precedence as in transformers: where tokenizer_config.json carries added_tokens_decoder, it alone decides;
 * else special_tokens_map.json overrides it and added_tokens.json adds words. What nobody names has CLIP's
 * defaults. Every special token is cut out of the raw text, so it becomes an added token; one that the
 * vocabulary lacks gets the next free id. */
#include "text/tokenizer_build.h"

#include <stdlib.h>
#include <string.h>

typedef struct special_token {
    const char *key;
    added_token token; /* text NULL: the file said null */
} special_token;

enum { BOS, EOS, UNKNOWN, PAD, SPECIAL_COUNT };

/* A token is a string, or an object with its text and flags, or null. The flags about white space at its sides
 * are not read: cleaning drops that white space anyway. */
static kiln_status read_token(const char *folder, const char *file, const char *key, json_t *value,
                              added_token *out, kiln_error *err)
{
    json_t *text = json_is_object(value) ? json_object_get(value, "content") : value;
    if (json_is_null(value)) {
        *out = (added_token){0};
        return KILN_OK;
    }
    if (!json_is_string(text) || strlen(json_string_value(text)) != json_string_length(text))
        return fail(err, KILN_BAD_FORMAT, "%s/%s: %s is neither a text nor an object with a content text",
                    folder, file, key);
    *out = (added_token){.text = json_string_value(text),
                         .length = json_string_length(text),
                         .single_word = json_is_true(json_object_get(value, "single_word"))};
    return KILN_OK;
}

/* Take the special tokens that this object names over those known so far. */
static kiln_status take_specials(special_token special[SPECIAL_COUNT], const char *folder, const char *file,
                                 json_t *object, kiln_error *err)
{
    for (int i = 0; i < SPECIAL_COUNT; i++) {
        json_t *value = json_object_get(object, special[i].key);
        kiln_status status =
            value ? read_token(folder, file, special[i].key, value, &special[i].token, err) : KILN_OK;
        if (status)
            return status;
    }
    return KILN_OK;
}

/* {"49406": {"content": "<|startoftext|>", ...}, ...} */
static kiln_status take_decoder(tokenizer *t, const char *folder, json_t *decoder, kiln_error *err)
{
    const char *file = "tokenizer_config.json", *key;
    json_t *value;
    if (!json_is_object(decoder))
        return fail(err, KILN_BAD_FORMAT, "%s/%s: added_tokens_decoder is not an object", folder, file);
    json_object_foreach(decoder, key, value)
    {
        char *end;
        long id = strtol(key, &end, 10);
        added_token token;
        kiln_status status = read_token(folder, file, key, value, &token, err);
        if (status)
            return status;
        if (end == key || *end || id < 0 || id >= VOCABULARY_MAX_ID)
            return fail(err, KILN_BAD_FORMAT, "%s/%s: '%.40s' in added_tokens_decoder is not a token's id",
                        folder, file, key);
        token.id = (int32_t)id;
        if ((status = tokenizer_add_token(t, &token, err)))
            return fail_within(err, status, "%s/%s", folder, file);
    }
    return KILN_OK;
}

static kiln_status add_with_id(tokenizer *t, const char *folder, const char *file, added_token token,
                               json_t *id, kiln_error *err)
{
    json_int_t n = json_is_integer(id) ? json_integer_value(id) : -1;
    if (n < 0 || n >= VOCABULARY_MAX_ID)
        return fail(err, KILN_BAD_FORMAT, "%s/%s: the id of '%.80s' is not a token's id", folder, file,
                    token.text ? token.text : "");
    token.id = (int32_t)n;
    kiln_status status = tokenizer_add_token(t, &token, err);
    return status ? fail_within(err, status, "%s/%s", folder, file) : KILN_OK;
}

/* added_tokens.json: {"<cat>": 49408} */
static kiln_status take_added(tokenizer *t, const char *folder, json_t *object, kiln_error *err)
{
    const char *word;
    json_t *id;
    json_object_foreach(object, word, id)
    {
        added_token token = {.text = word, .length = strlen(word)};
        kiln_status status = add_with_id(t, folder, "added_tokens.json", token, id, err);
        if (status)
            return status;
    }
    return KILN_OK;
}

/* tokenizer.json: [{"id": 49406, "content": "<|startoftext|>", ...}] */
static kiln_status take_list(tokenizer *t, const char *folder, const json_t *list, kiln_error *err)
{
    size_t i;
    json_t *value;
    json_array_foreach(list, i, value)
    {
        added_token token;
        kiln_status status = read_token(folder, "tokenizer.json", "an added token", value, &token, err);
        if (!status)
            status = add_with_id(t, folder, "tokenizer.json", token, json_object_get(value, "id"), err);
        if (status)
            return status;
    }
    return KILN_OK;
}

/* The id of a special token, which is made an added token on the way. */
static kiln_status settle(tokenizer *t, const char *folder, special_token *special, bool needed, int32_t *id,
                          kiln_error *err)
{
    added_token *token = &special->token;
    if (!token->length)
        return KILN_OK;
    const added_token *known = tokenizer_find_added(t, token->text, token->length);
    if (known) {
        *id = known->id;
        return KILN_OK;
    }
    token->id = vocabulary_id(&t->words, token->text, token->length);
    if (token->id < 0 && needed)
        return fail(err, KILN_MISMATCH, "%s: the %s '%.80s' is not in the vocabulary", folder, special->key,
                    token->text);
    if (token->id < 0)
        token->id = tokenizer_size(t);
    kiln_status status = tokenizer_add_token(t, token, err);
    *id = token->id;
    return status ? fail_within(err, status, "%s: the %s", folder, special->key) : KILN_OK;
}

static kiln_status settle_all(tokenizer *t, const char *folder, special_token special[SPECIAL_COUNT],
                              kiln_error *err)
{
    int32_t *ids[SPECIAL_COUNT] = {&t->start, &t->end, &t->unknown, &t->pad};
    for (int i = 0; i < SPECIAL_COUNT; i++) {
        kiln_status status = settle(t, folder, &special[i], i != PAD, ids[i], err);
        if (status)
            return status;
    }
    if (t->start < 0 || t->end < 0)
        return fail(err, KILN_BAD_FORMAT, "%s: the tokenizer names no start or end token", folder);
    if (t->pad < 0)
        t->pad = t->end;
    if (t->unknown < 0)
        t->unknown = t->end;
    return KILN_OK;
}

/* transformers writes 1e30 for "no limit". */
static void take_length(tokenizer *t, json_t *config)
{
    json_t *length = json_object_get(config, "model_max_length");
    double n = json_number_value(length);
    if (n >= 3 && n <= 1e9)
        t->max_length = (int64_t)n;
}

/* Any of the small files, parsed; NULL where it does not exist. */
typedef struct special_files {
    json_t *config, *special_map, *added;
} special_files;

static kiln_status parse_files(const tokenizer_files *files, special_files *out, kiln_error *err)
{
    kiln_status status = KILN_OK;
    if (files->config.data)
        status = tokenizer_parse_json(files->name, "tokenizer_config.json", files->config, &out->config, err);
    if (!status && files->special_map.data)
        status = tokenizer_parse_json(files->name, "special_tokens_map.json", files->special_map,
                                      &out->special_map, err);
    if (!status && files->added.data)
        status = tokenizer_parse_json(files->name, "added_tokens.json", files->added, &out->added, err);
    return status;
}

static kiln_status take_files(tokenizer *t, const char *folder, const special_files *from,
                              special_token special[SPECIAL_COUNT], kiln_error *err)
{
    json_t *decoder = json_object_get(from->config, "added_tokens_decoder");
    kiln_status status = take_specials(special, folder, "tokenizer_config.json", from->config, err);
    if (status || decoder)
        return status ? status : take_decoder(t, folder, decoder, err);
    status = take_specials(special, folder, "special_tokens_map.json", from->special_map, err);
    return status ? status : take_added(t, folder, from->added, err);
}

kiln_status tokenizer_read_special(tokenizer *t, const tokenizer_files *files, const json_t *added_list,
                                   kiln_error *err)
{
    special_files from = {0};
#define DEFAULT_TOKEN(key, word)                                                                             \
    {                                                                                                        \
        key,                                                                                                 \
        {                                                                                                    \
            .text = word, .length = sizeof(word) - 1                                                         \
        }                                                                                                    \
    }
    special_token special[SPECIAL_COUNT] = {
        DEFAULT_TOKEN("bos_token", TOKENIZER_START), DEFAULT_TOKEN("eos_token", TOKENIZER_END),
        DEFAULT_TOKEN("unk_token", TOKENIZER_END), DEFAULT_TOKEN("pad_token", TOKENIZER_END)};
#undef DEFAULT_TOKEN
    kiln_status status = parse_files(files, &from, err);
    if (!status)
        status = take_list(t, files->name, added_list, err);
    if (!status)
        status = take_files(t, files->name, &from, special, err);
    if (!status)
        status = settle_all(t, files->name, special, err);
    if (!status)
        take_length(t, from.config);
    json_decref(from.config);
    json_decref(from.special_map);
    json_decref(from.added);
    return status;
}
