/* scene.h - a picture of emoji as a description: what stands where, in which size and colour, on what background. Made
 * at random (scene_compose), put into words (caption.h), painted (paint.h).
 *
 * Everything that a caption does not say has one value: white background, middle size, its own colours, the centre. So
 * a caption and its picture determine each other, but for a small jitter. */
#ifndef EMOJI_SCENE_H
#define EMOJI_SCENE_H

#include "emoji/glyphs.h"
#include "emoji/random.h"

enum { SCENE_MAX_OBJECTS = 9, NO_TINT = -1, NO_BACKGROUND = -1 };

typedef enum scene_kind {
    SCENE_PLAIN,  /* one emoji, nothing said about it */
    SCENE_VARIED, /* one emoji with a colour, size, place or background */
    SCENE_PAIR,   /* two, in a relation */
    SCENE_COUNT,  /* two to nine of the same */
    SCENE_TRIO,   /* three different ones */
    SCENE_KINDS
} scene_kind;

typedef enum scene_layout {
    LAYOUT_CENTRE,
    LAYOUT_TOP_LEFT,
    LAYOUT_TOP_RIGHT,
    LAYOUT_BOTTOM_LEFT,
    LAYOUT_BOTTOM_RIGHT, /* one object */
    LAYOUT_TOP,
    LAYOUT_BOTTOM,
    LAYOUT_LEFT,
    LAYOUT_RIGHT,         /* one object */
    LAYOUT_BESIDE,        /* two: first left of second */
    LAYOUT_ABOVE,         /* two: first above second */
    LAYOUT_DIAGONAL_DOWN, /* two: first top left, second bottom right */
    LAYOUT_DIAGONAL_UP,   /* two: first bottom left, second top right */
    LAYOUT_ROW,
    LAYOUT_COLUMN,       /* three, in order */
    LAYOUT_TWO_OVER_ONE, /* three */
    LAYOUT_GRID          /* several of the same */
} scene_layout;

typedef enum scene_size { SIZE_SMALL, SIZE_NORMAL, SIZE_BIG } scene_size;

typedef struct scene_object {
    int glyph;
    int tint; /* index into tint_colours, or NO_TINT */
    scene_size size;
    float x, y;   /* centre, 0..1 of the picture */
    float height; /* of the glyph's cell, 0..1 of the picture; the cell is 136/128 as wide */
} scene_object;

typedef struct scene {
    scene_kind kind;
    scene_layout layout;
    int background; /* index into background_colours; NO_BACKGROUND: unsaid, white */
    int count;
    scene_object objects[SCENE_MAX_OBJECTS];
} scene;

/* Training never sees a scene with a held-out combination: a pair of emoji, an emoji on a background, or an emoji in
 * a colour, each by a hash of the names (1 of 20, 1 of 20, 1 of 25). SPLIT_COMPOSED: two objects in a simple relation on
 * a named background, their pair held out, colours and backgrounds as in training. */
typedef enum scene_split { SPLIT_TRAIN, SPLIT_HELD_OUT, SPLIT_COMPOSED } scene_split;

typedef struct scene_rules {
    scene_split split;
    double weight[SCENE_KINDS]; /* how often which kind; signs and flags only make the first two */
    double jitter;              /* 1: centres move by up to 2 % of the side and sizes change by up to 4 % */
} scene_rules;

scene_rules scene_defaults(void);

/* A scene whose first object is `main` (a glyph number). */
void scene_compose(const glyph_set *, const scene_rules *, int main, random_source *, scene *out);
/* Which glyph scene `number` of a set shows first: each of them once, in an order of its own, then again. */
int scene_main_glyph(const glyph_set *, const scene_rules *, uint64_t seed, int64_t number);

/* Whether the scene has a held-out combination. */
bool scene_held_out(const glyph_set *, const scene *);
bool scene_pair_held_out(const glyph *a, const glyph *b);

/* Fill x, y and height of the objects from the layout and the sizes, exactly (no jitter). */
void scene_arrange(scene *);
/* Whether every object stands out from the background. */
bool scene_visible(const glyph_set *, const scene *);

#endif
