/* prompt_schedule.c - see prompt_schedule.h. The tree is written out at the end of every period; equal texts are one. */
#include "text/prompt_schedule.h"

#include "text/prompt_tree.h"

#include <stdlib.h>
#include <string.h>

/* Of all different texts together, which an alternation multiplies: far more than a prompt that anybody writes. */
enum { MAX_TEXT_BYTES = 8 * 1024 * 1024 };

typedef struct writing {
    const char *prompt;
    const prompt_tree *tree;
    char *ends; /* per step, from 1: a period ends there */
    int steps;
    char *to;
    size_t length, capacity, total;
} writing;

static int when_of(const prompt_node *n, int steps)
{
    double when = n->share ? n->when * steps : n->when;
    return when >= steps ? steps : when <= 0 ? 0 : (int)when;
}

static void mark_ends(writing *w, int node)
{
    const prompt_node *n = &w->tree->nodes[node];
    if (n->kind == PROMPT_EDITED)
        w->ends[when_of(n, w->steps)] = 1;
    if (n->kind == PROMPT_ALTERNATE)
        memset(w->ends, 1, (size_t)w->steps + 1);
    for (int c = n->child; c >= 0; c = w->tree->nodes[c].next)
        mark_ends(w, c);
}

static int chosen_child(const writing *w, const prompt_node *n, int step)
{
    const prompt_node *nodes = w->tree->nodes;
    if (n->kind == PROMPT_EDITED)
        return step <= when_of(n, w->steps) ? n->child : nodes[n->child].next;
    int count = 0;
    for (int c = n->child; c >= 0; c = nodes[c].next)
        count++;
    int chosen = n->child;
    for (int i = count > 0 ? (step - 1) % count : 0; i > 0; i--)
        chosen = nodes[chosen].next;
    return chosen;
}

/* A tree never writes more than the prompt has: every node is written once at most. */
static void write_node(writing *w, int node, int step)
{
    const prompt_node *n = &w->tree->nodes[node];
    if (n->kind == PROMPT_TEXT) {
        memcpy(w->to + w->length, w->prompt + n->begin, n->end - n->begin);
        w->length += n->end - n->begin;
    } else if (n->kind == PROMPT_LIST) {
        for (int c = n->child; c >= 0; c = w->tree->nodes[c].next)
            write_node(w, c, step);
    } else {
        write_node(w, chosen_child(w, n, step), step);
    }
}

static kiln_status add_text(prompt_schedule *s, const char *text, size_t *total, int *index, kiln_error *err)
{
    for (*index = s->text_count - 1; *index >= 0; --*index)
        if (strcmp(s->texts[*index], text) == 0)
            return KILN_OK;
    size_t size = strlen(text) + 1;
    if (*total + size + 256 > MAX_TEXT_BYTES)
        return fail(err, KILN_BAD_ARGUMENT,
                    "the prompt changes into too many different texts (%d, of %zu bytes together)",
                    s->text_count, *total);
    char **texts = realloc(s->texts, ((size_t)s->text_count + 1) * sizeof *texts);
    if (texts)
        s->texts = texts;
    char *copy = texts ? malloc(size) : NULL;
    if (!copy)
        return fail(err, KILN_NO_MEMORY, "out of memory for the prompt");
    memcpy(copy, text, size);
    texts[s->text_count] = copy;
    *index = s->text_count++;
    *total += size + 256; /* small ones cost time to compare */
    return KILN_OK;
}

static kiln_status add_period(prompt_schedule *s, int until, const char *text, size_t *total, kiln_error *err)
{
    int index = 0;
    kiln_status status = add_text(s, text, total, &index, err);
    if (status == KILN_OK)
        s->periods[s->count++] = (prompt_period){until, index};
    return status;
}

static kiln_status write_periods(writing *w, prompt_schedule *s, kiln_error *err)
{
    kiln_status status = KILN_OK;
    for (int step = 1; status == KILN_OK && step <= w->steps; step++) {
        if (!w->ends[step])
            continue;
        w->length = 0;
        write_node(w, 0, step);
        w->to[w->length] = '\0';
        /* The texts are the schedule's from here on: NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
        status = add_period(s, step, w->to, &w->total, err);
    }
    return status;
}

static kiln_status fill(const char *prompt, size_t length, int steps, const prompt_tree *tree,
                        prompt_schedule *out, kiln_error *err)
{
    writing w = {.prompt = prompt, .tree = tree, .steps = steps};
    if (!tree->nodes) {
        out->periods = malloc(sizeof *out->periods);
        return out->periods ? add_period(out, steps, prompt, &w.total, err)
                            : fail(err, KILN_NO_MEMORY, "out of memory for the prompt");
    }
    w.ends = calloc((size_t)steps + 1, 1);
    w.to = malloc(length + 1);
    out->periods = malloc((size_t)steps * sizeof *out->periods);
    kiln_status status = KILN_OK;
    if (w.ends && w.to && out->periods) {
        mark_ends(&w, 0);
        w.ends[steps] = 1;
        status = write_periods(&w, out, err);
    } else {
        status = fail(err, KILN_NO_MEMORY, "out of memory for the prompt");
    }
    free(w.ends);
    free(w.to);
    return status;
}

kiln_status prompt_schedule_of(const char *prompt, int steps, prompt_schedule *out, kiln_error *err)
{
    *out = (prompt_schedule){0};
    if (steps < 1 || steps > PROMPT_MAX_STEPS)
        return fail(err, KILN_BAD_ARGUMENT, "a prompt is for 1 to %d steps, not %d", PROMPT_MAX_STEPS, steps);
    size_t length = strlen(prompt);
    prompt_tree tree;
    kiln_status status = prompt_tree_of(prompt, length, &tree, err);
    if (status == KILN_OK)
        status = fill(prompt, length, steps, &tree, out, err);
    prompt_tree_free(&tree);
    if (status != KILN_OK)
        prompt_schedule_free(out);
    return status;
}

void prompt_schedule_free(prompt_schedule *s)
{
    if (!s)
        return;
    for (int i = 0; i < s->text_count; i++)
        free(s->texts[i]);
    free(s->texts);
    free(s->periods);
    *s = (prompt_schedule){0};
}

int prompt_schedule_text(const prompt_schedule *s, int step)
{
    for (int i = 0; i < s->count; i++)
        if (step <= s->periods[i].until)
            return s->periods[i].text;
    return s->periods[s->count - 1].text;
}
