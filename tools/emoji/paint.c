/* paint.c - see paint.h. Scaling is separable, by a triangle as wide as two target pixels (in the source's scale when
 * shrinking), on premultiplied values in sRGB, as usual for drawings. */
#include "emoji/paint.h"

#include "emoji/colours.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* For each target pixel, the first source pixel and the weights of those from there on. */
typedef struct line_filter {
    int first[1024];
    float weight[1024][16];
    int taps;
} line_filter;

enum { MAX_SIDE = 1024, MAX_TAPS = 16 };

/* `start` is where source pixel edge 0 falls in target pixels, counted from the first target pixel. */
static void filter_init(line_filter *f, int source, int target, float start, float scale)
{
    float reach = scale < 1 ? 1 / scale : 1; /* in source pixels */
    reach = fminf(reach, (MAX_TAPS - 2) / 2.0f);
    f->taps = (int)(2 * reach) + 2;
    for (int i = 0; i < target; i++) {
        float centre = ((float)i + 0.5f - start) / scale - 0.5f, sum = 0;
        int first = (int)ceilf(centre - reach);
        f->first[i] = first;
        for (int k = 0; k < f->taps; k++) {
            float d = fabsf((float)(first + k) - centre);
            float w = d < reach ? 1 - d / reach : 0;
            sum += w; /* before clipping: outside of the glyph is nothing, and counts as such */
            f->weight[i][k] = first + k < 0 || first + k >= source ? 0 : w;
        }
        for (int k = 0; k < f->taps; k++)
            f->weight[i][k] /= sum > 0 ? sum : 1;
    }
}

static void scale_rows(const line_filter *f, const glyph *g, int width, float *to)
{
    for (int y = 0; y < GLYPH_HEIGHT; y++)
        for (int x = 0; x < width; x++) {
            float sum[4] = {0};
            for (int k = 0; k < f->taps; k++) {
                int from = f->first[x] + k;
                float w = f->weight[x][k];
                if (w == 0)
                    continue;
                const uint8_t *p = g->pixels + 4 * (y * GLYPH_WIDTH + from);
                for (int c = 0; c < 4; c++)
                    sum[c] += w * p[c];
            }
            for (int c = 0; c < 4; c++)
                to[4 * (y * width + x) + c] = sum[c] / 255;
        }
}

static void scale_columns(const line_filter *f, const float *from, int width, int height, float *to)
{
    memset(to, 0, sizeof *to * 4 * (size_t)width * (size_t)height);
    for (int y = 0; y < height; y++)
        for (int k = 0; k < f->taps; k++) {
            float w = f->weight[y][k];
            if (w == 0)
                continue;
            const float *row = from + 4 * (size_t)width * (size_t)(f->first[y] + k);
            for (int i = 0; i < 4 * width; i++)
                to[4 * width * y + i] += w * row[i];
        }
}

bool patch_init(patch *p, const glyph *g, float centre_x, float centre_y, float height, int tint)
{
    float scale = height / GLYPH_HEIGHT, left = centre_x - scale * GLYPH_WIDTH / 2,
          top = centre_y - height / 2;
    *p = (patch){.x = (int)floorf(left) - 1, .y = (int)floorf(top) - 1};
    p->width = (int)ceilf(left + scale * GLYPH_WIDTH) + 1 - p->x;
    p->height = (int)ceilf(top + height) + 1 - p->y;
    if (p->width > MAX_SIDE || p->height > MAX_SIDE || p->width < 1 || p->height < 1)
        return false;
    size_t pixels = (size_t)p->width * (size_t)p->height;
    line_filter *across = malloc(2 * sizeof *across);
    float *rows = malloc(sizeof *rows * 4 * (size_t)p->width * GLYPH_HEIGHT);
    p->rgba = malloc(sizeof *p->rgba * 4 * pixels);
    bool ok = across && rows && p->rgba;
    if (ok) {
        filter_init(&across[0], GLYPH_WIDTH, p->width, left - (float)p->x, scale);
        filter_init(&across[1], GLYPH_HEIGHT, p->height, top - (float)p->y, scale);
        scale_rows(&across[0], g, p->width, rows);
        scale_columns(&across[1], rows, p->width, p->height, p->rgba);
        if (tint != NO_TINT)
            colours_tint(&g->hue, tint, p->rgba, (int)pixels);
    }
    free(across);
    free(rows);
    return ok;
}

void patch_fini(patch *p)
{
    free(p->rgba);
    p->rgba = NULL;
}

static void lay_over(const patch *p, int size, float *canvas)
{
    for (int y = 0; y < p->height; y++)
        for (int x = 0; x < p->width; x++) {
            int px = p->x + x, py = p->y + y;
            if (px < 0 || py < 0 || px >= size || py >= size)
                continue;
            const float *from = p->rgba + 4 * (y * p->width + x);
            float *to = canvas + 3 * (py * size + px);
            for (int c = 0; c < 3; c++)
                to[c] = from[c] + (1 - from[3]) * to[c];
        }
}

kiln_status paint_scene(const glyph_set *set, const scene *s, int size, uint8_t *rgb, kiln_error *err)
{
    if (size < 16 || size > MAX_SIDE)
        return fail(err, KILN_BAD_ARGUMENT, "the size of a picture is 16 to %d px, found %d", MAX_SIDE, size);
    size_t values = 3 * (size_t)size * (size_t)size;
    float *canvas = malloc(sizeof *canvas * values);
    if (!canvas)
        return fail(err, KILN_NO_MEMORY, "not enough memory to paint");
    const uint8_t *ground =
        background_colours[s->background == NO_BACKGROUND ? COLOUR_WHITE : s->background].rgb;
    for (size_t i = 0; i < values; i++)
        canvas[i] = (float)ground[i % 3] / 255;
    bool ok = true;
    float side = (float)size;
    for (int i = 0; ok && i < s->count; i++) {
        const scene_object *o = &s->objects[i];
        patch p;
        ok = patch_init(&p, &set->items[o->glyph], o->x * side, o->y * side, o->height * side, o->tint);
        if (ok)
            lay_over(&p, size, canvas);
        patch_fini(&p);
    }
    for (size_t i = 0; i < values; i++)
        rgb[i] = (uint8_t)lrintf(255 * fminf(fmaxf(canvas[i], 0), 1));
    free(canvas);
    return ok ? KILN_OK : fail(err, KILN_NO_MEMORY, "not enough memory to paint");
}
