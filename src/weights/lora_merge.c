/* lora_merge.c - what a module makes of a weight, as dense numbers; see lora.h. */
#include "weights/lora_parts.h"

#include "weights/write.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One module over one weight: [rows,columns], columns counting a convolution's window. */
typedef struct merging {
    const lora *lora;
    const lora_module *module;
    const lora_layer *layer;
    shape shape;
    int64_t rows, columns;
    float *factor[LORA_ROLES];
    float *delta;
} merging;

static kiln_status no_memory(kiln_error *err)
{
    return fail(err, KILN_NO_MEMORY, "out of memory for a LoRA");
}

static kiln_status read_factor(merging *m, int role, kiln_error *err)
{
    const tensor_entry *e = m->module->factor[role];
    int64_t count = shape_count(e->shape);
    m->factor[role] = calloc((size_t)count, sizeof(float));
    if (!m->factor[role])
        return no_memory(err);
    kiln_status status = tensor_file_read_f32(m->lora->file, e, 0, count, m->factor[role], err);
    if (status == KILN_OK && !weights_all_finite(m->factor[role], count))
        status = fail(err, KILN_BAD_FORMAT, "%s: '%s' holds NaN or infinity", tensor_file_path(m->lora->file),
                      e->name);
    return status;
}

static kiln_status read_factors(merging *m, bool bias, kiln_error *err)
{
    kiln_status status = KILN_OK;
    for (int role = 0; status == KILN_OK && role < LORA_ROLES; role++)
        if (m->module->factor[role] && role != LORA_ALPHA && role != LORA_ON_INPUT &&
            (role == LORA_BIAS_DIFFERENCE) == bias)
            status = read_factor(m, role, err);
    return status;
}

/* ------------------------------------------------------------------------------------ products */

/* out[n,m] = a[n,stride] b[r,m], the first r columns of a. Rows do not meet: the result is the same for any number of
 * threads. */
static void multiply(const float *a, int64_t stride, const float *b, int64_t n, int64_t r, int64_t m,
                     float *out)
{
#pragma omp parallel for schedule(static) if (n * r * m > 1 << 20)
    for (int64_t i = 0; i < n; i++) {
        float *row = out + i * m;
        memset(row, 0, (size_t)m * sizeof *row);
        for (int64_t k = 0; k < r; k++) {
            /* The caller filled a: NOLINTNEXTLINE(clang-analyzer-core.uninitialized.Assign) */
            float factor = a[i * stride + k];
            const float *from = b + k * m;
            for (int64_t j = 0; j < m; j++)
                row[j] += factor * from[j];
        }
    }
}

static int64_t rows(const tensor_entry *e)
{
    return e->shape.dim[0];
}
static int64_t columns(const tensor_entry *e)
{
    return shape_count(e->shape) / e->shape.dim[0];
}

/* out[p,(c,k)] = sum_q core[p,q,k] b[q,c] */
static float *core_times(const merging *m, lora_role core, lora_role b)
{
    const tensor_entry *t = m->module->factor[core];
    int64_t first = t->shape.dim[0], second = t->shape.dim[1], window = t->shape.dim[2] * t->shape.dim[3],
            in = columns(m->module->factor[b]);
    float *out = calloc((size_t)(first * in * window), sizeof *out);
    for (int64_t p = 0; out && p < first; p++)
        for (int64_t q = 0; q < second; q++)
            for (int64_t c = 0; c < in; c++)
                for (int64_t k = 0; k < window; k++)
                    out[(p * in + c) * window + k] +=
                        m->factor[core][(p * second + q) * window + k] * m->factor[b][q * in + c];
    return out;
}

static float *transposed(const merging *m, lora_role role)
{
    const tensor_entry *e = m->module->factor[role];
    int64_t n = rows(e), k = columns(e);
    float *out = malloc((size_t)(n * k) * sizeof *out);
    for (int64_t i = 0; out && i < n; i++)
        for (int64_t j = 0; j < k; j++)
            out[j * n + i] = m->factor[role][i * k + j];
    return out;
}

/* a b, or with a core sum_ij a[i,o] core[i,j] b[j,c], into out. */
static kiln_status multiply_pair(const merging *m, lora_role a, lora_role b, lora_role core, float *out,
                                 int64_t n, int64_t width, kiln_error *err)
{
    if (!m->module->factor[core]) {
        int64_t r = rows(m->module->factor[b]);
        multiply(m->factor[a], r, m->factor[b], n, r, width, out);
        return KILN_OK;
    }
    int64_t r = rows(m->module->factor[a]);
    float *left = transposed(m, a), *right = core_times(m, core, b);
    if (left && right)
        multiply(left, r, right, n, r, width, out);
    bool good = left && right;
    free(left);
    free(right);
    return good ? KILN_OK : no_memory(err);
}

/* ------------------------------------------------------------------------------------ the kinds */

static kiln_status low_rank(merging *m, kiln_error *err)
{
    int64_t rank = columns(m->module->factor[LORA_UP]), used = rank;
    if (!m->module->factor[LORA_MID]) {
        if (m->layer->rank > 0 && m->layer->rank < rank)
            used = m->layer->rank;
        multiply(m->factor[LORA_UP], rank, m->factor[LORA_DOWN], m->rows, used, m->columns, m->delta);
        return KILN_OK;
    }
    float *right = core_times(m, LORA_MID, LORA_DOWN);
    if (!right)
        return no_memory(err);
    multiply(m->factor[LORA_UP], rank, right, m->rows, rank, m->columns, m->delta);
    free(right);
    return KILN_OK;
}

static kiln_status hadamard(merging *m, kiln_error *err)
{
    int64_t count = m->rows * m->columns;
    float *second = malloc((size_t)count * sizeof *second);
    kiln_status status =
        second ? multiply_pair(m, LORA_W1_A, LORA_W1_B, LORA_T1, m->delta, m->rows, m->columns, err)
               : no_memory(err);
    if (status == KILN_OK)
        status = multiply_pair(m, LORA_W2_A, LORA_W2_B, LORA_T2, second, m->rows, m->columns, err);
    for (int64_t i = 0; status == KILN_OK && i < count; i++)
        m->delta[i] *= second[i];
    free(second);
    return status;
}

/* A whole Kronecker factor: from the file, or made into *own. */
static kiln_status kronecker_factor(const merging *m, const lora_role role[4], const float **out, float **own,
                                    int64_t *height, int64_t *width, kiln_error *err)
{
    const tensor_entry *const *f = m->module->factor;
    *own = NULL;
    if (f[role[0]]) {
        *out = m->factor[role[0]];
        *height = rows(f[role[0]]);
        *width = columns(f[role[0]]);
        return KILN_OK;
    }
    const tensor_entry *core = f[role[3]];
    *height = core ? columns(f[role[1]]) : rows(f[role[1]]);
    *width = columns(f[role[2]]) * (core ? core->shape.dim[2] * core->shape.dim[3] : 1);
    *out = *own = malloc((size_t)(*height * *width) * sizeof **own);
    return *own ? multiply_pair(m, role[1], role[2], role[3], *own, *height, *width, err) : no_memory(err);
}

static kiln_status kronecker(merging *m, kiln_error *err)
{
    /* The first has no core: LORA_T1 belongs to another kind, and is never there. */
    static const lora_role first[] = {LORA_W1, LORA_KRONECKER_W1_A, LORA_KRONECKER_W1_B, LORA_T1},
                           second[] = {LORA_W2, LORA_KRONECKER_W2_A, LORA_KRONECKER_W2_B, LORA_KRONECKER_T2};
    const float *w1 = NULL, *w2 = NULL;
    float *own1 = NULL, *own2 = NULL;
    int64_t height1 = 0, width1 = 0, height2 = 0, width2 = 0;
    kiln_status status = kronecker_factor(m, first, &w1, &own1, &height1, &width1, err);
    if (status == KILN_OK)
        status = kronecker_factor(m, second, &w2, &own2, &height2, &width2, err);
    for (int64_t i = 0; status == KILN_OK && i < m->rows; i++)
        for (int64_t j = 0; j < m->columns; j++)
            m->delta[i * m->columns + j] =
                w1[i / height2 * width1 + j / width2] * w2[i % height2 * width2 + j % width2];
    free(own1);
    free(own2);
    return status;
}

/* (IA)^3: the weight itself, by columns or by rows. */
static void scaled(merging *m, const float *weight)
{
    int64_t window = m->module->by_column ? m->columns / m->shape.dim[1] : 1;
    for (int64_t i = 0; i < m->rows; i++)
        for (int64_t j = 0; j < m->columns; j++)
            m->delta[i * m->columns + j] =
                weight[i * m->columns + j] * m->factor[LORA_SCALE][m->module->by_column ? j / window : i];
}

/* b2 b1 + (W a2) a1 */
static kiln_status generalized(merging *m, const float *weight, kiln_error *err)
{
    int64_t rank = rows(m->module->factor[LORA_B1]), other = rows(m->module->factor[LORA_A1]);
    float *through = malloc((size_t)(m->rows * other) * sizeof *through),
          *bent = malloc((size_t)(m->rows * m->columns) * sizeof *bent);
    kiln_status status = through && bent ? KILN_OK : no_memory(err);
    if (status == KILN_OK) {
        multiply(m->factor[LORA_B2], rank, m->factor[LORA_B1], m->rows, rank, m->columns, m->delta);
        multiply(weight, m->columns, m->factor[LORA_A2], m->rows, m->columns, other, through);
        multiply(through, other, m->factor[LORA_A1], m->rows, other, m->columns, bent);
        for (int64_t i = 0; i < m->rows * m->columns; i++)
            m->delta[i] += bent[i];
    }
    free(through);
    free(bent);
    return status;
}

static kiln_status orthogonal(merging *m, const float *weight, kiln_error *err)
{
    int64_t count = m->rows * m->columns;
    const lora_rotation rotation = {.path = tensor_file_path(m->lora->file),
                                    .entry = m->module->factor[LORA_BLOCKS],
                                    .values = m->factor[LORA_BLOCKS],
                                    .rescale = m->factor[LORA_RESCALE],
                                    .alpha = m->module->alpha};
    memcpy(m->delta, weight, (size_t)count * sizeof *m->delta);
    kiln_status status = lora_rotate(&rotation, m->delta, m->rows, m->columns, err);
    for (int64_t i = 0; status == KILN_OK && i < count; i++)
        m->delta[i] -= weight[i];
    return status;
}

static kiln_status make_delta(merging *m, const float *weight, kiln_error *err)
{
    switch (m->module->kind) {
    case LORA_LOW_RANK:
        return low_rank(m, err);
    case LORA_HADAMARD:
        return hadamard(m, err);
    case LORA_KRONECKER:
        return kronecker(m, err);
    case LORA_SCALED:
        scaled(m, weight);
        break;
    case LORA_GENERALIZED:
        return generalized(m, weight, err);
    case LORA_ORTHOGONAL:
        return orthogonal(m, weight, err);
    case LORA_FULL:
        memcpy(m->delta, m->factor[LORA_DIFFERENCE], (size_t)(m->rows * m->columns) * sizeof *m->delta);
        break;
    }
    return KILN_OK;
}

/* DoRA: the changed weight with every row or column brought to its magnitude, as a difference. */
static kiln_status bring_to_magnitude(merging *m, const float *weight, kiln_error *err)
{
    const float *magnitude =
        m->factor[LORA_MAGNITUDE] ? m->factor[LORA_MAGNITUDE] : m->factor[LORA_OUTPUT_MAGNITUDE];
    if (!magnitude)
        return KILN_OK;
    int axis = lora_magnitude_axis(m->module, m->shape);
    int64_t groups = m->shape.dim[axis], window = axis ? m->columns / groups : 1;
    double *sum = calloc((size_t)groups, sizeof *sum);
    if (!sum)
        return no_memory(err);
    for (int pass = 0; pass < 2; pass++)
        for (int64_t i = 0; i < m->rows; i++)
            for (int64_t j = 0; j < m->columns; j++) {
                int64_t k = i * m->columns + j, group = axis ? j / window : i;
                float changed = weight[k] + m->delta[k];
                if (pass == 0)
                    sum[group] += (double)changed * (double)changed;
                else if (sum[group] > 0)
                    m->delta[k] = changed * (float)((double)magnitude[group] / sqrt(sum[group])) - weight[k];
            }
    free(sum);
    return KILN_OK;
}

/* ------------------------------------------------------------------------------------ the interface */

static kiln_status merge_weight(merging *m, float *weight, kiln_error *err)
{
    int64_t count = m->rows * m->columns;
    m->delta = calloc((size_t)count, sizeof *m->delta);
    kiln_status status = m->delta ? make_delta(m, weight, err) : no_memory(err);
    if (status != KILN_OK)
        return status;
    if (m->module->scale != 1)
        for (int64_t i = 0; i < count; i++)
            m->delta[i] *= (float)m->module->scale;
    status = bring_to_magnitude(m, weight, err);
    for (int64_t i = 0; status == KILN_OK && i < count; i++)
        weight[i] += (float)m->layer->strength * m->delta[i];
    return status;
}

kiln_status lora_merge(const lora_layer *layer, const parameter *p, int index, float *weight, kiln_error *err)
{
    bool bias = false;
    const lora_module *module = lora_binding_module(layer->binding, index, &bias);
    if (!module || layer->strength == 0)
        return KILN_OK;
    int64_t count = shape_count(p->shape), height = p->shape.rank > 1 ? p->shape.dim[0] : 1;
    merging m = {.lora = lora_binding_file(layer->binding),
                 .module = module,
                 .layer = layer,
                 .shape = p->shape,
                 .rows = height,
                 .columns = count / height};
    kiln_status status = read_factors(&m, bias, err);
    if (status == KILN_OK && !bias)
        status = merge_weight(&m, weight, err);
    for (int64_t i = 0; status == KILN_OK && bias && i < count; i++)
        weight[i] += (float)layer->strength * m.factor[LORA_BIAS_DIFFERENCE][i];
    for (int role = 0; role < LORA_ROLES; role++)
        free(m.factor[role]);
    free(m.delta);
    return status;
}

static kiln_status read_merged(void *self, const parameter *p, int index, float *to, kiln_error *err)
{
    const lora_stack *s = self;
    kiln_status status = s->base.read(s->base.self, p, index, to, err);
    for (int i = 0; status == KILN_OK && i < s->count; i++)
        status = lora_merge(&s->layers[i], p, index, to, err);
    return status;
}

static void describe_merged(void *self, const parameter *p, int index, char *text, size_t size)
{
    const lora_stack *s = self;
    if (s->base.describe)
        s->base.describe(s->base.self, p, index, text, size);
}

parameter_source lora_source(const lora_stack *s)
{
    return (parameter_source){.read = read_merged, .self = (void *)s, .describe = describe_merged};
}
