/* sheet.c - see sheet.h. */
#include "image/sheet.h"

#include "image/lettering.h"
#include "image/resize.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { LINES_MOST = 8, LETTERS_LEAST = 12, LETTERS_MOST = 28, PAPER = 246 };

static const unsigned char ink[3] = {30, 33, 38}, title_ink[3] = {20, 60, 120};

typedef struct sheet {
    const sheet_content *content;
    lettering *letters, *large;
    int width, height; /* of a cell */
    int gap, left;     /* left: of the rows' labels */
    int title, layer_label, column_label, caption;
    int whole_width, whole_height;
    image *on;
} sheet;

/* ------------------------------------------------------------------------------------ texts */

/* Lines that a text takes in `width` pixels. */
static int lines_of(const lettering *letters, const char *text, int width)
{
    int lines = 0;
    for (; text && *text && lines < LINES_MOST; lines++) {
        text += lettering_fit(letters, text, width);
        text += strspn(text, " ");
    }
    return lines;
}

static int most_lines(const lettering *letters, const char *const *texts, int count, int width)
{
    int most = 0;
    for (int i = 0; texts && i < count; i++) {
        int lines = lines_of(letters, texts[i], width);
        most = lines > most ? lines : most;
    }
    return most;
}

/* Pixels of the widest of these texts when each may be broken at `width`. */
static int widest(const lettering *letters, const char *const *texts, int count, int width)
{
    int most = 0;
    for (int i = 0; texts && i < count; i++) {
        int own = texts[i] ? lettering_width(letters, texts[i], strlen(texts[i])) : 0;
        most = own > most ? own : most;
    }
    return most < width ? most : width;
}

/* A text in lines from (x, y) down, at most `lines`; a last line that leaves something out ends in dots. */
static void write(image *on, const lettering *letters, int x, int y, int width, int lines,
                  const unsigned char rgb[3], bool centred, const char *text)
{
    for (int i = 0; i < lines && text && *text; i++) {
        size_t take = lettering_fit(letters, text, width);
        const char *next = text + take + strspn(text + take, " ");
        int own = lettering_width(letters, text, take);
        int dots = lettering_width(letters, "..", 2);
        bool cut = i == lines - 1 && *next;
        while (cut && take > 1 && own + dots > width) {
            do
                take--;
            while (take > 1 && ((unsigned char)text[take] & 0xC0) == 0x80);
            own = lettering_width(letters, text, take);
        }
        int at = x + (centred ? (width - own - (cut ? dots : 0)) / 2 : 0);
        lettering_draw(letters, on, at, y + i * lettering_line(letters), rgb, text, take);
        if (cut)
            lettering_draw(letters, on, at + own, y + i * lettering_line(letters), rgb, "..", 2);
        text = next;
    }
}

/* ------------------------------------------------------------------------------------ pictures */

/* The size that a picture has on the sheet. */
static void fitted(const sheet_content *c, const image *picture, int *width, int *height)
{
    int larger = picture->width > picture->height ? picture->width : picture->height;
    *width = picture->width;
    *height = picture->height;
    if (c->cell_px > 0 && larger > c->cell_px) {
        *width = (int)((double)*width * c->cell_px / larger + 0.5);
        *height = (int)((double)*height * c->cell_px / larger + 0.5);
    } else if (c->cell_px > 0) {
        *width *= c->cell_px / larger;
        *height *= c->cell_px / larger;
    }
    *width = *width < 1 ? 1 : *width;
    *height = *height < 1 ? 1 : *height;
}

static void place(image *on, const image *from, int x0, int y0)
{
    for (int y = 0; y < from->height; y++)
        memcpy((unsigned char *)on->pixels + ((size_t)(y0 + y) * (size_t)on->width + (size_t)x0) * 3,
               (const unsigned char *)from->pixels + (size_t)y * image_row_bytes(from),
               image_row_bytes(from));
}

static kiln_status put(const sheet *s, const image *picture, int x, int y, kiln_error *err)
{
    image *plain = NULL, *sized = NULL;
    int width, height;
    fitted(s->content, picture, &width, &height);
    kiln_status status = image_to_bytes(picture, 3, &plain, err);
    if (status == KILN_OK)
        status = image_resize(plain, width, height, width < picture->width ? RESIZE_LANCZOS : RESIZE_NEAREST,
                              &sized, err);
    if (status == KILN_OK)
        place(s->on, sized, x + (s->width - width) / 2, y + (s->height - height) / 2);
    image_free(plain);
    image_free(sized);
    return status;
}

/* ------------------------------------------------------------------------------------ the whole */

static int cells(const sheet_content *c)
{
    return c->columns * c->rows * c->layers;
}

static int layer_height(const sheet *s)
{
    return s->layer_label + s->column_label + s->content->rows * (s->height + s->caption + s->gap);
}

static void measure_cells(sheet *s)
{
    const sheet_content *c = s->content;
    s->width = s->height = c->cell_px;
    for (int i = 0; c->cell_px == 0 && i < cells(c); i++)
        if (c->pictures[i]) {
            s->width = c->pictures[i]->width > s->width ? c->pictures[i]->width : s->width;
            s->height = c->pictures[i]->height > s->height ? c->pictures[i]->height : s->height;
        }
}

/* Room for `lines` lines and the space below them. */
static int room(const sheet *s, const lettering *letters, int lines)
{
    return lines ? lines * lettering_line(letters) + s->gap / 2 : 0;
}

static kiln_status lay_out(sheet *s, kiln_error *err)
{
    const sheet_content *c = s->content;
    int lines = most_lines(s->letters, c->captions, cells(c), s->width);
    if (c->caption_lines > 0 && lines > c->caption_lines)
        lines = c->caption_lines;
    s->caption = lines ? lines * lettering_line(s->letters) + 2 : 0;
    int left = widest(s->letters, c->rows_say, c->rows, s->width > 160 ? s->width : 160);
    s->left = left ? left + s->gap : 0;
    s->column_label = room(s, s->letters, most_lines(s->letters, c->columns_say, c->columns, s->width));
    int64_t width = (int64_t)c->columns * (s->width + s->gap) + s->gap + s->left;
    if (width > IMAGE_MAX_SIDE)
        return fail(err, KILN_BAD_ARGUMENT, "a sheet of %d columns of %d pixels is too wide", c->columns,
                    s->width);
    int inside = (int)width - 2 * s->gap;
    s->title = room(s, s->large, lines_of(s->large, c->title, inside));
    s->layer_label = room(s, s->large, most_lines(s->large, c->layers_say, c->layers, inside));
    int64_t height = (int64_t)c->layers * layer_height(s) + s->gap + s->title;
    if (height > IMAGE_MAX_SIDE || width * height > IMAGE_MAX_PIXELS)
        return fail(err, KILN_BAD_ARGUMENT, "a sheet of %d x %d x %d pictures of %dx%d pixels is too large",
                    c->columns, c->rows, c->layers, s->width, s->height);
    s->whole_width = (int)width;
    s->whole_height = (int)height;
    return KILN_OK;
}

static kiln_status draw_layer(const sheet *s, int layer, int top, kiln_error *err)
{
    const sheet_content *c = s->content;
    int inside = s->on->width - 2 * s->gap, pitch = s->width + s->gap;
    kiln_status status = KILN_OK;
    if (c->layers_say)
        write(s->on, s->large, s->gap, top, inside, LINES_MOST, ink, false, c->layers_say[layer]);
    top += s->layer_label;
    for (int k = 0; c->columns_say && k < c->columns; k++)
        write(s->on, s->letters, s->gap + s->left + k * pitch, top, s->width, LINES_MOST, ink, true,
              c->columns_say[k]);
    top += s->column_label;
    for (int i = 0; status == KILN_OK && i < c->rows; i++, top += s->height + s->caption + s->gap) {
        const char *label = c->rows_say ? c->rows_say[i] : NULL;
        int lines = lines_of(s->letters, label, s->left - s->gap);
        if (label)
            write(s->on, s->letters, s->gap, top + (s->height - lines * lettering_line(s->letters)) / 2,
                  s->left - s->gap, LINES_MOST, ink, false, label);
        for (int k = 0; status == KILN_OK && k < c->columns; k++) {
            int at = (layer * c->rows + i) * c->columns + k, x = s->gap + s->left + k * pitch;
            if (c->pictures[at])
                status = put(s, c->pictures[at], x, top, err);
            if (c->captions)
                write(s->on, s->letters, x, top + s->height + 2, s->width,
                      s->caption / lettering_line(s->letters), ink, false, c->captions[at]);
        }
    }
    return status;
}

/* With the size of its pictures. */
static kiln_status measure(sheet *s, kiln_error *err)
{
    const sheet_content *c = s->content;
    s->width = s->width < 64 ? 64 : s->width;
    s->height = s->height < 64 ? 64 : s->height;
    s->gap = s->width / 24 < 6 ? 6 : s->width / 24;
    int size = s->width / 10;
    size = size < LETTERS_LEAST ? LETTERS_LEAST : size > LETTERS_MOST ? LETTERS_MOST : size;
    kiln_status status = lettering_new(c->font, size, &s->letters, err);
    if (status == KILN_OK)
        status = lettering_new(c->font, size + size / 3, &s->large, err);
    return status == KILN_OK ? lay_out(s, err) : status;
}

static kiln_status draw(sheet *s, kiln_error *err)
{
    const sheet_content *c = s->content;
    measure_cells(s);
    kiln_status status = measure(s, err);
    if (status == KILN_OK)
        status = image_new(s->whole_width, s->whole_height, 3, 8, &s->on, err);
    if (status)
        return status;
    memset(s->on->pixels, PAPER, image_bytes(s->on));
    write(s->on, s->large, s->gap, s->gap, s->on->width - 2 * s->gap, LINES_MOST, title_ink, false, c->title);
    for (int layer = 0; status == KILN_OK && layer < c->layers; layer++)
        status = draw_layer(s, layer, s->gap + s->title + layer * layer_height(s), err);
    return status;
}

kiln_status sheet_count(const sheet_content *c, int64_t *count, kiln_error *err)
{
    bool each = c->columns > 0 && c->rows > 0 && c->layers > 0 && c->columns <= SHEET_MOST &&
                c->rows <= SHEET_MOST && c->layers <= SHEET_MOST;
    *count = each ? (int64_t)c->columns * c->rows * c->layers : 0;
    if (*count < 1 || *count > SHEET_MOST)
        return fail(err, KILN_BAD_ARGUMENT, "a sheet has 1 to %d pictures, not %d x %d x %d", (int)SHEET_MOST,
                    c->columns, c->rows, c->layers);
    return KILN_OK;
}

/* What can be wrong with a content apart from its pictures' sizes. */
static kiln_status check(const sheet_content *c, kiln_error *err)
{
    int64_t count;
    kiln_status status = sheet_count(c, &count, err);
    if (status == KILN_OK && (c->cell_px < 0 || c->cell_px > IMAGE_MAX_SIDE))
        status = fail(err, KILN_BAD_ARGUMENT, "pictures of %d pixels on a sheet", c->cell_px);
    return status;
}

kiln_status sheet_check(const sheet_content *c, int width, int height, kiln_error *err)
{
    sheet s = {
        .content = c, .width = c->cell_px ? c->cell_px : width, .height = c->cell_px ? c->cell_px : height};
    kiln_status status = check(c, err);
    if (status == KILN_OK)
        status = measure(&s, err);
    lettering_free(s.letters);
    lettering_free(s.large);
    return status;
}

kiln_status sheet_draw(const sheet_content *c, image **out, kiln_error *err)
{
    *out = NULL;
    kiln_status status = check(c, err);
    if (status)
        return status;
    sheet s = {.content = c};
    status = draw(&s, err);
    lettering_free(s.letters);
    lettering_free(s.large);
    if (status)
        image_free(s.on);
    else
        *out = s.on;
    return status;
}
