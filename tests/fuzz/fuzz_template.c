/* fuzz_template.c - prompts of arbitrary bytes as templates, with and without wildcards and variants.
 * floors: base tensor formats text
 *
 * The first byte is the seed and chooses the rules; the text up to the first line's end is the wildcard "a", the rest the prompt. */
#include "text/prompt_template.h"

#include <stdlib.h>
#include <string.h>

static kiln_status find(void *self, const char *name, wildcard_lines *out, kiln_error *err)
{
    if (strcmp(name, "a") != 0 || !((wildcard_lines *)self)->list[0].text[0])
        return fail(err, KILN_NOT_FOUND, "there is none");
    *out = *(wildcard_lines *)self;
    return KILN_OK;
}

static void use(const char *prompt, const template_rules *rules, uint64_t seed)
{
    char *texts[2] = {NULL, NULL};
    for (int i = 0; i < 2; i++) {
        prompt_chance chance;
        kiln_error err = {0};
        prompt_chance_init(&chance, seed);
        kiln_status status = template_fill(prompt, rules, &chance, &texts[i], &err);
        if ((status == KILN_OK) != (texts[i] != NULL) || (status != KILN_OK && !err.text[0]))
            abort();
    }
    if (texts[0] && strcmp(texts[0], texts[1]) != 0)
        abort();
    if (texts[0] && !rules->variants && !rules->wildcards.find && strcmp(texts[0], prompt) != 0)
        abort();
    free(texts[0]);
    free(texts[1]);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    if (size < 1)
        return 0;
    char *text = calloc(size, 1);
    if (!text)
        return 0;
    memcpy(text, data + 1, size - 1);
    char *prompt = strchr(text, '\n');
    if (prompt)
        *prompt++ = '\0';
    const wildcard_line list[] = {{text, "a.txt"}, {"0.5::{2$$x|y|__a__}", "other.txt"}};
    wildcard_lines lines = {list, 2};
    template_rules rules = {.variants = data[0] & 1};
    if (data[0] & 2)
        rules.wildcards = (wildcard_source){&lines, find};
    if (prompt)
        use(prompt, &rules, data[0] >> 2);
    free(text);
    return 0;
}
