/* describe.c - see describe.h. */
#include "emoji/describe.h"

#include "emoji/colours.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>

static double rounded(float x)
{
    return round((double)x * 10000) / 10000;
}

static json_t *describe_object(const glyph_set *set, const scene_object *o)
{
    static const char *const sizes[] = {"small", "normal", "big"};
    const glyph *g = &set->items[o->glyph];
    return json_pack("{s:s, s:s, s:s?, s:s, s:f, s:f, s:f}", "emoji", g->sequence, "name", g->words.noun,
                     "colour", o->tint == NO_TINT ? NULL : tint_colours[o->tint].name, "size", sizes[o->size],
                     "x", rounded(o->x), "y", rounded(o->y), "height", rounded(o->height));
}

char *describe_scene(const glyph_set *set, const scene *s, const char *file_name, const char *const *captions,
                     int count)
{
    static const char *const kinds[] = {"plain", "varied", "pair", "count", "trio"};
    json_t *root = json_object(), *objects = json_array();
    for (int i = 0; i < s->count; i++)
        json_array_append_new(objects, describe_object(set, &s->objects[i]));
    if (file_name)
        json_object_set_new(root, "file_name", json_string(file_name));
    json_t *texts = json_array();
    for (int i = 0; i < count; i++)
        json_array_append_new(texts, json_string(captions[i]));
    json_object_set(root, "text", count == 1 ? json_array_get(texts, 0) : texts);
    json_decref(texts);
    json_object_set_new(root, "kind", json_string(kinds[s->kind]));
    int ground = s->background == NO_BACKGROUND ? COLOUR_WHITE : s->background;
    json_object_set_new(root, "background", json_string(background_colours[ground].name));
    json_object_set_new(root, "objects", objects);
    char *line = json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(5));
    json_decref(root);
    return line;
}
