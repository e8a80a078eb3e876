/* channel_attention.c - attention between the channels of a head: products over all tokens into a small matrix, in pieces
 * of tokens that are fixed and joined in order, a softmax, and the matrix applied to the values. */
#include "backend/cpu/block.h"
#include "backend/cpu/step.h"
#include "backend/cpu/vector_math.h"
#include "base/clones.h"

#include <math.h>
#include <string.h>

enum { WIDEST = 128, TOKENS = 512 };

/* sum[i][j] += q[i] * k[j] */
CLONES static void add_outer(float *restrict sum, const float *restrict q, const float *restrict k, int64_t D)
{
    for (int64_t i = 0; i < D; i++)
        for (int64_t j = 0; j < D; j++)
            sum[i * D + j] += q[i] * k[j];
}

/* squares[i] += x[i]^2 */
CLONES static void add_squares(float *restrict squares, const float *restrict x, int64_t D)
{
    for (int64_t i = 0; i < D; i++)
        squares[i] += x[i] * x[i];
}

/* y[i] = sum_j A[j][i] * v[j]: A turned, so that the sum runs over its rows. */
CLONES static void apply_matrix(float *restrict y, const float *restrict turned, const float *restrict v,
                                int64_t D)
{
    for (int64_t i = 0; i < D; i++)
        y[i] = 0;
    for (int64_t j = 0; j < D; j++)
        for (int64_t i = 0; i < D; i++)
            y[i] += turned[j * D + i] * v[j];
}

typedef struct channel_call {
    const step *step;
    const kernel_arguments *arguments;
    int64_t T, C, D, heads, pieces;
} channel_call;

static channel_call call_of(const step *s, const kernel_arguments *a)
{
    int64_t heads = s->attributes.channel_attention.heads, T = s->shape.dim[1], C = s->shape.dim[2];
    return (channel_call){s, a, T, C, C / heads, heads, (T + TOKENS - 1) / TOKENS};
}

/* Products of one piece of tokens of one head: [D,D], then the squares of q and k. */
static int64_t piece_floats(const channel_call *c)
{
    return c->D * c->D + 2 * c->D;
}

static int64_t first_element(const channel_call *c, int64_t head)
{
    return head / c->heads * c->T * c->C + head % c->heads * c->D;
}

static void piece_products(const channel_call *c, int64_t head, int64_t piece, float *to)
{
    float q[WIDEST], k[WIDEST];
    int64_t end = (piece + 1) * TOKENS < c->T ? (piece + 1) * TOKENS : c->T;
    memset(to, 0, (size_t)piece_floats(c) * sizeof *to);
    for (int64_t t = piece * TOKENS; t < end; t++) {
        int64_t from = first_element(c, head) + t * c->C;
        block_load(c->step->input_type[0], c->arguments->input[0], from, c->D, q);
        block_load(c->step->input_type[1], c->arguments->input[1], from, c->D, k);
        add_outer(to, q, k, c->D);
        add_squares(to + c->D * c->D, q, c->D);
        add_squares(to + c->D * c->D + c->D, k, c->D);
    }
}

/* Sum the pieces of a head, and turn the products into the softmax, transposed, where the first piece was. */
static void finish_matrix(const channel_call *c, int64_t head, float *pieces)
{
    int64_t D = c->D, floats = piece_floats(c);
    float temperature, row[WIDEST], turned[WIDEST * WIDEST];
    block_load(c->step->input_type[3], c->arguments->input[3], head % c->heads, 1, &temperature);
    for (int64_t p = 1; p < c->pieces; p++)
        block_add(pieces, pieces + p * floats, floats);
    const float *q = pieces + D * D, *k = q + D;
    for (int64_t i = 0; i < D; i++) {
        float largest = -INFINITY, sum = 0;
        for (int64_t j = 0; j < D; j++) {
            float length = fmaxf(sqrtf(q[i]), 1e-12f) * fmaxf(sqrtf(k[j]), 1e-12f);
            row[j] = pieces[i * D + j] / length * temperature;
            largest = fmaxf(largest, row[j]);
        }
        for (int64_t j = 0; j < D; j++)
            sum += row[j] = exponential(row[j] - largest);
        for (int64_t j = 0; j < D; j++)
            turned[j * D + i] = row[j] / sum;
    }
    memcpy(pieces, turned, (size_t)(D * D) * sizeof *turned);
}

static kiln_status channel_run(const struct kernel *k, const kernel_arguments *a, kiln_error *err)
{
    (void)err;
    const step *s = k->state;
    channel_call c = call_of(s, a);
    int64_t heads = s->shape.dim[0] * c.heads, floats = piece_floats(&c);
    float *scratch = a->scratch;
#pragma omp parallel num_threads(a->threads)
    {
#pragma omp for schedule(static)
        for (int64_t i = 0; i < heads * c.pieces; i++)
            piece_products(&c, i / c.pieces, i % c.pieces, scratch + i * floats);
#pragma omp for schedule(static)
        for (int64_t h = 0; h < heads; h++)
            finish_matrix(&c, h, scratch + h * c.pieces * floats);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < s->shape.dim[0] * c.T; i++) {
            float v[WIDEST], y[WIDEST];
            for (int64_t h = 0; h < c.heads; h++) {
                int64_t head = i / c.T * c.heads + h, place = i * c.C + h * c.D;
                block_load(s->input_type[2], a->input[2], place, c.D, v);
                apply_matrix(y, scratch + head * c.pieces * floats, v, c.D);
                block_store(s->type, a->output, place, c.D, y);
            }
        }
    }
    return KILN_OK;
}

kiln_status prepare_channel_attention(const kernel_request *r, kernel *out, kiln_error *err)
{
    if (r->node->shape.dim[2] / r->node->attributes.channel_attention.heads > WIDEST)
        return KILN_OK;
    kiln_status status = step_prepare(r, "channel attention", channel_run, -1, out, err);
    if (status != KILN_OK)
        return status;
    channel_call c = call_of(out->state, NULL);
    out->scratch_bytes =
        sizeof(float) * (size_t)(r->node->shape.dim[0] * c.heads * c.pieces * piece_floats(&c));
    return KILN_OK;
}
