/* fuzz_prompt.c - prompts of arbitrary bytes: comments, parts, schedule and weights.
 * floors: base tensor formats text
 *
 * The first byte is the number of steps, less one. */
#include "text/prompt_attention.h"
#include "text/prompt_parts.h"
#include "text/prompt_schedule.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void use_text(const char *text)
{
    prompt_pieces p;
    if (prompt_pieces_of(text, &p, NULL) != KILN_OK)
        return;
    size_t total = 0;
    for (size_t i = 0; i < p.count; i++) {
        total += p.pieces[i].length;
        if (isnan(p.pieces[i].weight))
            abort();
    }
    if (total != strlen(p.text))
        abort();
    prompt_pieces_free(&p);
}

static void use_part(const char *part, int steps)
{
    prompt_schedule s;
    kiln_error err = {0};
    if (prompt_schedule_of(part, steps, &s, &err) != KILN_OK) {
        if (s.count || !err.text[0])
            abort();
        return;
    }
    for (int i = 1; i < s.count; i++)
        if (s.periods[i].until <= s.periods[i - 1].until)
            abort();
    if (s.periods[s.count - 1].until != steps)
        abort();
    for (int i = 0; i < s.text_count; i++) {
        if (strlen(s.texts[i]) > strlen(part))
            abort();
        use_text(s.texts[i]);
    }
    prompt_schedule_free(&s);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    if (size < 1)
        return 0;
    char *prompt = malloc(size);
    if (!prompt)
        return 0;
    memcpy(prompt, data + 1, size - 1);
    prompt[size - 1] = '\0';
    prompt_parts parts;
    kiln_error err = {0};
    if (prompt_parts_of(prompt, &parts, &err) == KILN_OK) {
        for (int i = 0; i < parts.count; i++)
            use_part(parts.part[i].text, data[0] + 1);
        prompt_parts_free(&parts);
    }
    free(prompt);
    return 0;
}
