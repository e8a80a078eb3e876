/* fuzz_merges.c - tokenizer files and prompts of arbitrary bytes.
 * floors: base tensor formats text
 *
 * The first byte says which files the input holds; files and a prompt follow, parted by 0xFF 0xFE. */
#include "text/chunks.h"

#include <stdlib.h>
#include <string.h>

enum { PARTS = 5, FORM_PAIR = 0, FORM_FAST, FORM_MERGES, FORM_COUNT };

static const char default_words[] = "{\"a\":0,\"a</w>\":1,\"b</w>\":2,\",</w>\":3,\"ab</w>\":4,"
                                    "\"<|startoftext|>\":5,\"<|endoftext|>\":6}";
static const char default_merges[] = "#version: 0.2\na b</w>\n";

/* Cut the input at its separators. */
static void split(const char *data, size_t size, tokenizer_text parts[PARTS])
{
    for (int i = 0; i < PARTS; i++) {
        size_t n = 0;
        while (n < size && !(i + 1 < PARTS && n + 1 < size && (unsigned char)data[n] == 0xFF &&
                             (unsigned char)data[n + 1] == 0xFE))
            n++;
        parts[i] = (tokenizer_text){data, n};
        size_t skip = n < size ? n + 2 : n;
        data += skip;
        size -= skip;
    }
}

static void use(const tokenizer *t, const tokenizer_text *prompt)
{
    token_list ids = {0};
    kiln_error err = {0};
    if (!tokenizer_encode_part(t, prompt->data, prompt->size, &ids, &err)) {
        char *text = NULL;
        if (!tokenizer_decode(t, ids.ids, ids.count, &text, &err))
            free(text);
        for (size_t i = 0; i < ids.count; i++)
            if (ids.ids[i] < 0 || ids.ids[i] >= tokenizer_size(t))
                abort();
    }
    token_list_free(&ids);
    char *line = malloc(prompt->size + 1);
    if (!line)
        return;
    memcpy(line, prompt->data, prompt->size);
    line[prompt->size] = '\0';
    token_chunks chunks;
    if (!chunks_of_prompt(t, line, NULL, &chunks, &err) && chunks.count < 1)
        abort();
    chunks_free(&chunks);
    free(line);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    if (size < 1)
        return 0;
    tokenizer_text parts[PARTS];
    split((const char *)data + 1, size - 1, parts);
    tokenizer *t = NULL;
    kiln_error err = {0};
    tokenizer_files files = {.name = "fuzz", .config = parts[2], .special_map = parts[3]};
    bool whole = data[0] & 4; /* empty small files are left out, empty large ones have a stand-in */
    if (!files.config.size)
        files.config = (tokenizer_text){0};
    if (!files.special_map.size)
        files.special_map = (tokenizer_text){0};
    kiln_status status;
    if (data[0] % FORM_COUNT == FORM_MERGES) {
        status = tokenizer_open_merges("fuzz", parts[1].data, parts[1].size, &t, &err);
    } else if (data[0] % FORM_COUNT == FORM_FAST) {
        files.fast = parts[0];
        files.added = whole ? parts[1] : files.added;
        status = tokenizer_open_memory(&files, &t, &err);
    } else {
        files.vocabulary = whole ? parts[0] : (tokenizer_text){default_words, sizeof default_words - 1};
        files.merges = parts[1].size ? parts[1] : (tokenizer_text){default_merges, sizeof default_merges - 1};
        status = tokenizer_open_memory(&files, &t, &err);
    }
    if (status != KILN_OK && (t || !err.text[0]))
        abort();
    if (!status)
        use(t, &parts[4]);
    tokenizer_close(t);
    return 0;
}
