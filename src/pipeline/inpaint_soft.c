/* inpaint_soft.c - what soft inpainting puts into the picture: the more the drawing differs, the more of it.
 *
 * The distance of the latents before and after, rid of specks by two weighted percentile filters (the uppermost tenth,
 * which widens, then the middle half, which smooths), over a threshold, through a smooth step:
 *
 *     kept = smootherstep(1 / (1 + (distance / threshold)^contrast))        share = 1 - kept
 *
 * "Mask influence" lets the mask raise the threshold where it is dark and lower it where it is white. */
#include "pipeline/inpaint.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { REACH = 2, TAPS = (2 * REACH + 1) * (2 * REACH + 1) };

typedef struct weighted {
    float value, weight;
} weighted;

static int by_value(const void *a, const void *b)
{
    float x = ((const weighted *)a)->value, y = ((const weighted *)b)->value;
    return (x > y) - (x < y);
}

/* The mean of what lies between two shares of the weight, `total` in all. */
static float mean_between(weighted *list, int count, float total, float from, float to)
{
    qsort(list, (size_t)count, sizeof *list, by_value);
    float sum = 0, weight = 0, passed = 0;
    for (int i = 0; i < count; i++) {
        float low = fmaxf(passed, from * total), high = fminf(passed + list[i].weight, to * total);
        passed += list[i].weight;
        if (high > low) {
            sum += (high - low) * list[i].value;
            weight += high - low;
        }
    }
    return weight > 0 ? sum / weight : list[count - 1].value;
}

static void filter(const float *in, float *out, int width, int height, float from, float to)
{
    static const float deviation = 1.5f;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            weighted list[TAPS];
            int count = 0;
            float total = 0;
            for (int k = 0; k < TAPS; k++) {
                int dy = k / (2 * REACH + 1) - REACH, dx = k % (2 * REACH + 1) - REACH;
                if (y + dy < 0 || y + dy >= height || x + dx < 0 || x + dx >= width)
                    continue;
                float weight = expf(-(float)(dx * dx + dy * dy) / (2 * deviation * deviation));
                list[count++] = (weighted){in[(size_t)(y + dy) * (size_t)width + (size_t)(x + dx)], weight};
                total += weight;
            }
            out[(size_t)y * (size_t)width + (size_t)x] = mean_between(list, count, total, from, to);
        }
}

static float smootherstep(float t)
{
    return t * t * t * (t * (t * 6 - 15) + 10);
}

/* The share at a latent whose distance is `distance`, where the mask is `m`. */
static float share_of(const kiln_inpaint_options *o, float distance, float m)
{
    float influence = (float)o->soft_influence;
    float scalar = 1 - powf(fminf(fmaxf(m, 0), 1), (float)o->soft_preservation / 2);
    scalar = 0.5f * (1 - influence) + scalar * influence;
    scalar /= 1.00001f - scalar;
    float threshold = (float)o->soft_threshold * scalar;
    if (!(threshold > 0))
        return 1;
    return 1 - smootherstep(1 / (1 + powf(distance / threshold, (float)o->soft_difference)));
}

kiln_status inpaint_soft_share(const inpainting *p, const float *x, float *share, kiln_error *err)
{
    int width = p->latent_mask->width, height = p->latent_mask->height;
    size_t positions = (size_t)width * (size_t)height;
    mask *latents = NULL, *whole = NULL;
    float *distance = calloc(positions, sizeof *distance), *filtered = malloc(positions * sizeof *filtered);
    kiln_status status = distance && filtered
                             ? mask_new(width, height, &latents, err)
                             : fail(err, KILN_NO_MEMORY, "out of memory for soft inpainting");
    for (size_t i = 0; status == KILN_OK && i < positions; i++) {
        float sum = 0;
        for (size_t k = i; k < p->work.n; k += positions)
            sum += (x[k] - p->work.image[k]) * (x[k] - p->work.image[k]);
        distance[i] = sqrtf(sum);
    }
    if (status == KILN_OK) {
        filter(distance, filtered, width, height, 0.9f, 1);
        filter(filtered, distance, width, height, 0.25f, 0.75f);
        for (size_t i = 0; i < positions; i++)
            latents->values[i] = share_of(p->options, distance[i], p->latent_mask->values[i]);
        status = mask_resize(latents, p->region.width, p->region.height, &whole, err);
    }
    if (status == KILN_OK)
        memcpy(share, whole->values, (size_t)p->region.width * (size_t)p->region.height * sizeof *share);
    free(distance);
    free(filtered);
    mask_free(latents);
    mask_free(whole);
    return status;
}
