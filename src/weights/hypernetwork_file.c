/* hypernetwork_file.c - see hypernetwork_file.h. */
#include "weights/hypernetwork_file.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------------ what it says of itself */

/* A pickle's value or the metadata of safetensors; NULL for None too. */
static const char *word(const tensor_file *f, const char *key)
{
    const char *text = tensor_file_value(f, key);
    text = text ? text : tensor_file_metadata(f, key);
    return text && strcmp(text, "None") != 0 ? text : NULL;
}

static bool truth(const tensor_file *f, const char *key, bool otherwise)
{
    const char *text = word(f, key);
    return text ? strcmp(text, "true") == 0 || strcmp(text, "True") == 0 : otherwise;
}

/* A list: "key.0", "key.1", ... of a pickle, or one text. Count, 0 when there is none, -1 when it is no list. */
static int list(const tensor_file *f, const char *key, double numbers[HYPERNETWORK_MAX_LAYERS + 1])
{
    int count = 0;
    char path[64];
    if (word(f, key))
        return hypernetwork_read_list(word(f, key), numbers);
    for (;; count++) {
        snprintf(path, sizeof path, "%s.%d", key, count);
        const char *text = tensor_file_value(f, path);
        if (!text)
            return count;
        char *end;
        double v = strtod(text, &end);
        if (end == text || *end || count > HYPERNETWORK_MAX_LAYERS)
            return -1;
        numbers[count] = v;
    }
}

static kiln_status read_structure(const tensor_file *f, hypernetwork_config *c, bool last_layer_dropout,
                                  kiln_error *err)
{
    const char *path = tensor_file_path(f);
    int count = list(f, "layer_structure", c->structure);
    if (count < 0 || count == 1)
        return fail(err, KILN_BAD_FORMAT, "%s: layer_structure is no list of 2 to %d numbers", path,
                    HYPERNETWORK_MAX_LAYERS + 1);
    c->layers = count ? count - 1 : c->layers;
    double dropout[HYPERNETWORK_MAX_LAYERS + 1] = {0};
    int dropouts = list(f, "dropout_structure", dropout);
    if (dropouts < 0 || (dropouts && dropouts != c->layers + 1))
        return fail(err, KILN_BAD_FORMAT, "%s: dropout_structure has %d numbers, layer_structure has %d",
                    path, dropouts, c->layers + 1);
    if (dropouts)
        memcpy(c->dropout, dropout, sizeof dropout);
    else if (truth(f, "use_dropout", false))
        hypernetwork_standard_dropout(c->layers + 1, last_layer_dropout, c->dropout);
    return KILN_OK;
}

static int ascending(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;
    return (x > y) - (x < y);
}

/* The widths that tensors are named by. */
static kiln_status read_widths(const tensor_file *f, hypernetwork_config *c, kiln_error *err)
{
    for (size_t i = 0; i < tensor_file_count(f); i++) {
        const char *name = tensor_file_entry(f, i)->name;
        char *rest = NULL;
        long width = isdigit((unsigned char)*name) ? strtol(name, &rest, 10) : 0;
        if (width < 1 || width > HYPERNETWORK_MAX_WIDTH ||
            (strncmp(rest, ".0.linear", 9) != 0 && strncmp(rest, ".1.linear", 9) != 0))
            return fail(err, KILN_BAD_FORMAT, "%s is no hypernetwork: it has a tensor '%.80s'",
                        tensor_file_path(f), name);
        bool known = false;
        for (int w = 0; w < c->width_count; w++)
            known |= c->widths[w] == (int)width;
        if (!known && c->width_count == HYPERNETWORK_MAX_WIDTHS)
            return fail(err, KILN_BAD_FORMAT, "%s: more than %d widths", tensor_file_path(f),
                        HYPERNETWORK_MAX_WIDTHS);
        if (!known)
            c->widths[c->width_count++] = (int)width;
    }
    if (!c->width_count)
        return fail(err, KILN_BAD_FORMAT, "%s is no hypernetwork: it has no networks", tensor_file_path(f));
    qsort(c->widths, (size_t)c->width_count, sizeof *c->widths, ascending);
    return KILN_OK;
}

static kiln_status read_config(hypernetwork_file *h, kiln_error *err)
{
    const tensor_file *f = h->file;
    hypernetwork_config *c = &h->config;
    *c = hypernetwork_defaults();
    h->words = (hypernetwork_words){.name = word(f, "name"),
                                    .weight_initialization = word(f, "weight_initialization"),
                                    .sd_checkpoint = word(f, "sd_checkpoint"),
                                    .sd_checkpoint_name = word(f, "sd_checkpoint_name"),
                                    .optional_info = word(f, "optional_info"),
                                    .step = word(f, "step") ? strtoll(word(f, "step"), NULL, 10) : 0,
                                    .last_layer_dropout = truth(f, "last_layer_dropout", false)};
    kiln_status status = read_widths(f, c, err);
    if (!status)
        status = read_structure(f, c, h->words.last_layer_dropout, err);
    if (!status)
        status =
            hypernetwork_activation_of(word(f, "activation_func"), tensor_file_path(f), &c->activation, err);
    c->layer_norm = truth(f, "is_layer_norm", false);
    c->activate_output = truth(f, "activate_output", true);
    return status ? status : hypernetwork_check(c, tensor_file_path(f), err);
}

/* ------------------------------------------------------------------------------------ tensors */

/* "768.0.linear.1.bias" was "768.0.linear2.bias". */
static const tensor_entry *find_tensor(const tensor_file *f, const char *name)
{
    char old[HYPERNETWORK_NAME];
    const char *dot = strstr(name, ".linear.");
    const tensor_entry *e = tensor_file_find(f, name);
    if (e || !dot)
        return e;
    char *rest;
    long position = strtol(dot + 8, &rest, 10);
    snprintf(old, sizeof old, "%.*s.linear%ld%s", (int)(dot - name), name, position + 1, rest);
    return tensor_file_find(f, old);
}

static kiln_status read_values(hypernetwork_file *h, kiln_error *err)
{
    const char *path = tensor_file_path(h->file);
    hypernetwork_parameter p;
    size_t taken = 0;
    for (int pass = 0; pass < 2; pass++) {
        int64_t done = 0;
        for (int i = 0; hypernetwork_parameter_at(&h->config, i, &p); i++, done += shape_count(p.shape)) {
            char found[SHAPE_TEXT], expected[SHAPE_TEXT];
            const tensor_entry *e = find_tensor(h->file, p.name);
            if (!e)
                return fail(err, KILN_BAD_FORMAT, "%s: '%s' is missing, which its layer_structure asks for",
                            path, p.name);
            if (!shape_equal(e->shape, p.shape))
                return fail(err, KILN_BAD_FORMAT, "%s: '%s' is %s, expected %s", path, p.name,
                            shape_text(e->shape, found), shape_text(p.shape, expected));
            kiln_status status =
                pass ? tensor_file_read_f32(h->file, e, 0, shape_count(p.shape), h->values + done, err)
                     : KILN_OK;
            if (status)
                return status;
            for (int64_t k = 0; pass && k < shape_count(p.shape); k++)
                if (!isfinite(h->values[done + k]))
                    return fail(err, KILN_BAD_FORMAT,
                                "%s: '%s' holds a number that is none (NaN or infinity)", path, p.name);
            taken += (size_t)pass;
        }
        h->count = done;
        if (!pass && !(h->values = malloc((size_t)(done > 0 ? done : 1) * sizeof *h->values)))
            return fail(err, KILN_NO_MEMORY, "out of memory for a hypernetwork");
    }
    return taken == tensor_file_count(h->file)
               ? KILN_OK
               : fail(err, KILN_BAD_FORMAT, "%s: it has %zu tensors, its layer_structure asks for %zu", path,
                      tensor_file_count(h->file), taken);
}

kiln_status hypernetwork_file_open(const char *path, hypernetwork_file **out, kiln_error *err)
{
    hypernetwork_file *h = *out = calloc(1, sizeof *h);
    if (!h)
        return fail(err, KILN_NO_MEMORY, "out of memory for a hypernetwork");
    kiln_status status = tensor_file_open(path, &h->file, err);
    if (!status)
        status = read_config(h, err);
    if (!status)
        status = read_values(h, err);
    if (status) {
        hypernetwork_file_close(h);
        *out = NULL;
    }
    return status;
}

void hypernetwork_file_close(hypernetwork_file *h)
{
    if (!h)
        return;
    tensor_file_close(h->file);
    free(h->values);
    free(h);
}

const float *hypernetwork_file_find(const hypernetwork_file *h, const char *name, int64_t *count)
{
    hypernetwork_parameter p;
    int64_t done = 0;
    for (int i = 0; hypernetwork_parameter_at(&h->config, i, &p); i++, done += *count) {
        *count = shape_count(p.shape);
        if (strcmp(p.name, name) == 0)
            return h->values + done;
    }
    *count = 0;
    return NULL;
}
