/* contact_sheet.c - see contact_sheet.h. */
#include "train/contact_sheet.h"

#include "image/picture_file.h"
#include "image/resize.h"
#include "train/bitmap_font.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    GAP = 8,
    CELL_LEAST = 64,
    CELL_MOST = 1024,
    CAPTION_LINES = 3,
    LINE_STEP = 11,
    CAPTION_BYTES = 512,
    SHEET_MOST = 4096
};

typedef struct sheet {
    int columns, rows, cell, title_height, caption_height, scale;
    image *on;
} sheet;

static const unsigned char ink[3] = {30, 33, 38}, title_ink[3] = {20, 60, 120};

static void place(image *on, const image *from, int x0, int y0)
{
    for (int y = 0; y < from->height; y++)
        memcpy((unsigned char *)on->pixels + ((size_t)(y0 + y) * (size_t)on->width + (size_t)x0) * 3,
               (const unsigned char *)from->pixels + (size_t)y * image_row_bytes(from),
               image_row_bytes(from));
}

static kiln_status draw_picture(const sheet *s, const image *picture, int x, int y, kiln_error *err)
{
    image *plain = NULL, *fitted = NULL;
    int larger = picture->width > picture->height ? picture->width : picture->height;
    int width = picture->width, height = picture->height;
    if (larger > s->cell) {
        width = (int)((double)width * s->cell / larger + 0.5);
        height = (int)((double)height * s->cell / larger + 0.5);
    } else {
        width *= s->cell / larger;
        height *= s->cell / larger;
    }
    width = width < 1 ? 1 : width;
    height = height < 1 ? 1 : height;
    kiln_status status = image_to_bytes(picture, 3, &plain, err);
    if (status == KILN_OK)
        status = image_resize(plain, width, height, larger > s->cell ? RESIZE_LANCZOS : RESIZE_NEAREST,
                              &fitted, err);
    if (status == KILN_OK)
        place(s->on, fitted, x + (s->cell - width) / 2, y + (s->cell - height) / 2);
    image_free(plain);
    image_free(fitted);
    return status;
}

/* How many bytes of `text` fit into `width` pixels, at a blank where there is one. */
static size_t fitting(const char *text, int width, int scale)
{
    char part[CAPTION_BYTES];
    size_t best = 0, at = 0;
    while (text[at] && at + 1 < sizeof part) {
        do
            at++;
        while (((unsigned char)text[at] & 0xC0) == 0x80 && at + 1 < sizeof part);
        memcpy(part, text, at);
        part[at] = 0;
        if (font_text_width(part, scale) > width)
            break;
        if (!text[at] || text[at] == ' ')
            best = at;
    }
    if (best || !*text)
        return best;
    int characters = (width / scale + 1) / FONT_ADVANCE;
    for (at = 0; text[at] && characters > 0; characters--)
        do
            at++;
        while (((unsigned char)text[at] & 0xC0) == 0x80);
    return at ? at : 1;
}

static void draw_caption(const sheet *s, const char *caption, int x, int y)
{
    for (int i = 0; i < CAPTION_LINES && *caption; i++) {
        char text[CAPTION_BYTES];
        size_t take = fitting(caption, s->cell, s->scale);
        take = take < sizeof text ? take : sizeof text - 1;
        memcpy(text, caption, take);
        text[take] = 0;
        caption += take;
        caption += strspn(caption, " ");
        if (i == CAPTION_LINES - 1 && *caption && take > 2)
            memcpy(text + take - 2, "..", 2);
        font_draw(s->on, x, y + i * LINE_STEP * s->scale, s->scale, ink, text);
    }
}

/* The largest side of any picture, or what is asked for. */
static int cell_of(const image *const *pictures, size_t count, int wanted)
{
    int cell = CELL_LEAST;
    for (size_t i = 0; i < count; i++)
        if (pictures[i]) {
            cell = pictures[i]->width > cell ? pictures[i]->width : cell;
            cell = pictures[i]->height > cell ? pictures[i]->height : cell;
        }
    cell = wanted > 0 ? wanted : cell;
    return cell < CELL_LEAST ? CELL_LEAST : cell > CELL_MOST ? CELL_MOST : cell;
}

static kiln_status lay_out(sheet *s, size_t count, bool captions, const char *title, kiln_error *err)
{
    s->rows = ((int)count + s->columns - 1) / s->columns;
    s->scale = s->cell >= 384 ? 2 : 1;
    s->caption_height = captions ? CAPTION_LINES * LINE_STEP * s->scale + 3 : 0;
    s->title_height = title && *title ? 2 * FONT_HEIGHT + GAP : 0;
    int64_t width = (int64_t)s->columns * (s->cell + GAP) + GAP;
    int64_t height = (int64_t)s->rows * (s->cell + s->caption_height + GAP) + GAP + s->title_height;
    if (width > IMAGE_MAX_SIDE || height > IMAGE_MAX_SIDE || width * height > IMAGE_MAX_PIXELS)
        return fail(err, KILN_BAD_ARGUMENT, "a contact sheet of %zu pictures of %d pixels is too large",
                    count, s->cell);
    kiln_status status = image_new((int)width, (int)height, 3, 8, &s->on, err);
    if (status == KILN_OK)
        memset(s->on->pixels, 246, image_bytes(s->on));
    return status;
}

kiln_status contact_sheet_new(const image *const *pictures, const char *const *captions, size_t count,
                              int columns, int cell_px, const char *title, image **out, kiln_error *err)
{
    *out = NULL;
    if (count < 1 || count > SHEET_MOST || columns < 0 || columns > SHEET_MOST)
        return fail(err, KILN_BAD_ARGUMENT, "a contact sheet has 1 to %d pictures, not %zu", (int)SHEET_MOST,
                    count);
    sheet s = {.columns = columns > 0 ? columns : (int)ceil(sqrt((double)count)),
               .cell = cell_of(pictures, count, cell_px)};
    if ((size_t)s.columns > count)
        s.columns = (int)count;
    kiln_status status = lay_out(&s, count, captions != NULL, title, err);
    if (status == KILN_OK && s.title_height)
        font_draw(s.on, GAP, GAP, 2, title_ink, title);
    for (size_t i = 0; status == KILN_OK && i < count; i++) {
        int x = GAP + (int)(i % (size_t)s.columns) * (s.cell + GAP);
        int y = GAP + s.title_height + (int)(i / (size_t)s.columns) * (s.cell + s.caption_height + GAP);
        if (pictures[i])
            status = draw_picture(&s, pictures[i], x, y, err);
        if (captions && captions[i])
            draw_caption(&s, captions[i], x, y + s.cell + 3);
    }
    if (status != KILN_OK) {
        image_free(s.on);
        return status;
    }
    *out = s.on;
    return KILN_OK;
}

kiln_status contact_sheet_write(const char *path, const image *const *pictures, const char *const *captions,
                                size_t count, int columns, int cell_px, const char *title, kiln_error *err)
{
    image *made;
    kiln_status status = contact_sheet_new(pictures, captions, count, columns, cell_px, title, &made, err);
    if (status == KILN_OK)
        status = image_write(path, made, NULL, NULL, err);
    image_free(made);
    return status;
}
