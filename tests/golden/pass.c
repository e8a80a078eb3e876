/* pass.c - see pass.h. */
#include "golden/pass.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void give_up(pass *p, const char *why)
{
    if (!p->failed)
        golden_failure(p->report, p->group, p->id, why);
    p->failed = true;
}

/* With the graph finished and its parameters' source known. */
static void start(pass *p, parameter_source source, const pass_options *options)
{
    kiln_error err = {.text = "out of memory"};
    p->store = packed_store_new(source);
    if (!p->store || plan_compile(p->graph, &options->plan, p->store, &p->plan, &err) ||
        run_new(p->plan, &p->run, &err))
        give_up(p, err.text);
}

void pass_open(pass *p, graph *drawn, const weights_place *place, const pass_options *options,
               golden_report *report, const char *group, const char *id)
{
    *p = (pass){.graph = drawn, .report = report, .group = group, .id = id, .limit = options->limit};
    kiln_error err = {.text = "out of memory"};
    if (!drawn || graph_finish(drawn, &err) || weights_bind(drawn, place, 1, &p->weights, &err))
        give_up(p, err.text);
    else
        start(p, weights_source(p->weights), options);
}

void pass_open_from(pass *p, graph *drawn, parameter_source source, const pass_options *options,
                    golden_report *report, const char *group, const char *id)
{
    *p = (pass){.graph = drawn, .report = report, .group = group, .id = id, .limit = options->limit};
    kiln_error err = {.text = "out of memory"};
    if (!drawn || graph_finish(drawn, &err))
        give_up(p, err.text);
    else
        start(p, source, options);
}

void pass_close(pass *p)
{
    run_free(p->run);
    plan_free(p->plan);
    packed_store_free(p->store);
    weights_free(p->weights);
    graph_free(p->graph);
    *p = (pass){0};
}

/* Where element i of an [N,H,W,C] value lies in [N,C,H,W]; other ranks are alike in both. */
static size_t torch_index(shape s, size_t i)
{
    if (s.rank != 4)
        return i;
    size_t area = (size_t)(s.dim[1] * s.dim[2]), channels = (size_t)s.dim[3];
    size_t n = i / (area * channels), position = i / channels % area, c = i % channels;
    return (n * channels + c) * area + position;
}

static const node *node_of(const named_value *list, int count, const graph *g, const char *name)
{
    for (int i = 0; i < count; i++)
        if (strcmp(list[i].name, name) == 0)
            return graph_node(g, list[i].value);
    return NULL;
}

static void fill(void *to, const node *n, const float *values)
{
    size_t count = (size_t)shape_count(n->shape);
    for (size_t i = 0; i < count; i++) {
        float v = values[torch_index(n->shape, i)];
        if (n->type == DTYPE_I32)
            ((int32_t *)to)[i] = (int32_t)v;
        else
            ((float *)to)[i] = v;
    }
}

void pass_input(pass *p, const char *input, const tensor_file *golden, const char *tensor)
{
    if (p->failed)
        return;
    size_t count = 0;
    float *values = golden_tensor(golden, tensor, &count);
    const node *n = node_of(p->graph->inputs, p->graph->input_count, p->graph, input);
    void *to = run_input(p->run, input);
    if (!values || !n || !to || count != (size_t)shape_count(n->shape))
        give_up(p, tensor);
    else
        fill(to, n, values);
    free(values);
}

void pass_input_ids(pass *p, const char *input, const int32_t *ids, size_t count)
{
    if (p->failed)
        return;
    void *to = run_input(p->run, input);
    if (to)
        memcpy(to, ids, count * sizeof *ids);
    else
        give_up(p, input);
}

void pass_run(pass *p)
{
    kiln_error err;
    if (!p->failed && plan_run(p->plan, p->run, NULL, NULL, NULL, &err))
        give_up(p, err.text);
}

/* Compare, element by element of the reference. `channels` is that of the value, `first` where the reference
 * begins. */
static double difference(const float *got, shape s, const float *expected, size_t count, int first,
                         int64_t channels, float low, float high)
{
    double scale = 0, worst = 0;
    size_t width = (size_t)s.dim[s.rank - 1];
    for (size_t i = 0; i < count; i++) {
        size_t k = i / width * (size_t)channels + (size_t)first + i % width;
        double e = expected[torch_index(s, i)], d = fabs(fmin(fmax((double)got[k], low), high) - e);
        if (isnan(got[k]))
            return NAN;
        scale = fmax(scale, fabs(e));
        worst = fmax(worst, d);
    }
    return worst / (scale > 0 ? scale : 1);
}

void pass_compare_channels(pass *p, const char *output, const tensor_file *golden, const char *tensor,
                           int first, float low, float high)
{
    if (p->failed || !tensor_file_find(golden, tensor))
        return;
    size_t count = 0;
    float *expected = golden_tensor(golden, tensor, &count);
    const node *n = node_of(p->graph->outputs, p->graph->output_count, p->graph, output);
    if (!n)
        n = node_of(p->graph->taps, p->graph->tap_count, p->graph, output);
    const float *got = run_output(p->run, output);
    shape s = tensor_file_find(golden, tensor)->shape;
    if (!n || !got || !expected || count > (size_t)shape_count(n->shape) || s.rank != n->shape.rank) {
        give_up(p, tensor);
    } else {
        shape ours = s.rank == 4 ? SHAPE4(s.dim[0], s.dim[2], s.dim[3], s.dim[1]) : s;
        int64_t channels = n->shape.dim[n->shape.rank - 1];
        double error = first + ours.dim[ours.rank - 1] <= channels
                           ? difference(got, ours, expected, count, first, channels, low, high)
                           : NAN;
        golden_result(p->report, p->group, p->id, tensor, error, p->limit);
    }
    free(expected);
}

void pass_compare(pass *p, const char *output, const tensor_file *golden, const char *tensor)
{
    pass_compare_channels(p, output, golden, tensor, 0, -HUGE_VALF, HUGE_VALF);
}
