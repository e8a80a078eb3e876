/* mask_edge.c - moving and softening the edge of a mask; see mask.h.
 *
 * Growing goes by the exact Euclidean distance to the nearest pixel of the other kind, found column by column and then
 * row by row as the lower envelope of parabolas (Felzenszwalb and Huttenlocher 2012, "Distance transforms of sampled
 * functions"). */
#include "image/mask.h"

#include "image/gaussian.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------------ growing */

/* Room for one line of the distance transform. */
typedef struct envelope {
    float *in, *out;
    int *vertex;   /* where each parabola of the envelope stands */
    double *bound; /* and from where it is the lowest */
} envelope;

static const float far_away = 1e18f;

/* Squared distances along one line of n numbers: out[q] = min over p of (q - p)^2 + in[p]. */
static void transform_line(const envelope *e, int n)
{
    int k = -1;
    for (int q = 0; q < n; q++) {
        if (e->in[q] >= far_away)
            continue;
        double cross = -INFINITY;
        for (; k >= 0; k--) {
            int p = e->vertex[k];
            cross = ((double)e->in[q] + (double)q * q - ((double)e->in[p] + (double)p * p)) / (2.0 * (q - p));
            if (cross > e->bound[k])
                break;
        }
        k++;
        e->vertex[k] = q;
        e->bound[k] = k == 0 ? -INFINITY : cross;
    }
    int count = k + 1;
    k = 0;
    for (int q = 0; q < n; q++) {
        if (count == 0) {
            e->out[q] = far_away;
            continue;
        }
        while (k + 1 < count && e->bound[k + 1] < q)
            k++;
        double d = q - e->vertex[k];
        e->out[q] = (float)(d * d + (double)e->in[e->vertex[k]]);
    }
}

static void transform(float *field, int width, int height, const envelope *e)
{
    for (int x = 0; x < width; x++) {
        for (int y = 0; y < height; y++)
            e->in[y] = field[(size_t)y * (size_t)width + (size_t)x];
        transform_line(e, height);
        for (int y = 0; y < height; y++)
            field[(size_t)y * (size_t)width + (size_t)x] = e->out[y];
    }
    for (int y = 0; y < height; y++) {
        float *row = field + (size_t)y * (size_t)width;
        memcpy(e->in, row, (size_t)width * sizeof *row);
        transform_line(e, width);
        memcpy(row, e->out, (size_t)width * sizeof *row);
    }
}

kiln_status mask_grow(mask *m, double px, kiln_error *err)
{
    size_t count = (size_t)m->width * (size_t)m->height,
           longest = (size_t)(m->width > m->height ? m->width : m->height);
    bool shrink = px < 0;
    float reach = (float)(px * px);
    if (px == 0)
        return KILN_OK;
    mask_round(m);
    envelope e = {malloc(longest * sizeof(float)), malloc(longest * sizeof(float)),
                  malloc(longest * sizeof(int)), malloc(longest * sizeof(double))};
    bool good = e.in && e.out && e.vertex && e.bound;
    if (good) {
        /* Distance to what is inside; shrinking is growing what is outside. */
        for (size_t i = 0; i < count; i++)
            m->values[i] = (m->values[i] > 0) != shrink ? 0 : far_away;
        transform(m->values, m->width, m->height, &e);
        for (size_t i = 0; i < count; i++)
            m->values[i] = (m->values[i] <= reach) != shrink;
    }
    free(e.in);
    free(e.out);
    free(e.vertex);
    free(e.bound);
    return good ? KILN_OK : fail(err, KILN_NO_MEMORY, "out of memory to grow a mask");
}

/* ------------------------------------------------------------------------------------ blurring */

kiln_status mask_blur(mask *m, double sigma, kiln_error *err)
{
    const gaussian g = {
        .sigma = sigma, .reach = (int)(2.5 * sigma + 0.5), .edge = GAUSSIAN_MIRROR, .bytes = true};
    return gaussian_blur(&g, m->values, m->width, m->height, 1, err);
}
