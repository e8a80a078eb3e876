/* arrange.c - where the objects of a scene stand. See scene.h. Lengths are parts of the picture's side; a glyph's cell is
 * 136 wide for 128 of height, and no cell leaves the picture. */
#include "emoji/scene.h"

static const float cell_width = (float)GLYPH_WIDTH / GLYPH_HEIGHT;

static void put(scene_object *o, float x, float y, float height)
{
    o->x = x;
    o->y = y;
    o->height = height;
}

static void arrange_one(scene *s)
{
    static const float alone[] = {0.36f, 0.68f, 0.9f}, placed[] = {0.3f, 0.44f, 0.6f};
    scene_object *o = &s->objects[0];
    float h = (s->layout == LAYOUT_CENTRE ? alone : placed)[o->size];
    float x = h * cell_width / 2 + 0.02f, y = h / 2 + 0.02f;
    switch (s->layout) {
    case LAYOUT_TOP_LEFT:
        put(o, x, y, h);
        break;
    case LAYOUT_TOP_RIGHT:
        put(o, 1 - x, y, h);
        break;
    case LAYOUT_BOTTOM_LEFT:
        put(o, x, 1 - y, h);
        break;
    case LAYOUT_BOTTOM_RIGHT:
        put(o, 1 - x, 1 - y, h);
        break;
    case LAYOUT_TOP:
        put(o, 0.5f, y, h);
        break;
    case LAYOUT_BOTTOM:
        put(o, 0.5f, 1 - y, h);
        break;
    case LAYOUT_LEFT:
        put(o, x, 0.5f, h);
        break;
    case LAYOUT_RIGHT:
        put(o, 1 - x, 0.5f, h);
        break;
    default:
        put(o, 0.5f, 0.5f, h);
    }
}

/* Objects one after the other across the middle (or down, when `down`), with equal gaps. */
static void arrange_line(scene *s, bool down)
{
    static const float two[] = {0.28f, 0.44f, 0.58f}, more[] = {0.22f, 0.3f, 0.38f};
    float used = 0, side = down ? 1 : cell_width;
    for (int i = 0; i < s->count; i++) {
        s->objects[i].height = (s->count == 2 ? two : more)[s->objects[i].size];
        used += s->objects[i].height * side;
    }
    float scale = used > 0.97f ? 0.97f / used : 1;
    float gap = (1 - used * scale) / (float)(s->count + 1), at = gap;
    for (int i = 0; i < s->count; i++) {
        scene_object *o = &s->objects[i];
        float h = o->height * scale, along = at + h * side / 2;
        put(o, down ? 0.5f : along, down ? along : 0.5f, h);
        at += h * side + gap;
    }
}

static void arrange_diagonal(scene *s, bool up)
{
    static const float heights[] = {0.28f, 0.43f, 0.5f};
    for (int i = 0; i < 2; i++) {
        float h = heights[s->objects[i].size], x = h * cell_width / 2 + 0.015f, y = h / 2 + 0.015f;
        bool top = (i == 0) != up;
        put(&s->objects[i], i == 0 ? x : 1 - x, top ? y : 1 - y, h);
    }
}

static void arrange_grid(scene *s)
{
    static const unsigned char rows[SCENE_MAX_OBJECTS + 1][3] = {{0},       {1, 0, 0}, {2, 0, 0}, {1, 2, 0},
                                                                 {2, 2, 0}, {2, 1, 2}, {3, 3, 0}, {2, 3, 2},
                                                                 {3, 2, 3}, {3, 3, 3}};
    const unsigned char *in = rows[s->count];
    int lines = in[2] ? 3 : in[1] ? 2 : 1, widest = 0, next = 0;
    for (int r = 0; r < lines; r++)
        widest = in[r] > widest ? in[r] : widest;
    float h = widest == 3 || lines == 3 ? 0.29f : 0.44f;
    for (int r = 0; r < lines; r++)
        for (int k = 0; k < in[r]; k++)
            put(&s->objects[next++], ((float)k + 0.5f) / (float)in[r], ((float)r + 0.5f) / (float)lines, h);
}

void scene_arrange(scene *s)
{
    switch (s->layout) {
    case LAYOUT_BESIDE:
    case LAYOUT_ROW:
        arrange_line(s, false);
        break;
    case LAYOUT_ABOVE:
    case LAYOUT_COLUMN:
        arrange_line(s, true);
        break;
    case LAYOUT_DIAGONAL_DOWN:
    case LAYOUT_DIAGONAL_UP:
        arrange_diagonal(s, s->layout == LAYOUT_DIAGONAL_UP);
        break;
    case LAYOUT_TWO_OVER_ONE:
        put(&s->objects[0], 0.25f, 0.26f, 0.43f);
        put(&s->objects[1], 0.75f, 0.26f, 0.43f);
        put(&s->objects[2], 0.5f, 0.74f, 0.43f);
        break;
    case LAYOUT_GRID:
        arrange_grid(s);
        break;
    default:
        arrange_one(s);
    }
}
