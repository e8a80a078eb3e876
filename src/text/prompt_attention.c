/* prompt_attention.c - see prompt_attention.h.
 *
 * Brackets multiply everything since they were opened, in the order in which they close: that order decides the last bit
 * of a weight, and so which neighbours have the same one. */
#include "text/prompt_attention.h"

#include "text/clean.h"
#include "text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#define BREAK_WORD "BREAK"

/* Opening brackets beyond these are characters. */
enum { MAX_BRACKETS = 1000 };

/* A bracket that was opened; its factor is known when it is closed. */
typedef struct bracket {
    size_t from; /* the first piece in it */
    size_t to;   /* the first behind it */
    double factor;
    int outer; /* the open bracket of its kind around it, or -1 */
    int order; /* of closing */
} bracket;

typedef struct reading {
    const char *prompt;
    size_t size, written, count;
    char *text;
    prompt_piece *pieces;
    bracket *brackets;
    int bracket_count, open_round, open_square, closed;
} reading;

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* ":1.3)" at `at`: its length, or 0. */
static size_t weight_at(const reading *r, size_t at, double *weight)
{
    const char *s = r->prompt;
    size_t i = at + 1;
    while (i < r->size && is_space(s[i]))
        i++;
    bool negative = i < r->size && s[i] == '-', point = false;
    i += i < r->size && (s[i] == '-' || s[i] == '+');
    double value = 0, unit = 1;
    int digits = 0;
    for (; i < r->size && (is_digit(s[i]) || (s[i] == '.' && !point)); i++) {
        if (s[i] == '.') {
            point = true;
            continue;
        }
        digits++;
        value = value * 10 + (s[i] - '0');
        unit *= point ? 10 : 1;
    }
    while (i < r->size && is_space(s[i]))
        i++;
    if (!digits || digits > 15 || i >= r->size || s[i] != ')')
        return 0;
    *weight = (negative ? -value : value) / unit;
    return i + 1 - at;
}

static bool break_at(const reading *r, size_t at)
{
    size_t length = strlen(BREAK_WORD);
    return at + length <= r->size && memcmp(r->prompt + at, BREAK_WORD, length) == 0 &&
           clean_is_apart(r->prompt, r->size, at, at + length);
}

static void begin_piece(reading *r, bool ends_window)
{
    r->pieces[r->count++] = (prompt_piece){.begin = r->written, .weight = 1, .ends_window = ends_window};
}

static void add_character(reading *r, char c)
{
    if (!r->count || r->pieces[r->count - 1].ends_window)
        begin_piece(r, false);
    r->text[r->written++] = c;
    r->pieces[r->count - 1].length++;
}

/* What follows is another piece. */
static void part(reading *r)
{
    if (!r->count || r->pieces[r->count - 1].length || r->pieces[r->count - 1].ends_window)
        begin_piece(r, false);
}

static void open_bracket(reading *r, char c)
{
    int *innermost = c == '(' ? &r->open_round : &r->open_square;
    part(r);
    r->brackets[r->bracket_count] = (bracket){.from = r->count - 1,
                                              .to = (size_t)-1,
                                              .factor = c == '(' ? 1.1 : 1 / 1.1,
                                              .outer = *innermost,
                                              .order = (c == '(' ? 1 : 2) * MAX_BRACKETS + r->bracket_count};
    *innermost = r->bracket_count++;
}

static void close_bracket(reading *r, int *innermost)
{
    part(r);
    bracket *b = &r->brackets[*innermost];
    b->to = r->count - 1;
    b->order = r->closed++;
    *innermost = b->outer;
}

/* One mark, escape, word BREAK or character; returns where the next one begins. */
static size_t read_one(reading *r, size_t at)
{
    char c = r->prompt[at];
    if (break_at(r, at)) {
        begin_piece(r, true);
        return at + strlen(BREAK_WORD);
    }
    double weight = 1;
    size_t length = c == ':' && r->open_round >= 0 ? weight_at(r, at, &weight) : 0;
    if (length) {
        r->brackets[r->open_round].factor = weight;
        close_bracket(r, &r->open_round);
        return at + length;
    }
    if (c == '\\') {
        char next = at + 1 < r->size ? r->prompt[at + 1] : '\0';
        if (!next || !strchr("()[]\\", next))
            return at + 1;
        add_character(r, next);
        return at + 2;
    }
    if ((c == '(' || c == '[') && r->bracket_count < MAX_BRACKETS)
        open_bracket(r, c);
    else if (c == ')' && r->open_round >= 0)
        close_bracket(r, &r->open_round);
    else if (c == ']' && r->open_square >= 0)
        close_bracket(r, &r->open_square);
    else
        add_character(r, c);
    return at + 1;
}

static int by_order(const void *a, const void *b)
{
    return ((const bracket *)a)->order - ((const bracket *)b)->order;
}

static void weigh(reading *r)
{
    qsort(r->brackets, (size_t)r->bracket_count, sizeof *r->brackets, by_order);
    for (int i = 0; i < r->bracket_count; i++)
        for (size_t k = r->brackets[i].from; k < r->count && k < r->brackets[i].to; k++)
            r->pieces[k].weight *= r->brackets[i].factor;
}

/* Empty pieces go, and neighbours of one weight become one. */
static void join(prompt_pieces *p)
{
    size_t kept = 0;
    for (size_t i = 0; i < p->count; i++) {
        prompt_piece *piece = &p->pieces[i], *last = kept ? &p->pieces[kept - 1] : NULL;
        if (piece->ends_window)
            piece->weight = 1;
        else if (!piece->length)
            continue;
        bool same = last && !last->ends_window && !piece->ends_window && last->weight == piece->weight;
        p->weighted = p->weighted || piece->weight != 1;
        if (same)
            last->length += piece->length;
        else
            p->pieces[kept++] = *piece;
    }
    p->count = kept;
}

static kiln_status read_prompt(const char *prompt, bool marks, prompt_pieces *out, kiln_error *err)
{
    *out = (prompt_pieces){0};
    reading r = {.prompt = prompt, .size = strlen(prompt), .open_round = -1, .open_square = -1};
    if (r.size > TOKENIZER_MAX_TEXT)
        return fail(err, KILN_BAD_ARGUMENT, "the prompt has %zu bytes; at most %d can be encoded", r.size,
                    TOKENIZER_MAX_TEXT);
    r.text = malloc(r.size + 1);
    r.pieces = malloc((r.size + 2) * sizeof *r.pieces);
    r.brackets = malloc(MAX_BRACKETS * sizeof *r.brackets);
    *out = (prompt_pieces){.text = r.text, .pieces = r.pieces};
    if (!r.text || !r.pieces || !r.brackets) {
        free(r.brackets);
        prompt_pieces_free(out);
        return fail(err, KILN_NO_MEMORY, "out of memory for the prompt");
    }
    for (size_t at = 0; at < r.size;) {
        if (marks || break_at(&r, at)) {
            at = read_one(&r, at);
        } else {
            add_character(&r, prompt[at++]);
        }
    }
    weigh(&r);
    free(r.brackets);
    r.text[r.written] = '\0';
    out->count = r.count;
    join(out);
    return KILN_OK;
}

kiln_status prompt_pieces_of(const char *prompt, prompt_pieces *out, kiln_error *err)
{
    return read_prompt(prompt, true, out, err);
}

kiln_status prompt_pieces_plain(const char *prompt, prompt_pieces *out, kiln_error *err)
{
    return read_prompt(prompt, false, out, err);
}

void prompt_pieces_free(prompt_pieces *p)
{
    if (!p)
        return;
    free(p->text);
    free(p->pieces);
    *p = (prompt_pieces){0};
}
