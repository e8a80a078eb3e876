/* upscale_run.c - one pass of a network over a picture: tile after tile, row of tiles after row of tiles. The sums of a
 * row of tiles are kept as floats until no further tile counts for them; then they become pixels. So a large result needs
 * no more than its own bytes and one row of tiles. */
#include "pipeline/upscale.h"

#include "base/error.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct upscale_work {
    kiln_upscaler *upscaler;
    const upscale_job *job;
    const upscale_pass *pass;
    const image *from;
    image *to;
    int plane;    /* which channel of `from`, for a network of one */
    int channels; /* of the network */
    int width;    /* of the larger picture, extended */
    float *sums;  /* [rows, width, channels]; NULL: one tile */
    int first;    /* the row of the larger picture that sums begins with */
    int rows;
    run *run;
    upscale_counter *counter;
} upscale_work;

/* Beyond the picture's end it is reflected, without its last row or column; a picture too small for that repeats. */
static int reflected(int i, int n)
{
    int period = n > 1 ? 2 * (n - 1) : 1;
    i %= period;
    return i < n ? i : period - i;
}

static float sample(const image *from, int64_t index)
{
    return from->bits == 8 ? (float)((const uint8_t *)from->pixels)[index] / 255.0f
                           : (float)((const uint16_t *)from->pixels)[index] / 65535.0f;
}

/* The tile at (x, y), colours as the network takes them: grey is repeated, alpha left out. */
static void fill_tile(const upscale_work *w, int x, int y, float *to)
{
    const image *from = w->from;
    int colours = from->channels - image_has_alpha(from);
    for (int i = 0; i < w->pass->down.size; i++) {
        int64_t row = (int64_t)reflected(y + i, from->height) * from->width;
        for (int k = 0; k < w->pass->across.size; k++) {
            int64_t pixel = (row + reflected(x + k, from->width)) * from->channels;
            for (int c = 0; c < w->channels; c++)
                *to++ = sample(from, pixel + (w->channels == 1 ? w->plane : c < colours ? c : 0));
        }
    }
}

/* A row of the larger picture, as the network made it, to pixels. */
static bool store_row(const upscale_work *w, int row, const float *from)
{
    image *to = w->to;
    double top = to->bits == 8 ? 255 : 65535;
    bool grey = to->channels == 1 && w->channels == 3, finite = true;
    for (int x = 0; x < to->width; x++, from += w->channels) {
        int first = w->channels == 1 ? w->plane : 0, last = w->channels == 1 ? w->plane : to->channels - 1;
        for (int c = first; c <= last; c++) {
            double v = grey ? 0.299 * (double)from[0] + 0.587 * (double)from[1] + 0.114 * (double)from[2]
                            : (double)from[w->channels == 1 ? 0 : c];
            finite &= isfinite(v) != 0;
            long number = finite ? lrint(fmin(fmax(v, 0), 1) * top) : 0;
            int64_t index = ((int64_t)row * to->width + x) * to->channels + c;
            if (to->bits == 8)
                ((uint8_t *)to->pixels)[index] = (uint8_t)number;
            else
                ((uint16_t *)to->pixels)[index] = (uint16_t)number;
        }
    }
    return finite;
}

static kiln_status store_rows(const upscale_work *w, int first, int end, const float *from, kiln_error *err)
{
    for (int row = first; row < end && row < w->to->height; row++, from += (int64_t)w->width * w->channels)
        if (!store_row(w, row, from))
            return fail(err, KILN_BAD_FORMAT,
                        "%s made numbers that are none (NaN or infinity) of this picture", w->upscaler->path);
    return KILN_OK;
}

/* Add the tile in row i, column k of tiles to the sums. */
static void add_tile(const upscale_work *w, int i, int k, const float *tile)
{
    const upscale_strip *across = &w->pass->across, *down = &w->pass->down;
    int scale = across->scale, x, x_end, y, y_end, C = w->channels;
    int left = upscale_strip_start(across, k) * scale, top = upscale_strip_start(down, i) * scale;
    upscale_strip_zone(across, k, &x, &x_end);
    upscale_strip_zone(down, i, &y, &y_end);
    for (int row = y; row < y_end; row++) {
        float by_row = upscale_strip_weight(down, i, row);
        const float *from = tile + ((int64_t)(row - top) * across->size * scale + x - left) * C;
        float *to = w->sums + ((int64_t)(row - w->first) * w->width + x) * C;
        for (int column = x; column < x_end; column++) {
            float weight = by_row * upscale_strip_weight(across, k, column);
            for (int c = 0; c < C; c++)
                *to++ += weight * *from++;
        }
    }
}

/* Rows before `next` are complete: make pixels of them, and begin the sums with `next`. */
static kiln_status finish_rows(upscale_work *w, int next, kiln_error *err)
{
    int64_t row = (int64_t)w->width * w->channels;
    int done = next - w->first, kept = w->rows - done;
    kiln_status status = store_rows(w, w->first, next, w->sums, err);
    memmove(w->sums, w->sums + done * row, (size_t)(kept * row) * sizeof *w->sums);
    memset(w->sums + kept * row, 0, (size_t)(done * row) * sizeof *w->sums);
    w->first = next;
    return status;
}

static kiln_status tell(const upscale_work *w, kiln_error *err)
{
    const kiln_upscaler *u = w->upscaler;
    const kiln_progress p = {
        .stage = "upscale", .done = w->counter->done, .total = w->counter->total, .images = 1};
    if (!atomic_load(&u->cancel) && (!u->progress || u->progress(u->user, &p)))
        return KILN_OK;
    return fail(err, KILN_CANCELLED, "cancelled");
}

static kiln_status run_tile(upscale_work *w, int i, int k, kiln_error *err)
{
    kiln_upscaler *u = w->upscaler;
    const upscale_strip *across = &w->pass->across, *down = &w->pass->down;
    fill_tile(w, upscale_strip_start(across, k), upscale_strip_start(down, i), run_input(w->run, "picture"));
    kiln_status status = plan_run(u->plan, w->run, &u->cancel, NULL, NULL, err);
    if (status != KILN_OK)
        return status;
    const float *tile = run_output(w->run, "enlarged");
    if (w->sums)
        add_tile(w, i, k, tile);
    else
        status = store_rows(w, 0, w->to->height, tile, err);
    w->counter->done++;
    return status == KILN_OK ? tell(w, err) : status;
}

static kiln_status run_plane(upscale_work *w, kiln_error *err)
{
    const upscale_strip *across = &w->pass->across, *down = &w->pass->down;
    kiln_status status = KILN_OK;
    w->first = 0;
    if (w->sums)
        memset(w->sums, 0, (size_t)w->rows * (size_t)w->width * (size_t)w->channels * sizeof *w->sums);
    for (int i = 0; status == KILN_OK && i < down->count; i++) {
        for (int k = 0; status == KILN_OK && k < across->count; k++)
            status = run_tile(w, i, k, err);
        int first = down->length * down->scale, end;
        if (i + 1 < down->count)
            upscale_strip_zone(down, i + 1, &first, &end);
        if (status == KILN_OK && w->sums)
            status = finish_rows(w, first, err);
    }
    return status;
}

kiln_status upscale_run_pass(kiln_upscaler *u, const upscale_job *job, const upscale_pass *pass,
                             const image *from, int bits, upscale_counter *counter, image **out,
                             kiln_error *err)
{
    const upscale_config *c = upscale_file_config(u->file);
    const plan *p = NULL;
    upscale_work w = {.upscaler = u,
                      .job = job,
                      .pass = pass,
                      .from = from,
                      .channels = c->channels,
                      .width = pass->across.length * c->scale,
                      .rows = pass->down.size * c->scale,
                      .counter = counter};
    kiln_status status =
        image_new(pass->width * c->scale, pass->height * c->scale, job->colours, bits, &w.to, err);
    if (status == KILN_OK)
        status = upscale_get_plan(u, pass->down.size, pass->across.size, &p, err);
    if (status == KILN_OK)
        status = run_new(p, &w.run, err);
    if (status == KILN_OK && pass->across.count * pass->down.count > 1) {
        w.sums = malloc((size_t)w.rows * (size_t)w.width * (size_t)w.channels * sizeof *w.sums);
        if (!w.sums)
            status = fail(err, KILN_NO_MEMORY, "out of memory for the picture");
    }
    if (status == KILN_OK)
        status = tell(&w, err);
    for (w.plane = 0; status == KILN_OK && w.plane < job->planes; w.plane++)
        status = run_plane(&w, err);
    free(w.sums);
    run_free(w.run);
    if (status != KILN_OK) {
        image_free(w.to);
        w.to = NULL;
    }
    *out = w.to;
    return status;
}
