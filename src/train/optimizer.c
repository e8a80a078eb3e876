/* optimizer.c - see optimizer.h: options, states, and the step that calls each kind. */
#include "train/optimizer_parts.h"

#include "base/pages.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *const kind_names[OPTIMIZER_KINDS] = {
    [OPTIMIZER_ADAMW] = "AdamW", [OPTIMIZER_ADAMW_8BIT] = "AdamW8bit", [OPTIMIZER_ADAFACTOR] = "Adafactor",
    [OPTIMIZER_LION] = "Lion",   [OPTIMIZER_PRODIGY] = "Prodigy",      [OPTIMIZER_SGD] = "SGD",
    [OPTIMIZER_MUON] = "Muon"};

const char *optimizer_kind_name(optimizer_kind kind)
{
    return (unsigned)kind < OPTIMIZER_KINDS ? kind_names[kind] : "none";
}

kiln_status optimizer_kind_of_name(const char *name, optimizer_kind *out, kiln_error *err)
{
    *out = OPTIMIZER_ADAMW;
    for (int i = 0; name && i < OPTIMIZER_KINDS; i++) {
        if (!strcasecmp(name, kind_names[i])) {
            *out = (optimizer_kind)i;
            return KILN_OK;
        }
    }
    return fail(err, KILN_BAD_ARGUMENT,
                "optimizer '%s' does not exist; there are AdamW, AdamW8bit, Adafactor, Lion, Prodigy, SGD, "
                "Muon",
                name ? name : "");
}

optimizer_options optimizer_defaults(optimizer_kind kind)
{
    optimizer_options o = {.kind = kind,
                           .beta1 = 0.9,
                           .beta2 = 0.999,
                           .epsilon = 1e-8,
                           .epsilon_scale = 1e-3,
                           .decay_rate = -0.8,
                           .clip_threshold = 1,
                           .scale_parameter = true,
                           .relative_step = true,
                           .d0 = 1e-6,
                           .d_coef = 1,
                           .growth_rate = INFINITY,
                           .min_8bit_size = 4096};
    if (kind == OPTIMIZER_ADAMW || kind == OPTIMIZER_ADAMW_8BIT || kind == OPTIMIZER_MUON)
        o.weight_decay = 1e-2;
    if (kind == OPTIMIZER_MUON) {
        o.momentum = 0.95;
        o.nesterov = true;
    }
    if (kind == OPTIMIZER_LION)
        o.beta2 = 0.99;
    if (kind == OPTIMIZER_ADAFACTOR) {
        o.beta1 = 0;
        o.epsilon = 1e-30;
    }
    return o;
}

static kiln_status check_range(const char *name, double value, double least, double most, kiln_error *err)
{
    if (value >= least && value <= most)
        return KILN_OK;
    return fail(err, KILN_BAD_ARGUMENT, "optimizer: %s is between %g and %g, not %g", name, least, most,
                value);
}

kiln_status optimizer_options_check(const optimizer_options *o, kiln_error *err)
{
    static const double nearly_one = 1 - 1e-9;
    if ((unsigned)o->kind >= OPTIMIZER_KINDS)
        return fail(err, KILN_BAD_ARGUMENT, "there is no optimizer number %d", (int)o->kind);
    const struct {
        const char *name;
        double value, least, most;
    } ranges[] = {{"beta1", o->beta1, 0, nearly_one},
                  {"beta2", o->beta2, 0, nearly_one},
                  {"beta3", o->beta3, 0, nearly_one},
                  {"epsilon", o->epsilon, 0, 1},
                  {"epsilon_scale", o->epsilon_scale, 0, 1},
                  {"weight_decay", o->weight_decay, 0, 1e6},
                  {"momentum", o->momentum, 0, 1},
                  {"decay_rate", o->decay_rate, -10, 0},
                  {"clip_threshold", o->clip_threshold, 1e-6, 1e6},
                  {"d0", o->d0, 1e-30, 1e6},
                  {"d_coef", o->d_coef, 1e-6, 1e6},
                  {"growth_rate", o->growth_rate, 1, INFINITY}};
    kiln_status status = KILN_OK;
    for (size_t i = 0; status == KILN_OK && i < sizeof ranges / sizeof *ranges; i++)
        status = check_range(ranges[i].name, ranges[i].value, ranges[i].least, ranges[i].most, err);
    if (status == KILN_OK && o->nesterov && !(o->momentum > 0))
        status = fail(err, KILN_BAD_ARGUMENT, "optimizer: nesterov needs a momentum above 0");
    return status;
}

/* ------------------------------------------------------------------------------------ states */

typedef struct state_plan {
    const char *name; /* NULL: there is none */
    int64_t count;
} state_plan;

static bool in_8bit(const optimizer_options *o, const slot *s)
{
    return o->kind == OPTIMIZER_ADAMW_8BIT && s->count >= o->min_8bit_size && s->count > 0;
}

/* What state `k` of a slot is. */
static state_plan planned(const optimizer_options *o, const slot *s, int k)
{
    static const char *const adam[] = {"exp_avg", "exp_avg_sq", "s", "p0"};
    static const state_plan none = {NULL, 0};
    int64_t blocks = (s->count + QUANT_BLOCK - 1) / QUANT_BLOCK;
    switch (o->kind) {
    case OPTIMIZER_ADAMW_8BIT:
        if (in_8bit(o, s))
            return k < 2 ? (state_plan){k ? "exp_avg_sq.absmax" : "exp_avg.absmax", blocks} : none;
        return k < 2 ? (state_plan){adam[k], s->count} : none;
    case OPTIMIZER_ADAMW:
        return k < 2 ? (state_plan){adam[k], s->count} : none;
    case OPTIMIZER_LION:
        return k < 1 ? (state_plan){adam[k], s->count} : none;
    case OPTIMIZER_PRODIGY:
        return (state_plan){adam[k], s->count};
    case OPTIMIZER_SGD:
        return k < 1 && o->momentum > 0 ? (state_plan){"momentum_buffer", s->count} : none;
    case OPTIMIZER_MUON:
        if (s->rows)
            return k < 1 ? (state_plan){"momentum_buffer", s->count} : none;
        return k < 2 ? (state_plan){adam[k], s->count} : none;
    case OPTIMIZER_ADAFACTOR:
        if (k == 0)
            return s->rows ? (state_plan){"exp_avg_sq_row", s->rows} : (state_plan){"exp_avg_sq", s->count};
        if (k == 1)
            return s->rows ? (state_plan){"exp_avg_sq_col", s->columns} : none;
        return k == 2 && o->beta1 > 0 ? (state_plan){"exp_avg", s->count} : none;
    default:
        return none;
    }
}

static int64_t padded(int64_t count)
{
    return (count + 15) / 16 * 16;
}

static bool add_state(optimizer *o, const char *owner, const char *name, dtype type, int64_t count,
                      void *data)
{
    char *text = owner ? arena_format(&o->texts, "%s.%s", owner, name) : arena_text(&o->texts, name);
    if (!text)
        return false;
    o->states[o->state_count++] = (optimizer_state){text, type, SHAPE1(count), data};
    o->bytes += count * (int64_t)dtype_size(type);
    return true;
}

static kiln_status reserve(optimizer *o, kiln_error *err)
{
    int64_t floats = 0, codes = 0;
    for (size_t i = 0; i < o->count; i++) {
        for (int k = 0; k < OPTIMIZER_STATES; k++)
            floats += padded(planned(&o->options, &o->slots[i], k).count);
        if (in_8bit(&o->options, &o->slots[i]))
            codes += 2 * padded(o->slots[i].count);
    }
    o->memory_bytes[0] = floats * (int64_t)sizeof(float);
    o->memory_bytes[1] = codes;
    o->states = calloc(o->count * (OPTIMIZER_STATES + 2) + 3, sizeof *o->states);
    for (int i = 0; i < 2; i++)
        o->memory[i] = pages_new((size_t)o->memory_bytes[i]);
    if (!o->states || !o->memory[0] || !o->memory[1])
        return fail(err, KILN_NO_MEMORY, "no memory for the state of optimizer %s, %" PRId64 " bytes",
                    kind_names[o->options.kind], o->memory_bytes[0] + o->memory_bytes[1]);
    return KILN_OK;
}

/* Hand out the memory and name every state. */
static bool lay_out(optimizer *o)
{
    float *floats = o->memory[0];
    uint8_t *codes = o->memory[1];
    bool good = add_state(o, NULL, "step", DTYPE_I64, 1, &o->step) &&
                add_state(o, NULL, "steps", DTYPE_I64, (int64_t)o->count, o->slot_steps);
    if (o->options.kind == OPTIMIZER_PRODIGY)
        good = good && add_state(o, NULL, "scalars", DTYPE_F64, PRODIGY_SCALARS, o->scalars);
    for (size_t i = 0; good && i < o->count; i++) {
        slot *s = &o->slots[i];
        for (int k = 0; good && k < OPTIMIZER_STATES; k++) {
            state_plan plan = planned(&o->options, s, k);
            if (!plan.name)
                continue;
            s->state[k] = floats;
            floats += padded(plan.count);
            good = add_state(o, s->name, plan.name, DTYPE_F32, plan.count, s->state[k]);
        }
        for (int k = 0; good && k < 2 && in_8bit(&o->options, s); k++) {
            s->codes[k] = codes;
            codes += padded(s->count);
            good = add_state(o, s->name, k ? "exp_avg_sq" : "exp_avg", DTYPE_U8, s->count, s->codes[k]);
        }
        if (good && o->options.kind == OPTIMIZER_PRODIGY && s->count)
            memcpy(s->state[3], s->values, (size_t)s->count * sizeof(float));
    }
    return good;
}

static kiln_status fill_slots(optimizer *o, const optimizer_parameter *parameters, kiln_error *err)
{
    for (size_t i = 0; i < o->count; i++) {
        const optimizer_parameter *p = &parameters[i];
        slot *s = &o->slots[i];
        if (!p->name || !shape_is_valid(p->shape) || (!p->values && shape_count(p->shape) > 0) ||
            !(p->rate_factor >= 0 && p->rate_factor < 1e9))
            return fail(err, KILN_BAD_ARGUMENT, "optimizer: parameter %zu, '%s', is not complete", i,
                        p->name ? p->name : "");
        *s = (slot){.name = arena_text(&o->texts, p->name),
                    .values = p->values,
                    .count = shape_count(p->shape),
                    .decay = p->decay,
                    .rate_factor = p->rate_factor,
                    .steps = &o->slot_steps[i]};
        if (!s->name)
            return fail(err, KILN_NO_MEMORY, "no memory for an optimizer");
        bool matrix = (o->options.kind == OPTIMIZER_ADAFACTOR && p->shape.rank >= 2) ||
                      (o->options.kind == OPTIMIZER_MUON && muon_takes(p));
        if (matrix && s->count > 0) {
            s->rows = p->shape.dim[0];
            s->columns = s->count / s->rows;
        }
    }
    return KILN_OK;
}

kiln_status optimizer_new(const optimizer_options *options, const optimizer_parameter *parameters,
                          size_t count, optimizer **out, kiln_error *err)
{
    *out = NULL;
    kiln_status status = optimizer_options_check(options, err);
    if (status != KILN_OK)
        return status;
    optimizer *o = calloc(1, sizeof *o);
    if (!o)
        return fail(err, KILN_NO_MEMORY, "no memory for an optimizer");
    o->options = *options;
    o->count = count;
    o->scalars[PRODIGY_D] = o->scalars[PRODIGY_D_MAX] = options->d0;
    o->slots = calloc(count + 1, sizeof *o->slots);
    o->slot_steps = calloc(count + 1, sizeof *o->slot_steps);
    if (!o->slots || !o->slot_steps)
        status = fail(err, KILN_NO_MEMORY, "no memory for an optimizer");
    if (status == KILN_OK)
        status = fill_slots(o, parameters, err);
    if (status == KILN_OK)
        status = reserve(o, err);
    if (status == KILN_OK && !lay_out(o))
        status = fail(err, KILN_NO_MEMORY, "no memory for an optimizer");
    if (status != KILN_OK) {
        optimizer_free(o);
        return status;
    }
    *out = o;
    return KILN_OK;
}

void optimizer_free(optimizer *o)
{
    if (!o)
        return;
    for (int i = 0; i < 2; i++)
        pages_free(o->memory[i], (size_t)o->memory_bytes[i]);
    arena_fini(&o->texts);
    free(o->states);
    free(o->slot_steps);
    free(o->slots);
    free(o);
}

size_t optimizer_state_count(const optimizer *o)
{
    return o->state_count;
}

optimizer_state optimizer_state_at(optimizer *o, size_t index)
{
    return o->states[index];
}

int64_t optimizer_bytes(const optimizer *o)
{
    return o->bytes;
}

/* ------------------------------------------------------------------------------------ the step */

/* Adafactor's own rate. */
static double relative_rate(const optimizer *o)
{
    double t = (double)o->step, most = o->options.warmup_init ? 1e-6 * t : 1e-2, root = 1 / sqrt(t);
    return most < root ? most : root;
}

kiln_status optimizer_step(optimizer *o, const float *const *gradients, double learning_rate,
                           double gradient_scale, kiln_error *err)
{
    static const slot_step steps[OPTIMIZER_KINDS] = {[OPTIMIZER_ADAMW] = adamw_step,
                                                     [OPTIMIZER_ADAMW_8BIT] = adamw_8bit_step,
                                                     [OPTIMIZER_ADAFACTOR] = adafactor_step,
                                                     [OPTIMIZER_LION] = lion_step,
                                                     [OPTIMIZER_SGD] = sgd_step};
    if (!isfinite(learning_rate) || learning_rate < 0 || !isfinite(gradient_scale))
        return fail(err, KILN_BAD_ARGUMENT,
                    "optimizer: learning rate %g and gradient scale %g are not usable", learning_rate,
                    gradient_scale);
    o->step++;
    o->rate = learning_rate;
    if (o->options.kind == OPTIMIZER_ADAFACTOR && o->options.relative_step)
        o->rate = relative_rate(o);
    for (size_t i = 0; i < o->count; i++)
        o->slot_steps[i] += gradients[i] != NULL;
    if (o->options.kind == OPTIMIZER_PRODIGY) {
        prodigy_step(o, gradients, (float)gradient_scale, learning_rate);
        return KILN_OK;
    }
    if (o->options.kind == OPTIMIZER_MUON)
        return muon_step(o, gradients, (float)gradient_scale, learning_rate, err);
    for (size_t i = 0; i < o->count; i++)
        if (gradients[i] && o->slots[i].count > 0)
            steps[o->options.kind](o, &o->slots[i], gradients[i], (float)gradient_scale,
                                   o->rate * o->slots[i].rate_factor);
    return KILN_OK;
}

int64_t optimizer_steps(const optimizer *o)
{
    return o->step;
}

double optimizer_rate(const optimizer *o)
{
    return o->rate;
}
