/* lora_check.c - whether the tensors of a module make up one of the known kinds, and fit each other; see lora.h. */
#include "weights/lora_parts.h"

#include <string.h>

static bool has(const lora_module *m, lora_role role)
{
    return m->factor[role] != NULL;
}

static kiln_status refuse(const lora *l, const lora_module *m, const char *why, kiln_error *err)
{
    return fail(err, KILN_BAD_FORMAT, "%s: module '%s' %s", tensor_file_path(l->file), m->name, why);
}

static bool is_matrix(const tensor_entry *e)
{
    return e && e->shape.rank >= 2 && e->shape.rank <= 4 && shape_count(e->shape) > 0;
}

static int64_t rows(const tensor_entry *e)
{
    return e->shape.dim[0];
}
static int64_t columns(const tensor_entry *e)
{
    return shape_count(e->shape) / e->shape.dim[0];
}

/* A core [r,r,kh,kw] of a decomposed convolution. */
static bool is_core(const tensor_entry *e, int64_t first, int64_t second)
{
    return e->shape.rank == 4 && e->shape.dim[0] == first && e->shape.dim[1] == second;
}

static kiln_status check_low_rank(const lora *l, lora_module *m, kiln_error *err)
{
    const tensor_entry *up = m->factor[LORA_UP], *down = m->factor[LORA_DOWN], *mid = m->factor[LORA_MID];
    if (!up || !down)
        return refuse(l, m, up ? "has an up matrix but no down matrix" : "has a down matrix but no up matrix",
                      err);
    if (!is_matrix(up) || !is_matrix(down) ||
        (mid ? !is_core(mid, columns(up), rows(down)) : columns(up) != rows(down)))
        return refuse(l, m, "has matrices whose ranks do not agree", err);
    m->kind = LORA_LOW_RANK;
    m->rank = (int)rows(down);
    return KILN_OK;
}

/* a [out,r] b [r,in]; with a core t [r,r,kh,kw] they are a [r,out] b [r,in]. */
static bool pair_fits(const tensor_entry *a, const tensor_entry *b, const tensor_entry *core)
{
    if (!is_matrix(a) || !is_matrix(b))
        return false;
    return core ? is_core(core, rows(a), rows(b)) : columns(a) == rows(b);
}

static kiln_status check_hadamard(const lora *l, lora_module *m, kiln_error *err)
{
    const tensor_entry *const *f = m->factor;
    if (has(m, LORA_T1) != has(m, LORA_T2) || !pair_fits(f[LORA_W1_A], f[LORA_W1_B], f[LORA_T1]) ||
        !pair_fits(f[LORA_W2_A], f[LORA_W2_B], f[LORA_T2]))
        return refuse(l, m, "has Hadamard factors that are missing or do not fit each other", err);
    m->kind = LORA_HADAMARD;
    m->rank = (int)rows(f[LORA_W1_B]);
    return KILN_OK;
}

static kiln_status check_kronecker(const lora *l, lora_module *m, kiln_error *err)
{
    const tensor_entry *const *f = m->factor;
    const tensor_entry *a1 = f[LORA_KRONECKER_W1_A], *b1 = f[LORA_KRONECKER_W1_B],
                       *a2 = f[LORA_KRONECKER_W2_A], *b2 = f[LORA_KRONECKER_W2_B];
    bool first = has(m, LORA_W1) ? is_matrix(f[LORA_W1]) : pair_fits(a1, b1, NULL);
    bool second = has(m, LORA_W2) ? is_matrix(f[LORA_W2]) : pair_fits(a2, b2, f[LORA_KRONECKER_T2]);
    if (!first || !second)
        return refuse(l, m, "has Kronecker factors that are missing or do not fit each other", err);
    m->kind = LORA_KRONECKER;
    m->rank = !has(m, LORA_W1) ? (int)rows(b1) : !has(m, LORA_W2) ? (int)rows(b2) : 0;
    return KILN_OK;
}

static kiln_status check_scaled(const lora *l, lora_module *m, kiln_error *err)
{
    if (!has(m, LORA_SCALE) || !has(m, LORA_ON_INPUT))
        return refuse(l, m, "is neither a LoRA's nor an (IA)^3's", err);
    m->kind = LORA_SCALED;
    const tensor_entry *on_input = m->factor[LORA_ON_INPUT];
    uint8_t bytes[8] = {0};
    if (shape_count(on_input->shape) != 1)
        return refuse(l, m, "has an 'on_input' that is not one value", err);
    kiln_status status = tensor_file_read(l->file, on_input, bytes, err);
    for (size_t i = 0; i < sizeof bytes; i++)
        m->by_column = m->by_column || bytes[i];
    return status;
}

/* b2 [out,r] b1 [r,in], a2 [in,q] a1 [q,in]. */
static kiln_status check_generalized(const lora *l, lora_module *m, kiln_error *err)
{
    const tensor_entry *const *f = m->factor;
    if (!pair_fits(f[LORA_B2], f[LORA_B1], NULL) || !pair_fits(f[LORA_A2], f[LORA_A1], NULL) ||
        rows(f[LORA_A2]) != columns(f[LORA_A1]) || columns(f[LORA_A1]) != columns(f[LORA_B1]))
        return refuse(l, m, "has factors of GLoRA that are missing or do not fit each other", err);
    m->kind = LORA_GENERALIZED;
    m->rank = (int)rows(f[LORA_A1]);
    return KILN_OK;
}

static kiln_status check_orthogonal(const lora *l, lora_module *m, kiln_error *err)
{
    if (!has(m, LORA_BLOCKS) || !lora_rotation_is(m->factor[LORA_BLOCKS]))
        return refuse(l, m, "has no blocks [n,b,b] or [f,n,b,b] of rotations", err);
    m->kind = LORA_ORTHOGONAL;
    return KILN_OK;
}

kiln_status lora_module_check(const lora *l, lora_module *m, kiln_error *err)
{
    for (int i = 0; i < LORA_ROLES; i++)
        if (m->factor[i] && i != LORA_ON_INPUT && !dtype_is_floating(m->factor[i]->type) && i != LORA_ALPHA)
            return fail(err, KILN_UNSUPPORTED, "%s: '%s' has the element type %s, which is no weight's",
                        tensor_file_path(l->file), m->factor[i]->name, dtype_name(m->factor[i]->type));
    if (has(m, LORA_UP) || has(m, LORA_DOWN))
        return check_low_rank(l, m, err);
    if (has(m, LORA_W1_A) || has(m, LORA_W2_A))
        return check_hadamard(l, m, err);
    if (has(m, LORA_W1) || has(m, LORA_W2) || has(m, LORA_KRONECKER_W1_A) || has(m, LORA_KRONECKER_W2_A))
        return check_kronecker(l, m, err);
    if (has(m, LORA_A1) || has(m, LORA_A2) || has(m, LORA_B1) || has(m, LORA_B2))
        return check_generalized(l, m, err);
    if (has(m, LORA_BLOCKS) || has(m, LORA_RESCALE))
        return check_orthogonal(l, m, err);
    if (has(m, LORA_SCALE) || has(m, LORA_ON_INPUT))
        return check_scaled(l, m, err);
    m->kind = LORA_FULL;
    return has(m, LORA_DIFFERENCE) || has(m, LORA_BIAS_DIFFERENCE)
               ? KILN_OK
               : refuse(l, m, "has none of the factors that make a LoRA", err);
}

/* ------------------------------------------------------------------------------------ sizes */

static int64_t core_positions(const tensor_entry *core)
{
    return core->shape.dim[2] * core->shape.dim[3];
}

/* Rows and columns of what a pair of factors makes; see pair_fits. */
static void pair_size(const tensor_entry *a, const tensor_entry *b, const tensor_entry *core, int64_t *out,
                      int64_t *in)
{
    *out = core ? columns(a) : rows(a);
    *in = columns(b) * (core ? core_positions(core) : 1);
}

static bool kronecker_fits(const lora_module *m, int64_t out, int64_t in)
{
    const tensor_entry *const *f = m->factor;
    int64_t out1, in1, out2, in2;
    if (has(m, LORA_W1))
        out1 = rows(f[LORA_W1]), in1 = columns(f[LORA_W1]);
    else
        pair_size(f[LORA_KRONECKER_W1_A], f[LORA_KRONECKER_W1_B], NULL, &out1, &in1);
    if (has(m, LORA_W2))
        out2 = rows(f[LORA_W2]), in2 = columns(f[LORA_W2]);
    else
        pair_size(f[LORA_KRONECKER_W2_A], f[LORA_KRONECKER_W2_B], f[LORA_KRONECKER_T2], &out2, &in2);
    return out % out1 == 0 && out / out1 == out2 && in % in1 == 0 && in / in1 == in2;
}

/* A core's window is the weight's. */
static bool core_fits(const tensor_entry *core, shape weight)
{
    return !core ||
           (weight.rank == 4 && core->shape.dim[2] == weight.dim[2] && core->shape.dim[3] == weight.dim[3]);
}

static bool low_rank_fits(const lora_module *m, int64_t out, int64_t in)
{
    const tensor_entry *mid = m->factor[LORA_MID];
    return rows(m->factor[LORA_UP]) == out &&
           columns(m->factor[LORA_DOWN]) * (mid ? core_positions(mid) : 1) == in;
}

static bool hadamard_fits(const lora_module *m, int64_t out, int64_t in)
{
    int64_t out1, in1, out2, in2;
    const tensor_entry *const *f = m->factor;
    pair_size(f[LORA_W1_A], f[LORA_W1_B], f[LORA_T1], &out1, &in1);
    pair_size(f[LORA_W2_A], f[LORA_W2_B], f[LORA_T2], &out2, &in2);
    return out1 == out && out2 == out && in1 == in && in2 == in;
}

static bool magnitude_fits(const lora_module *m, shape weight)
{
    const tensor_entry *either = m->factor[LORA_MAGNITUDE], *output = m->factor[LORA_OUTPUT_MAGNITUDE];
    if (output && shape_count(output->shape) != weight.dim[0])
        return false;
    return !either || shape_count(either->shape) == weight.dim[lora_magnitude_axis(m, weight)];
}

int lora_magnitude_axis(const lora_module *m, shape weight)
{
    const tensor_entry *e = m->factor[LORA_MAGNITUDE];
    bool output = !e || e->shape.rank < 2 || (e->shape.dim[0] == weight.dim[0] && e->shape.dim[1] == 1);
    return output ? 0 : 1;
}

bool lora_module_fits(const lora_module *m, shape weight)
{
    const tensor_entry *difference = m->factor[LORA_DIFFERENCE];
    if (m->kind == LORA_FULL && !has(m, LORA_MAGNITUDE) && !has(m, LORA_OUTPUT_MAGNITUDE))
        return !difference || shape_count(difference->shape) == shape_count(weight);
    if (weight.rank < 2)
        return false;
    int64_t out = weight.dim[0], in = shape_count(weight) / out;
    if (!magnitude_fits(m, weight) || !core_fits(m->factor[LORA_MID], weight) ||
        !core_fits(m->factor[LORA_T1], weight) || !core_fits(m->factor[LORA_T2], weight) ||
        !core_fits(m->factor[LORA_KRONECKER_T2], weight))
        return false;
    switch (m->kind) {
    case LORA_LOW_RANK:
        return low_rank_fits(m, out, in);
    case LORA_HADAMARD:
        return hadamard_fits(m, out, in);
    case LORA_KRONECKER:
        return kronecker_fits(m, out, in);
    case LORA_FULL:
        return difference && shape_count(difference->shape) == shape_count(weight);
    case LORA_GENERALIZED:
        return rows(m->factor[LORA_B2]) == out && columns(m->factor[LORA_B1]) == in;
    case LORA_ORTHOGONAL:
        return lora_rotation_fits(m->factor[LORA_BLOCKS], out) &&
               (!has(m, LORA_RESCALE) || shape_count(m->factor[LORA_RESCALE]->shape) == out);
    case LORA_SCALED:
        break;
    }
    return shape_count(m->factor[LORA_SCALE]->shape) == weight.dim[m->by_column ? 1 : 0];
}
