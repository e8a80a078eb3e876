/* sheet.c - see sheet.h. */
#include "emoji/sheet.h"

#include "emoji/lettering.h"
#include "emoji/png_file.h"

#include <stdlib.h>
#include <string.h>

enum { GAP = 6, CAPTION_LINES = 5 };

static int cell_height(const sheet *s)
{
    return s->cell + CAPTION_LINES * LETTER_HEIGHT + GAP;
}

kiln_status sheet_init(sheet *s, int count, int columns, int size, kiln_error *err)
{
    *s = (sheet){.columns = columns, .cell = size, .count = count};
    if (count < 1 || columns < 1 || size < 1 || size > 2048 || count > 4096)
        return fail(err, KILN_BAD_ARGUMENT, "a contact sheet has 1 to 4096 pictures of 1 to 2048 px");
    s->width = columns * (size + GAP) + GAP;
    s->height = (count + columns - 1) / columns * cell_height(s) + GAP;
    size_t bytes = 3 * (size_t)s->width * (size_t)s->height;
    s->rgb = malloc(bytes);
    if (!s->rgb)
        return fail(err, KILN_NO_MEMORY, "not enough memory for a contact sheet");
    memset(s->rgb, 235, bytes);
    return KILN_OK;
}

void sheet_put(sheet *s, int index, const uint8_t *rgb, const char *caption)
{
    if (index < 0 || index >= s->count)
        return;
    int x = GAP + index % s->columns * (s->cell + GAP), y = GAP + index / s->columns * cell_height(s);
    size_t row = 3 * (size_t)s->cell;
    for (int i = 0; i < s->cell; i++)
        memcpy(s->rgb + 3 * ((size_t)(y + i) * (size_t)s->width + (size_t)x), rgb + row * (size_t)i, row);
    lettering_write(s->rgb, s->width, s->height, x, y + s->cell + 2, s->cell / LETTER_WIDTH, CAPTION_LINES,
                    caption);
}

kiln_status sheet_write(const sheet *s, const char *path, kiln_error *err)
{
    return png_file_write(path, s->rgb, s->width, s->height, 6, err);
}

void sheet_fini(sheet *s)
{
    free(s->rgb);
    s->rgb = NULL;
}
