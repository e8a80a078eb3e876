/* dropout.c - dropout without a generator: each element's fate is a hash of what it is (Srivastava et al. 2014; the
 * finaliser of SplitMix64, Steele, Lea and Flood 2014).
 *
 * The gradient is the same op on dy: the factors are the same numbers. */
#include "ops/op.h"

static uint64_t mixed(uint64_t x)
{
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

value op_dropout(at a, value x, value seeds, float p, int stream)
{
    if (ABSENT(x, seeds))
        return NO_VALUE;
    shape X = value_shape(a, x), S = value_shape(a, seeds);
    if (X.rank < 1 || S.rank != 1 || S.dim[0] != X.dim[0] || graph_node(a.graph, seeds)->type != DTYPE_I32)
        return graph_fail(a, "dropout wants one integer seed per sample");
    if (!(p >= 0 && p < 1))
        return graph_fail(a, "dropout: %g is no probability below 1", (double)p);
    return graph_emit(a, OP_DROPOUT, X, DTYPE_F32, 2, (value[]){x, seeds},
                      &(op_attributes){.dropout = {.probability = p, .stream = stream}});
}

void reference_dropout(const op_call *c)
{
    const dropout_attributes *p = &c->node->attributes.dropout;
    const float *x = c->input[0];
    const int32_t *seeds = c->input[1];
    int64_t samples = c->shape.dim[0], each = samples ? shape_count(c->shape) / samples : 0;
    uint32_t limit = (uint32_t)((double)p->probability * 4294967296.0);
    float factor = (float)(1 / (1 - (double)p->probability));
    for (int64_t n = 0; n < samples; n++) {
        uint64_t bits = mixed(mixed((uint32_t)seeds[n]) ^ (uint64_t)p->stream);
        for (int64_t i = 0; i < each; i++) {
            bool dropped = (uint32_t)(mixed(bits + (uint64_t)i) >> 32) < limit;
            c->output[n * each + i] = dropped ? 0 : x[n * each + i] * factor;
        }
    }
}

void gradient_dropout(at a, const node *n, value self, value dy, const bool *wanted, value *dx)
{
    const dropout_attributes *p = &n->attributes.dropout;
    (void)self;
    if (wanted[0])
        dx[0] = op_dropout(a, dy, n->input[1], p->probability, p->stream);
}
