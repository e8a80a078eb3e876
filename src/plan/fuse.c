/* fuse.c - inference fusions. Each rewrites the consumer in place as a copy of its producer that does both jobs; the
 * producer then has no user left and is dropped. Fused, in this order:
 *
 *     activation(group_norm(x))       -> group_norm with the activation
 *     group_norm(add_channels(x, t))  -> group_norm with the shift t as input 3
 *     activation(linear / conv2d)     -> linear / conv2d with the activation
 *     scale(conv2d)                   -> conv2d with a gain
 *     add(conv2d / linear, r)         -> conv2d / linear with the residual r as input 3, also through a reshape
 *     conv2d(concat(x, ...))          -> conv2d of x with the others as inputs 4 and on (weights that do not change)
 *
 * A value is only swallowed when it has one user and nobody asked to see it. */
#include "ops/table.h"
#include "plan/internal.h"

#include <stdlib.h>

void fusion_count_users(fusion *f)
{
    for (int i = 0; i < f->count; i++)
        f->users[i] = 0;
    for (int i = 1; i < f->count; i++)
        for (int k = 0; k < f->nodes[i].input_count; k++)
            f->users[f->nodes[i].input[k].index]++;
}

/* The producer of input k of node i when it may be swallowed, else NULL. */
static const node *swallowable(const fusion *f, int i, int k)
{
    int producer = f->nodes[i].input[k].index;
    return producer && f->users[producer] == 1 && !f->pinned[producer] ? &f->nodes[producer] : NULL;
}

/* Remove a swallowed producer; its inputs keep their users, since the swallower takes them over. */
static void drop(fusion *f, value v)
{
    f->nodes[v.index] = (node){.op = OP_NONE, .parameter = -1, .path = ""};
}

/* Make node i a copy of the producer of its input k, which is dropped. */
static node *become(fusion *f, int i, int k)
{
    value from = f->nodes[i].input[k];
    node n = f->nodes[from.index];
    n.shape = f->nodes[i].shape;
    drop(f, from);
    f->nodes[i] = n;
    return &f->nodes[i];
}

static void fuse_activation(fusion *f, int i)
{
    const node *from = swallowable(f, i, 0);
    activation_attributes wanted = f->nodes[i].attributes.activation;
    if (!from || !activation_ends_kernels(wanted.kind))
        return;
    if (from->op == OP_GROUP_NORM && from->attributes.norm.activation == ACTIVATION_NONE &&
        wanted.kind == ACTIVATION_SILU)
        become(f, i, 0)->attributes.norm.activation = wanted.kind;
    else if (from->op == OP_CONV2D && from->attributes.conv2d.activation == ACTIVATION_NONE &&
             from->input_count < 4) {
        node *n = become(f, i, 0);
        n->attributes.conv2d.activation = wanted.kind;
        n->attributes.conv2d.slope = wanted.slope;
    } else if (from->op == OP_LINEAR && from->attributes.linear.activation == ACTIVATION_NONE &&
               from->input_count < 4 && wanted.kind != ACTIVATION_LEAKY_RELU) /* a slope has no place there */
        become(f, i, 0)->attributes.linear.activation = wanted.kind;
}

static void fuse_shift(fusion *f, int i)
{
    const node *from = swallowable(f, i, 0);
    if (!from || from->op != OP_ADD_CHANNELS || f->nodes[i].input_count != 3)
        return;
    node *n = &f->nodes[i];
    value added = n->input[0];
    n->input[3] = from->input[1];
    n->input[0] = from->input[0];
    n->input_count = 4;
    drop(f, added);
}

/* What enlarges its input is computed in parts, each of which would have to know. */
static void fuse_gain(fusion *f, int i)
{
    const node *from = swallowable(f, i, 0);
    scale_attributes wanted = f->nodes[i].attributes.scale;
    if (from && from->op == OP_CONV2D && from->input_count < 4 && from->attributes.conv2d.gain == 0 &&
        from->attributes.conv2d.upsample == 1 && wanted.offset == 0 && wanted.factor != 0)
        become(f, i, 0)->attributes.conv2d.gain = wanted.factor;
}

/* Only where the parameter itself is convolved with: what is computed or learnt takes its input whole. */
static void fuse_parts(fusion *f, int i)
{
    const node *from = swallowable(f, i, 0);
    node *n = &f->nodes[i];
    bool last = from && from->op == OP_CONCAT &&
                (from->attributes.concat.axis == -1 || from->attributes.concat.axis == from->shape.rank - 1);
    if (!last || from->shape.rank != 4 || n->input_count > 4 || from->input_count > OP_MAX_INPUTS - 3 ||
        n->attributes.conv2d.upsample != 1 || f->nodes[n->input[1].index].op != OP_PARAMETER)
        return;
    value joined = n->input[0];
    for (int k = n->input_count; k < 4; k++)
        n->input[k] = NO_VALUE;
    for (int k = 1; k < from->input_count; k++)
        n->input[3 + k] = from->input[k];
    n->input_count = 3 + from->input_count;
    n->input[0] = from->input[0];
    drop(f, joined);
}

static bool takes_residual(const node *n, shape s)
{
    return n && (n->op == OP_CONV2D || n->op == OP_LINEAR) && n->input_count <= 3 &&
           shape_count(n->shape) == shape_count(s);
}

/* Where input k of node i is a reshape that nobody else reads, read the reshaped value itself: only the order of the
 * elements matters to an addition, and that stays. */
static void skip_reshape(fusion *f, int i, int k)
{
    const node *from = swallowable(f, i, k);
    if (!from || from->op != OP_RESHAPE)
        return;
    value reshape = f->nodes[i].input[k];
    f->nodes[i].input[k] = from->input[0];
    drop(f, reshape);
}

static void fuse_residual(fusion *f, int i)
{
    skip_reshape(f, i, 0);
    skip_reshape(f, i, 1);
    const node *first = swallowable(f, i, 0), *second = swallowable(f, i, 1);
    bool can_first = takes_residual(first, f->nodes[i].shape),
         can_second = takes_residual(second, f->nodes[i].shape);
    if (!can_first && !can_second)
        return;
    /* The later of the two, so that neither waits longer than it must. */
    bool use_second = can_second && (!can_first || f->nodes[i].input[1].index > f->nodes[i].input[0].index);
    value residual = f->nodes[i].input[use_second ? 0 : 1];
    node *n = become(f, i, use_second ? 1 : 0);
    for (int k = n->input_count; k < 3; k++)
        n->input[k] = NO_VALUE;
    n->input[3] = residual;
    n->input_count = 4;
}

void plan_fuse(node *nodes, int count, const bool *pinned)
{
    fusion f = {
        .nodes = nodes, .count = count, .users = calloc((size_t)count, sizeof(int)), .pinned = pinned};
    if (!f.users)
        return; /* an unfused plan is correct as well */
    static void (*const rules[])(fusion *, int) = {fuse_activation, fuse_shift, fuse_gain, fuse_residual,
                                                   fuse_parts};
    static const op_kind triggers[] = {OP_ACTIVATION, OP_GROUP_NORM, OP_SCALE, OP_ADD, OP_CONV2D};
    fusion_count_users(&f);
    for (size_t r = 0; r < sizeof rules / sizeof *rules; r++)
        for (int i = 1; i < count; i++)
            if (nodes[i].op == triggers[r])
                rules[r](&f, i);
    free(f.users);
}
