/* upscale_open.c - opening an upscaler, and its plans. See upscale.h. */
#include "pipeline/upscale.h"

#include "base/error.h"
#include "pipeline/data_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static const struct {
    const char *word, *name;
    resize_filter filter;
} filters[] = {{"lanczos", "Lanczos", RESIZE_LANCZOS},
               {"bicubic", "Bicubic", RESIZE_BICUBIC},
               {"bilinear", "Bilinear", RESIZE_BILINEAR},
               {"box", "Box", RESIZE_BOX},
               {"nearest", "Nearest", RESIZE_NEAREST}};
enum { FILTERS = sizeof filters / sizeof *filters };

bool upscale_filter_named(const char *name, resize_filter *out)
{
    for (int i = 0; i < FILTERS; i++)
        if (strcasecmp(name, filters[i].word) == 0) {
            *out = filters[i].filter;
            return true;
        }
    return false;
}

/* The file's name without folder and extension, or the filter's. */
static char *name_of(const char *model)
{
    for (int i = 0; i < FILTERS; i++)
        if (strcasecmp(model, filters[i].word) == 0)
            return strdup(filters[i].name);
    const char *slash = strrchr(model, '/'), *base = slash ? slash + 1 : model, *dot = strrchr(base, '.');
    return strndup(base, dot && dot > base ? (size_t)(dot - base) : strlen(base));
}

static plan_options plan_options_of(const kiln_model_options *o)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    bool plain = o->reference || o->precision == KILN_PRECISION_F32;
    return (plan_options){.backend = o->reference ? &backend_reference : &backend_cpu,
                          .compute = plain                                 ? DTYPE_F32
                                     : o->precision == KILN_PRECISION_BF16 ? DTYPE_BF16
                                                                           : backend_best_precision(),
                          .threads = o->threads > 0 ? o->threads
                                     : cores > 0    ? (int)cores
                                                    : 1,
                          .fuse = !o->reference};
}

/* A name that is no file is looked for among the models that come with Kiln. */
static kiln_status find_file(const char *model, const char *data, char *path, size_t size, kiln_error *err)
{
    char inside[256];
    bool plain = !strchr(model, '/') && strlen(model) < 200;
    snprintf(inside, sizeof inside, "models/%.200s", model);
    if (plain && access(model, F_OK) != 0 && data_file_find(data, inside, path, size))
        return KILN_OK;
    if (plain && !strchr(model, '.') && access(model, F_OK) != 0)
        return fail(
            err, KILN_NOT_FOUND,
            "there is no upscaler '%s': neither a file, nor one of the filters lanczos, bicubic, bilinear, "
            "box and nearest, nor a model that came with Kiln (%s)",
            model, path);
    int length = snprintf(path, size, "%s", model);
    return length < (int)size ? KILN_OK : fail(err, KILN_BAD_ARGUMENT, "the upscaler's path is too long");
}

static kiln_status open_file(kiln_upscaler *u, const char *model, const char *data, kiln_error *err)
{
    char path[4096];
    if (upscale_filter_named(model, &u->filter))
        return KILN_OK;
    kiln_status status = find_file(model, data, path, sizeof path, err);
    if (status == KILN_OK)
        status = upscale_file_open(path, &u->file, err);
    if (status != KILN_OK)
        return status;
    u->store = packed_store_new(upscale_file_source(u->file));
    return u->store ? KILN_OK : fail(err, KILN_NO_MEMORY, "out of memory for an upscaler");
}

kiln_status kiln_upscaler_open(const char *model, const kiln_model_options *options, kiln_upscaler **out,
                               kiln_error *err)
{
    *out = NULL;
    if (!model)
        model = KILN_BUNDLED_UPSCALER;
    if (!model[0])
        return fail(err, KILN_BAD_ARGUMENT, "which upscaler? A file or the name of a filter is needed");
    kiln_model_options standard = kiln_model_defaults();
    const kiln_model_options *o = options ? options : &standard;
    if (o->threads < 0 || o->threads > 1024)
        return fail(err, KILN_BAD_ARGUMENT, "threads is 0 to 1024, not %d", o->threads);
    kiln_upscaler *u = calloc(1, sizeof *u);
    if (!u)
        return fail(err, KILN_NO_MEMORY, "out of memory for an upscaler");
    u->options = plan_options_of(o);
    u->path = strdup(model);
    u->name = name_of(model);
    kiln_status status = u->path && u->name ? open_file(u, model, o->data_directory, err)
                                            : fail(err, KILN_NO_MEMORY, "out of memory for an upscaler");
    if (status != KILN_OK) {
        kiln_upscaler_close(u);
        return status;
    }
    *out = u;
    return KILN_OK;
}

kiln_status upscaler_open_beside(const kiln_model *m, const char *name, kiln_upscaler **out, kiln_error *err)
{
    kiln_model_options o = kiln_model_defaults();
    o.precision = m->precision;
    o.threads = m->plan.threads;
    o.data_directory = m->data_directory;
    return kiln_upscaler_open(name, &o, out, err);
}

void kiln_upscaler_close(kiln_upscaler *u)
{
    if (!u)
        return;
    plan_free(u->plan);
    graph_free(u->graph);
    packed_store_free(u->store);
    upscale_file_close(u->file);
    free(u->path);
    free(u->name);
    free(u);
}

const char *kiln_upscaler_name(const kiln_upscaler *u)
{
    return u->name;
}

const char *kiln_upscaler_kind(const kiln_upscaler *u)
{
    return u->file ? upscale_kind_name(upscale_file_config(u->file)->kind) : "filter";
}

int kiln_upscaler_scale(const kiln_upscaler *u)
{
    return u->file ? upscale_file_config(u->file)->scale : 0;
}

void kiln_upscaler_cancel(kiln_upscaler *u)
{
    atomic_store(&u->cancel, true);
}

/* ------------------------------------------------------------------------------------ plans */

static bool on_loading(void *self, int64_t done, int64_t total)
{
    kiln_upscaler *u = self;
    const kiln_progress p = {.stage = "loading", .done = done, .total = total, .images = 1};
    return !atomic_load(&u->cancel) && (!u->progress || u->progress(u->user, &p));
}

static graph *draw(const kiln_upscaler *u, int height, int width)
{
    graph *g = graph_new();
    const upscale_config *c = upscale_file_config(u->file);
    if (g)
        upscale_draw(g, c, upscale_has_folded(c), 1, height, width);
    return g;
}

kiln_status upscale_get_plan(kiln_upscaler *u, int height, int width, const plan **out, kiln_error *err)
{
    *out = u->plan;
    if (u->plan && u->plan_height == height && u->plan_width == width)
        return KILN_OK;
    *out = NULL;
    graph *g = draw(u, height, width);
    plan *p = NULL;
    if (!g)
        return fail(err, KILN_NO_MEMORY, "out of memory while planning");
    plan_options options = u->options;
    options.loading = on_loading;
    options.loading_self = u;
    kiln_status status = plan_compile(g, &options, u->store, &p, err);
    if (status != KILN_OK) {
        graph_free(g);
        return status;
    }
    /* After the new one is made, so that the weights stay. */
    plan_free(u->plan);
    graph_free(u->graph);
    u->plan = p;
    u->graph = g;
    u->plan_height = height;
    u->plan_width = width;
    *out = p;
    return KILN_OK;
}

kiln_status upscale_measure(kiln_upscaler *u, int height, int width, int64_t *activations,
                            int64_t *packed_bytes, kiln_error *err)
{
    *activations = *packed_bytes = 0;
    graph *g = draw(u, height, width);
    packed_store *store = packed_store_new((parameter_source){0});
    plan *p = NULL;
    kiln_status status = g && store ? plan_compile(g, &u->options, store, &p, err)
                                    : fail(err, KILN_NO_MEMORY, "out of memory while planning");
    if (status == KILN_OK) {
        *activations = (int64_t)plan_arena_bytes(p);
        *packed_bytes = (int64_t)packed_store_bytes(store);
    }
    plan_free(p);
    packed_store_free(store);
    graph_free(g);
    return status;
}
