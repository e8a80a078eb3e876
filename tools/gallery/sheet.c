/* sheet.c - pictures side by side, as `make gallery` shows them.
 *
 *     gallery_sheet OUT PICTURE[@X,Y,W,H] ... [/ PICTURE ...]
 *     gallery_sheet --crop X,Y,W,H PICTURE OUT
 *
 * Each picture at its own size, rows set apart by "/"; @ draws a frame around a part of it. 8-bit colours over white. With
 * --crop a part of a picture, without its texts. */
#include <kiln/kiln.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GAP = 8, GREY = 240, MOST = 64 };

typedef struct cell {
    kiln_image *picture;
    int x, y;                                        /* in the sheet */
    int frame_x, frame_y, frame_width, frame_height; /* width 0: none */
} cell;

typedef struct sheet {
    cell cells[MOST];
    int count, width, height;
    uint8_t *rgb;
} sheet;

static bool read_cell(const char *argument, cell *out)
{
    kiln_error err = {0};
    const char *at = strrchr(argument, '@');
    char path[4096];
    snprintf(path, sizeof path, "%.*s", at ? (int)(at - argument) : (int)strlen(argument), argument);
    /* NOLINTNEXTLINE(cert-err34-c): a frame of odd numbers is cut to the picture */
    if (at && sscanf(at, "@%5d,%5d,%5d,%5d", &out->frame_x, &out->frame_y, &out->frame_width,
                     &out->frame_height) != 4) {
        fprintf(stderr, "gallery_sheet: '%s': a frame is X,Y,W,H\n", argument);
        return false;
    }
    if (kiln_image_read(path, &out->picture, &err) == KILN_OK && kiln_image_bits(out->picture) == 8)
        return true;
    fprintf(stderr, "gallery_sheet: %s\n", err.text[0] ? err.text : "pictures have 8 bits here");
    return false;
}

/* Rows of pictures, each as high as its highest. */
static bool arrange(sheet *s, int count, char **arguments)
{
    int x = GAP, y = GAP, high = 0;
    s->width = GAP;
    for (int i = 0; i < count; i++) {
        if (strcmp(arguments[i], "/") == 0) {
            x = GAP;
            y += high + GAP;
            high = 0;
            continue;
        }
        cell *c = &s->cells[s->count];
        if (s->count == MOST || !read_cell(arguments[i], c))
            return false;
        s->count++;
        c->x = x;
        c->y = y;
        x += kiln_image_width(c->picture) + GAP;
        s->width = x > s->width ? x : s->width;
        high = kiln_image_height(c->picture) > high ? kiln_image_height(c->picture) : high;
    }
    s->height = y + high + GAP;
    s->rgb = malloc((size_t)s->width * (size_t)s->height * 3);
    return s->rgb != NULL;
}

static void put(const sheet *s, const cell *c)
{
    const uint8_t *from = kiln_image_pixels(c->picture);
    int width = kiln_image_width(c->picture), height = kiln_image_height(c->picture),
        channels = kiln_image_channels(c->picture);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++, from += channels) {
            uint8_t *to = s->rgb + ((size_t)(c->y + y) * (size_t)s->width + (size_t)(c->x + x)) * 3;
            int alpha = channels % 2 ? 255 : from[channels - 1];
            for (int k = 0; k < 3; k++)
                to[k] = (uint8_t)((from[channels >= 3 ? k : 0] * alpha + 255 * (255 - alpha) + 127) / 255);
        }
}

static bool on_frame(const cell *c, int x, int y)
{
    int right = c->frame_x + c->frame_width - 1, low = c->frame_y + c->frame_height - 1;
    bool inside = x >= c->frame_x && x <= right && y >= c->frame_y && y <= low;
    return inside && (x == c->frame_x || x == right || y == c->frame_y || y == low);
}

/* Dashes of black and white, to be seen on anything. */
static void put_frame(const sheet *s, const cell *c)
{
    for (int y = 0; y < kiln_image_height(c->picture); y++)
        for (int x = 0; x < kiln_image_width(c->picture); x++)
            if (c->frame_width > 0 && on_frame(c, x, y))
                memset(s->rgb + ((size_t)(c->y + y) * (size_t)s->width + (size_t)(c->x + x)) * 3,
                       (x + y) / 4 % 2 ? 255 : 0, 3);
}

static bool write_picture(const char *path, int width, int height, const uint8_t *rgb)
{
    kiln_error err = {0};
    kiln_image *out = NULL;
    bool good = kiln_image_new(width, height, 3, 8, rgb, &out, &err) == KILN_OK &&
                kiln_image_write(path, out, 0, &err) == KILN_OK;
    if (!good)
        fprintf(stderr, "gallery_sheet: %s\n", err.text);
    kiln_image_free(out);
    return good;
}

static bool crop(const char *part, const char *from, const char *to)
{
    char argument[4096];
    sheet s = {0};
    cell *c = &s.cells[0];
    snprintf(argument, sizeof argument, "%s@%s", from, part);
    if (!read_cell(argument, c))
        return false;
    s.width = kiln_image_width(c->picture);
    s.height = kiln_image_height(c->picture);
    bool good = c->frame_x >= 0 && c->frame_y >= 0 && c->frame_width > 0 && c->frame_height > 0 &&
                c->frame_x + c->frame_width <= s.width && c->frame_y + c->frame_height <= s.height &&
                (s.rgb = malloc((size_t)s.width * (size_t)s.height * 3)) != NULL;
    if (good) {
        put(&s, c);
        size_t row = (size_t)c->frame_width * 3;
        for (int y = 0; y < c->frame_height; y++)
            memmove(s.rgb + (size_t)y * row,
                    s.rgb + ((size_t)(c->frame_y + y) * (size_t)s.width + (size_t)c->frame_x) * 3, row);
        good = write_picture(to, c->frame_width, c->frame_height, s.rgb);
    }
    kiln_image_free(c->picture);
    free(s.rgb);
    return good;
}

int main(int argc, char **argv)
{
    static sheet s;
    if (argc == 5 && strcmp(argv[1], "--crop") == 0)
        return crop(argv[2], argv[3], argv[4]) ? 0 : 1;
    if (argc < 3) {
        fprintf(stderr, "usage: gallery_sheet OUT PICTURE[@X,Y,W,H] ... [/ PICTURE ...]\n");
        return 2;
    }
    bool good = arrange(&s, argc - 2, argv + 2);
    if (good)
        memset(s.rgb, GREY, (size_t)s.width * (size_t)s.height * 3);
    for (int i = 0; good && i < s.count; i++) {
        put(&s, &s.cells[i]);
        put_frame(&s, &s.cells[i]);
    }
    good = good && write_picture(argv[1], s.width, s.height, s.rgb);
    for (int i = 0; i < s.count; i++)
        kiln_image_free(s.cells[i].picture);
    free(s.rgb);
    return good ? 0 : 1;
}
