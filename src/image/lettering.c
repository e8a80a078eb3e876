/* lettering.c - see lettering.h. */
#include "image/lettering.h"

#include "image/bitmap_font.h"

#include <ft2build.h>
#include FT_FREETYPE_H
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utf8proc.h>

enum { SIZE_LEAST = 6, SIZE_MOST = 512, DOTS_TEXT = 1024 };

struct lettering {
    FT_Library library;
    FT_Face face;  /* NULL: dots, */
    int dot;       /* of so many pixels each */
    int line, top; /* px: height of a line, and of what is above the base line */
};

static const char *const usual_fonts[] = {
    "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
    "/usr/share/fonts/dejavu-sans-fonts/DejaVuSans.ttf",
    "/usr/share/fonts/TTF/DejaVuSans.ttf",
    "/usr/share/fonts/truetype/liberation/LiberationSans-Regular.ttf",
    "/usr/share/fonts/liberation-sans/LiberationSans-Regular.ttf",
    "/usr/share/fonts/truetype/noto/NotoSans-Regular.ttf",
    "/usr/share/fonts/noto/NotoSans-Regular.ttf",
    "/usr/share/fonts/truetype/freefont/FreeSans.ttf",
};

static const char *find_font(void)
{
    for (size_t i = 0; i < sizeof usual_fonts / sizeof *usual_fonts; i++)
        if (access(usual_fonts[i], R_OK) == 0)
            return usual_fonts[i];
    return NULL;
}

static kiln_status open_face(lettering *l, const char *font, int size_px, kiln_error *err)
{
    if (access(font, R_OK) != 0)
        return fail(err, KILN_NOT_FOUND, "%s: there is no font to read", font);
    if (FT_Init_FreeType(&l->library))
        return fail(err, KILN_NO_MEMORY, "not enough memory for a font");
    if (FT_New_Face(l->library, font, 0, &l->face)) {
        l->face = NULL;
        return fail(err, KILN_BAD_FORMAT, "%s: no font that FreeType can read", font);
    }
    if (!FT_IS_SCALABLE(l->face) || FT_Set_Pixel_Sizes(l->face, 0, (FT_UInt)size_px))
        return fail(err, KILN_BAD_FORMAT, "%s: a font of outlines is needed, which this is not", font);
    FT_Size_Metrics m = l->face->size->metrics;
    l->top = (int)(m.ascender >> 6);
    l->line = (int)(m.height >> 6);
    /* What a damaged font says of itself must not become the size of a picture. */
    if (l->top < 1 || l->line < l->top || l->line > 4 * size_px)
        return fail(err, KILN_BAD_FORMAT, "%s: its lines would be %d pixels high at a size of %d", font,
                    l->line, size_px);
    return KILN_OK;
}

kiln_status lettering_new(const char *font, int size_px, lettering **out, kiln_error *err)
{
    *out = NULL;
    if (size_px < SIZE_LEAST || size_px > SIZE_MOST)
        return fail(err, KILN_BAD_ARGUMENT, "letters are %d to %d pixels high, not %d", (int)SIZE_LEAST,
                    (int)SIZE_MOST, size_px);
    lettering *l = calloc(1, sizeof *l);
    if (!l)
        return fail(err, KILN_NO_MEMORY, "not enough memory for a font");
    const char *path = font ? font : find_font();
    kiln_status status = path ? open_face(l, path, size_px, err) : KILN_OK;
    if (status && !font) {
        if (l->face)
            FT_Done_Face(l->face);
        l->face = NULL;
        status = KILN_OK;
    }
    if (!l->face) {
        l->dot = size_px / (FONT_HEIGHT + 2) > 0 ? size_px / (FONT_HEIGHT + 2) : 1;
        l->line = (FONT_HEIGHT + 2) * l->dot;
    }
    if (status)
        lettering_free(l);
    else
        *out = l;
    return status;
}

void lettering_free(lettering *l)
{
    if (!l)
        return;
    if (l->face)
        FT_Done_Face(l->face);
    if (l->library)
        FT_Done_FreeType(l->library);
    free(l);
}

int lettering_line(const lettering *l)
{
    return l->line;
}

/* The character at `text`, of at most `bytes` bytes, and how many it takes; what is no UTF-8 counts as one '?'. */
static size_t character(const char *text, size_t bytes, utf8proc_int32_t *code)
{
    utf8proc_ssize_t taken = utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)bytes, code);
    if (taken > 0)
        return (size_t)taken;
    *code = '?';
    return 1;
}

/* A copy that ends after `bytes` bytes, for the letters of dots. */
static const char *ended(const char *text, size_t bytes, char copy[DOTS_TEXT])
{
    bytes = bytes < DOTS_TEXT ? bytes : DOTS_TEXT - 1;
    memcpy(copy, text, bytes);
    copy[bytes] = 0;
    return copy;
}

static int advance(const lettering *l, utf8proc_int32_t code)
{
    if (FT_Load_Char(l->face, (FT_ULong)code, FT_LOAD_NO_HINTING))
        return 0;
    return (int)(l->face->glyph->advance.x >> 6);
}

int lettering_width(const lettering *l, const char *text, size_t bytes)
{
    char copy[DOTS_TEXT];
    if (!l->face)
        return font_text_width(ended(text, bytes, copy), l->dot);
    int width = 0;
    utf8proc_int32_t code;
    for (size_t at = 0; at < bytes;) {
        at += character(text + at, bytes - at, &code);
        width += advance(l, code);
    }
    return width;
}

size_t lettering_fit(const lettering *l, const char *text, int width)
{
    size_t length = strlen(text), at = 0, blank = 0;
    while (at < length) {
        utf8proc_int32_t code;
        size_t next = at + character(text + at, length - at, &code);
        if (at > 0 && lettering_width(l, text, next) > width)
            return blank ? blank : at;
        at = next;
        if (text[at] == ' ')
            blank = at;
    }
    return length;
}

static void blend(unsigned char *pixel, const unsigned char rgb[3], int cover)
{
    for (int c = 0; c < 3; c++)
        pixel[c] = (unsigned char)((pixel[c] * (255 - cover) + rgb[c] * cover + 127) / 255);
}

static void draw_glyph(image *on, int x0, int y0, const unsigned char rgb[3], const FT_Bitmap *glyph)
{
    if (glyph->pixel_mode != FT_PIXEL_MODE_GRAY)
        return;
    for (int y = 0; y < (int)glyph->rows; y++)
        for (int x = 0; x < (int)glyph->width; x++) {
            int px = x0 + x, py = y0 + y;
            if (px >= 0 && px < on->width && py >= 0 && py < on->height)
                blend((unsigned char *)on->pixels + ((size_t)py * (size_t)on->width + (size_t)px) * 3, rgb,
                      glyph->buffer[y * glyph->pitch + x]);
        }
}

void lettering_draw(const lettering *l, image *on, int x, int y, const unsigned char rgb[3], const char *text,
                    size_t bytes)
{
    char copy[DOTS_TEXT];
    if (!l->face) {
        font_draw(on, x, y, l->dot, rgb, ended(text, bytes, copy));
        return;
    }
    utf8proc_int32_t code;
    for (size_t at = 0; at < bytes;) {
        at += character(text + at, bytes - at, &code);
        if (FT_Load_Char(l->face, (FT_ULong)code, FT_LOAD_RENDER | FT_LOAD_NO_HINTING))
            continue;
        FT_GlyphSlot glyph = l->face->glyph;
        draw_glyph(on, x + glyph->bitmap_left, y + l->top - glyph->bitmap_top, rgb, &glyph->bitmap);
        x += (int)(glyph->advance.x >> 6);
    }
}
