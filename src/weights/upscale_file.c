/* upscale_file.c - see upscale_file.h. */
#include "weights/upscale_file.h"

#include "formats/tensor_folder.h"
#include "weights/describe.h"
#include "weights/upscale_fold.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { PREFIX_BYTES = 64, SMALLEST = 64 };

struct upscale_file {
    tensor_file *file;
    char prefix[PREFIX_BYTES];
    upscale_config config;
    graph *graph; /* not folded: declares what the file holds */
    weights *weights;
    upscale_fold fold;
};

typedef struct below {
    const tensor_file *file;
    const char *prefix;
} below;

static const shape *find_below(void *self, const char *name)
{
    const below *b = self;
    char full[2 * PATH_TEXT];
    int length = snprintf(full, sizeof full, "%s%s", b->prefix, name);
    const tensor_entry *e = length < (int)sizeof full ? tensor_file_find(b->file, full) : NULL;
    return e ? &e->shape : NULL;
}

/* The first prefix below which there is a network. */
static kiln_status find_network(upscale_file *u, kiln_error *err)
{
    static const char *const outer[] = {"",        "params_ema.", "params-ema.",
                                        "params.", "state_dict.", "model_state_dict.",
                                        "model.",  "net.",        "generator."};
    static const char *const inner[] = {"", "module.", "netG."};
    kiln_status status = KILN_NOT_FOUND;
    for (size_t i = 0; i < sizeof outer / sizeof *outer; i++)
        for (size_t k = 0; k < sizeof inner / sizeof *inner && status == KILN_NOT_FOUND; k++) {
            snprintf(u->prefix, sizeof u->prefix, "%s%s", outer[i], inner[k]);
            below b = {u->file, u->prefix};
            status = upscale_config_from_tensors(&(tensor_finder){find_below, &b}, &u->config, err);
        }
    const char *path = tensor_file_path(u->file);
    if (status == KILN_OK)
        return KILN_OK;
    if (status != KILN_NOT_FOUND)
        return fail_within(err, status, "%s", path);
    char what[DESCRIPTION_BYTES];
    describe_file(u->file, what);
    return fail(
        err, KILN_UNSUPPORTED,
        "%s is no upscaler that is known here (ESRGAN, SRVGGNetCompact, SPAN, RealPLKSR, SwinIR, DAT)%s%s",
        path, what[0] ? ": it is " : "", what);
}

/* DAT's windows are told by their product and their relative positions, which are the same for h x w and w x h: the last
 * of the first windows' positions is (h-1, w-1). */
static kiln_status orient_window(upscale_file *u, kiln_error *err)
{
    char name[2 * PATH_TEXT];
    float last[2];
    int *window = u->config.of.transformer.window;
    if (u->config.kind != UPSCALE_DAT)
        return KILN_OK;
    snprintf(name, sizeof name, "%slayers.0.blocks.0.attn.attns.0.rpe_biases", u->prefix);
    const tensor_entry *e = tensor_file_find(u->file, name);
    int64_t count = e ? shape_count(e->shape) : 0;
    if (count < 2)
        return fail(err, KILN_BAD_FORMAT, "%s: tensor '%s' is too small", tensor_file_path(u->file), name);
    kiln_status status = tensor_file_read_f32(u->file, e, count - 2, 2, last, err);
    if (status == KILN_OK && last[0] > last[1] && last[0] == (float)(window[1] - 1)) {
        int h = window[0];
        window[0] = window[1];
        window[1] = h;
    }
    return status;
}

static kiln_status bind(upscale_file *u, kiln_error *err)
{
    u->graph = graph_new();
    if (!u->graph)
        return fail(err, KILN_NO_MEMORY, "out of memory for an upscaler");
    int side = (SMALLEST + u->config.multiple - 1) / u->config.multiple * u->config.multiple;
    upscale_draw(u->graph, &u->config, false, 1, side, side);
    weights_place place = {u->file, u->prefix, DIALECT_ORIGINAL};
    kiln_status status = weights_bind(u->graph, &place, 1, &u->weights, err);
    if (status == KILN_OK)
        u->fold = (upscale_fold){u->graph, u->weights};
    return status;
}

static bool is_folder(const char *path)
{
    struct stat about;
    return stat(path, &about) == 0 && S_ISDIR(about.st_mode);
}

static kiln_status open_tensors(upscale_file *u, const char *path, kiln_error *err)
{
    char inner[4096], file[4200];
    if (!is_folder(path))
        return tensor_file_open(path, &u->file, err);
    int length = snprintf(inner, sizeof inner, "%s/upscaler", path);
    bool has_inner = length < (int)sizeof inner && is_folder(inner);
    kiln_status status = tensor_folder_find(has_inner ? inner : path, NULL, file, sizeof file, err);
    return status == KILN_OK ? tensor_file_open(file, &u->file, err) : status;
}

kiln_status upscale_file_open(const char *path, upscale_file **out, kiln_error *err)
{
    *out = NULL;
    upscale_file *u = calloc(1, sizeof *u);
    if (!u)
        return fail(err, KILN_NO_MEMORY, "out of memory for an upscaler");
    kiln_status status = open_tensors(u, path, err);
    if (status == KILN_OK)
        status = find_network(u, err);
    if (status == KILN_OK)
        status = orient_window(u, err);
    if (status == KILN_OK)
        status = bind(u, err);
    if (status != KILN_OK) {
        upscale_file_close(u);
        return status;
    }
    *out = u;
    return KILN_OK;
}

void upscale_file_close(upscale_file *u)
{
    if (!u)
        return;
    weights_free(u->weights);
    graph_free(u->graph);
    tensor_file_close(u->file);
    free(u);
}

const upscale_config *upscale_file_config(const upscale_file *u)
{
    return &u->config;
}

const weights *upscale_file_weights(const upscale_file *u)
{
    return u->weights;
}

parameter_source upscale_file_source(const upscale_file *u)
{
    return upscale_has_folded(&u->config) ? upscale_fold_source(&u->fold) : weights_source(u->weights);
}
