/* sheet.c - see sheet.h. */
#include "emoji/sheet.h"

#include "emoji/png_file.h"
#include "image/sheet.h"

#include <stdlib.h>
#include <string.h>

kiln_status sheet_init(sheet *s, int count, int columns, int size, kiln_error *err)
{
    *s = (sheet){.columns = columns, .cell = size, .count = count};
    if (count < 1 || columns < 1 || size < 1 || size > 2048 || count > SHEET_MOST)
        return fail(err, KILN_BAD_ARGUMENT, "a contact sheet has 1 to %d pictures of 1 to 2048 px",
                    (int)SHEET_MOST);
    /* Whole rows: the last one may have gaps. */
    size_t places = (size_t)(count + columns - 1) / (size_t)columns * (size_t)columns;
    s->pictures = calloc(places, sizeof(image *));
    s->captions = calloc(places, sizeof *s->captions);
    return s->pictures && s->captions ? KILN_OK
                                      : fail(err, KILN_NO_MEMORY, "not enough memory for a contact sheet");
}

kiln_status sheet_put(sheet *s, int index, const uint8_t *rgb, const char *caption, kiln_error *err)
{
    if (index < 0 || index >= s->count || s->pictures[index])
        return KILN_OK;
    kiln_status status = image_new(s->cell, s->cell, 3, 8, &s->pictures[index], err);
    if (status)
        return status;
    memcpy(s->pictures[index]->pixels, rgb, image_bytes(s->pictures[index]));
    s->captions[index] = strdup(caption);
    return s->captions[index] ? KILN_OK : fail(err, KILN_NO_MEMORY, "not enough memory for a contact sheet");
}

kiln_status sheet_write(const sheet *s, const char *path, kiln_error *err)
{
    const sheet_content content = {.columns = s->columns,
                                   .rows = (s->count + s->columns - 1) / s->columns,
                                   .layers = 1,
                                   .pictures = (const image *const *)s->pictures,
                                   .captions = (const char *const *)s->captions};
    image *made = NULL;
    kiln_status status = sheet_draw(&content, &made, err);
    if (!status)
        status = png_file_write(path, made->pixels, made->width, made->height, 6, err);
    image_free(made);
    return status;
}

void sheet_fini(sheet *s)
{
    for (int i = 0; i < s->count && s->pictures && s->captions; i++) {
        image_free(s->pictures[i]);
        free(s->captions[i]);
    }
    free(s->pictures);
    free(s->captions);
    *s = (sheet){0};
}
