/* teach.c - see teach.h. */
#include "train/teach.h"

#include <stdlib.h>
#include <string.h>

static const teach_kind *const kinds[] = {&teach_hypernetwork, &teach_words, &teach_lora};

const teach_kind *teach_kind_of(const char *method)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(kinds[i]->method, method) == 0)
            return kinds[i];
    return NULL;
}

bool recipe_teaches(const recipe *r)
{
    return teach_kind_of(r->method) != NULL;
}

static kiln_status list_parameters(teach *t, kiln_error *err)
{
    side_parameter p;
    while (t->kind->parameter(t->self, t->count, &p))
        t->count++;
    t->list = calloc((size_t)t->count + 1, sizeof *t->list);
    if (!t->list)
        return fail(err, KILN_NO_MEMORY, "out of memory for a list of parameters");
    for (int i = 0; i < t->count; i++)
        t->kind->parameter(t->self, i, &t->list[i]);
    return t->count ? KILN_OK : fail(err, KILN_BAD_ARGUMENT, "there is nothing to train");
}

kiln_status teach_open(const recipe *r, const kiln_model *m, teach **out, kiln_error *err)
{
    const teach_kind *kind = teach_kind_of(r->method);
    *out = NULL;
    if (!kind)
        return KILN_OK;
    teach *t = *out = calloc(1, sizeof *t);
    if (!t)
        return fail(err, KILN_NO_MEMORY, "out of memory for a training");
    t->kind = kind;
    kiln_status status = kind->open(r, m, &t->self, err);
    if (!status)
        status = list_parameters(t, err);
    if (status) {
        teach_close(t);
        *out = NULL;
    }
    return status;
}

void teach_close(teach *t)
{
    if (!t)
        return;
    if (t->self)
        t->kind->close(t->self);
    free(t->list);
    free(t);
}

kiln_status teach_begin(const teach *t, parameters *p, kiln_error *err)
{
    kiln_status status = KILN_OK;
    for (int i = 0; i < t->count && !status; i++) {
        const parameter_entry *e = parameters_find(p, t->list[i].name);
        status = e ? t->kind->initial(t->self, i, p->values + e->offset, err)
                   : fail(err, KILN_INTERNAL, "the parameter '%s' is not among those of the training",
                          t->list[i].name);
    }
    return status;
}

kiln_status teach_show(const teach *t, kiln_model *m, const parameters *p, const float *values,
                       kiln_error *err)
{
    return t && t->kind->show ? t->kind->show(t->self, m, p, values, err) : KILN_OK;
}

const graph_hooks *teach_hooks(const teach *t, const teach_graph *g)
{
    return t ? t->kind->hooks(t->self, g) : NULL;
}
