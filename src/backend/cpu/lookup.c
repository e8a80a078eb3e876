/* lookup.c - rows of a table by id: token embedding, and one token of each sequence. */
#include "backend/cpu/block.h"
#include "backend/cpu/step.h"

static void move_row(const step *s, int input, const kernel_arguments *a, int64_t from, int64_t to)
{
    float x[BLOCK];
    int64_t C = step_last(s->shape);
    for (int64_t i = 0; i < C; i += BLOCK) {
        int64_t n = C - i < BLOCK ? C - i : BLOCK;
        if (from < 0)
            for (int64_t j = 0; j < n; j++)
                x[j] = 0;
        else
            block_load(s->input_type[input], a->input[input], from * C + i, n, x);
        block_store(s->type, a->output, to * C + i, n, x);
    }
}

static kiln_status embedding_run(const struct kernel *k, const kernel_arguments *a, kiln_error *err)
{
    (void)err;
    const step *s = k->state;
    const int32_t *ids = a->input[0];
    int64_t rows = step_rows(s->shape), V = s->input_shape[1].dim[0];
    for (int64_t i = 0; i < rows; i++)
        move_row(s, 1, a, ids[i] >= 0 && ids[i] < V ? ids[i] : -1, i);
    return KILN_OK;
}

/* An index outside the sequence takes its nearest token. */
static kiln_status gather_run(const struct kernel *k, const kernel_arguments *a, kiln_error *err)
{
    (void)err;
    const step *s = k->state;
    const int32_t *index = a->input[1];
    int64_t T = s->input_shape[0].dim[1];
    for (int64_t n = 0; n < s->shape.dim[0]; n++) {
        int64_t t = index[n] < 0 ? 0 : index[n] >= T ? T - 1 : index[n];
        move_row(s, 0, a, n * T + t, n);
    }
    return KILN_OK;
}

kiln_status prepare_lookup(const kernel_request *r, kernel *out, kiln_error *err)
{
    if (r->node->op == OP_EMBEDDING)
        return step_prepare(r, "vector embedding", embedding_run, -1, out, err);
    return step_prepare(r, "vector gather", gather_run, -1, out, err);
}
