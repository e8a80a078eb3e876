/* fuse_norms.c - what plans with a reverse pass merge: a group norm and the activation after it, forward and backward, so
 * that the value between is neither kept nor written, only computed again. In this order:
 *
 *     group_norm_backward_*(.., activation_backward(group_norm(x), dy)) -> group_norm_backward_*(.., dy) with the activation
 *     activation(group_norm(x))           -> group_norm with the activation, from group_norm_statistics in its old place
 *     group_norm_statistics(x), again     -> the first
 *     add(group_norm_backward_data, r)    -> group_norm_backward_data with r as input 6
 *
 * Each looks only at what surely stays the same when gradient checkpointing computes values twice, so that a plan with it
 * gives the same bytes as one without. A value that somebody asked to see is left alone. */
#include "plan/internal.h"

#include <stdlib.h>

enum { X = 0, DY = 2, STATISTICS = 4, ADDED = 6 }; /* inputs of group norms and their gradients */

static void drop(fusion *f, int i)
{
    for (int k = 0; k < f->nodes[i].input_count; k++)
        f->users[f->nodes[i].input[k].index]--;
    f->nodes[i] = (node){.op = OP_NONE, .parameter = -1, .path = ""};
}

static bool reads(const node *n, int i)
{
    for (int k = 0; k < n->input_count; k++)
        if (n->input[k].index == i)
            return true;
    return false;
}

static bool is_plain_norm(const node *n)
{
    return n->op == OP_GROUP_NORM && n->attributes.norm.activation == ACTIVATION_NONE && n->input_count == 3;
}

static bool is_norm_gradient(const node *n)
{
    return (n->op == OP_GROUP_NORM_BACKWARD_SUMS || n->op == OP_GROUP_NORM_BACKWARD_DATA) &&
           n->attributes.norm.activation == ACTIVATION_NONE;
}

/* Node i is the gradient of an activation. */
static void fuse_activation_backward(fusion *f, int i)
{
    const node n = f->nodes[i];
    const node *norm = &f->nodes[n.input[0].index];
    if (f->pinned[i] || n.attributes.activation.kind != ACTIVATION_SILU || !is_plain_norm(norm))
        return;
    for (int k = i + 1; k < f->count; k++) {
        const node *user = &f->nodes[k];
        if (reads(user, i) &&
            !(is_norm_gradient(user) && user->input[DY].index == i &&
              user->input[X].index == norm->input[0].index && user->input[1].index == norm->input[1].index))
            return;
    }
    for (int k = i + 1; k < f->count; k++)
        if (reads(&f->nodes[k], i)) {
            f->nodes[k].input[DY] = n.input[1];
            f->nodes[k].attributes.norm.activation = ACTIVATION_SILU;
            f->users[n.input[1].index]++;
            f->users[i]--;
        }
    drop(f, i);
}

static void become_norm(fusion *f, int i, int norm)
{
    node *n = &f->nodes[i];
    const node *from = &f->nodes[norm];
    n->op = OP_GROUP_NORM;
    n->attributes = from->attributes;
    n->attributes.norm.activation = ACTIVATION_SILU;
    for (int k = 0; k < 3; k++) {
        n->input[k] = from->input[k];
        f->users[n->input[k].index]++;
    }
    n->input[3] = NO_VALUE;
    n->input[STATISTICS] = (value){norm};
    n->input_count = STATISTICS + 1;
}

/* Node i is a group norm. */
static void fuse_activation(fusion *f, int i)
{
    if (f->pinned[i] || !f->users[i] || !is_plain_norm(&f->nodes[i]))
        return;
    for (int k = i + 1; k < f->count; k++)
        if (reads(&f->nodes[k], i) &&
            !(f->nodes[k].op == OP_ACTIVATION && f->nodes[k].attributes.activation.kind == ACTIVATION_SILU))
            return;
    for (int k = i + 1; k < f->count; k++)
        if (reads(&f->nodes[k], i))
            become_norm(f, k, i);
    node *n = &f->nodes[i];
    f->users[n->input[1].index]--;
    f->users[n->input[2].index]--;
    n->op = OP_GROUP_NORM_STATISTICS;
    n->shape = SHAPE3(n->shape.dim[0], n->attributes.norm.groups, 2);
    n->input_count = 1;
}

/* Node i measures what an earlier node has measured. */
static void fuse_statistics(fusion *f, int i)
{
    const node *n = &f->nodes[i];
    if (f->pinned[i])
        return;
    int first = n->input[X].index + 1;
    for (; first < i; first++) {
        const node *m = &f->nodes[first];
        if (m->op == n->op && m->input[X].index == n->input[X].index &&
            m->attributes.norm.groups == n->attributes.norm.groups &&
            !(m->attributes.norm.epsilon < n->attributes.norm.epsilon) &&
            !(m->attributes.norm.epsilon > n->attributes.norm.epsilon))
            break;
    }
    if (first == i)
        return;
    for (int k = i + 1; k < f->count; k++)
        for (int j = 0; j < f->nodes[k].input_count; j++)
            if (f->nodes[k].input[j].index == i) {
                f->nodes[k].input[j].index = first;
                f->users[first]++;
                f->users[i]--;
            }
    drop(f, i);
}

/* Node i adds. Only what comes right before it is merged: the other would have to wait, and its inputs with it. */
static void fuse_sum(fusion *f, int i)
{
    int first = f->nodes[i].input[0].index, second = f->nodes[i].input[1].index;
    int last = first > second ? first : second, other = first > second ? second : first;
    const node n = f->nodes[last];
    if (f->users[last] != 1 || f->pinned[last] || n.op != OP_GROUP_NORM_BACKWARD_DATA ||
        n.input_count > ADDED || !shape_equal(n.shape, f->nodes[other].shape))
        return;
    f->nodes[i] = n;
    f->nodes[i].input[ADDED] = (value){other};
    f->nodes[i].input_count = ADDED + 1;
    f->nodes[last] = (node){.op = OP_NONE, .parameter = -1, .path = ""};
}

void plan_fuse_norms(node *nodes, int count, const bool *pinned)
{
    fusion f = {
        .nodes = nodes, .count = count, .users = calloc((size_t)count, sizeof(int)), .pinned = pinned};
    if (!f.users)
        return; /* an unfused plan is correct as well */
    static void (*const rules[])(fusion *, int) = {fuse_activation_backward, fuse_activation, fuse_statistics,
                                                   fuse_sum};
    static const op_kind triggers[] = {OP_ACTIVATION_BACKWARD, OP_GROUP_NORM, OP_GROUP_NORM_STATISTICS,
                                       OP_ADD};
    fusion_count_users(&f);
    for (size_t r = 0; r < sizeof rules / sizeof *rules; r++)
        for (int i = 1; i < count; i++)
            if (nodes[i].op == triggers[r])
                rules[r](&f, i);
    free(f.users);
}
