/* prompt_tree.c - see prompt_tree.h.
 *
 * Descent with a memory: a bracket that leads nowhere is remembered, so that a prompt is read in linear time however it is
 * nested. Such a bracket is a character like any other, but only where nothing encloses it; within brackets it spoils
 * them as well. */
#include "text/prompt_tree.h"

#include <stdlib.h>
#include <string.h>

/* More are characters. */
enum { MAX_DEPTH = 200, MAX_FIELDS = 3 };

typedef struct reading {
    const char *text;
    size_t length;
    unsigned char *spoilt; /* per byte: the bracket there leads nowhere */
    prompt_tree *tree;
    int depth;
    bool too_deep, no_memory;
} reading;

static int add_node(reading *r, prompt_node_kind kind, size_t begin, size_t end)
{
    prompt_tree *t = r->tree;
    if (t->count == t->capacity) {
        int capacity = t->capacity ? t->capacity * 2 : 64;
        prompt_node *nodes = realloc(t->nodes, (size_t)capacity * sizeof *nodes);
        if (!nodes) {
            r->no_memory = true;
            return -1;
        }
        t->nodes = nodes;
        t->capacity = capacity;
    }
    t->nodes[t->count] =
        (prompt_node){.kind = kind, .child = -1, .last = -1, .next = -1, .begin = begin, .end = end};
    return t->count++;
}

static void append(reading *r, int parent, int child)
{
    if (parent < 0 || child < 0)
        return;
    prompt_node *p = &r->tree->nodes[parent];
    if (p->last >= 0)
        r->tree->nodes[p->last].next = child;
    else
        p->child = child;
    p->last = child;
}

static void append_text(reading *r, int list, size_t begin, size_t end)
{
    append(r, list, add_node(r, PROMPT_TEXT, begin, end));
}

static bool is_mark(char c)
{
    return c == '[' || c == ']' || c == '(' || c == ')' || c == ':' || c == '|';
}

/* The end of plain text; at a backslash that escapes nothing it stops as well. */
static size_t plain_end(const reading *r, size_t at)
{
    while (at < r->length && !is_mark(r->text[at])) {
        if (r->text[at] == '\\' && (at + 1 == r->length || r->text[at + 1] == '\n'))
            break;
        at += r->text[at] == '\\' ? 2 : 1;
    }
    return at;
}

static bool read_list(reading *r, size_t *at, int *list);

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* A signed number in text[begin, end), spaces around it allowed. Written here: what strtod takes depends on the locale. */
static bool read_when(const reading *r, size_t begin, size_t end, double *when, bool *share)
{
    const char *s = r->text;
    while (begin < end && is_space(s[begin]))
        begin++;
    while (begin < end && is_space(s[end - 1]))
        end--;
    bool negative = begin < end && s[begin] == '-', point = false;
    begin += begin < end && (s[begin] == '-' || s[begin] == '+');
    double value = 0, unit = 1;
    int digits = 0;
    for (; begin < end && (is_digit(s[begin]) || (s[begin] == '.' && !point)); begin++) {
        if (s[begin] == '.') {
            point = true;
            continue;
        }
        digits++;
        value = value * 10 + (s[begin] - '0');
        unit *= point ? 10 : 1;
    }
    if (begin != end || !digits || digits > 15)
        return false;
    *when = (negative ? -value : value) / unit;
    *share = point;
    return true;
}

/* What is between brackets: lists, and the marks that part them. */
typedef struct fields {
    int list, count;    /* an ALTERNATE node with every list as a child; how many */
    char mark;          /* ':' or '|'; 0: only one list */
    size_t last_begin;  /* where the last one begins */
    int before_last[2]; /* the two before it; -1: none */
    int last;
} fields;

static bool read_fields(reading *r, size_t *at, char close, fields *f)
{
    *f = (fields){.list = add_node(r, PROMPT_ALTERNATE, 0, 0), .before_last = {-1, -1}, .last = -1};
    for (;;) {
        int list = -1;
        f->before_last[0] = f->before_last[1];
        f->before_last[1] = f->last;
        f->last_begin = *at;
        if (!read_list(r, at, &list) || *at >= r->length)
            return false;
        append(r, f->list, list);
        f->last = list;
        f->count++;
        char c = r->text[*at];
        if (c == close)
            return true;
        if ((c != ':' && c != '|') || (f->mark && f->mark != c))
            return false;
        if (c == ':' && f->count == MAX_FIELDS)
            return false;
        f->mark = c;
        ++*at;
    }
}

static int edited_node(reading *r, const fields *f, double when, bool share)
{
    int node = add_node(r, PROMPT_EDITED, 0, 0), before = f->before_last[0];
    if (before < 0)
        before = add_node(r, PROMPT_LIST, 0, 0);
    if (node < 0 || before < 0)
        return -1;
    r->tree->nodes[before].next = r->tree->nodes[f->before_last[1]].next = -1;
    append(r, node, before);
    append(r, node, f->before_last[1]);
    r->tree->nodes[node].when = when;
    r->tree->nodes[node].share = share;
    return node;
}

/* From '[' to behind its ']'. */
static bool read_square(reading *r, size_t *at, int parent)
{
    size_t open = (*at)++;
    fields f;
    double when = 0;
    bool share = false;
    if (!read_fields(r, at, ']', &f))
        return false;
    size_t close = (*at)++;
    if (!f.mark) {
        append_text(r, parent, open, open + 1);
        append(r, parent, f.last);
        append_text(r, parent, close, close + 1);
        return true;
    }
    r->tree->changes = true;
    if (f.mark == '|') {
        append(r, parent, f.list);
        return true;
    }
    if (!read_when(r, f.last_begin, close, &when, &share))
        return false;
    append(r, parent, edited_node(r, &f, when, share));
    return true;
}

/* From '(' to behind its ')': text, and perhaps a colon and a weight, which stay as they are. */
static bool read_round(reading *r, size_t *at, int parent)
{
    size_t open = (*at)++;
    int inside = -1, weight = -1;
    if (!read_list(r, at, &inside) || *at >= r->length)
        return false;
    size_t colon = *at;
    bool weighted = r->text[colon] == ':';
    if (weighted) {
        ++*at;
        if (!read_list(r, at, &weight))
            return false;
    }
    if (*at >= r->length || r->text[*at] != ')')
        return false;
    append_text(r, parent, open, open + 1);
    append(r, parent, inside);
    if (weighted) {
        append_text(r, parent, colon, colon + 1);
        append(r, parent, weight);
    }
    append_text(r, parent, *at, *at + 1);
    ++*at;
    return true;
}

static bool read_bracket(reading *r, size_t *at, int parent)
{
    size_t open = *at;
    int depth_before = r->depth++;
    bool good = false;
    if (r->depth > MAX_DEPTH)
        r->too_deep = true;
    else if (!r->spoilt[open])
        good = r->text[open] == '[' ? read_square(r, at, parent) : read_round(r, at, parent);
    r->depth = depth_before;
    if (!good && !r->too_deep)
        r->spoilt[open] = 1;
    return good && !r->no_memory;
}

/* Plain text and whole brackets, up to a mark that ends them; false where there is no way on. */
static bool read_list(reading *r, size_t *at, int *list)
{
    *list = add_node(r, PROMPT_LIST, 0, 0);
    while (*at < r->length && !r->no_memory) {
        char c = r->text[*at];
        if (c == ']' || c == ')' || c == ':' || c == '|')
            return true;
        if (c == '[' || c == '(') {
            if (!read_bracket(r, at, *list))
                return false;
            continue;
        }
        size_t end = plain_end(r, *at);
        if (end == *at)
            return false;
        append_text(r, *list, *at, end);
        *at = end;
    }
    return !r->no_memory;
}

/* False where the prompt breaks the grammar. */
static bool read_whole(reading *r)
{
    int whole = add_node(r, PROMPT_LIST, 0, 0);
    for (size_t at = 0; at < r->length && !r->no_memory;) {
        char c = r->text[at];
        size_t begin = at, end = plain_end(r, at);
        if (end > at) {
            append_text(r, whole, at, end);
            at = end;
            continue;
        }
        if (c == '|' || c == '\\')
            return false;
        r->too_deep = false;
        if ((c == '[' || c == '(') && read_bracket(r, &at, whole))
            continue;
        if (r->too_deep)
            return false;
        append_text(r, whole, begin, begin + 1);
        at = begin + 1;
    }
    return true;
}

kiln_status prompt_tree_of(const char *prompt, size_t length, prompt_tree *out, kiln_error *err)
{
    *out = (prompt_tree){0};
    if (!memchr(prompt, '[', length))
        return KILN_OK;
    reading r = {
        .text = prompt, .length = length, .spoilt = calloc(length + 1, sizeof *r.spoilt), .tree = out};
    bool good = r.spoilt && read_whole(&r);
    free(r.spoilt);
    if (!r.spoilt || r.no_memory) {
        prompt_tree_free(out);
        return fail(err, KILN_NO_MEMORY, "out of memory for the prompt");
    }
    if (!good || !out->changes)
        prompt_tree_free(out);
    return KILN_OK;
}

void prompt_tree_free(prompt_tree *t)
{
    if (t)
        free(t->nodes);
    if (t)
        *t = (prompt_tree){0};
}
