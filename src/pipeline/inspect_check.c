/* inspect_check.c - kiln_inspection_check: every number of the inspected files, looked at for NaN and infinity. */
#include "pipeline/inspect.h"

#include "weights/binding.h"
#include "weights/write.h"

#include <stdio.h>
#include <stdlib.h>

enum { PART = 1 << 20 }; /* numbers read at a time */

typedef struct check {
    kiln_progress_function progress;
    void *user;
    int64_t done, total; /* numbers */
    float *values;
    int64_t bad; /* tensors */
    char first[512];
} check;

/* Masks and schedules may hold infinity. */
static bool is_checked(const tensor_entry *e)
{
    return dtype_is_floating(e->type) && !weights_is_harmless(e->name);
}

static kiln_status report(check *c, const char *name, kiln_error *err)
{
    const kiln_progress p = {.stage = "check", .done = c->done, .total = c->total, .images = 1};
    if (c->progress && !c->progress(c->user, &p))
        return fail(err, KILN_CANCELLED, "the check was cancelled at '%s'", name);
    return KILN_OK;
}

static kiln_status check_tensor(check *c, const tensor_file *file, const tensor_entry *e, kiln_error *err)
{
    int64_t all = shape_count(e->shape), step = e->strided ? all : PART;
    bool good = true;
    kiln_status status = KILN_OK;
    float *values = e->strided && all > PART ? malloc((size_t)all * sizeof *values) : c->values;
    if (!values)
        return fail(err, KILN_NO_MEMORY, "%s: not enough memory to read '%s'", tensor_file_path(file),
                    e->name);
    for (int64_t first = 0; first < all && !status; first += step) {
        int64_t count = all - first < step ? all - first : step;
        status = tensor_file_read_f32(file, e, first, count, values, err);
        good = good && (status || weights_all_finite(values, count));
        c->done += count;
        if (!status)
            status = report(c, e->name, err);
    }
    if (values != c->values)
        free(values);
    if (!status && !good && c->bad++ == 0)
        snprintf(c->first, sizeof c->first, "%s: the tensor '%s'", tensor_file_path(file), e->name);
    return status;
}

kiln_status kiln_inspection_check(const kiln_inspection *found, kiln_progress_function progress, void *user,
                                  kiln_error *err)
{
    check c = {.progress = progress, .user = user, .values = malloc(PART * sizeof(float))};
    kiln_status status = c.values ? KILN_OK : fail(err, KILN_NO_MEMORY, "not enough memory to check a file");
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < found->file_count && !status; i++)
            for (size_t k = 0; k < tensor_file_count(found->files[i].file) && !status; k++) {
                const tensor_entry *e = tensor_file_entry(found->files[i].file, k);
                if (!is_checked(e))
                    continue;
                if (pass == 0)
                    c.total += shape_count(e->shape);
                else
                    status = check_tensor(&c, found->files[i].file, e, err);
            }
    free(c.values);
    if (!status && c.bad == 1)
        status = fail(err, KILN_BAD_FORMAT, "%s holds NaN or infinity: it is damaged", c.first);
    else if (!status && c.bad)
        status = fail(err, KILN_BAD_FORMAT, "%s and %lld others hold NaN or infinity: they are damaged",
                      c.first, (long long)c.bad - 1);
    return status;
}
