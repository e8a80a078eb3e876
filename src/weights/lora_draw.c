/* lora_draw.c - see lora_draw.h. */
#include "weights/lora_draw.h"

#include "nn/nn.h"
#include "weights/lora_parts.h"
#include "weights/write.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* A weight's sizes: [out,in] with a window, as a matrix [out,columns]. */
typedef struct sizes {
    int64_t out, in, columns;
    shape whole;
} sizes;

static value factor(at a, const char *leaf, shape s)
{
    return graph_parameter(a, leaf, s, ROLE_WEIGHT);
}

/* a [n,r] b [r,m] -> [n,m] */
static value product(at a, value left, value right)
{
    return op_linear(a, left, op_permute(a, right, (int[]){1, 0}), NO_VALUE);
}

static value matrix(at a, value v, int64_t rows)
{
    return op_reshape(a, v, SHAPE2(rows, shape_count(value_shape(a, v)) / rows));
}

/* A window's sides; 1 and 1 of a plain matrix. */
static shape with_window(int64_t first, int64_t second, shape weight, bool window)
{
    if (weight.rank < 4)
        return SHAPE2(first, second);
    return SHAPE4(first, second, window ? weight.dim[2] : 1, window ? weight.dim[3] : 1);
}

/* Ranks left out in a step, those that stay made larger; left [n,r]. One choice for all samples of a batch, since a weight
 * is one for all: that of the first. */
static value drop_ranks(const lora_form *f, at a, value left)
{
    shape s = value_shape(a, left);
    const graph *g = a.graph;
    if (f->dropout <= 0 || graph_failed(a) || !g->input_count)
        return left;
    int64_t batch = graph_node(g, g->inputs[0].value)->shape.dim[0];
    value kept = nn_dropout(a, op_fill(a, SHAPE2(batch, s.dim[1]), 1), f->dropout, 0);
    value first = op_slice(a, kept, 0, 0, 1);
    return op_reshape(a, op_multiply_channels(a, op_reshape(a, left, SHAPE3(1, s.dim[0], s.dim[1])), first),
                      s);
}

static value low_rank(const lora_form *f, at a, const sizes *s)
{
    value down = factor(a, "lora_down.weight", with_window(f->rank, s->in, s->whole, true));
    value up = factor(a, "lora_up.weight", with_window(s->out, f->rank, s->whole, false));
    return graph_failed(a) ? NO_VALUE
                           : product(a, drop_ranks(f, a, matrix(a, up, s->out)), matrix(a, down, f->rank));
}

static value hadamard(const lora_form *f, at a, const sizes *s)
{
    value first = product(a, drop_ranks(f, a, factor(a, "hada_w1_a", SHAPE2(s->out, f->rank))),
                          factor(a, "hada_w1_b", SHAPE2(f->rank, s->columns)));
    value second = product(a, factor(a, "hada_w2_a", SHAPE2(s->out, f->rank)),
                           factor(a, "hada_w2_b", SHAPE2(f->rank, s->columns)));
    return op_multiply(a, first, second);
}

int64_t lora_split(int64_t size, int wanted)
{
    int64_t best = 1;
    for (int64_t d = 1; d <= size && (wanted > 0 ? d <= wanted : d * d <= size); d++)
        if (size % d == 0)
            best = d;
    return best;
}

static value kronecker(const lora_form *f, at a, const sizes *s)
{
    int64_t height = lora_split(s->out, f->factor), width = lora_split(s->in, f->factor);
    int64_t rows = s->out / height, columns = s->columns / width;
    value w1 = factor(a, "lokr_w1", SHAPE2(height, width)), w2;
    if (f->whole)
        w2 = factor(a, "lokr_w2", with_window(rows, s->in / width, s->whole, true));
    else
        w2 = product(a, drop_ranks(f, a, factor(a, "lokr_w2_a", SHAPE2(rows, f->rank))),
                     factor(a, "lokr_w2_b", SHAPE2(f->rank, columns)));
    if (graph_failed(a))
        return NO_VALUE;
    /* Every number of the one times every number of the other, then rows beside rows and columns beside columns. */
    value outer = op_linear(a, op_reshape(a, w1, SHAPE2(height * width, 1)),
                            op_reshape(a, w2, SHAPE2(rows * columns, 1)), NO_VALUE);
    value split = op_reshape(a, outer, SHAPE4(height, width, rows, columns));
    return op_reshape(a, op_permute(a, split, (int[]){0, 2, 1, 3}), SHAPE2(s->out, s->columns));
}

/* The norm of the changed weight counts as a constant in the gradient (Liu et al. 2024, section 4.3), which makes of the
 * division a normalisation by given statistics. */
static value to_magnitude(at a, value changed, const sizes *s)
{
    shape side = s->whole.rank < 4 ? SHAPE2(s->out, 1) : SHAPE4(s->out, 1, 1, 1);
    value magnitude = factor(a, "dora_scale", side);
    value columns = op_permute(a, changed, (int[]){1, 0});
    value squares = op_detach(a, op_sum_rows(a, op_multiply(a, columns, columns)));
    value zero = op_fill(a, SHAPE1(s->out), 0);
    value scaled =
        op_batch_norm(a, columns, zero, squares, op_reshape(a, magnitude, SHAPE1(s->out)), NO_VALUE, 1e-20f);
    return op_permute(a, scaled, (int[]){1, 0});
}

value lora_draw(const lora_form *f, at a, value weight)
{
    shape whole = value_shape(a, weight);
    if (graph_failed(a) || (whole.rank != 2 && whole.rank != 4))
        return weight;
    sizes s = {.out = whole.dim[0],
               .in = whole.dim[1],
               .columns = shape_count(whole) / whole.dim[0],
               .whole = whole};
    value delta = f->kind == LORA_HADAMARD    ? hadamard(f, a, &s)
                  : f->kind == LORA_KRONECKER ? kronecker(f, a, &s)
                                              : low_rank(f, a, &s);
    value changed = op_add(a, matrix(a, weight, s.out), op_scale(a, delta, f->scale, 0));
    if (f->magnitude)
        changed = to_magnitude(a, changed, &s);
    return op_reshape(a, changed, whole);
}

bool lora_is_branch(const lora_form *f)
{
    return f->kind == LORA_LOW_RANK && !f->magnitude;
}

value lora_branch(const lora_form *f, at a, value x, value weight, const conv2d_attributes *window,
                  value result)
{
    shape whole = value_shape(a, weight);
    if (graph_failed(a) || (whole.rank != 2 && whole.rank != 4))
        return result;
    value down = factor(a, "lora_down.weight", with_window(f->rank, whole.dim[1], whole, true));
    value up = factor(a, "lora_up.weight", with_window(whole.dim[0], f->rank, whole, false));
    value between = window ? op_conv2d(a, x, down, NO_VALUE, window) : op_linear(a, x, down, NO_VALUE);
    value branch = op_linear(a, nn_dropout(a, between, f->dropout, 0), up, NO_VALUE);
    return op_add(a, result, op_scale(a, branch, f->scale, 0));
}

/* ------------------------------------------------------------------------------------ factors of a file */

static const struct {
    const char *leaf;
    lora_role role;
} leaves[] = {{".lora_down.weight", LORA_DOWN},
              {".lora_up.weight", LORA_UP},
              {".hada_w1_a", LORA_W1_A},
              {".hada_w1_b", LORA_W1_B},
              {".hada_w2_a", LORA_W2_A},
              {".hada_w2_b", LORA_W2_B},
              {".lokr_w1", LORA_W1},
              {".lokr_w2", LORA_W2},
              {".lokr_w2_a", LORA_KRONECKER_W2_A},
              {".lokr_w2_b", LORA_KRONECKER_W2_B},
              {".dora_scale", LORA_MAGNITUDE}};

static const tensor_entry *find_factor(const lora_factors *f, const char *module, lora_role role)
{
    for (int i = 0; i < f->file->count; i++) {
        const lora_module *m = &f->file->modules[i];
        char name[LORA_NAME];
        for (int k = 0; m->network == f->network && lora_name_variant(m->name, k, name); k++)
            if (strcmp(name, module) == 0)
                return m->factor[role];
    }
    return NULL;
}

static kiln_status read_factor(void *self, const parameter *p, int index, float *to, kiln_error *err)
{
    const lora_factors *f = self;
    size_t length = strlen(p->canonical);
    for (size_t i = 0; i < sizeof leaves / sizeof *leaves; i++) {
        size_t own = strlen(leaves[i].leaf);
        char module[LORA_NAME];
        if (length <= own || strcmp(p->canonical + length - own, leaves[i].leaf) != 0 ||
            !lora_flatten(p->canonical, length - own, module))
            continue;
        const tensor_entry *e = find_factor(f, module, leaves[i].role);
        if (!e || shape_count(e->shape) != shape_count(p->shape))
            return fail(err, KILN_MISMATCH, "%s: has no factor for '%s' of its size",
                        tensor_file_path(f->file->file), p->canonical);
        return tensor_file_read_f32(f->file->file, e, 0, shape_count(e->shape), to, err);
    }
    return f->base.read(f->base.self, p, index, to, err);
}

parameter_source lora_factor_source(const lora_factors *f)
{
    return (parameter_source){.read = read_factor, .self = (void *)f};
}
