/* scene.c - composing scenes at random. See scene.h. */
#include "emoji/scene.h"

#include "emoji/colours.h"

#include <math.h>
#include <string.h>

enum { PAIR_HELD = 20, BACKGROUND_HELD = 20, TINT_HELD = 25, TRIES = 60 };

/* How far an object's mean colour must be from the background, in Oklab. */
static const float least_contrast = 0.14f;

scene_rules scene_defaults(void)
{
    return (scene_rules){.split = SPLIT_TRAIN, .weight = {0.3, 0.25, 0.3, 0.08, 0.07}, .jitter = 1};
}

/* ------------------------------------------------------------------------------------ splits */

bool scene_pair_held_out(const glyph *a, const glyph *b)
{
    bool swap = strcmp(a->sequence, b->sequence) > 0;
    uint64_t hash = random_hash_text(0, (swap ? b : a)->sequence);
    hash = random_hash_text(hash, "|");
    hash = random_hash_text(hash, (swap ? a : b)->sequence);
    return (hash >> 20) % PAIR_HELD == 0;
}

static bool with_word_held_out(const glyph *g, const char *kind, const char *word, int one_of)
{
    uint64_t hash = random_hash_text(random_hash_text(random_hash_text(0, kind), g->sequence), word);
    return (hash >> 20) % (uint64_t)one_of == 0;
}

static bool tint_held_out(const glyph *g, int tint)
{
    return tint != NO_TINT && with_word_held_out(g, "colour ", tint_colours[tint].name, TINT_HELD);
}

static bool pairs_held_out(const glyph_set *set, const scene *s)
{
    for (int i = 0; i < s->count; i++)
        for (int k = 0; k < i; k++)
            if (s->objects[i].glyph != s->objects[k].glyph &&
                scene_pair_held_out(&set->items[s->objects[i].glyph], &set->items[s->objects[k].glyph]))
                return true;
    return false;
}

bool scene_held_out(const glyph_set *set, const scene *s)
{
    for (int i = 0; i < s->count; i++)
        if (tint_held_out(&set->items[s->objects[i].glyph], s->objects[i].tint))
            return true;
    const glyph *first = &set->items[s->objects[0].glyph];
    bool one_kind = s->kind == SCENE_VARIED || s->kind == SCENE_COUNT;
    if (one_kind && s->background != NO_BACKGROUND &&
        with_word_held_out(first, "background ", background_colours[s->background].name, BACKGROUND_HELD))
        return true;
    return pairs_held_out(set, s);
}

bool scene_visible(const glyph_set *set, const scene *s)
{
    float ground[3], object[3];
    colours_lab_of(&background_colours[s->background == NO_BACKGROUND ? COLOUR_WHITE : s->background],
                   ground);
    for (int i = 0; i < s->count; i++) {
        const glyph *g = &set->items[s->objects[i].glyph];
        colours_mean(g, s->objects[i].tint, object);
        if (s->background == NO_BACKGROUND)
            continue;
        if (colours_distance(ground, object) < least_contrast)
            return false;
        /* What has a main colour may have it in its outline: "a raised hand on a yellow background". */
        const glyph_hue *hue = &g->hue;
        float main_colour[3] = {hue->lightness, hue->chroma * cosf(hue->hue), hue->chroma * sinf(hue->hue)};
        if (s->objects[i].tint == NO_TINT && hue->share > 0.4f &&
            colours_distance(ground, main_colour) < least_contrast)
            return false;
    }
    return true;
}

/* ------------------------------------------------------------------------------------ at random */

static int some_background(random_source *r)
{
    return random_below(r, BACKGROUND_COUNT);
}

static void maybe_tint(const glyph_set *set, scene_object *o, double chance, random_source *r)
{
    if (set->items[o->glyph].recolours && random_chance(r, chance))
        o->tint = random_below(r, TINT_COUNT);
}

static void maybe_size(scene_object *o, double chance, random_source *r)
{
    if (random_chance(r, chance))
        o->size = random_chance(r, 0.5) ? SIZE_SMALL : SIZE_BIG;
}

static int other_object(const glyph_set *set, const scene *s, random_source *r)
{
    for (;;) {
        int g = random_below(r, set->count), same = 0;
        for (int i = 0; i < s->count; i++)
            same += s->objects[i].glyph == g;
        if (!same && set->items[g].words.object)
            return g;
    }
}

static void vary(const glyph_set *set, scene *s, random_source *r)
{
    scene_object *o = &s->objects[0];
    do {
        maybe_tint(set, o, 0.35, r);
        maybe_size(o, 0.25, r);
        if (random_chance(r, 0.25))
            s->layout = (scene_layout)(LAYOUT_TOP_LEFT + random_below(r, LAYOUT_RIGHT - LAYOUT_TOP_LEFT + 1));
        if (random_chance(r, 0.6))
            s->background = some_background(r);
    } while (o->tint == NO_TINT && o->size == SIZE_NORMAL && s->layout == LAYOUT_CENTRE &&
             s->background == NO_BACKGROUND);
}

static void add_object(scene *s, int glyph_number)
{
    s->objects[s->count++] = (scene_object){.glyph = glyph_number, .tint = NO_TINT, .size = SIZE_NORMAL};
}

static void compose_pair(const glyph_set *set, scene *s, bool simple, random_source *r)
{
    add_object(s, other_object(set, s, r));
    if (random_chance(r, 0.5)) { /* the main one comes second as often */
        scene_object first = s->objects[0];
        s->objects[0] = s->objects[1];
        s->objects[1] = first;
    }
    s->layout = random_chance(r, 0.5) ? LAYOUT_BESIDE : LAYOUT_ABOVE;
    if (!simple && random_chance(r, 0.16))
        s->layout = random_chance(r, 0.5) ? LAYOUT_DIAGONAL_DOWN : LAYOUT_DIAGONAL_UP;
    if (simple || random_chance(r, 0.6))
        s->background = some_background(r);
    maybe_tint(set, &s->objects[0], simple ? 0.6 : 0.35, r);
    if (simple)
        return;
    maybe_tint(set, &s->objects[1], 0.25, r);
    maybe_size(&s->objects[0], 0.2, r);
    maybe_size(&s->objects[1], 0.2, r);
    if (s->objects[0].size == SIZE_BIG && s->objects[1].size == SIZE_BIG) /* both could not be */
        s->objects[1].size = SIZE_NORMAL;
}

static void compose_count(const glyph_set *set, scene *s, random_source *r)
{
    static const unsigned char numbers[] = {2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 5, 5, 6, 6, 7, 8, 9};
    int n = numbers[random_below(r, sizeof numbers)];
    maybe_tint(set, &s->objects[0], 0.3, r);
    while (s->count < n)
        s->objects[s->count++] = s->objects[0];
    s->layout = LAYOUT_GRID;
    if (n == 3 && random_chance(r, 0.3))
        s->layout = random_chance(r, 0.7) ? LAYOUT_ROW : LAYOUT_COLUMN;
    else if (n == 2 && random_chance(r, 0.2))
        s->layout = LAYOUT_ABOVE;
    if (random_chance(r, 0.5))
        s->background = some_background(r);
}

static void compose_trio(const glyph_set *set, scene *s, random_source *r)
{
    add_object(s, other_object(set, s, r));
    add_object(s, other_object(set, s, r));
    int which = random_below(r, 10);
    s->layout = which < 6 ? LAYOUT_ROW : which < 8 ? LAYOUT_COLUMN : LAYOUT_TWO_OVER_ONE;
    for (int i = 0; i < 3; i++)
        maybe_tint(set, &s->objects[i], 0.15, r);
    if (random_chance(r, 0.5))
        s->background = some_background(r);
}

static scene_kind pick_kind(const scene_rules *rules, const glyph *g, random_source *r)
{
    if (rules->split == SPLIT_COMPOSED)
        return SCENE_PAIR;
    double weight[SCENE_KINDS], sum = 0;
    for (int k = 0; k < SCENE_KINDS; k++) {
        bool can = k <= SCENE_VARIED || (g->words.object && (k != SCENE_COUNT || g->words.plural[0]));
        /* A plain emoji on white is never a held-out scene. */
        weight[k] = can && !(k == SCENE_PLAIN && rules->split == SPLIT_HELD_OUT) ? rules->weight[k] : 0;
        sum += weight[k];
    }
    double at = random_unit(r) * sum;
    for (int k = 0; k < SCENE_KINDS - 1; k++) {
        if (weight[k] > 0 && at < weight[k])
            return (scene_kind)k;
        at -= weight[k];
    }
    return weight[SCENE_TRIO] > 0 ? SCENE_TRIO : SCENE_VARIED;
}

static void compose_once(const glyph_set *set, const scene_rules *rules, scene_kind kind, int main,
                         random_source *r, scene *s)
{
    *s = (scene){.kind = kind, .layout = LAYOUT_CENTRE, .background = NO_BACKGROUND};
    add_object(s, main);
    switch (kind) {
    case SCENE_VARIED:
        vary(set, s, r);
        break;
    case SCENE_PAIR:
        compose_pair(set, s, rules->split == SPLIT_COMPOSED, r);
        break;
    case SCENE_COUNT:
        compose_count(set, s, r);
        break;
    case SCENE_TRIO:
        compose_trio(set, s, r);
        break;
    default:
        break;
    }
}

static bool accepted(const glyph_set *set, const scene_rules *rules, const scene *s)
{
    if (!scene_visible(set, s))
        return false;
    if (rules->split == SPLIT_TRAIN)
        return !scene_held_out(set, s);
    if (rules->split == SPLIT_HELD_OUT)
        return scene_held_out(set, s);
    return pairs_held_out(set, s) && !tint_held_out(&set->items[s->objects[0].glyph], s->objects[0].tint);
}

static float within(float x, float low, float high)
{
    return high < low ? (low + high) / 2 : x < low ? low : x > high ? high : x;
}

/* Move objects a little and change their sizes a little, but never over the edge. */
static void shake(scene *s, double amount, random_source *r)
{
    for (int i = 0; i < s->count; i++) {
        scene_object *o = &s->objects[i];
        o->height *= (float)(1 + amount * 0.04 * (2 * random_unit(r) - 1));
        float half = o->height / 2, wide = half * GLYPH_WIDTH / GLYPH_HEIGHT;
        o->x += (float)(amount * 0.02 * (2 * random_unit(r) - 1));
        o->y += (float)(amount * 0.02 * (2 * random_unit(r) - 1));
        o->x = within(o->x, wide, 1 - wide);
        o->y = within(o->y, half, 1 - half);
    }
}

void scene_compose(const glyph_set *set, const scene_rules *rules, int main, random_source *r, scene *out)
{
    scene_kind kind = pick_kind(rules, &set->items[main], r);
    int most = rules->split == SPLIT_TRAIN ? TRIES : 50 * TRIES;
    for (int i = 0; i < most; i++) {
        compose_once(set, rules, kind, main, r, out);
        if (accepted(set, rules, out))
            break;
        if (i + 1 == most) /* a glyph with nothing held out: plain is always allowed in training */
            compose_once(set, rules, SCENE_PLAIN, main, r, out);
    }
    scene_arrange(out);
    if (rules->jitter > 0)
        shake(out, rules->jitter, r);
}

int scene_main_glyph(const glyph_set *set, const scene_rules *rules, uint64_t seed, int64_t number)
{
    /* A permutation without a table: multiplication by a number prime to the count, another for every round. */
    int64_t n = set->count, round = number / n;
    random_source r = random_start(seed ^ UINT64_C(0x5EED), (uint64_t)round);
    int64_t factor, offset = random_below(&r, (int)n);
    for (;;) {
        factor = 1 + random_below(&r, (int)n - 1);
        int64_t a = n, b = factor;
        while (b) {
            int64_t rest = a % b;
            a = b;
            b = rest;
        }
        if (a == 1)
            break;
    }
    int glyph_number = (int)((number % n * factor + offset) % n);
    random_source other = random_start(seed, (uint64_t)number ^ UINT64_C(0xC0));
    while (rules->split == SPLIT_COMPOSED && !set->items[glyph_number].words.object)
        glyph_number = random_below(&other, (int)n);
    return glyph_number;
}
