/* picture_load.c - see picture_load.h. */
#include "train/picture_load.h"

#include "image/picture_file.h"
#include "image/resize.h"
#include "train/buckets.h"

kiln_status picture_load(const char *path, int width_px, int height_px, bool unscaled, image **out,
                         kiln_error *err)
{
    *out = NULL;
    image *read, *plain;
    kiln_status status = image_read(path, &read, NULL, err);
    if (status != KILN_OK)
        return status;
    if (read->channels == 3 && read->bits == 8) {
        plain = read;
    } else {
        status = image_to_bytes(read, 3, &plain, err);
        image_free(read);
        if (status != KILN_OK)
            return fail_within(err, status, "%s", path);
    }
    dataset_bucket bucket = {width_px, height_px, 0};
    int width, height;
    bucket_cover(&bucket, plain->width, plain->height, &width, &height);
    bool covers = plain->width >= width_px && plain->height >= height_px;
    if ((unscaled && covers) || (width == plain->width && height == plain->height)) {
        *out = plain;
        return KILN_OK;
    }
    status = image_resize(plain, width, height, RESIZE_LANCZOS, out, err);
    image_free(plain);
    return status == KILN_OK ? KILN_OK : fail_within(err, status, "%s", path);
}

/* How much of `spare` pixels lies before the cut. */
static int cut_before(int spare, float crop)
{
    if (spare <= 0)
        return 0;
    if (crop == 0.5f)
        return spare / 2;
    int before = (int)(crop * (float)(spare + 1));
    return before < 0 ? 0 : before > spare ? spare : before;
}

void picture_cut(const image *covering, const order_sample *sample, float *nhwc)
{
    int width = sample->width_px, height = sample->height_px;
    int x0 = cut_before(covering->width - width, sample->crop_x);
    int y0 = cut_before(covering->height - height, sample->crop_y);
    for (int y = 0; y < height; y++) {
        const uint8_t *row =
            (const uint8_t *)covering->pixels + ((size_t)(y0 + y) * (size_t)covering->width + (size_t)x0) * 3;
        float *to = nhwc + (size_t)y * (size_t)width * 3;
        if (!sample->flip) {
            for (int i = 0; i < width * 3; i++)
                to[i] = (float)row[i] / 255.0f * 2.0f - 1.0f;
            continue;
        }
        for (int x = 0; x < width; x++)
            for (int c = 0; c < 3; c++)
                to[x * 3 + c] = (float)row[(width - 1 - x) * 3 + c] / 255.0f * 2.0f - 1.0f;
    }
}
