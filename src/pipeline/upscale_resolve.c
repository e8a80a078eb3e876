/* upscale_resolve.c - from options to passes and tiles, before any work: sizes, then for each pass the largest tile that
 * memory allows. A network's memory grows with the pixels of its tile, so one small tile that is measured (kernels are
 * made, no weight is read) tells the size to try. */
#include "pipeline/upscale.h"

#include "base/error.h"
#include "base/free_memory.h"

#include <math.h>
#include <string.h>

enum { DEFAULT_OVERLAP = 64, PROBE = 96, SMALL = 256 * 256 };

/* Larger tiles save no more time than their overlap costs. */
static const int64_t tile_bytes = (int64_t)1 << 30;

kiln_upscale_options kiln_upscale_defaults(void)
{
    return (kiln_upscale_options){.overlap = -1};
}

/* ------------------------------------------------------------------------------------ sizes */

static kiln_status check_options(const kiln_upscale_options *o, upscale_job *job, kiln_error *err)
{
    job->filter = RESIZE_LANCZOS;
    if (o->scale != 0 && !(o->scale >= 0.01 && o->scale <= 64))
        return fail(err, KILN_BAD_ARGUMENT, "the scale is 0.01 to 64, not %g", o->scale);
    if (o->width < 0 || o->height < 0 || o->width > IMAGE_MAX_SIDE || o->height > IMAGE_MAX_SIDE)
        return fail(err, KILN_BAD_ARGUMENT, "a picture's sides are 1 to %d px, not %dx%d", IMAGE_MAX_SIDE,
                    o->width, o->height);
    if (o->scale != 0 && (o->width || o->height))
        return fail(err, KILN_BAD_ARGUMENT, "either a scale or a size, not both");
    if (o->tile < -1 || (o->tile > 0 && o->tile < 16))
        return fail(err, KILN_BAD_ARGUMENT, "a tile has at least 16 px (0: by memory, -1: none), not %d",
                    o->tile);
    if (o->overlap < -1 || o->overlap > 1024)
        return fail(err, KILN_BAD_ARGUMENT, "the overlap is 0 to 1024 px (-1: by the network), not %d",
                    o->overlap);
    if (o->memory_limit < 0)
        return fail(err, KILN_BAD_ARGUMENT, "the memory limit is negative");
    if (o->filter && !upscale_filter_named(o->filter, &job->filter))
        return fail(err, KILN_BAD_ARGUMENT,
                    "there is no filter '%s': lanczos, bicubic, bilinear, box and nearest are known",
                    o->filter);
    return KILN_OK;
}

static kiln_status check_size(const char *what, double width, double height, kiln_error *err)
{
    if (width <= IMAGE_MAX_SIDE && height <= IMAGE_MAX_SIDE && width * height <= (double)IMAGE_MAX_PIXELS)
        return KILN_OK;
    return fail(err, KILN_BAD_ARGUMENT,
                "%s would have %.0fx%.0f px; %d a side and %lld million in all are the most", what, width,
                height, IMAGE_MAX_SIDE, (long long)(IMAGE_MAX_PIXELS / 1000000));
}

static kiln_status choose_size(const kiln_upscaler *u, const image *from, const kiln_upscale_options *o,
                               upscale_job *job, kiln_error *err)
{
    double scale = o->scale != 0 ? o->scale : u->file ? kiln_upscaler_scale(u) : 2;
    double width = from->width * scale, height = from->height * scale;
    if (o->width || o->height) {
        width = o->width ? o->width : (double)from->width * o->height / from->height;
        height = o->height ? o->height : (double)from->height * o->width / from->width;
    }
    width = fmax(1, floor(width + 0.5));
    height = fmax(1, floor(height + 0.5));
    kiln_status status = check_size("the result", width, height, err);
    if (status == KILN_OK) {
        job->width = (int)width;
        job->height = (int)height;
    }
    return status;
}

static kiln_status choose_passes(const kiln_upscaler *u, const image *from, upscale_job *job, kiln_error *err)
{
    int width = from->width, height = from->height, scale = kiln_upscaler_scale(u);
    kiln_status status = KILN_OK;
    while (u->file && status == KILN_OK && job->pass_count < UPSCALE_MAX_PASSES) {
        job->passes[job->pass_count++] = (upscale_pass){.width = width, .height = height};
        status = check_size("what the network makes on the way", (double)width * scale,
                            (double)height * scale, err);
        if (status != KILN_OK)
            return status;
        width *= scale;
        height *= scale;
        if (scale == 1 || (width >= job->width && height >= job->height))
            break;
    }
    job->resized = width != job->width || height != job->height;
    return status;
}

/* ------------------------------------------------------------------------------------ tiles */

typedef struct room {
    int64_t before, limit; /* what is there already; how far all may grow */
    int64_t weights, activations;
} room;

static int64_t picture_bytes(int64_t width, int64_t height, int channels, int bits)
{
    return width * height * channels * (bits / 8);
}

static int bits_after(const upscale_job *job, int pass)
{
    return pass + 1 < job->pass_count || job->resized ? 16 : job->bits;
}

/* Pictures and sums that are there while pass i runs. */
static int64_t pass_bytes(const upscale_job *job, int i, int scale)
{
    const upscale_pass *p = &job->passes[i];
    int64_t before = i ? picture_bytes(p->width, p->height, job->colours, 16) : 0;
    int64_t after = picture_bytes((int64_t)p->width * scale, (int64_t)p->height * scale, job->colours,
                                  bits_after(job, i));
    bool tiled = p->across.count * p->down.count > 1;
    int64_t sums = tiled ? (int64_t)p->across.length * scale * p->down.size * scale * job->colours * 4 : 0;
    return before + after + sums;
}

static void set_tiles(const kiln_upscaler *u, upscale_job *job, upscale_pass *p, int tile_width,
                      int tile_height)
{
    const upscale_config *c = upscale_file_config(u->file);
    p->across = upscale_strip_of(p->width, c->multiple, c->align, tile_width, job->overlap, c->scale);
    p->down = upscale_strip_of(p->height, c->multiple, c->align, tile_height, job->overlap, c->scale);
}

/* Whether the pass fits as its tiles are now. */
static kiln_status fits(kiln_upscaler *u, upscale_job *job, int i, room *r, bool *out, kiln_error *err)
{
    const upscale_pass *p = &job->passes[i];
    int64_t activations = 0, weights_bytes = 0;
    kiln_status status = upscale_measure(u, p->down.size, p->across.size, &activations, &weights_bytes, err);
    r->weights = weights_bytes;
    r->activations = activations;
    int64_t peak = r->before + pass_bytes(job, i, p->down.scale) + weights_bytes + activations;
    if (peak > job->work.memory.peak)
        job->work.memory.peak = peak;
    if (activations > job->work.memory.activations)
        job->work.memory.activations = activations;
    job->work.memory.weights = weights_bytes;
    *out = peak <= r->limit;
    return status;
}

static kiln_status too_little(const upscale_job *job, int i, const room *r, kiln_error *err)
{
    const upscale_pass *p = &job->passes[i];
    return fail(err, KILN_NO_MEMORY,
                "enlarging %dx%d by tiles of %dx%d takes %.2f GB, but only %.2f GB are allowed or free",
                p->width, p->height, p->across.size, p->down.size, (double)job->work.memory.peak / 1e9,
                (double)r->limit / 1e9);
}

/* Pixels of a tile that should fit, from a small one. */
static kiln_status estimate(kiln_upscaler *u, const upscale_job *job, int i, const room *r, double *pixels,
                            kiln_error *err)
{
    const upscale_config *c = upscale_file_config(u->file);
    int unit = c->multiple > c->align ? c->multiple : c->align, side = (PROBE + unit - 1) / unit * unit;
    if (side % c->multiple)
        side = PROBE / c->multiple * c->multiple;
    int64_t activations = 0, weights_bytes = 0;
    kiln_status status = upscale_measure(u, side, side, &activations, &weights_bytes, err);
    int64_t left = r->limit - r->before - pass_bytes(job, i, c->scale) - weights_bytes;
    double each = (double)activations / ((double)side * side);
    *pixels = (double)(left < tile_bytes ? left : tile_bytes) / fmax(each, 1);
    return status;
}

static void set_tiles_of(const kiln_upscaler *u, upscale_job *job, upscale_pass *p, double pixels)
{
    double side = floor(sqrt(fmax(pixels, 1)));
    double width = side >= p->width ? 0 : side, height = side >= p->height ? 0 : side;
    if (width == 0 && height > 0)
        height = pixels / p->width;
    else if (height == 0 && width > 0)
        width = pixels / p->height;
    set_tiles(u, job, p, (int)fmin(width, IMAGE_MAX_SIDE), (int)fmin(height, IMAGE_MAX_SIDE));
}

static bool same_tiles(const upscale_pass *a, const upscale_pass *b)
{
    return a->across.size == b->across.size && a->down.size == b->down.size;
}

static kiln_status choose_tiles(kiln_upscaler *u, upscale_job *job, int i, int tile, room *r, kiln_error *err)
{
    upscale_pass *p = &job->passes[i], before;
    bool good = false;
    double pixels = 0;
    kiln_status status = KILN_OK;
    int64_t peak = job->work.memory.peak, activations = job->work.memory.activations;
    set_tiles(u, job, p, tile, tile);
    if (tile || (int64_t)p->width * p->height <= SMALL) {
        status = fits(u, job, i, r, &good, err);
        if (status != KILN_OK || good)
            return status;
        if (tile)
            return too_little(job, i, r, err);
    }
    status = estimate(u, job, i, r, &pixels, err);
    for (int attempt = 0; status == KILN_OK && !good && attempt < 8; attempt++) {
        before = *p;
        set_tiles_of(u, job, p, pixels);
        if (attempt && same_tiles(&before, p))
            break;
        job->work.memory.peak = peak;
        job->work.memory.activations = activations;
        status = fits(u, job, i, r, &good, err);
        pixels *= 0.6;
    }
    return status != KILN_OK || good ? status : too_little(job, i, r, err);
}

/* ------------------------------------------------------------------------------------ all of it */

static room room_now(const kiln_upscaler *u, int64_t limit)
{
    int64_t resident = resident_memory(), available = free_memory("");
    int64_t loaded = u->store ? (int64_t)packed_store_bytes(u->store) : 0;
    if (!limit)
        limit = available ? resident + available - available / 20 : INT64_MAX;
    return (room){.before = resident > loaded ? resident - loaded : 0, .limit = limit};
}

/* The last steps: the picture that was made, the result, and what resampling keeps in between. */
static int64_t ending_bytes(const upscale_job *job, const image *from, int scale)
{
    const upscale_pass *last = &job->passes[job->pass_count ? job->pass_count - 1 : 0];
    int channels = job->colours + job->alpha;
    int64_t made = job->pass_count
                       ? picture_bytes((int64_t)last->width * scale, (int64_t)last->height * scale,
                                       job->colours, job->resized ? 16 : job->bits)
                       : 0;
    int64_t rows = job->pass_count ? (int64_t)last->height * scale : from->height;
    int64_t result = picture_bytes(job->width, job->height, channels, job->bits);
    int64_t between = job->resized ? (int64_t)job->width * rows * channels * 4 : 0;
    return made + between + (job->resized ? 2 : 1) * result + (job->alpha ? 2 * result : 0);
}

/* How far a pixel can matter, twice, and the ramp: then no seam can be seen. Where that is too far, most of it. */
static int overlap_of(const upscale_config *c, int given)
{
    if (given >= 0)
        return given;
    int exact = 2 * c->reach + STRIP_RAMP;
    return c->reach && exact < DEFAULT_OVERLAP ? exact : DEFAULT_OVERLAP;
}

static void count_work(upscale_job *job)
{
    job->work.width = job->width;
    job->work.height = job->height;
    job->work.passes = job->pass_count;
    for (int i = 0; i < job->pass_count; i++) {
        const upscale_pass *p = &job->passes[i];
        job->work.tiles += (int64_t)p->across.count * p->down.count * job->planes;
        job->work.tile_width = p->across.size < p->width ? p->across.size : p->width;
        job->work.tile_height = p->down.size < p->height ? p->down.size : p->height;
    }
}

kiln_status upscale_resolve(kiln_upscaler *u, const image *from, const kiln_upscale_options *o,
                            int64_t beside, upscale_job *job, kiln_error *err)
{
    *job = (upscale_job){.bits = from->bits,
                         .alpha = image_has_alpha(from),
                         .colours = from->channels - image_has_alpha(from),
                         .planes = 1};
    kiln_status status = check_options(o, job, err);
    if (status == KILN_OK)
        status = choose_size(u, from, o, job, err);
    if (status == KILN_OK)
        status = choose_passes(u, from, job, err);
    if (status != KILN_OK)
        return status;
    room r = room_now(u, o->memory_limit);
    r.before += beside;
    if (u->file) {
        const upscale_config *c = upscale_file_config(u->file);
        job->planes = c->channels == 1 ? job->colours : 1;
        job->overlap = overlap_of(c, o->overlap);
    } else {
        job->filter = u->filter;
    }
    for (int i = 0; i < job->pass_count && status == KILN_OK; i++)
        status = choose_tiles(u, job, i, o->tile, &r, err);
    if (status != KILN_OK)
        return status;
    int64_t ending = r.before + r.weights + ending_bytes(job, from, u->file ? kiln_upscaler_scale(u) : 1);
    if (ending > job->work.memory.peak)
        job->work.memory.peak = ending;
    if (ending > r.limit)
        return fail(err, KILN_NO_MEMORY, "a picture of %dx%d takes %.2f GB to make, but only %.2f GB are %s",
                    job->width, job->height, (double)ending / 1e9, (double)r.limit / 1e9,
                    o->memory_limit ? "allowed" : "free");
    count_work(job);
    return KILN_OK;
}
