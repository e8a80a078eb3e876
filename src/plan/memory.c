/* memory.c - where each buffer lives in the arena.
 *
 * Buffers are placed largest first, each at the lowest offset where nothing that lives at the same time is in the way.
 * That is within a few per cent of the lower bound (the largest sum alive at once) for these networks, whose widest
 * moments are a handful of large feature maps. */
#include "plan/internal.h"

#include <stdlib.h>

enum { ALIGNMENT = 256 };

static size_t aligned(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
}

static int by_size(const void *a, const void *b)
{
    const buffer *x = *(buffer *const *)a, *y = *(buffer *const *)b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    return x < y ? -1 : x > y;
}

static int by_offset(const void *a, const void *b)
{
    const buffer *x = *(buffer *const *)a, *y = *(buffer *const *)b;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* The lowest offset where `b` fits among `placed` (sorted by offset). */
static size_t lowest_fit(const buffer *b, buffer *const *placed, int count)
{
    size_t offset = 0;
    for (int i = 0; i < count; i++) {
        const buffer *p = placed[i];
        if (p->last < b->first || b->last < p->first)
            continue;
        if (offset + aligned(b->bytes) <= p->offset)
            break;
        if (p->offset + aligned(p->bytes) > offset)
            offset = p->offset + aligned(p->bytes);
    }
    return offset;
}

size_t plan_place(buffer *buffers, int count)
{
    buffer **order = malloc((size_t)(count + 1) * sizeof *order),
           **placed = malloc((size_t)(count + 1) * sizeof *placed);
    size_t total = 0;
    if (order && placed) {
        for (int i = 0; i < count; i++)
            order[i] = &buffers[i];
        qsort(order, (size_t)count, sizeof *order, by_size);
        for (int i = 0; i < count; i++) {
            order[i]->offset = lowest_fit(order[i], placed, i);
            placed[i] = order[i];
            for (int j = i; j > 0 && by_offset(&placed[j - 1], &placed[j]) > 0; j--) {
                buffer *swap = placed[j];
                placed[j] = placed[j - 1];
                placed[j - 1] = swap;
            }
            if (order[i]->offset + aligned(order[i]->bytes) > total)
                total = order[i]->offset + aligned(order[i]->bytes);
        }
    } else {
        /* No memory to think: one after the other is correct, only larger. */
        for (int i = 0; i < count; i++) {
            buffers[i].offset = total;
            total += aligned(buffers[i].bytes);
        }
    }
    free(order);
    free(placed);
    return total;
}

size_t plan_most_alive(const buffer *buffers, int count, int steps)
{
    size_t *begins = calloc(2 * (size_t)steps + 2, sizeof *begins), *ends = begins + steps + 1;
    size_t alive = 0, most = 0;
    if (!begins)
        return 0;
    for (int i = 0; i < count; i++)
        if (buffers[i].first >= 0 && buffers[i].last < steps) {
            begins[buffers[i].first] += buffers[i].bytes;
            ends[buffers[i].last] += buffers[i].bytes;
        }
    for (int s = 0; s < steps; s++) {
        alive += begins[s];
        most = alive > most ? alive : most;
        alive -= ends[s];
    }
    free(begins);
    return most;
}
