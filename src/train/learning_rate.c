/* learning_rate.c - see learning_rate.h. */
#include "train/learning_rate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* X(enumerator, name) */
#define SCHEDULE_MAP(X)                                                                                      \
    X(CONSTANT, "constant")                                                                                  \
    X(CONSTANT_WITH_WARMUP, "constant_with_warmup")                                                          \
    X(LINEAR, "linear")                                                                                      \
    X(COSINE, "cosine")                                                                                      \
    X(COSINE_WITH_RESTARTS, "cosine_with_restarts")                                                          \
    X(POLYNOMIAL, "polynomial")                                                                              \
    X(INVERSE_SQRT, "inverse_sqrt")                                                                          \
    X(WARMUP_STABLE_DECAY, "warmup_stable_decay")                                                            \
    X(REX, "rex")

enum schedule {
#define SCHEDULE_ENUM(name, text) SCHEDULE_##name,
    SCHEDULE_MAP(SCHEDULE_ENUM)
#undef SCHEDULE_ENUM
        SCHEDULE_COUNT
};

static const char *const schedule_names[] = {
#define SCHEDULE_NAME(name, text) text,
    SCHEDULE_MAP(SCHEDULE_NAME)
#undef SCHEDULE_NAME
};

/* diffusers' polynomial ends here when no other end is asked for. */
static const double polynomial_end = 1e-7;
static const double pi = 3.14159265358979323846;

learning_rate_options learning_rate_defaults(void)
{
    return (learning_rate_options){.learning_rate = "1e-4",
                                   .lr_scheduler = "constant",
                                   .lr_decay_steps = 0.1,
                                   .lr_scheduler_num_cycles = 1,
                                   .lr_scheduler_power = 1,
                                   .train_steps = 1600};
}

static const char *after_blanks(const char *text)
{
    return text + strspn(text, " \t\r\n");
}

static kiln_status bad_list(kiln_error *err, const char *text, const char *why)
{
    return fail(err, KILN_BAD_ARGUMENT,
                "learning_rate '%s': %s (expected a number, or a list like '0.001:100, 1e-5:1000')", text,
                why);
}

/* "rate", or "rate:step, rate:step, rate". */
static kiln_status parse_rates(learning_rate *to, const char *text, kiln_error *err)
{
    int64_t before = 0;
    for (const char *at = after_blanks(text);; at = after_blanks(at + 1)) {
        if (to->pieces == LEARNING_RATE_MAX_PIECES)
            return bad_list(err, text, "more pieces than fit");
        char *end;
        double rate = strtod(at, &end);
        if (end == at || !isfinite(rate) || rate < 0)
            return bad_list(err, text, "a rate is not a number of 0 or more");
        int64_t until = 0;
        at = after_blanks(end);
        if (*at == ':') {
            at = after_blanks(at + 1);
            long long step = strtoll(at, &end, 10);
            if (end == at || step <= before)
                return bad_list(err, text, "each step is a number above the one before");
            until = before = step;
            at = after_blanks(end);
        }
        to->rate[to->pieces] = rate;
        to->until[to->pieces++] = until;
        if (!*at)
            return KILN_OK;
        if (*at != ',')
            return bad_list(err, text, "something follows a rate that is neither ':' nor ','");
        if (until == 0)
            return bad_list(err, text, "only the last rate may be without a step");
        if (!*after_blanks(at + 1))
            return KILN_OK;
    }
}

static kiln_status find_schedule(learning_rate *to, const char *name, kiln_error *err)
{
    if (!name || !*name)
        name = "constant";
    for (int i = 0; i < SCHEDULE_COUNT; i++) {
        if (!strcasecmp(name, schedule_names[i])) {
            to->kind = i;
            return KILN_OK;
        }
    }
    return fail(err, KILN_BAD_ARGUMENT,
                "lr_scheduler '%s' does not exist; there are constant, constant_with_warmup, linear, cosine, "
                "cosine_with_restarts, polynomial, inverse_sqrt, warmup_stable_decay, rex",
                name);
}

static kiln_status check(const learning_rate_options *o, kiln_error *err)
{
    if (!(o->lr_warmup_steps >= 0 && o->lr_warmup_steps < 1e15))
        return fail(err, KILN_BAD_ARGUMENT,
                    "lr_warmup_steps is a number of steps, or a share below 1, not %g", o->lr_warmup_steps);
    if (!(o->lr_decay_steps >= 0 && o->lr_decay_steps < 1e15))
        return fail(err, KILN_BAD_ARGUMENT, "lr_decay_steps is a number of steps, or a share below 1, not %g",
                    o->lr_decay_steps);
    if (!(o->lr_scheduler_min_lr_ratio >= 0 && o->lr_scheduler_min_lr_ratio <= 1))
        return fail(err, KILN_BAD_ARGUMENT, "lr_scheduler_min_lr_ratio is between 0 and 1, not %g",
                    o->lr_scheduler_min_lr_ratio);
    if (o->lr_scheduler_num_cycles < 1)
        return fail(err, KILN_BAD_ARGUMENT, "lr_scheduler_num_cycles is 1 or more, not %d",
                    o->lr_scheduler_num_cycles);
    if (!(o->lr_scheduler_power > 0 && o->lr_scheduler_power <= 100))
        return fail(err, KILN_BAD_ARGUMENT, "lr_scheduler_power is above 0 and at most 100, not %g",
                    o->lr_scheduler_power);
    if (o->train_steps < 1 || o->lr_scheduler_timescale < 0)
        return fail(err, KILN_BAD_ARGUMENT, "a learning rate needs 1 or more training steps, not %" PRId64,
                    o->train_steps);
    return KILN_OK;
}

/* A number of steps, or a share of all of them. */
static double steps_of(double value, int64_t all)
{
    return value < 1 ? floor(value * (double)all) : floor(value);
}

kiln_status learning_rate_init(learning_rate *to, const learning_rate_options *options, kiln_error *err)
{
    *to = (learning_rate){0};
    kiln_status status = check(options, err);
    if (status == KILN_OK)
        status = find_schedule(to, options->lr_scheduler, err);
    if (status == KILN_OK && !options->learning_rate)
        status = fail(err, KILN_BAD_ARGUMENT, "learning_rate is not given");
    if (status == KILN_OK)
        status = parse_rates(to, options->learning_rate, err);
    if (status != KILN_OK)
        return status;
    bool stepped = to->pieces > 1 || to->until[0] > 0;
    if (stepped && to->kind != SCHEDULE_CONSTANT)
        return fail(err, KILN_BAD_ARGUMENT,
                    "a learning_rate in steps ('%s') goes with lr_scheduler constant, not %s",
                    options->learning_rate, schedule_names[to->kind]);
    to->steps = options->train_steps;
    to->cycles = options->lr_scheduler_num_cycles;
    to->power = options->lr_scheduler_power;
    to->least = options->lr_scheduler_min_lr_ratio;
    to->warmup = to->kind == SCHEDULE_CONSTANT ? 0 : steps_of(options->lr_warmup_steps, to->steps);
    to->decay = steps_of(options->lr_decay_steps, to->steps);
    to->timescale = (double)options->lr_scheduler_timescale;
    if (to->timescale <= 0)
        to->timescale = to->warmup > 0 ? to->warmup : 10000;
    return KILN_OK;
}

static double stepped(const learning_rate *rate, int64_t step)
{
    for (int i = 0; i < rate->pieces; i++)
        if (rate->until[i] == 0 || step < rate->until[i])
            return rate->rate[i];
    return rate->rate[rate->pieces - 1];
}

/* From 1 down to `least` as `share` goes from 1 to 0. */
static double above(double share, double least)
{
    return least + (1 - least) * share;
}

static double stable_then_decay(const learning_rate *rate, double step)
{
    double begin = (double)rate->steps - rate->decay;
    if (begin < rate->warmup)
        begin = rate->warmup;
    double left = (double)rate->steps - begin;
    if (step < begin || left <= 0)
        return 1;
    double part = step < (double)rate->steps ? (step - begin) / left : 1;
    return above(0.5 * (1 + cos(pi * part)), rate->least);
}

/* The share of the rate after warm-up. */
static double share(const learning_rate *rate, double step)
{
    double length = (double)rate->steps - rate->warmup;
    double part = length > 0 ? (step - rate->warmup) / length : 1;
    part = part < 0 ? 0 : part > 1 ? 1 : part;
    switch (rate->kind) {
    case SCHEDULE_LINEAR:
        return above(1 - part, rate->least);
    case SCHEDULE_COSINE:
        return above(0.5 * (1 + cos(pi * part)), rate->least);
    case SCHEDULE_COSINE_WITH_RESTARTS:
        return part >= 1 ? rate->least
                         : above(0.5 * (1 + cos(pi * fmod(rate->cycles * part, 1.0))), rate->least);
    case SCHEDULE_POLYNOMIAL: {
        double end = rate->least > 0                  ? rate->least
                     : rate->rate[0] > polynomial_end ? polynomial_end / rate->rate[0]
                                                      : 0;
        return above(pow(1 - part, rate->power), end);
    }
    case SCHEDULE_INVERSE_SQRT:
        return 1 / sqrt((step + rate->timescale - rate->warmup) / rate->timescale);
    case SCHEDULE_WARMUP_STABLE_DECAY:
        return stable_then_decay(rate, step);
    case SCHEDULE_REX:
        return above((1 - part) / (1 - 0.5 * part), rate->least);
    default:
        return 1;
    }
}

double learning_rate_at(const learning_rate *rate, int64_t step)
{
    if (rate->kind == SCHEDULE_CONSTANT)
        return stepped(rate, step);
    double at = step < 0 ? 0 : (double)step;
    if (at < rate->warmup)
        return rate->rate[0] * at / rate->warmup;
    return rate->rate[0] * share(rate, at);
}

int64_t learning_rate_last_step(const learning_rate *rate)
{
    return rate->until[rate->pieces - 1];
}
