/* graph.c - nodes, parameters, places and the sticky error; see graph.h. */
#include "graph/graph.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

graph *graph_new(void)
{
    return calloc(1, sizeof(graph));
}

void graph_free(graph *g)
{
    if (!g)
        return;
    arena_fini(&g->arena);
    free(g->nodes);
    free(g->parameters);
    free(g->parameter_table);
    free(g->inputs);
    free(g->outputs);
    free(g->taps);
    free(g->segments);
    free(g);
}

kiln_status graph_finish(const graph *g, kiln_error *err)
{
    if (g->error.status != KILN_OK && err)
        *err = g->error;
    return g->error.status;
}

static value no_memory(graph *g)
{
    if (g->error.status == KILN_OK)
        fail(&g->error, KILN_NO_MEMORY, "out of memory while drawing the graph");
    return NO_VALUE;
}

/* ------------------------------------------------------------------------------------ places */

at graph_root(graph *g)
{
    return (at){.graph = g};
}

bool graph_failed(at a)
{
    return a.graph->error.status != KILN_OK;
}

value graph_fail(at a, const char *format, ...)
{
    if (graph_failed(a))
        return NO_VALUE;
    char text[700];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fail(&a.graph->error, KILN_MISMATCH, "%s%s%s", a.canonical, a.canonical[0] ? ": " : "", text);
    return NO_VALUE;
}

static void append(at a, char *path, const char *segment)
{
    size_t used = strlen(path), length = strlen(segment);
    if (length == 0)
        return;
    if (used + length + 2 > PATH_TEXT) {
        graph_fail(a, "the path is longer than %d characters", PATH_TEXT);
        return;
    }
    if (used)
        path[used++] = '.';
    memcpy(path + used, segment, length + 1);
}

at in(at a, const char *canonical, const char *original)
{
    at child = a;
    append(a, child.canonical, canonical);
    append(a, child.original, original);
    return child;
}

at same(at a, const char *name)
{
    return in(a, name, name);
}

at in_numbered(at a, const char *canonical_format, int i, const char *original_format, int j)
{
    char canonical[PATH_TEXT], original[PATH_TEXT];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(canonical, sizeof canonical, canonical_format, i);
    snprintf(original, sizeof original, original_format, j);
#pragma GCC diagnostic pop
    return in(a, canonical, original);
}

/* ------------------------------------------------------------------------------------ nodes */

static bool grow(void **array, int count, int *capacity, size_t element)
{
    if (count < *capacity)
        return true;
    int larger = *capacity ? *capacity * 2 : 256;
    void *p = realloc(*array, (size_t)larger * element);
    if (!p)
        return false;
    *array = p;
    *capacity = larger;
    return true;
}

static value append_node(graph *g, const node *n)
{
    if (g->node_count == 0)
        g->node_count = 1; /* nodes[0] stays unused: value {0} is none */
    if (!grow((void **)&g->nodes, g->node_count, &g->node_capacity, sizeof *g->nodes))
        return no_memory(g);
    if (g->node_count == 1)
        g->nodes[0] = (node){.op = OP_NONE, .parameter = -1, .path = ""};
    g->nodes[g->node_count] = *n;
    return (value){g->node_count++};
}

value graph_emit(at a, op_kind op, shape s, dtype type, int input_count, const value *inputs,
                 const op_attributes *attributes)
{
    if (graph_failed(a))
        return NO_VALUE;
    if (!shape_is_valid(s) || shape_count(s) <= 0) {
        char text[SHAPE_TEXT];
        return graph_fail(a, "the result would have the impossible shape %s", shape_text(s, text));
    }
    node n = {.op = op, .shape = s, .type = type, .input_count = input_count, .parameter = -1};
    for (int i = 0; i < input_count; i++)
        n.input[i] = inputs[i];
    if (attributes)
        n.attributes = *attributes;
    n.path = arena_text(&a.graph->arena, a.canonical);
    if (!n.path)
        return no_memory(a.graph);
    return append_node(a.graph, &n);
}

value graph_repeat(graph *g, value v, const value *inputs)
{
    if (g->error.status != KILN_OK || !v.index)
        return NO_VALUE;
    node n = g->nodes[v.index];
    for (int i = 0; i < n.input_count; i++)
        n.input[i] = inputs[i];
    return append_node(g, &n);
}

void graph_segment(at a)
{
    graph *g = a.graph;
    int first = g->node_count ? g->node_count : 1;
    if (graph_failed(a) || (g->segment_count && g->segments[g->segment_count - 1] == first))
        return;
    if (!grow((void **)&g->segments, g->segment_count, &g->segment_capacity, sizeof *g->segments)) {
        no_memory(g);
        return;
    }
    g->segments[g->segment_count++] = first;
}

/* ------------------------------------------------------------------------------------ parameters */

static uint32_t hash_text(const char *text)
{
    uint32_t h = 2166136261u;
    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * 16777619u;
    return h;
}

static bool table_grow(graph *g)
{
    if (g->parameter_count * 2 < g->parameter_table_size)
        return true;
    int size = g->parameter_table_size ? g->parameter_table_size * 2 : 1024;
    int *table = malloc((size_t)size * sizeof *table);
    if (!table)
        return false;
    for (int i = 0; i < size; i++)
        table[i] = -1;
    for (int i = 0; i < g->parameter_count; i++) {
        uint32_t slot = hash_text(g->parameters[i].canonical) & (uint32_t)(size - 1);
        while (table[slot] >= 0)
            slot = (slot + 1) & (uint32_t)(size - 1);
        table[slot] = i;
    }
    free(g->parameter_table);
    g->parameter_table = table;
    g->parameter_table_size = size;
    return true;
}

int graph_find_parameter(const graph *g, const char *canonical)
{
    if (g->parameter_table_size == 0)
        return -1;
    uint32_t mask = (uint32_t)(g->parameter_table_size - 1), slot = hash_text(canonical) & mask;
    for (; g->parameter_table[slot] >= 0; slot = (slot + 1) & mask)
        if (strcmp(g->parameters[g->parameter_table[slot]].canonical, canonical) == 0)
            return g->parameter_table[slot];
    return -1;
}

/* The name of a leaf in a dialect: the path, then the leaf where the marks want it (see in()). The storage marks
 * [k/n] and ^T stay at the end, for the binding to read. */
static bool leaf_name(const char *path, const char *leaf, char name[PATH_TEXT + 64])
{
    size_t base = strcspn(path, "[^");
    const char *storage = path + base;
    const char *star = memchr(path, '*', base), *bang = memchr(path, '!', base);
    int length;
    if (star)
        length = snprintf(name, PATH_TEXT + 64, "%.*s%s%.*s%s", (int)(star - path), path, leaf,
                          (int)(base - (size_t)(star - path) - 1), star + 1, storage);
    else if (bang)
        length = snprintf(name, PATH_TEXT + 64, "%.*s%s", (int)(bang - path), path, storage);
    else
        length =
            snprintf(name, PATH_TEXT + 64, "%.*s%s%s%s", (int)base, path, base ? "." : "", leaf, storage);
    return length < PATH_TEXT + 64;
}

static value declare(at a, const char *canonical, const char *original, shape s, parameter_role role)
{
    graph *g = a.graph;
    if (!table_grow(g) ||
        !grow((void **)&g->parameters, g->parameter_count, &g->parameter_capacity, sizeof *g->parameters))
        return no_memory(g);
    parameter p = {.shape = s, .role = role};
    p.canonical = arena_text(&g->arena, canonical);
    p.original = arena_text(&g->arena, original);
    if (!p.canonical || !p.original)
        return no_memory(g);
    node n = {.op = OP_PARAMETER,
              .shape = s,
              .type = DTYPE_F32,
              .parameter = g->parameter_count,
              .path = p.canonical};
    p.value = append_node(g, &n);
    if (!p.value.index)
        return NO_VALUE;
    uint32_t mask = (uint32_t)(g->parameter_table_size - 1), slot = hash_text(p.canonical) & mask;
    while (g->parameter_table[slot] >= 0)
        slot = (slot + 1) & mask;
    g->parameter_table[slot] = g->parameter_count;
    g->parameters[g->parameter_count++] = p;
    return p.value;
}

value graph_parameter(at a, const char *leaf, shape s, parameter_role role)
{
    if (graph_failed(a))
        return NO_VALUE;
    char canonical[PATH_TEXT + 64], original[PATH_TEXT + 64], want[SHAPE_TEXT], have[SHAPE_TEXT];
    if (!leaf_name(a.canonical, leaf, canonical) || !leaf_name(a.original, leaf, original))
        return graph_fail(a, "the name of parameter '%s' is too long", leaf);
    if (!shape_is_valid(s) || shape_count(s) <= 0)
        return graph_fail(a, "parameter '%s' would have the impossible shape %s", leaf, shape_text(s, want));
    int known = graph_find_parameter(a.graph, canonical);
    if (known < 0)
        return declare(a, canonical, original, s, role);
    if (!shape_equal(a.graph->parameters[known].shape, s))
        return graph_fail(a, "parameter '%s' is used with the shapes %s and %s", leaf,
                          shape_text(a.graph->parameters[known].shape, have), shape_text(s, want));
    return a.graph->parameters[known].value;
}

int64_t graph_parameter_elements(const graph *g)
{
    int64_t n = 0;
    for (int i = 0; i < g->parameter_count; i++)
        n += shape_count(g->parameters[i].shape);
    return n;
}

/* ------------------------------------------------------------------------------------ named values */

static void remember(graph *g, named_value **list, int *count, const char *name, value v)
{
    named_value *larger = realloc(*list, (size_t)(*count + 1) * sizeof *larger);
    const char *copy = larger ? arena_text(&g->arena, name) : NULL;
    if (larger)
        *list = larger;
    if (!copy) {
        no_memory(g);
        return;
    }
    larger[(*count)++] = (named_value){copy, v};
}

value graph_input(graph *g, const char *name, shape s, dtype type)
{
    at a = in(graph_root(g), name, "");
    value v = graph_emit(a, OP_INPUT, s, type, 0, NULL, NULL);
    if (v.index)
        remember(g, &g->inputs, &g->input_count, name, v);
    return v;
}

void graph_output(graph *g, const char *name, value v)
{
    if (v.index)
        remember(g, &g->outputs, &g->output_count, name, v);
}

value graph_tap(at a, value v)
{
    return graph_tap_named(a.graph, a.canonical, v);
}

value graph_tap_named(graph *g, const char *name, value v)
{
    if (v.index)
        remember(g, &g->taps, &g->tap_count, name, v);
    return v;
}
