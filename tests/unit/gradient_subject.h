/* gradient_subject.h - what test_gradient.c differentiates: a drawn graph, compiled, with its inputs filled.
 *
 * Include it after the headers of the test, cmocka.h last but this. */
#ifndef KILN_TESTS_GRADIENT_SUBJECT_H
#define KILN_TESTS_GRADIENT_SUBJECT_H

/* A graph with inputs in0, in1, ...; outputs y and, of the drawn gradients, d0, d1, ... */
typedef struct subject {
    graph *graph;
    packed_store *store;
    plan *plan;
    run *run;
    value input[16];
    filling filling[16];
    int inputs;
    value y, weighting;
} subject;

static float random_number(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (float)(*state >> 8) / 8388608.0f - 1;
}

static void fill_floats(float *to, int64_t n, filling how, uint32_t seed)
{
    uint32_t state = seed * 7919u + 17u;
    for (int64_t i = 0; i < n; i++) {
        float x = random_number(&state), size = fabsf(x);
        if (how == BENT_0)
            size = 0.15f + 0.85f * size;
        else if (how == BENT_HALF)
            size = size < 0.5f ? 0.8f * size : 0.6f + 0.8f * (size - 0.5f);
        to[i] = copysignf(size, x);
    }
}

static void fill_ids(int32_t *to, int64_t n)
{
    static const int32_t ids[] = {3, 1, 3, 99, 0, 4};
    for (int64_t i = 0; i < n; i++)
        to[i] = ids[i % 6];
}

static const char *numbered(char text[16], const char *name, int i)
{
    snprintf(text, 16, "%s%d", name, i);
    return text;
}

static value add_input(subject *s, shape size, filling how)
{
    char name[16];
    value v =
        graph_input(s->graph, numbered(name, "in", s->inputs), size, how == IDS ? DTYPE_I32 : DTYPE_F32);
    s->filling[s->inputs] = how;
    return s->input[s->inputs++] = v;
}

/* The loss, mean(y * weighting), and its gradients by every SMOOTH or BENT input. */
static void differentiate(subject *s)
{
    at a = graph_root(s->graph);
    value loss = op_mean(a, op_multiply(a, s->y, s->weighting)), wanted[16], gradient[16];
    int count = 0;
    for (int i = 0; i < s->inputs; i++)
        if (s->filling[i] != FIXED && s->filling[i] != IDS)
            wanted[count++] = s->input[i];
    kiln_error err = {0};
    if (graph_gradient(s->graph, loss, wanted, count, gradient, &err) != KILN_OK)
        fail_msg("%s", err.text);
    char name[16];
    for (int i = 0, k = 0; i < s->inputs; i++)
        if (s->filling[i] != FIXED && s->filling[i] != IDS) {
            shape want = graph_node(s->graph, s->input[i])->shape,
                  got = graph_node(s->graph, gradient[k])->shape;
            assert_true(shape_equal(want, got));
            graph_output(s->graph, numbered(name, "d", i), gradient[k++]);
        }
}

static void finish_drawing(subject *s, value y)
{
    kiln_error err = {0};
    if (graph_finish(s->graph, &err) != KILN_OK)
        fail_msg("%s", err.text);
    s->y = y;
    s->weighting = graph_input(s->graph, "weighting", graph_node(s->graph, y)->shape, DTYPE_F32);
    graph_output(s->graph, "y", y);
}

static void compile_for(subject *s, const backend *by, bool fuse, dtype precision)
{
    kiln_error err = {0};
    plan_options options = {
        .backend = by, .compute = precision, .threads = 1, .fuse = fuse, .fuse_norms = fuse};
    s->store = packed_store_new((parameter_source){0});
    assert_non_null(s->store);
    if (plan_compile(s->graph, &options, s->store, &s->plan, &err) != KILN_OK ||
        run_new(s->plan, &s->run, &err) != KILN_OK)
        fail_msg("%s", err.text);
    char name[16];
    for (int i = 0; i < s->inputs; i++) {
        int64_t n = shape_count(graph_node(s->graph, s->input[i])->shape);
        void *to = run_input(s->run, numbered(name, "in", i));
        if (s->filling[i] == IDS)
            fill_ids(to, n);
        else
            fill_floats(to, n, s->filling[i], (uint32_t)i + 1);
    }
    fill_floats(run_input(s->run, "weighting"), shape_count(graph_node(s->graph, s->y)->shape), SMOOTH, 99);
}

static void compile(subject *s, const backend *by, bool fuse)
{
    compile_for(s, by, fuse, DTYPE_F32);
}

static void subject_free(subject *s)
{
    run_free(s->run);
    plan_free(s->plan);
    packed_store_free(s->store);
    graph_free(s->graph);
}

static void run_once(subject *s)
{
    kiln_error err = {0};
    if (plan_run(s->plan, s->run, NULL, NULL, NULL, &err) != KILN_OK)
        fail_msg("%s", err.text);
}

#endif
