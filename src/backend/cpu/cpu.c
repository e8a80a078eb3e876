/* cpu.c - the fast backend for processors: oneDNN for products, kernels of our own for the rest. */
#include "backend/cpu/features.h"
#include "backend/cpu/products.h"
#include "backend/cpu/step.h"

#include "base/error.h"

#include <stdlib.h>

dtype backend_best_precision(void)
{
    return cpu_features_detect().avx512_bf16 ? DTYPE_BF16 : DTYPE_F32;
}

static void step_release(struct kernel *k)
{
    free(k->state);
}

kiln_status step_prepare(const kernel_request *r, const char *label, step_run run, int in_place, kernel *out,
                         kiln_error *err)
{
    step *s = calloc(1, sizeof *s);
    if (!s)
        return fail(err, KILN_NO_MEMORY, "not enough memory for a kernel");
    *s = (step){.op = r->node->op,
                .attributes = r->node->attributes,
                .shape = r->node->shape,
                .type = r->output_type,
                .input_count = r->node->input_count,
                .features = cpu_features_detect()};
    for (int i = 0; i < OP_MAX_INPUTS; i++) {
        s->input_shape[i] = r->input_shape[i];
        s->input_type[i] = r->input_type[i];
    }
    *out = (kernel){.label = label, .run = run, .release = step_release, .state = s, .in_place = in_place};
    return KILN_OK;
}

static bool holds_ids(op_kind op, int input)
{
    return input == 0 ? op == OP_EMBEDDING || op == OP_EMBEDDING_BACKWARD || op == OP_GATHER_TOKENS_BACKWARD
                      : input == 1 && op == OP_GATHER_TOKENS;
}

/* Our kernels store f32 and bf16. */
static bool types_known(const kernel_request *r)
{
    if (r->output_type != DTYPE_F32 && r->output_type != DTYPE_BF16)
        return false;
    for (int i = 0; i < r->node->input_count; i++) {
        if (r->node->input[i].index && !holds_ids(r->node->op, i) && r->input_type[i] != DTYPE_F32 &&
            r->input_type[i] != DTYPE_BF16)
            return false;
    }
    return true;
}

static kiln_status prepare_backward(const kernel_request *r, kernel *out, kiln_error *err)
{
    switch (r->node->op) {
    case OP_CONV2D_BACKWARD_DATA:
    case OP_CONV2D_BACKWARD_WEIGHTS:
        return prepare_conv2d_backward(r, out, err);
    case OP_LINEAR_BACKWARD_DATA:
    case OP_LINEAR_BACKWARD_WEIGHTS:
        return prepare_linear_backward(r, out, err);
    case OP_ACTIVATION_BACKWARD:
    case OP_PRELU_BACKWARD_DATA:
    case OP_CLAMP_BACKWARD:
    case OP_GEGLU_BACKWARD:
    case OP_MEAN_SQUARED_ERROR_BACKWARD:
    case OP_MEAN_BACKWARD:
    case OP_FILL:
    case OP_EXP:
        return prepare_elementwise_backward(r, out, err);
    case OP_SUM_ROWS:
    case OP_SUM_POSITIONS:
    case OP_PRELU_BACKWARD_SLOPE:
    case OP_MEAN:
    case OP_MEAN_SQUARED_ERROR:
        return prepare_reduce(r, out, err);
    case OP_MEAN_ABSOLUTE_ERROR:
    case OP_MEAN_ABSOLUTE_ERROR_BACKWARD:
        return prepare_absolute_error(r, out, err);
    case OP_SLICE_BACKWARD:
    case OP_UPSAMPLE_BACKWARD:
    case OP_EMBEDDING_BACKWARD:
    case OP_GATHER_TOKENS_BACKWARD:
        return prepare_layout_backward(r, out, err);
    case OP_ATTENTION_BACKWARD:
        return prepare_attention_backward(r, out, err);
    case OP_GROUP_NORM_BACKWARD_DATA:
    case OP_GROUP_NORM_BACKWARD_SUMS:
    case OP_GROUP_NORM_BACKWARD_SHARE:
        return prepare_group_norm_backward(r, out, err);
    case OP_GROUP_NORM_STATISTICS:
        return prepare_group_norm_statistics(r, out, err);
    case OP_LAYER_NORM_BACKWARD_DATA:
    case OP_LAYER_NORM_BACKWARD_WEIGHT:
        return prepare_layer_norm_backward(r, out, err);
    default:
        return KILN_OK;
    }
}

static kiln_status prepare(const kernel_request *r, kernel *out, kiln_error *err)
{
    *out = (kernel){.in_place = -1};
    if (!types_known(r))
        return KILN_OK;
    kiln_status status = prepare_amx_product(r, out, err);
    if (status != KILN_OK || out->run)
        return status;
    switch (r->node->op) {
    case OP_CONV2D:
        return prepare_conv2d(r, out, err);
    case OP_LINEAR:
        return prepare_linear(r, out, err);
    case OP_ATTENTION:
        return prepare_attention(r, out, err);
    case OP_GROUP_NORM:
        return prepare_group_norm(r, out, err);
    case OP_LAYER_NORM:
        return prepare_layer_norm(r, out, err);
    case OP_GEGLU:
        return prepare_geglu(r, out, err);
    case OP_CAST:
    case OP_RESHAPE:
    case OP_ACTIVATION:
    case OP_PRELU:
    case OP_ADD:
    case OP_MULTIPLY:
    case OP_SCALE:
    case OP_CLAMP:
    case OP_ADD_CHANNELS:
    case OP_ADD_POSITIONS:
        return prepare_elementwise(r, out, err);
    case OP_CONCAT:
    case OP_SLICE:
    case OP_UPSAMPLE:
        return prepare_layout(r, out, err);
    case OP_EMBEDDING:
    case OP_GATHER_TOKENS:
        return prepare_lookup(r, out, err);
    case OP_PERMUTE:
        return prepare_permute(r, out, err);
    case OP_BATCH_NORM:
    case OP_MULTIPLY_CHANNELS:
        return prepare_channels(r, out, err);
    case OP_DEPTHWISE_CONV2D:
        return prepare_depthwise(r, out, err);
    case OP_WINDOW_ATTENTION:
        return prepare_window_attention(r, out, err);
    case OP_CHANNEL_ATTENTION:
        return prepare_channel_attention(r, out, err);
    default:
        return prepare_backward(r, out, err);
    }
}

const backend backend_cpu = {.name = "cpu", .prepare = prepare};
