/* session.c - see session.h. */
#include "pipeline/hypernetworks.h"
#include "pipeline/loras.h"

#include <stdlib.h>
#include <string.h>

kiln_status kiln_session_new(kiln_model *model, kiln_session **out, kiln_error *err)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return fail(err, KILN_NO_MEMORY, "out of memory for a session");
    (*out)->model = model;
    atomic_fetch_add(&model->sessions, 1);
    return KILN_OK;
}

static void forget(kiln_session *s, int i)
{
    plan_free(s->plans[i].plan);
    graph_free(s->plans[i].graph);
    s->plans[i] = s->plans[--s->plan_count];
}

void kiln_session_free(kiln_session *s)
{
    if (!s)
        return;
    while (s->plan_count)
        forget(s, s->plan_count - 1);
    session_drop_hypernetworks(s);
    session_loras_free(s->loras);
    profile_free(s->profile);
    atomic_fetch_sub(&s->model->sessions, 1);
    free(s);
}

void kiln_session_cancel(kiln_session *s)
{
    atomic_store(&s->cancel, true);
}

void session_begin(kiln_session *s)
{
    atomic_store(&s->cancel, false);
    s->evaluations = 0;
}

void session_drop(kiln_session *s, network_kind kind)
{
    for (int i = s->plan_count - 1; i >= 0; i--)
        if (s->plans[i].kind == kind)
            forget(s, i);
}

static bool same_shape(const network_shape *a, const network_shape *b)
{
    return a->batch == b->batch && a->height == b->height && a->width == b->width && a->tokens == b->tokens &&
           a->outputs == b->outputs && a->skip == b->skip && a->word_vectors == b->word_vectors &&
           a->control == b->control && a->image_prompts == b->image_prompts &&
           memcmp(a->image_tokens, b->image_tokens, sizeof a->image_tokens) == 0;
}

static void make_room(kiln_session *s)
{
    if (s->plan_count < SESSION_PLANS)
        return;
    int oldest = 0;
    for (int i = 1; i < s->plan_count; i++)
        if (s->plans[i].used < s->plans[oldest].used)
            oldest = i;
    forget(s, oldest);
}

/* A plan is being made: go on? The listener hears of every fiftieth. */
static bool on_loading(void *self, int64_t done, int64_t total)
{
    kiln_session *s = self;
    if (atomic_load(&s->cancel))
        return false;
    bool news =
        done == 0 || done - s->loading_told >= total / 50 || (done == total && s->loading_told < done);
    if (!s->loading || !news)
        return true;
    s->loading_told = done;
    return s->loading(s->loading_self, done, total);
}

/* The same while a plan is only measured, which is not worth a word. */
static bool on_measuring(void *self, int64_t done, int64_t total)
{
    (void)done;
    (void)total;
    return !atomic_load(&((const kiln_session *)self)->cancel);
}

static plan_options options_of(kiln_session *s, bool (*loading)(void *, int64_t, int64_t))
{
    plan_options o = s->model->plan;
    o.loading = loading;
    o.loading_self = s;
    return o;
}

kiln_status session_get_plan(kiln_session *s, network_kind kind, const network_shape *size, const plan **out,
                             kiln_error *err)
{
    *out = NULL;
    for (int i = 0; i < s->plan_count; i++)
        if (s->plans[i].kind == kind && same_shape(&s->plans[i].shape, size)) {
            s->plans[i].used = ++s->clock;
            *out = s->plans[i].plan;
            return KILN_OK;
        }
    make_room(s);
    session_plan made = {.kind = kind, .shape = *size, .used = ++s->clock};
    kiln_status status = model_draw_network(s->model, kind, size, session_hooks(s, kind), &made.graph, err);
    plan_options options = options_of(s, on_loading);
    if (status == KILN_OK)
        status = plan_compile(made.graph, &options, session_bent_store(s, kind), &made.plan, err);
    if (status != KILN_OK) {
        graph_free(made.graph);
        return status;
    }
    s->plans[s->plan_count++] = made;
    *out = made.plan;
    return KILN_OK;
}

kiln_status session_measure(kiln_session *s, network_kind kind, const network_shape *size,
                            int64_t *activations, int64_t *packed_bytes, kiln_error *err)
{
    *activations = *packed_bytes = 0;
    graph *g = NULL;
    plan *p = NULL;
    packed_store *store = packed_store_new((parameter_source){0});
    if (!store)
        return fail(err, KILN_NO_MEMORY, "out of memory while planning");
    kiln_status status = model_draw_network(s->model, kind, size, session_hooks(s, kind), &g, err);
    plan_options options = options_of(s, on_measuring);
    if (status == KILN_OK)
        status = plan_compile(g, &options, store, &p, err);
    if (status == KILN_OK) {
        *activations = (int64_t)plan_arena_bytes(p);
        *packed_bytes = (int64_t)packed_store_bytes(store);
    }
    plan_free(p);
    packed_store_free(store);
    graph_free(g);
    return status;
}

void kiln_session_trace(kiln_session *s, kiln_trace_function trace, void *user, bool statistics)
{
    s->trace = trace;
    s->trace_user = user;
    s->trace_statistics = statistics;
}

void kiln_session_profile(kiln_session *s, bool on)
{
    profile_free(s->profile);
    s->profile = on ? profile_new() : NULL;
}

kiln_status kiln_session_profile_text(kiln_session *s, char **text, kiln_error *err)
{
    *text = NULL;
    if (!s->profile)
        return fail(err, KILN_BAD_ARGUMENT, "profiling is not on");
    size_t size = 0;
    FILE *to = open_memstream(text, &size);
    if (!to)
        return fail(err, KILN_NO_MEMORY, "out of memory for the profile");
    profile_write(s->profile, to);
    if (fclose(to) != 0) {
        free(*text);
        *text = NULL;
        return fail(err, KILN_NO_MEMORY, "out of memory for the profile");
    }
    return KILN_OK;
}

static void on_node(void *self, const trace_row *row)
{
    kiln_session *s = self;
    if (s->profile)
        profile_add(s->profile, row);
    if (!s->trace)
        return;
    kiln_trace t = {.path = row->path,
                    .op = row->op,
                    .kernel = row->label,
                    .rank = row->shape.rank,
                    .shape = row->shape.dim,
                    .microseconds = row->microseconds,
                    .flops = row->flops,
                    .bytes = row->bytes};
    if (s->trace_statistics) {
        value_statistics v = trace_statistics(row);
        t.minimum = v.minimum;
        t.mean = v.mean;
        t.maximum = v.maximum;
        t.not_finite = v.not_finite;
    }
    s->trace(s->trace_user, &t);
}

kiln_status session_run(kiln_session *s, const plan *p, run *r, kiln_error *err)
{
    bool watched = s->profile || s->trace;
    return plan_run(p, r, &s->cancel, watched ? on_node : NULL, s, err);
}
