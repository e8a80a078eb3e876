/* validate.c - see validate.h. */
#include "emoji/validate.h"

#include "emoji/paint.h"

#include <stdlib.h>
#include <string.h>

const char *const validate_names[VALIDATE_CASES] = {"true", "blurred", "shuffled", "blank"};

/* As scene.c moves objects, at its widest: every object by 2 % of the side, and 4 % larger or smaller. */
static scene jittered(const scene *from, random_source *r)
{
    scene s = *from;
    for (int i = 0; i < s.count; i++) {
        s.objects[i].x += (float)(0.02 * (2 * random_unit(r) - 1));
        s.objects[i].y += (float)(0.02 * (2 * random_unit(r) - 1));
        s.objects[i].height *= (float)(1 + 0.04 * (2 * random_unit(r) - 1));
    }
    return s;
}

static void spoil(uint8_t *rgb, uint8_t *work, int size, random_source *r)
{
    for (int pass = 0; pass < 2; pass++) { /* two means of 3x3 are a blur of about 1.2 px */
        memcpy(work, rgb, 3 * (size_t)size * (size_t)size);
        for (int y = 1; y + 1 < size; y++)
            for (int x = 1; x + 1 < size; x++)
                for (int c = 0; c < 3; c++) {
                    int sum = 0;
                    for (int k = 0; k < 9; k++)
                        sum += work[3 * ((y + k / 3 - 1) * size + x + k % 3 - 1) + c];
                    rgb[3 * (y * size + x) + c] = (uint8_t)(sum / 9);
                }
    }
    for (int i = 0; i < 3 * size * size; i++) {
        double v = 128 + 0.85 * (rgb[i] - 128.0) + 30 * (random_unit(r) - 0.5);
        rgb[i] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
    }
}

kiln_status validate_run(measure *m, const glyph_set *set, const prompt *list, int count, int size,
                         validate_case which, score *out, kiln_error *err)
{
    *out = (score){0};
    size_t bytes = 3 * (size_t)size * (size_t)size;
    uint8_t *rgb = malloc(bytes), *work = malloc(bytes);
    kiln_status status = rgb && work ? KILN_OK : fail(err, KILN_NO_MEMORY, "not enough memory to validate");
    for (int i = 0; !status && i < count; i++) {
        random_source r = random_start(77, (uint64_t)i);
        scene s = jittered(&list[which == VALIDATE_SHUFFLED ? (i + 1) % count : i].what, &r);
        if (which == VALIDATE_SHUFFLED)
            s.background = list[i].what.background;
        if (which == VALIDATE_BLANK)
            s.count = 0;
        finding f;
        status = paint_scene(set, &s, size, rgb, err);
        if (!status && which == VALIDATE_BLURRED)
            spoil(rgb, work, size, &r);
        if (!status)
            status = score_picture(m, set, &list[i], rgb, size, size, out, &f, err);
    }
    free(rgb);
    free(work);
    return status;
}
