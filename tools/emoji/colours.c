/* colours.c - see colours.h. */
#include "emoji/colours.h"

#include <math.h>
#include <string.h>

#define TAU 6.2831853f

const named_colour background_colours[BACKGROUND_COUNT] = {
    {"white", {255, 255, 255}}, {"black", {18, 18, 22}},       {"grey", {148, 150, 154}},
    {"red", {214, 44, 48}},     {"orange", {250, 146, 36}},    {"yellow", {252, 222, 70}},
    {"green", {64, 168, 76}},   {"turquoise", {64, 200, 190}}, {"light blue", {158, 208, 252}},
    {"blue", {44, 92, 214}},    {"purple", {128, 66, 184}},    {"pink", {250, 160, 200}},
    {"brown", {128, 84, 54}},   {"beige", {236, 216, 182}},
};

const named_colour tint_colours[TINT_COUNT] = {
    {"red", {220, 48, 50}},    {"orange", {250, 138, 28}}, {"yellow", {250, 212, 48}},
    {"green", {62, 168, 72}},  {"blue", {52, 108, 224}},   {"purple", {140, 76, 200}},
    {"pink", {248, 128, 184}},
};

static float to_linear(float v)
{
    return v <= 0.04045f ? v / 12.92f : powf((v + 0.055f) / 1.055f, 2.4f);
}

static float from_linear(float v)
{
    if (v <= 0)
        return 0;
    if (v >= 1)
        return 1;
    return v <= 0.0031308f ? v * 12.92f : 1.055f * powf(v, 1 / 2.4f) - 0.055f;
}

void colours_to_lab(const float rgb[3], float lab[3])
{
    float r = to_linear(rgb[0]), g = to_linear(rgb[1]), b = to_linear(rgb[2]);
    float l = cbrtf(0.4122214708f * r + 0.5363325363f * g + 0.0514459929f * b);
    float m = cbrtf(0.2119034982f * r + 0.6806995451f * g + 0.1073969566f * b);
    float s = cbrtf(0.0883024619f * r + 0.2817188376f * g + 0.6299787005f * b);
    lab[0] = 0.2104542553f * l + 0.7936177850f * m - 0.0040720468f * s;
    lab[1] = 1.9779984951f * l - 2.4285922050f * m + 0.4505937099f * s;
    lab[2] = 0.0259040371f * l + 0.7827717662f * m - 0.8086757660f * s;
}

void colours_from_lab(const float lab[3], float rgb[3])
{
    float l = lab[0] + 0.3963377774f * lab[1] + 0.2158037573f * lab[2];
    float m = lab[0] - 0.1055613458f * lab[1] - 0.0638541728f * lab[2];
    float s = lab[0] - 0.0894841775f * lab[1] - 1.2914855480f * lab[2];
    l = l * l * l;
    m = m * m * m;
    s = s * s * s;
    rgb[0] = from_linear(4.0767416621f * l - 3.3077115913f * m + 0.2309699292f * s);
    rgb[1] = from_linear(-1.2684380046f * l + 2.6097574011f * m - 0.3413193965f * s);
    rgb[2] = from_linear(-0.0041960863f * l - 0.7034186147f * m + 1.7076147010f * s);
}

void colours_lab_of(const named_colour *colour, float lab[3])
{
    float rgb[3];
    for (int c = 0; c < 3; c++)
        rgb[c] = (float)colour->rgb[c] / 255;
    colours_to_lab(rgb, lab);
}

float colours_distance(const float a[3], const float b[3])
{
    float l = a[0] - b[0], u = a[1] - b[1], v = a[2] - b[2];
    return sqrtf(l * l + u * u + v * v);
}

int colours_nearest_background(const float rgb[3])
{
    float lab[3], other[3], nearest = INFINITY;
    int best = 0;
    colours_to_lab(rgb, lab);
    for (int i = 0; i < BACKGROUND_COUNT; i++) {
        colours_lab_of(&background_colours[i], other);
        float d = colours_distance(lab, other);
        if (d < nearest) {
            nearest = d;
            best = i;
        }
    }
    return best;
}

/* ------------------------------------------------------------------------------------ main hue */

enum { HUE_BINS = 72, MEASURE_STEP = 3 };

static float hue_gap(float a, float b)
{
    float d = fabsf(a - b);
    d = fmodf(d, TAU);
    return d > TAU / 2 ? TAU - d : d;
}

static float ramp(float x, float from, float to)
{
    float t = (x - from) / (to - from);
    t = t < 0 ? 0 : t > 1 ? 1 : t;
    return t * t * (3 - 2 * t);
}

static const float band_full = 0.75f, band_none = 1.15f; /* radians around the main hue */

static float belongs(const glyph_hue *hue, float pixel_hue, float chroma)
{
    float near = 1 - ramp(hue_gap(pixel_hue, hue->hue), band_full, band_none);
    return near * ramp(chroma, 0.025f, 0.07f);
}

/* The middle of the window of about 1.4 radians with the most colour in it. */
static float main_hue(const float bins[HUE_BINS])
{
    float most = -1, hue = 0;
    for (int i = 0; i < HUE_BINS; i++) {
        float sum = 0, across = 0;
        for (int k = -8; k <= 8; k++) {
            float w = bins[(i + k + HUE_BINS) % HUE_BINS] * (1 - fabsf((float)k) / 12);
            sum += w;
            across += w * (float)k;
        }
        if (sum > most) {
            most = sum;
            hue = ((float)i + 0.5f + (sum > 0 ? across / sum : 0)) * TAU / HUE_BINS;
        }
    }
    return hue;
}

typedef struct hue_sums {
    float bins[HUE_BINS];
    double area, share, lightness, chroma, mean[3];
} hue_sums;

/* One pass over the opaque pixels; `hue` NULL fills the bins, else sums over what belongs to it. */
static void scan(const glyph *g, const glyph_hue *hue, hue_sums *sums)
{
    memset(sums, 0, sizeof *sums);
    for (int y = 0; y < GLYPH_HEIGHT; y += MEASURE_STEP)
        for (int x = 0; x < GLYPH_WIDTH; x += MEASURE_STEP) {
            const uint8_t *p = g->pixels + 4 * (y * GLYPH_WIDTH + x);
            if (p[3] < 128)
                continue;
            float rgb[3], lab[3];
            for (int c = 0; c < 3; c++)
                rgb[c] = fminf((float)p[c] / (float)p[3], 1);
            colours_to_lab(rgb, lab);
            float chroma = hypotf(lab[1], lab[2]), angle = atan2f(lab[2], lab[1]);
            angle = angle < 0 ? angle + TAU : angle;
            sums->area += 1;
            for (int c = 0; c < 3; c++)
                sums->mean[c] += lab[c];
            if (!hue) {
                int bin = (int)(angle * HUE_BINS / TAU);
                sums->bins[bin < HUE_BINS ? bin : 0] += ramp(chroma, 0.025f, 0.07f);
            } else {
                float w = belongs(hue, angle, chroma);
                sums->share += w;
                sums->lightness += w * lab[0];
                sums->chroma += w * chroma;
            }
        }
}

void colours_measure(glyph *g)
{
    hue_sums sums;
    glyph_hue *hue = &g->hue;
    *hue = (glyph_hue){0};
    scan(g, NULL, &sums);
    if (sums.area <= 0)
        return;
    for (int c = 0; c < 3; c++)
        hue->mean[c] = (float)(sums.mean[c] / sums.area);
    hue->hue = main_hue(sums.bins);
    scan(g, hue, &sums);
    hue->share = (float)(sums.share / sums.area);
    if (sums.share > 0) {
        hue->lightness = (float)(sums.lightness / sums.share);
        hue->chroma = (float)(sums.chroma / sums.share);
    }
}

/* ----------------------------------------------------------------------------------- recolouring */

static const float tinted_below = 0.12f; /* a share under which a picture counts as grey */

static void tint_pixel(const glyph_hue *hue, const float target[3], float lab[3])
{
    float aim = hypotf(target[1], target[2]), chroma = hypotf(lab[1], lab[2]), weight, lightness, strength;
    if (hue->share < tinted_below) {
        weight = 1;
        lightness = target[0] + 0.85f * (lab[0] - fmaxf(hue->mean[0], 0.3f));
        strength = aim;
    } else {
        weight = belongs(hue, atan2f(lab[2], lab[1]), chroma);
        lightness = target[0] + 0.9f * (lab[0] - hue->lightness);
        strength = aim * fminf(chroma / fmaxf(hue->chroma, 0.04f), 1.3f);
    }
    lightness = lightness < 0.05f ? 0.05f : lightness > 0.985f ? 0.985f : lightness;
    /* Near white and black there is little room for colour. */
    strength *= fminf(1, fminf(lightness / 0.25f, (1.02f - lightness) / 0.12f));
    float to[3] = {lightness, target[1] / aim * strength, target[2] / aim * strength};
    for (int c = 0; c < 3; c++)
        lab[c] += weight * (to[c] - lab[c]);
}

void colours_tint(const glyph_hue *hue, int tint, float *rgba, int count)
{
    float target[3];
    colours_lab_of(&tint_colours[tint], target);
    for (int i = 0; i < count; i++) {
        float *p = rgba + 4 * i, alpha = p[3], rgb[3], lab[3];
        if (alpha < 1.0f / 512)
            continue;
        for (int c = 0; c < 3; c++)
            rgb[c] = fminf(fmaxf(p[c] / alpha, 0), 1);
        colours_to_lab(rgb, lab);
        tint_pixel(hue, target, lab);
        colours_from_lab(lab, rgb);
        for (int c = 0; c < 3; c++)
            p[c] = rgb[c] * alpha;
    }
}

void colours_mean(const glyph *g, int tint, float lab[3])
{
    memcpy(lab, g->hue.mean, 3 * sizeof *lab);
    if (tint < 0)
        return;
    float target[3], share = g->hue.share < tinted_below ? 1 : g->hue.share;
    colours_lab_of(&tint_colours[tint], target);
    for (int c = 0; c < 3; c++)
        lab[c] += share * (target[c] - lab[c]);
}
