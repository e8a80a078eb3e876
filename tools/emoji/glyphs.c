/* glyphs.c - see glyphs.h. */
#include "emoji/glyphs.h"

#include "emoji/annotations.h"
#include "emoji/colours.h"
#include "emoji/ligatures.h"

#include <ft2build.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include FT_FREETYPE_H
#include FT_TRUETYPE_TABLES_H
#include FT_TRUETYPE_TAGS_H

enum { MAX_SEQUENCE = 16, GLYPH_BYTES = 4 * GLYPH_WIDTH * GLYPH_HEIGHT };

typedef struct font {
    FT_Library library;
    FT_Face face;
    ligatures joined;
} font;

static void font_fini(font *f)
{
    ligatures_fini(&f->joined);
    if (f->face)
        FT_Done_Face(f->face);
    if (f->library)
        FT_Done_FreeType(f->library);
}

static kiln_status font_init(font *f, const char *path, kiln_error *err)
{
    *f = (font){0};
    if (FT_Init_FreeType(&f->library))
        return fail(err, KILN_NO_MEMORY, "FreeType does not start");
    FT_Error code = FT_New_Face(f->library, path, 0, &f->face);
    if (code)
        return fail(err, code == FT_Err_Cannot_Open_Resource ? KILN_NOT_FOUND : KILN_BAD_FORMAT,
                    "%s: no font that FreeType reads (error %d); the package is fonts-noto-color-emoji", path,
                    code);
    if (f->face->num_fixed_sizes < 1 || FT_Select_Size(f->face, 0))
        return fail(err, KILN_UNSUPPORTED, "%s has no strike of bitmaps", path);
    FT_ULong size = 0;
    if (FT_Load_Sfnt_Table(f->face, TTAG_GSUB, 0, NULL, &size) || size == 0 || size > (1 << 26))
        return fail(err, KILN_BAD_FORMAT, "%s has no GSUB table", path);
    unsigned char *table = malloc(size);
    if (!table)
        return fail(err, KILN_NO_MEMORY, "not enough memory for a font table");
    if (FT_Load_Sfnt_Table(f->face, TTAG_GSUB, 0, table, &size)) {
        free(table);
        return fail(err, KILN_BAD_FORMAT, "%s: the GSUB table does not read", path);
    }
    return ligatures_init(&f->joined, table, size, err);
}

/* The characters of a UTF-8 text that expat has checked. */
static size_t characters(const char *text, uint32_t *out, size_t room)
{
    size_t count = 0;
    while (*text && count < room) {
        unsigned char lead = (unsigned char)*text++;
        uint32_t c = lead < 0x80   ? lead
                     : lead < 0xE0 ? lead & 0x1FU
                     : lead < 0xF0 ? lead & 0x0FU
                                   : lead & 0x07U;
        while (((unsigned char)*text & 0xC0) == 0x80)
            c = c << 6 | ((unsigned char)*text++ & 0x3FU);
        out[count++] = c;
    }
    return *text ? 0 : count;
}

/* The glyph of a sequence; 0 when the font has none, or when it is no emoji for us (a lone ASCII character, one of
 * the hair components). */
static uint32_t glyph_of(const font *f, const char *sequence)
{
    uint32_t chars[MAX_SEQUENCE], parts[MAX_SEQUENCE];
    size_t count = characters(sequence, chars, MAX_SEQUENCE);
    if (count == 0 || (count == 1 && (chars[0] < 0x80 || (chars[0] >= 0x1F9B0 && chars[0] <= 0x1F9B3))))
        return 0;
    for (size_t i = 0; i < count; i++)
        if (!(parts[i] = FT_Get_Char_Index(f->face, chars[i])))
            return 0;
    return count == 1 ? parts[0] : ligatures_find(&f->joined, parts, count);
}

/* The picture of a glyph, centred in our cell; NULL when it has none (or one of another kind). */
static uint8_t *picture_of(const font *f, uint32_t index)
{
    if (FT_Load_Glyph(f->face, index, FT_LOAD_COLOR))
        return NULL;
    const FT_Bitmap *from = &f->face->glyph->bitmap;
    int width = (int)from->width, height = (int)from->rows;
    if (from->pixel_mode != FT_PIXEL_MODE_BGRA || width < 1 || height < 1 || width > GLYPH_WIDTH ||
        height > GLYPH_HEIGHT)
        return NULL;
    uint8_t *pixels = calloc(1, GLYPH_BYTES);
    int left = (GLYPH_WIDTH - width) / 2, top = (GLYPH_HEIGHT - height) / 2, seen = 0;
    for (int y = 0; pixels && y < height; y++)
        for (int x = 0; x < width; x++) {
            const unsigned char *p = from->buffer + (ptrdiff_t)from->pitch * y + 4 * x;
            uint8_t *to = pixels + 4 * ((top + y) * GLYPH_WIDTH + left + x);
            for (int c = 0; c < 3; c++)
                to[c] = p[2 - c];
            to[3] = p[3];
            seen += p[3] > 127;
        }
    if (pixels && seen < 64) { /* a blank */
        free(pixels);
        return NULL;
    }
    return pixels;
}

static bool seen_before(const glyph_set *set, const uint8_t *pixels)
{
    for (int i = 0; i < set->count; i++)
        if (memcmp(set->items[i].pixels, pixels, GLYPH_BYTES) == 0)
            return true;
    return false;
}

/* Places under another's flag: the flag keeps the name of the larger. */
static bool shows_another(const char *name)
{
    static const char *const places[] = {"Clipperton Island",     "St. Martin",
                                         "Bouvet Island",         "Svalbard & Jan Mayen",
                                         "Ceuta & Melilla",       "Heard & McDonald Islands",
                                         "U.S. Outlying Islands", "Diego Garcia"};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        if (strncmp(name, "flag: ", 6) == 0 && strcmp(name + 6, places[i]) == 0)
            return true;
    return false;
}

static bool has_colour_word(const char *noun)
{
    for (int i = 0; i < TINT_COUNT + BACKGROUND_COUNT; i++) {
        const char *name = i < TINT_COUNT ? tint_colours[i].name : background_colours[i - TINT_COUNT].name;
        const char *at = strstr(noun, name);
        if (at && (at == noun || at[-1] == ' ') && (at[strlen(name)] == ' ' || !at[strlen(name)]))
            return true;
    }
    return false;
}

static kiln_status add_glyph(glyph_set *set, const annotation *entry, uint8_t *pixels, kiln_error *err)
{
    glyph *g = &set->items[set->count];
    *g = (glyph){.pixels = pixels, .sequence = strdup(entry->sequence), .name = strdup(entry->name)};
    set->count++;
    g->keywords = entry->keywords ? strdup(entry->keywords) : NULL;
    if (!g->sequence || !g->name || (entry->keywords && !g->keywords))
        return fail(err, KILN_NO_MEMORY, "not enough memory for the emoji");
    words_phrase(entry->name, &g->words);
    /* Sequences joined by U+200D are people, but for a few animals and hearts, which have a colour of their own. */
    g->person = entry->has_skin_tones || strstr(entry->sequence, "\xE2\x80\x8D") != NULL;
    colours_measure(g);
    bool named = has_colour_word(g->words.noun) && strcmp(g->words.noun, "red apple") != 0;
    g->recolours = g->words.object && !g->person && !named && (g->hue.share >= 0.35f || g->hue.share < 0.12f);
    return KILN_OK;
}

static kiln_status fill(glyph_set *set, const font *f, const annotations *names, kiln_error *err)
{
    set->items = calloc(names->count ? names->count : 1, sizeof *set->items);
    if (!set->items)
        return fail(err, KILN_NO_MEMORY, "not enough memory for the emoji");
    for (size_t i = 0; i < names->count; i++) {
        const annotation *entry = &names->items[i];
        uint32_t index = entry->name ? glyph_of(f, entry->sequence) : 0;
        uint8_t *pixels = index ? picture_of(f, index) : NULL;
        if (!pixels)
            continue;
        if (shows_another(entry->name) || seen_before(set, pixels)) {
            free(pixels);
            continue;
        }
        kiln_status status = add_glyph(set, entry, pixels, err);
        if (status)
            return status;
    }
    if (set->count < 100)
        return fail(err, KILN_BAD_FORMAT, "only %d emoji have both a picture and a name", set->count);
    return KILN_OK;
}

kiln_status glyphs_open(const char *font_path, const char *cldr, glyph_set **out, kiln_error *err)
{
    *out = NULL;
    font f;
    annotations names = {0};
    glyph_set *set = calloc(1, sizeof *set);
    kiln_status status = set ? font_init(&f, font_path ? font_path : GLYPHS_FONT, err)
                             : fail(err, KILN_NO_MEMORY, "not enough memory for the emoji");
    if (!set)
        return status;
    if (!status)
        status = annotations_read(&names, cldr ? cldr : GLYPHS_CLDR, err);
    if (!status)
        status = fill(set, &f, &names, err);
    annotations_fini(&names);
    font_fini(&f);
    if (status) {
        glyphs_close(set);
        return status;
    }
    *out = set;
    return KILN_OK;
}

static void glyph_fini(glyph *g)
{
    free(g->sequence);
    free(g->name);
    free(g->keywords);
    free(g->pixels);
}

void glyphs_close(glyph_set *set)
{
    if (!set)
        return;
    for (int i = 0; i < set->count; i++)
        glyph_fini(&set->items[i]);
    free(set->items);
    free(set);
}

int glyphs_find(const glyph_set *set, const char *name)
{
    for (int i = 0; i < set->count; i++)
        if (strcmp(set->items[i].words.noun, name) == 0 || strcmp(set->items[i].name, name) == 0)
            return i;
    return -1;
}

static kiln_status mark_named(const glyph_set *set, const char *names, bool *keep, kiln_error *err)
{
    while (*names) {
        char name[PHRASE_SIZE];
        size_t length = strcspn(names, ",");
        const char *next = names + length + (names[length] == ',');
        for (; length && *names == ' '; length--)
            names++;
        while (length && names[length - 1] == ' ')
            length--;
        snprintf(name, sizeof name, "%.*s", (int)(length < PHRASE_SIZE ? length : PHRASE_SIZE - 1), names);
        int found = glyphs_find(set, name);
        if (found < 0)
            return fail(err, KILN_NOT_FOUND, "there is no emoji called '%s'; --list has their names", name);
        keep[found] = true;
        names = next;
    }
    return KILN_OK;
}

kiln_status glyphs_keep(glyph_set *set, const char *names, kiln_error *err)
{
    bool *keep = calloc((size_t)set->count + 1, sizeof *keep);
    if (!keep)
        return fail(err, KILN_NO_MEMORY, "not enough memory for a list of emoji");
    kiln_status status = mark_named(set, names, keep, err);
    int kept = 0, objects = 0;
    for (int i = 0; i < set->count; i++)
        objects += keep[i] && set->items[i].words.object;
    if (!status && objects < 3)
        status =
            fail(err, KILN_BAD_ARGUMENT,
                 "a set needs three things that can stand beside others; of '%s' %d can", names, objects);
    for (int i = 0; i < set->count && !status; i++) {
        if (keep[i])
            set->items[kept++] = set->items[i];
        else
            glyph_fini(&set->items[i]);
    }
    if (!status)
        set->count = kept;
    free(keep);
    return status;
}
