/* layout.c - which value lives in which buffer, and from when to when: views share their input's, in-place kernels take over
 * what dies where they begin, and notes live from the step that leaves them to the one that reads them. */
#include "plan/internal.h"

#include <limits.h>
#include <stdlib.h>

static int new_buffer(plan *p, size_t bytes, int first, int last)
{
    if (p->buffer_count == p->buffer_capacity) {
        int capacity = p->buffer_capacity ? p->buffer_capacity * 2 : 512;
        buffer *larger = realloc(p->buffers, (size_t)capacity * sizeof *larger);
        if (!larger)
            return -1;
        p->buffers = larger;
        p->buffer_capacity = capacity;
    }
    p->buffers[p->buffer_count] = (buffer){.bytes = bytes, .first = first, .last = last};
    return p->buffer_count++;
}

static size_t node_bytes(const plan *p, int i)
{
    return (size_t)shape_count(p->work.nodes[i].shape) * dtype_size(p->types[i]);
}

/* Where in its input the value of a slice along the first axis begins. */
static size_t slice_offset(const plan *p, int i)
{
    const node *n = &p->work.nodes[i];
    int64_t inner = 1;
    for (int k = 1; k < n->shape.rank; k++)
        inner *= n->shape.dim[k];
    return (size_t)(n->attributes.slice.start * inner) * dtype_size(p->types[i]);
}

/* Whether a value only looks at memory of another: a reshape, or a part in one piece. Kernels expect values to begin
 * with a line of the cache, so other parts are copied; so are parts of parameters, which live elsewhere. */
bool plan_is_view(const plan *p, int i)
{
    const node *n = &p->work.nodes[i];
    if (n->op == OP_RESHAPE)
        return true;
    if (n->op != OP_SLICE || n->attributes.slice.axis != 0 || p->types[i] != p->types[n->input[0].index])
        return false;
    int root = n->input[0].index;
    while (p->work.nodes[root].op == OP_RESHAPE || p->work.nodes[root].op == OP_SLICE)
        root = p->work.nodes[root].input[0].index;
    return p->work.nodes[root].op != OP_PARAMETER && slice_offset(p, i) % 64 == 0;
}

/* The last step that reads each node's buffer. */
static void last_uses(const plan *p, int *last)
{
    for (int i = 0; i < p->work.node_count; i++)
        last[i] = -1;
    for (int s = 0; s < p->step_count; s++) {
        const node *n = &p->work.nodes[p->steps[s].node];
        for (int k = 0; k < n->input_count; k++)
            last[n->input[k].index] = s;
    }
    /* A view reads its input for as long as anything reads the view. */
    for (int i = p->work.node_count - 1; i > 0; i--)
        if (plan_is_view(p, i) && last[i] > last[p->work.nodes[i].input[0].index])
            last[p->work.nodes[i].input[0].index] = last[i];
}

static void keep_outputs(const plan *p, int *last)
{
    for (int i = 0; i < p->output_count; i++) {
        int v = p->outputs[i].value.index;
        last[v] = INT_MAX;
        while (plan_is_view(p, v))
            last[v = p->work.nodes[v].input[0].index] = INT_MAX;
    }
}

/* The buffer that step s may take over for its output, or -1. */
static int taken_over(const plan *p, int s, const int *last)
{
    const step *t = &p->steps[s];
    if (t->kernel.in_place < 0)
        return -1;
    int from = p->work.nodes[t->node].input[t->kernel.in_place].index, b = p->buffer_of[from];
    /* The buffer's own end says when its last reader runs, views included. */
    if (b < 0 || p->work.nodes[from].op == OP_INPUT || last[from] != s || p->buffers[b].last != s ||
        p->buffers[b].bytes != node_bytes(p, t->node))
        return -1;
    /* No other input of this step may live in that buffer. */
    for (int k = 0; k < p->work.nodes[t->node].input_count; k++) {
        int other = p->work.nodes[t->node].input[k].index;
        if (k != t->kernel.in_place && other && p->buffer_of[other] == b)
            return -1;
    }
    return b;
}

static kiln_status give_buffer(plan *p, int i, int s, const int *last, kiln_error *err)
{
    int end = last[i] < s ? s : last[i];
    int b = s >= 0 ? taken_over(p, s, last) : -1;
    if (b >= 0) {
        p->buffers[b].last = end;
        p->buffer_of[i] = b;
        return KILN_OK;
    }
    p->buffer_of[i] = new_buffer(p, node_bytes(p, i), s, p->work.nodes[i].op == OP_INPUT ? INT_MAX : end);
    return p->buffer_of[i] < 0 ? fail(err, KILN_NO_MEMORY, "out of memory while planning") : KILN_OK;
}

/* The step that computes the node of that number, before step `before`; -1: none. */
static int step_of(const plan *p, int index, int before)
{
    for (int s = before - 1; s >= 0; s--)
        if (p->steps[s].node == index)
            return s;
    return -1;
}

/* What the step reads of what another noted down, where that does and means the same. */
static kiln_status give_note(plan *p, int s, kiln_error *err)
{
    step *reader = &p->steps[s];
    if (!reader->kernel.note_of)
        return KILN_OK;
    int from = step_of(p, p->work.nodes[reader->node].input[reader->kernel.note_of - 1].index, s);
    step *writer = from >= 0 ? &p->steps[from] : NULL;
    if (!writer || writer->kernel.note_of || writer->note >= 0 ||
        writer->kernel.note_bytes != reader->kernel.note_bytes)
        return KILN_OK;
    int b = new_buffer(p, reader->kernel.note_bytes, from, s);
    if (b < 0)
        return fail(err, KILN_NO_MEMORY, "out of memory while planning");
    writer->note = reader->note = b;
    return KILN_OK;
}

kiln_status plan_lay_out(plan *p, kiln_error *err)
{
    int *last = malloc((size_t)p->work.node_count * sizeof *last);
    if (!last)
        return fail(err, KILN_NO_MEMORY, "out of memory while planning");
    last_uses(p, last);
    keep_outputs(p, last);
    kiln_status status = KILN_OK;
    int s = 0;
    for (int i = 0; i < p->work.node_count; i++)
        p->buffer_of[i] = -1;
    for (int i = 1; status == KILN_OK && i < p->work.node_count; i++) {
        const node *n = &p->work.nodes[i];
        if (plan_is_view(p, i)) {
            p->buffer_of[i] = p->buffer_of[n->input[0].index];
            p->offset_of[i] = p->offset_of[n->input[0].index] + (n->op == OP_SLICE ? slice_offset(p, i) : 0);
        } else if (n->op == OP_INPUT)
            status = give_buffer(p, i, -1, last, err);
        else if (n->op != OP_PARAMETER) {
            status = give_buffer(p, i, s, last, err);
            step *t = &p->steps[s++];
            t->output = p->buffer_of[i];
            for (int k = 0; k < n->input_count; k++) {
                t->input[k] = n->input[k].index ? p->buffer_of[n->input[k].index] : -1;
                t->offset[k] = p->offset_of[n->input[k].index];
            }
            if (t->kernel.scratch_bytes && status == KILN_OK)
                t->scratch = new_buffer(p, t->kernel.scratch_bytes, s - 1, s - 1);
        }
    }
    free(last);
    for (int i = 0; status == KILN_OK && i < p->step_count; i++)
        status = give_note(p, i, err);
    if (status == KILN_OK) {
        p->arena_bytes = plan_place(p->buffers, p->buffer_count);
        p->passing_bytes = plan_most_alive(p->buffers, p->buffer_count, p->step_count);
    }
    return status;
}
