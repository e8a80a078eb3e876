/* prompting.c - see prompting.h. */
#include "pipeline/prompting.h"

#include "text/chunks.h"

#include <stdlib.h>
#include <string.h>

static kiln_status read_pieces(const char *text, const prompting_rules *rules, prompt_pieces *out,
                               kiln_error *err)
{
    return rules->emphasis == EMPHASIS_NONE ? prompt_pieces_plain(text, out, err)
                                            : prompt_pieces_of(text, out, err);
}

static kiln_status read_schedules(prompting *p, const char *prompt, const prompting_rules *rules,
                                  kiln_error *err)
{
    kiln_status status = rules->negative ? prompt_parts_single(prompt, &p->parts, err)
                                         : prompt_parts_of(prompt, &p->parts, err);
    int texts = 0;
    for (int i = 0; status == KILN_OK && i < p->parts.count; i++) {
        status = prompt_schedule_of(p->parts.part[i].text, rules->steps, &p->schedule[i], err);
        texts += p->schedule[i].text_count;
        if (status == KILN_OK && texts > PROMPTING_MAX_TEXTS)
            status = fail(err, KILN_BAD_ARGUMENT, "the prompt changes into more than %d different texts",
                          PROMPTING_MAX_TEXTS);
    }
    return status;
}

static kiln_status most_tokens(const kiln_session *s, const prompting *p, const prompting_rules *rules,
                               int *most, kiln_error *err)
{
    kiln_status status = KILN_OK;
    *most = 0;
    for (int i = 0; i < p->parts.count; i++)
        for (int k = 0; status == KILN_OK && k < p->schedule[i].text_count; k++) {
            prompt_pieces pieces;
            int tokens = 0;
            conditioning_text text = {
                .pieces = &pieces, .clip_skip = rules->clip_skip, .emphasis = rules->emphasis};
            status = read_pieces(p->schedule[i].texts[k], rules, &pieces, err);
            if (status == KILN_OK)
                status = conditioning_tokens(s, &text, &tokens, err);
            prompt_pieces_free(&pieces);
            *most = tokens > *most ? tokens : *most;
        }
    return status;
}

static kiln_status encode_part(kiln_session *s, prompting *p, int i, const prompting_rules *rules,
                               int windows, kiln_error *err)
{
    const prompt_schedule *own = &p->schedule[i];
    p->maps[i] = calloc((size_t)own->text_count, sizeof(kiln_map *));
    kiln_status status = p->maps[i] ? KILN_OK : fail(err, KILN_NO_MEMORY, "out of memory for the prompt");
    for (int k = 0; status == KILN_OK && k < own->text_count; k++) {
        prompt_pieces pieces;
        conditioning_text text = {.pieces = &pieces,
                                  .clip_skip = rules->clip_skip,
                                  .windows = windows,
                                  .emphasis = rules->emphasis};
        status = read_pieces(own->texts[k], rules, &pieces, err);
        if (status == KILN_OK)
            status = conditioning_of_pieces(s, &text, &p->maps[i][k], err);
        if (status == KILN_OK)
            status = conditioning_check(
                s->model, p->maps[i][k],
                rules->negative ? "the negative prompt's conditioning" : "the prompt's conditioning", err);
        prompt_pieces_free(&pieces);
    }
    return status;
}

kiln_status prompting_encode(kiln_session *s, const char *prompt, const prompting_rules *rules,
                             prompting **out, kiln_error *err)
{
    int tokens = 0;
    prompting *p = *out = calloc(1, sizeof *p);
    if (!p)
        return fail(err, KILN_NO_MEMORY, "out of memory for the prompt");
    kiln_status status = read_schedules(p, prompt, rules, err);
    if (status == KILN_OK)
        status = most_tokens(s, p, rules, &tokens, err);
    for (int i = 0; status == KILN_OK && i < p->parts.count; i++)
        status = encode_part(s, p, i, rules, tokens / CHUNK_LENGTH, err);
    if (status != KILN_OK) {
        prompting_free(p);
        *out = NULL;
    }
    return status;
}

void prompting_free(prompting *p)
{
    if (!p)
        return;
    for (int i = 0; i < p->parts.count; i++) {
        for (int k = 0; p->maps[i] && k < p->schedule[i].text_count; k++)
            kiln_map_free(p->maps[i][k]);
        free(p->maps[i]);
        prompt_schedule_free(&p->schedule[i]);
    }
    prompt_parts_free(&p->parts);
    free(p);
}

kiln_status prompting_tokens(const kiln_session *s, const char *prompt, const prompting_rules *rules,
                             int *tokens, kiln_error *err)
{
    *tokens = 0;
    prompting *p = calloc(1, sizeof *p);
    if (!p)
        return fail(err, KILN_NO_MEMORY, "out of memory for the prompt");
    kiln_status status = read_schedules(p, prompt, rules, err);
    if (status == KILN_OK)
        status = most_tokens(s, p, rules, tokens, err);
    prompting_free(p);
    return status;
}

kiln_status prompting_words(const kiln_session *s, const char *prompt, const prompting_rules *rules,
                            bool *used, kiln_error *err)
{
    prompting *p = calloc(1, sizeof *p);
    if (!p)
        return fail(err, KILN_NO_MEMORY, "out of memory for the prompt");
    kiln_status status = read_schedules(p, prompt, rules, err);
    for (int i = 0; status == KILN_OK && i < p->parts.count; i++)
        for (int k = 0; status == KILN_OK && k < p->schedule[i].text_count; k++) {
            prompt_pieces pieces;
            conditioning_text text = {.pieces = &pieces, .clip_skip = rules->clip_skip};
            status = read_pieces(p->schedule[i].texts[k], rules, &pieces, err);
            if (status == KILN_OK)
                status = conditioning_words(s, &text, used, err);
            prompt_pieces_free(&pieces);
        }
    prompting_free(p);
    return status;
}

const kiln_map *prompting_map(const prompting *p, int part, int step)
{
    return p->maps[part][prompt_schedule_text(&p->schedule[part], step)];
}

static bool is_plain(const prompt_parts *parts, const prompt_schedule *first)
{
    return parts->count == 1 && parts->part[0].weight == 1 && first->text_count == 1;
}

bool prompting_is_plain(const prompting *p)
{
    return is_plain(&p->parts, &p->schedule[0]);
}

bool prompting_text_is_plain(const char *prompt, bool negative, int steps)
{
    prompting *p = calloc(1, sizeof *p);
    bool plain = !p || read_schedules(p, prompt, &(prompting_rules){.steps = steps, .negative = negative},
                                      NULL) != KILN_OK;
    plain = plain || is_plain(&p->parts, &p->schedule[0]);
    prompting_free(p);
    return plain;
}
