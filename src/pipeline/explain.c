/* explain.c - how a prompt is understood, as text to read: parts, schedule over the steps, windows, weights of tokens. */
#include "base/error.h"

#include "pipeline/explain.h"
#include "text/chunks.h"
#include "text/prompt_parts.h"
#include "text/prompt_schedule.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A piece of the vocabulary without the mark of a word's end. */
static void print_piece(FILE *to, const char *piece, float weight)
{
    static const char end[] = "</w>";
    size_t length = strlen(piece), mark = strlen(end);
    bool whole = length > mark && strcmp(piece + length - mark, end) == 0;
    (void)fprintf(to, " %.*s%s", (int)(whole ? length - mark : length), piece, whole ? "" : "+");
    if (weight != 1)
        (void)fprintf(to, "{%.4g}", (double)weight);
}

/* A word with vectors of its own, once for all of them. */
static void print_word(FILE *to, const model_words *words, chunk_vector v, float weight)
{
    const model_word *word = &words->words[v.word];
    if (v.vector > 0)
        return;
    (void)fprintf(to, " %s[%d]", word->name, word->embedding.vectors);
    if (weight != 1)
        (void)fprintf(to, "{%.4g}", (double)weight);
}

static void print_window(FILE *to, const tokenizer *t, const model_words *words, const token_chunks *c, int w)
{
    (void)fprintf(to, "    window %d, %d of %d tokens:", w + 1, c->length[w], CHUNK_TOKENS);
    for (int i = 1; i <= c->length[w]; i++) {
        const char *piece = tokenizer_piece(t, c->ids[w][i]);
        float weight = c->weights ? c->weights[w][i] : 1;
        if (c->vectors && c->vectors[w][i].word >= 0)
            print_word(to, words, c->vectors[w][i], weight);
        else
            print_piece(to, piece ? piece : "?", weight);
    }
    (void)fprintf(to, "\n");
}

static kiln_status explain_text(FILE *to, const tokenizer *t, const model_words *words, const char *text,
                                kiln_error *err)
{
    prompt_pieces pieces;
    token_chunks chunks = {0};
    kiln_status status = prompt_pieces_of(text, &pieces, err);
    chunk_options options = chunk_options_of(t);
    options.taught = words ? &words->taught[0] : NULL;
    if (status == KILN_OK)
        status = chunks_of_pieces(t, &pieces, &options, &chunks, err);
    if (status == KILN_OK)
        status = model_words_check(words, &chunks, err);
    for (int w = 0; status == KILN_OK && w < chunks.count; w++)
        print_window(to, t, words, &chunks, w);
    chunks_free(&chunks);
    prompt_pieces_free(&pieces);
    return status;
}

/* The steps, counted from 1, in which a text is seen, or only that it is always. */
static void print_steps(FILE *to, const prompt_schedule *s, int text, int steps)
{
    if (s->text_count == 1) {
        (void)fprintf(to, "  every step:");
        return;
    }
    const char *between = "  step ";
    bool any = false;
    for (int from = 0; from < steps; from++) {
        if (prompt_schedule_text(s, from) != text)
            continue;
        int last = from;
        while (last + 1 < steps && prompt_schedule_text(s, last + 1) == text)
            last++;
        (void)fprintf(to, last > from ? "%s%d-%d" : "%s%d", between, from + 1, last + 1);
        between = ", ";
        from = last;
        any = true;
    }
    (void)fprintf(to, any ? ":" : "  never:");
}

static kiln_status explain_part(FILE *to, const tokenizer *t, const model_words *words, const char *part,
                                int steps, kiln_error *err)
{
    prompt_schedule s;
    kiln_status status = prompt_schedule_of(part, steps, &s, err);
    for (int i = 0; status == KILN_OK && i < s.text_count; i++) {
        print_steps(to, &s, i, steps);
        (void)fprintf(to, " %s\n", s.texts[i] + strspn(s.texts[i], " \n"));
        status = explain_text(to, t, words, s.texts[i], err);
    }
    prompt_schedule_free(&s);
    return status;
}

kiln_status explain_prompt(const tokenizer *t, const char *prompt, int steps, const model_words *words,
                           char **out, kiln_error *err)
{
    *out = NULL;
    size_t size = 0;
    prompt_parts parts = {0};
    FILE *to = open_memstream(out, &size);
    if (!to)
        return fail(err, KILN_NO_MEMORY, "out of memory for the explanation");
    kiln_status status = prompt_parts_of(prompt, &parts, err);
    for (int i = 0; status == KILN_OK && i < parts.count; i++) {
        if (parts.count > 1 || parts.part[i].weight != 1)
            (void)fprintf(to, "part %d of %d, weight %.6g\n", i + 1, parts.count, parts.part[i].weight);
        status = explain_part(to, t, words, parts.part[i].text, steps, err);
    }
    prompt_parts_free(&parts);
    if (fclose(to) != 0 && status == KILN_OK)
        status = fail(err, KILN_NO_MEMORY, "out of memory for the explanation");
    if (status != KILN_OK) {
        free(*out);
        *out = NULL;
    }
    return status;
}
