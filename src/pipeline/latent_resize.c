/* latent_resize.c - see latent_resize.h.
 *
 * torch's bilinear and both of its antialiased filters are those of image/resize.h. Its plain bicubic has another
 * parameter (-0.75) and goes on with the edge's value beyond the edge; its "nearest" takes the beginning of a pixel, and
 * "nearest-exact" the middle. */
#include "pipeline/latent_resize.h"

#include "image/resize.h"

#include <math.h>
#include <strings.h>

typedef enum latent_filter { BY_RESIZE, BY_BICUBIC, BY_NEAREST } latent_filter;

static const struct {
    const char *name;
    latent_filter how;
    resize_filter filter;
} filters[] = {
    {"Latent", BY_RESIZE, RESIZE_BILINEAR},
    {"Latent (antialiased)", BY_RESIZE, RESIZE_BILINEAR},
    {"Latent (bicubic)", BY_BICUBIC, RESIZE_BICUBIC},
    {"Latent (bicubic antialiased)", BY_RESIZE, RESIZE_BICUBIC},
    {"Latent (nearest)", BY_NEAREST, RESIZE_NEAREST},
    {"Latent (nearest-exact)", BY_RESIZE, RESIZE_NEAREST},
};
enum { FILTERS = sizeof filters / sizeof *filters };

static int find(const char *name)
{
    for (int i = 0; i < FILTERS; i++)
        if (strcasecmp(name, filters[i].name) == 0)
            return i;
    return -1;
}

bool latent_resize_known(const char *name)
{
    return find(name) >= 0;
}

static int clamped(int i, int n)
{
    return i < 0 ? 0 : i >= n ? n - 1 : i;
}

static float keys(float x)
{
    const float a = -0.75f;
    x = fabsf(x);
    if (x <= 1)
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    return x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
}

static void plane_bicubic(const float *from, int height, int width, float *to, int to_height, int to_width)
{
    float sy = (float)height / (float)to_height, sx = (float)width / (float)to_width;
    for (int y = 0; y < to_height; y++)
        for (int x = 0; x < to_width; x++) {
            float v = ((float)y + 0.5f) * sy - 0.5f, u = ((float)x + 0.5f) * sx - 0.5f, sum = 0;
            int top = (int)floorf(v), left = (int)floorf(u);
            for (int j = -1; j <= 2; j++)
                for (int i = -1; i <= 2; i++)
                    sum += keys(v - (float)(top + j)) * keys(u - (float)(left + i)) *
                           from[(size_t)clamped(top + j, height) * (size_t)width +
                                (size_t)clamped(left + i, width)];
            to[(size_t)y * (size_t)to_width + (size_t)x] = sum;
        }
}

static void plane_nearest(const float *from, int height, int width, float *to, int to_height, int to_width)
{
    for (int y = 0; y < to_height; y++)
        for (int x = 0; x < to_width; x++)
            to[(size_t)y * (size_t)to_width + (size_t)x] =
                from[(size_t)((int64_t)y * height / to_height) * (size_t)width +
                     (size_t)((int64_t)x * width / to_width)];
}

kiln_status latent_resize(const char *name, const float *from, int channels, int height, int width, float *to,
                          int to_height, int to_width, kiln_error *err)
{
    int f = find(name);
    if (f < 0)
        return fail(err, KILN_NOT_FOUND, "there is no latent upscaler \"%s\"", name);
    kiln_status status = KILN_OK;
    for (int c = 0; status == KILN_OK && c < channels; c++) {
        const float *plane = from + (size_t)c * (size_t)height * (size_t)width;
        float *out = to + (size_t)c * (size_t)to_height * (size_t)to_width;
        if (filters[f].how == BY_BICUBIC)
            plane_bicubic(plane, height, width, out, to_height, to_width);
        else if (filters[f].how == BY_NEAREST)
            plane_nearest(plane, height, width, out, to_height, to_width);
        else
            status = resize_floats(plane, width, height, 1, out, to_width, to_height, filters[f].filter, err);
    }
    return status;
}
