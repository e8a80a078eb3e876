/* tokens.c - golden/tokens.json: prompts and their token ids by CLIP's vocabulary. Where the file gives `hf_ids`, those are
 * the ones that count (transformers' tokenizer); prompts that ftfy would change first are not asserted. */
#include "golden/pipelines.h"

#include "text/chunks.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool same_ids(const json_t *list, const int32_t *ids, size_t count)
{
    if (json_array_size(list) != count)
        return false;
    for (size_t i = 0; i < count; i++)
        if (json_integer_value(json_array_get(list, i)) != ids[i])
            return false;
    return true;
}

static bool check(const tokenizer *t, const json_t *prompt)
{
    token_list got = {0};
    token_chunks window = {0};
    kiln_error err;
    const char *text = json_string_value(json_object_get(prompt, "text"));
    const json_t *ids = json_object_get(prompt, "hf_ids"), *padded = json_object_get(prompt, "ids77_pad_eot");
    bool other = ids != NULL, right = text && tokenizer_encode(t, text, &got, &err) == KILN_OK;
    right = right && same_ids(other ? ids : json_object_get(prompt, "ids"), got.ids, got.count);
    if (right && padded && !other) {
        chunk_options o = {.pad_id = tokenizer_end_id(t), .one_window = true};
        right = chunks_of_prompt(t, text, &o, &window, &err) == KILN_OK &&
                same_ids(padded, window.ids[0], CHUNK_LENGTH);
    }
    token_list_free(&got);
    chunks_free(&window);
    return right;
}

int golden_tokens(const char *file, const char *vocabulary, golden_report *report)
{
    char folder[4096];
    snprintf(folder, sizeof folder, "%s", file);
    char *slash = strrchr(folder, '/');
    if (slash)
        *slash = '\0';
    json_t *root = golden_json(report, slash ? folder : ".", slash ? slash + 1 : file);
    tokenizer *t = NULL;
    kiln_error err = {0};
    struct stat is;
    bool directory = stat(vocabulary, &is) == 0 && S_ISDIR(is.st_mode);
    if (root && (directory ? tokenizer_open(vocabulary, &t, &err)
                           : tokenizer_open_gz(vocabulary, &t, &err)) != KILN_OK)
        golden_failure(report, "tokens", vocabulary, err.text);
    size_t i;
    const json_t *prompt;
    int sensitive = 0;
    json_array_foreach(json_object_get(root, "prompts"), i, prompt)
    {
        char id[32];
        snprintf(id, sizeof id, "%zu", i);
        if (json_is_true(json_object_get(prompt, "ftfy_sensitive")))
            sensitive++;
        else if (t)
            golden_result(report, "tokens", id, "ids", check(t, prompt) ? 0 : 1, 0);
    }
    if (sensitive)
        golden_skip(report, "tokens", "the rest", "prompts that ftfy would change");
    bool read = root != NULL;
    tokenizer_close(t);
    json_decref(root);
    return !read;
}
