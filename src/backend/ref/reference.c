/* reference.c - the reference backend: runs the kernels of the op pages, which are the specification, in f32.
 * Activations stored as bf16 are widened into scratch first. Slow on purpose: it is there to be believed. */
#include "backend/backend.h"
#include "ops/table.h"

#include <stdlib.h>

typedef struct reference_state {
    op_call call; /* shapes filled, pointers not */
    const op_row *row;
    node node;
    dtype input_type[OP_MAX_INPUTS], output_type;
    size_t offset[OP_MAX_INPUTS], output_offset; /* into scratch, where a conversion is due */
} reference_state;

static size_t aligned(size_t bytes)
{
    return (bytes + 63) & ~(size_t)63;
}

static kiln_status reference_run(const kernel *k, const kernel_arguments *arguments, kiln_error *err)
{
    (void)err;
    const reference_state *s = k->state;
    op_call call = s->call;
    call.node = &s->node;
    for (int i = 0; i < s->node.input_count; i++) {
        call.input[i] = arguments->input[i];
        if (call.input[i] && s->input_type[i] == DTYPE_BF16) {
            float *wide = (float *)(void *)((unsigned char *)arguments->scratch + s->offset[i]);
            convert_to_f32(call.input[i], DTYPE_BF16, wide, (size_t)shape_count(call.input_shape[i]));
            call.input[i] = wide;
        }
    }
    call.output = s->output_type == DTYPE_BF16
                      ? (float *)(void *)((unsigned char *)arguments->scratch + s->output_offset)
                      : arguments->output;
    s->row->reference(&call);
    if (s->output_type == DTYPE_BF16)
        convert_from_f32(call.output, arguments->output, DTYPE_BF16, (size_t)shape_count(call.shape));
    return KILN_OK;
}

static void reference_release(kernel *k)
{
    free(k->state);
}

static kiln_status reference_prepare(const kernel_request *r, kernel *out, kiln_error *err)
{
    const op_row *row = op_find(r->node->op);
    if (!row->reference)
        return fail(err, KILN_INTERNAL, "%s: the op %s computes nothing", r->node->path, row->name);
    reference_state *s = calloc(1, sizeof *s);
    if (!s)
        return fail(err, KILN_NO_MEMORY, "out of memory for a kernel");
    s->row = row;
    s->node = *r->node;
    s->call.shape = r->node->shape;
    s->output_type = r->output_type;
    size_t scratch = 0;
    for (int i = 0; i < r->node->input_count; i++) {
        s->call.input_shape[i] = r->input_shape[i];
        s->input_type[i] = r->input_type[i];
        s->offset[i] = scratch;
        if (r->input_type[i] == DTYPE_BF16)
            scratch += aligned((size_t)shape_count(r->input_shape[i]) * sizeof(float));
    }
    s->output_offset = scratch;
    if (r->output_type == DTYPE_BF16)
        scratch += aligned((size_t)shape_count(r->node->shape) * sizeof(float));
    *out = (kernel){.label = "reference",
                    .run = reference_run,
                    .release = reference_release,
                    .state = s,
                    .scratch_bytes = scratch,
                    .in_place = -1};
    return KILN_OK;
}

const backend backend_reference = {"reference", reference_prepare};
