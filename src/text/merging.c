/* merging.c - see merging.h. */
#include "text/merging.h"

#include <stdlib.h>

/* A pair that stood at `position` when it was pushed; stale when the symbols there have changed since. */
typedef struct merging_pair {
    uint32_t rank, position;
    const vocabulary_merge *merge;
} merging_pair;

#define NOWHERE UINT32_MAX

static bool pair_before(const merging_pair *a, const merging_pair *b)
{
    return a->rank != b->rank ? a->rank < b->rank : a->position < b->position;
}

static void heap_push(merging *m, merging_pair pair)
{
    size_t i = m->heap_count++;
    for (; i > 0 && pair_before(&pair, &m->heap[(i - 1) / 2]); i = (i - 1) / 2)
        m->heap[i] = m->heap[(i - 1) / 2];
    m->heap[i] = pair;
}

static merging_pair heap_pop(merging *m)
{
    merging_pair first = m->heap[0], last = m->heap[--m->heap_count];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= m->heap_count)
            break;
        if (child + 1 < m->heap_count && pair_before(&m->heap[child + 1], &m->heap[child]))
            child++;
        if (!pair_before(&m->heap[child], &last))
            break;
        m->heap[i] = m->heap[child];
        i = child;
    }
    m->heap[i] = last;
    return first;
}

static kiln_status reserve(merging *m, size_t length, kiln_error *err)
{
    if (length <= m->capacity)
        return KILN_OK;
    if (length > (size_t)1 << 24)
        return fail(err, KILN_BAD_ARGUMENT, "a word of %zu bytes is too long", length);
    merging_fini(m);
    size_t capacity = length < 64 ? 64 : length;
    m->symbols = malloc(capacity * sizeof *m->symbols);
    m->next = malloc(capacity * sizeof *m->next);
    m->previous = malloc(capacity * sizeof *m->previous);
    m->merged = malloc(capacity * sizeof *m->merged);
    /* n - 1 pairs at the start, and two for each of at most n - 1 merges. */
    m->heap = malloc(capacity * 3 * sizeof *m->heap);
    if (!m->symbols || !m->next || !m->previous || !m->merged || !m->heap) {
        merging_fini(m);
        return fail(err, KILN_NO_MEMORY, "not enough memory to encode a word of %zu bytes", length);
    }
    m->capacity = capacity;
    return KILN_OK;
}

static void push_pair(merging *m, const vocabulary *v, uint32_t at)
{
    if (at == NOWHERE || m->next[at] == NOWHERE)
        return;
    const vocabulary_merge *merge = vocabulary_pair(v, m->symbols[at], m->symbols[m->next[at]]);
    if (merge)
        heap_push(m, (merging_pair){merge->rank, at, merge});
}

static void merge_at(merging *m, uint32_t at, uint32_t symbol)
{
    uint32_t gone = m->next[at];
    m->symbols[at] = symbol;
    m->symbols[gone] = VOCABULARY_NONE;
    m->next[at] = m->next[gone];
    if (m->next[gone] != NOWHERE)
        m->previous[m->next[gone]] = at;
}

/* All pairs of the lowest rank, left to right; only then the pairs that this brought about. */
static void merge_round(merging *m, const vocabulary *v)
{
    uint32_t rank = m->heap[0].rank;
    size_t merged = 0;
    while (m->heap_count && m->heap[0].rank == rank) {
        merging_pair pair = heap_pop(m);
        uint32_t at = pair.position;
        if (m->symbols[at] != pair.merge->left || m->next[at] == NOWHERE ||
            m->symbols[m->next[at]] != pair.merge->right)
            continue;
        merge_at(m, at, pair.merge->merged);
        m->merged[merged++] = at;
    }
    for (size_t i = 0; i < merged; i++) {
        push_pair(m, v, m->previous[m->merged[i]]);
        push_pair(m, v, m->merged[i]);
    }
}

kiln_status merging_run(merging *m, const vocabulary *v, const char *word, size_t length, size_t *count,
                        kiln_error *err)
{
    *count = 0;
    kiln_status status = reserve(m, length, err);
    if (status || !length)
        return status;
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)word[i];
        m->symbols[i] = i + 1 < length ? v->byte_symbol[byte] : v->byte_end_symbol[byte];
        m->next[i] = i + 1 < length ? (uint32_t)i + 1 : NOWHERE;
        m->previous[i] = i ? (uint32_t)i - 1 : NOWHERE;
    }
    m->heap_count = 0;
    for (size_t i = 0; i + 1 < length; i++)
        push_pair(m, v, (uint32_t)i);
    while (m->heap_count)
        merge_round(m, v);
    for (uint32_t i = 0; i != NOWHERE; i = m->next[i])
        m->symbols[(*count)++] = m->symbols[i];
    return KILN_OK;
}

void merging_fini(merging *m)
{
    free(m->symbols);
    free(m->next);
    free(m->previous);
    free(m->merged);
    free(m->heap);
    *m = (merging){0};
}
