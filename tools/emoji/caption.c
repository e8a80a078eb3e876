/* caption.c - see caption.h. `r` NULL stands for the usual phrasing, which is the first of every list. */
#include "emoji/caption.h"

#include "emoji/colours.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void append(char *to, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void append(char *to, const char *format, ...)
{
    size_t used = strlen(to);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(to + used, CAPTION_SIZE - used, format, arguments);
    va_end(arguments);
}

/* Append a form in which @1, @2, @3 stand for the parts. */
static void fill(char *to, const char *form, const char *const parts[])
{
    for (const char *at = form; *at; at++)
        if (*at == '@' && at[1] >= '1' && at[1] <= '3')
            append(to, "%s", parts[*++at - '1']);
        else
            append(to, "%c", *at);
}

/* One of the phrases: the first half the time, else any. */
static const char *pick(random_source *r, const char *const *list, int count)
{
    return !r || random_chance(r, 0.4) ? list[0] : list[random_below(r, count)];
}

#define PICK(r, ...)                                                                                         \
    pick(r, (const char *const[]){__VA_ARGS__},                                                              \
         (int)(sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *)))

static const char *noun_of(const glyph *g, int tint, random_source *r)
{
    if (tint != NO_TINT && g->words.plain[0])
        return g->words.plain;
    bool another = g->words.alias[0] && r && random_chance(r, 0.35);
    return another ? g->words.alias : g->words.noun;
}

static const char *size_word(scene_size size, random_source *r)
{
    if (size == SIZE_SMALL)
        return PICK(r, "small ", "little ", "tiny ");
    return size == SIZE_BIG ? PICK(r, "big ", "large ") : "";
}

/* "a small green cat", "the Statue of Liberty", "grapes". */
static void object_phrase(const glyph_set *set, const scene_object *o, random_source *r, char *to)
{
    const glyph *g = &set->items[o->glyph];
    char words[CAPTION_SIZE] = "";
    append(words, "%s%s%s%s", size_word(o->size, r), o->tint == NO_TINT ? "" : tint_colours[o->tint].name,
           o->tint == NO_TINT ? "" : " ", noun_of(g, o->tint, r));
    if (g->words.article == ARTICLE_A)
        append(to, "%s %s", words_article(words), words);
    else
        append(to, "%s%s", g->words.article == ARTICLE_THE ? "the " : "", words);
}

static const char *place_phrase(scene_layout layout, random_source *r)
{
    switch (layout) {
    case LAYOUT_TOP_LEFT:
        return PICK(r, " in the top left corner", " in the upper left corner", " in the top left",
                    " in the corner");
    case LAYOUT_TOP_RIGHT:
        return PICK(r, " in the top right corner", " in the upper right corner", " in the top right",
                    " in the corner");
    case LAYOUT_BOTTOM_LEFT:
        return PICK(r, " in the bottom left corner", " in the lower left corner", " in the bottom left",
                    " in the corner");
    case LAYOUT_BOTTOM_RIGHT:
        return PICK(r, " in the bottom right corner", " in the lower right corner", " in the bottom right",
                    " in the corner");
    case LAYOUT_TOP:
        return PICK(r, " at the top", " near the top");
    case LAYOUT_BOTTOM:
        return PICK(r, " at the bottom", " near the bottom");
    case LAYOUT_LEFT:
        return PICK(r, " on the left", " on the left side");
    case LAYOUT_RIGHT:
        return PICK(r, " on the right", " on the right side");
    default:
        return !r || random_chance(r, 0.85) ? ""
                                            : PICK(r, " in the middle", " in the centre", " in the center");
    }
}

static void background_phrase(int background, random_source *r, char *to)
{
    if (background == NO_BACKGROUND)
        return;
    const char *name = background_colours[background].name;
    if (strcmp(name, "grey") == 0 && r && random_chance(r, 0.3))
        name = "gray";
    fill(to,
         PICK(r, " on @1 @2 background", " against @1 @2 background", " in front of @1 @2 background",
              ", @2 background", " on @2"),
         (const char *const[]){words_article(name), name, ""});
}

/* A name with one or two of its keywords, as tags. */
static void tag_phrase(const glyph *g, random_source *r, char *to)
{
    append(to, "%s", g->words.noun);
    int words = 1;
    for (const char *at = g->keywords; at && *at; words++)
        at = (at = strstr(at, " | ")) ? at + 3 : NULL;
    for (int k = 0; g->keywords && k < 2; k++) {
        int skip = random_below(r, words);
        const char *at = g->keywords;
        for (; skip > 0 && at; skip--)
            at = (at = strstr(at, " | ")) ? at + 3 : NULL;
        const char *end = at ? strstr(at, " | ") : NULL;
        int length = at ? (int)(end ? end - at : (ptrdiff_t)strlen(at)) : 0;
        char tag[64];
        snprintf(tag, sizeof tag, ", %.*s", length, length > 0 ? at : "");
        if (length > 0 && length < 40 && strcmp(tag + 2, g->words.noun) != 0 && !strstr(to, tag))
            append(to, "%s", tag);
    }
}

static void write_single(const glyph_set *set, const scene *s, random_source *r, char *out)
{
    const scene_object *o = &s->objects[0];
    const glyph *g = &set->items[o->glyph];
    int form = r ? random_below(r, 20) : 0;
    if (s->kind == SCENE_PLAIN && form >= 17) {
        tag_phrase(g, r, out);
        return;
    }
    bool state = g->words.article == ARTICLE_NONE && !g->words.object; /* "radioactive", "no entry" */
    if ((form >= 9 && form <= 12) || (state && form > 12)) {           /* as a label */
        append(out, "%s%s%s%s%s", size_word(o->size, r), o->tint == NO_TINT ? "" : tint_colours[o->tint].name,
               o->tint == NO_TINT ? "" : " ", noun_of(g, o->tint, r), form == 12 ? "" : " emoji");
    } else {
        append(out, "%s",
               form < 13 ? "" : PICK(r, "an emoji of ", "a picture of ", "an icon of ", "a drawing of "));
        object_phrase(set, o, r, out);
    }
    append(out, "%s", place_phrase(s->layout, r));
    background_phrase(s->background, r, out);
}

/* Two objects: @1 is the first, @2 the second. */
static void write_pair(const glyph_set *set, const scene *s, random_source *r, char *out)
{
    char a[CAPTION_SIZE] = "", b[CAPTION_SIZE] = "";
    object_phrase(set, &s->objects[0], r, a);
    object_phrase(set, &s->objects[1], r, b);
    const char *form;
    switch (s->layout) {
    case LAYOUT_ABOVE:
        form = PICK(r, "@1 above @2", "@2 below @1", "@1 over @2", "@2 under @1",
                    "@1 at the top and @2 at the bottom", "@1 on top of @2");
        break;
    case LAYOUT_DIAGONAL_DOWN:
        form = PICK(r, "@1 in the top left corner and @2 in the bottom right corner",
                    "@1 in the top left and @2 in the bottom right");
        break;
    case LAYOUT_DIAGONAL_UP:
        form = PICK(r, "@1 in the bottom left corner and @2 in the top right corner",
                    "@2 in the top right and @1 in the bottom left");
        break;
    default:
        form = PICK(r, "@1 left of @2", "@1 to the left of @2", "@2 right of @1", "@2 to the right of @1",
                    "@1 on the left and @2 on the right", "@1 next to @2", "@1 and @2", "@1 beside @2");
    }
    fill(out, form, (const char *const[]){a, b, ""});
    background_phrase(s->background, r, out);
}

static void write_trio(const glyph_set *set, const scene *s, random_source *r, char *out)
{
    char a[CAPTION_SIZE] = "", b[CAPTION_SIZE] = "", c[CAPTION_SIZE] = "";
    object_phrase(set, &s->objects[0], r, a);
    object_phrase(set, &s->objects[1], r, b);
    object_phrase(set, &s->objects[2], r, c);
    const char *form;
    if (s->layout == LAYOUT_ROW)
        form = PICK(r, "@1, @2 and @3", "@1, @2 and @3 in a row", "@2 between @1 and @3",
                    "@1 left of @2 left of @3");
    else if (s->layout == LAYOUT_COLUMN)
        form = PICK(r, "@1 above @2 above @3", "@3 below @2 below @1", "@1, @2 and @3 from top to bottom");
    else
        form = PICK(r, "@1 and @2 above @3", "@3 below @1 and @2");
    fill(out, form, (const char *const[]){a, b, c});
    background_phrase(s->background, r, out);
}

static void write_count(const glyph_set *set, const scene *s, random_source *r, char *out)
{
    const glyph *g = &set->items[s->objects[0].glyph];
    int tint = s->objects[0].tint;
    char many[PHRASE_SIZE + 8];
    words_plural(noun_of(g, tint, r), many, sizeof many);
    append(out, "%s %s%s%s", words_number(s->count), tint == NO_TINT ? "" : tint_colours[tint].name,
           tint == NO_TINT ? "" : " ", many);
    if (s->layout == LAYOUT_ROW)
        append(out, "%s", PICK(r, " in a row", " side by side"));
    else if (s->layout == LAYOUT_COLUMN || s->layout == LAYOUT_ABOVE)
        append(out, "%s", PICK(r, " in a column", " one above the other"));
    background_phrase(s->background, r, out);
}

void caption_write(const glyph_set *set, const scene *s, random_source *r, char out[CAPTION_SIZE])
{
    out[0] = '\0';
    if (s->kind == SCENE_PAIR)
        write_pair(set, s, r, out);
    else if (s->kind == SCENE_TRIO)
        write_trio(set, s, r, out);
    else if (s->kind == SCENE_COUNT)
        write_count(set, s, r, out);
    else
        write_single(set, s, r, out);
}

void caption_write_plain(const glyph_set *set, const scene *s, char out[CAPTION_SIZE])
{
    caption_write(set, s, NULL, out);
}
