/* character.c - pictures to teach a model with, made by a few formulas:
 *
 *     character FOLDER            five pictures of Zogg, with captions: a turquoise cat with one eye
 *     character FOLDER WORDS      the same, called WORDS in the captions instead of "zogg"
 *     character --print IN OUT    a picture as a blueprint: its edges in white on blue
 *
 * A shape is a function that tells of a point whether it is inside; a pixel is the mean of 16 points. */
#include <kiln/kiln.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = 256, FINE = 4, POSES = 5 };

typedef struct colour {
    double red, green, blue;
} colour;

static const colour fur = {38, 176, 170}, stripe = {18, 112, 122}, ear = {242, 132, 40},
                    white = {250, 250, 245}, iris = {240, 190, 30}, black = {25, 25, 30},
                    tooth = {255, 255, 255}, star = {230, 60, 140};

/* Where the head is: turned, and in which size, in a picture of -1..1. */
typedef struct pose {
    double turn, size, x, y;
    colour ground;
    const char *place; /* what the caption says of the ground */
    double look;       /* of the eye, to the side */
    bool open;         /* the mouth */
} pose;

static const pose poses[POSES] = {
    {0, 0.72, 0, 0.05, {255, 255, 255}, "", 0, false},
    {0.25, 0.66, 0.08, 0.05, {255, 190, 205}, " on a pink background", 0.5, true},
    {-0.3, 0.60, -0.12, 0.1, {250, 225, 80}, " on a yellow background", -0.6, false},
    {0.1, 0.78, 0, 0.08, {235, 235, 235}, " on a grey background", -0.2, true},
    {-0.12, 0.55, 0.15, -0.1, {255, 255, 255}, "", 0.8, true},
};

static bool in_ellipse(double x, double y, double cx, double cy, double rx, double ry)
{
    double dx = (x - cx) / rx, dy = (y - cy) / ry;
    return dx * dx + dy * dy < 1;
}

/* An ear: a triangle with its base on the head. */
static bool in_ear(double x, double y, double side, double size)
{
    double u = side * x - 0.58, v = y + 0.55; /* its middle */
    double up = (v + 0.55 * size) / (1.1 * size);
    return up > 0 && up < 1 && fabs(u - 0.12 * (1 - up)) < 0.38 * size * up;
}

/* Five-pointed, around a centre (Gielis's way: a radius that swings with the angle). */
static bool in_star(double x, double y, double cx, double cy, double size)
{
    double angle = atan2(x - cx, cy - y), radius = hypot(x - cx, y - cy);
    double swing = fabs(remainder(angle, 2 * 3.14159265358979 / 5)) / (3.14159265358979 / 5);
    return radius < size * (1 - 0.55 * swing);
}

static bool in_mouth(double x, double y, bool open)
{
    if (open)
        return in_ellipse(x, y, 0, 0.55, 0.26, 0.17);
    return in_ellipse(x, y, 0, 0.42, 0.34, 0.2) && !in_ellipse(x, y, 0, 0.37, 0.36, 0.19);
}

/* What is seen at a point of the head's own plane; false: the ground. */
static bool head_at(const pose *p, double x, double y, colour *out)
{
    bool head = in_ellipse(x, y, 0, 0.1, 1, 0.86);
    bool ears = in_ear(x, y, 1, 1) || in_ear(x, y, -1, 1);
    if (!head && !ears)
        return false;
    *out = fur;
    if (!head && (in_ear(x, y, 1, 0.6) || in_ear(x, y, -1, 0.6)))
        *out = ear;
    if (head && fabs(x) > 0.55 && sin(22 * (y - 0.2 * fabs(x))) > 0.35)
        *out = stripe;
    if (in_star(x, y, 0, -0.52, 0.2))
        *out = star;
    if (in_ellipse(x, y, 0, 0, 0.4, 0.36))
        *out = white;
    if (in_ellipse(x, y, 0.16 * p->look, 0, 0.22, 0.22))
        *out = iris;
    if (in_ellipse(x, y, 0.2 * p->look, 0, 0.09, 0.16))
        *out = black;
    if (in_mouth(x, y, p->open))
        *out = black;
    if (p->open && y < 0.52 && fabs(fabs(x) - 0.1) < 0.05 && in_mouth(x, y, true))
        *out = tooth;
    return true;
}

static colour seen_at(const pose *p, double x, double y)
{
    double c = cos(p->turn), s = sin(p->turn), u = (x - p->x) / p->size, v = (y - p->y) / p->size;
    colour out = p->ground;
    (void)head_at(p, c * u + s * v, c * v - s * u, &out);
    return out;
}

static void paint(const pose *p, unsigned char *to)
{
    for (int row = 0; row < SIDE; row++)
        for (int column = 0; column < SIDE; column++, to += 3) {
            colour sum = {0};
            for (int i = 0; i < FINE * FINE; i++) {
                int right = i % FINE, down = i / FINE;
                double x = (column + (right + 0.5) / FINE) / SIDE * 2 - 1,
                       y = (row + (down + 0.5) / FINE) / SIDE * 2 - 1;
                colour c = seen_at(p, x, y);
                sum = (colour){sum.red + c.red, sum.green + c.green, sum.blue + c.blue};
            }
            to[0] = (unsigned char)(sum.red / (FINE * FINE));
            to[1] = (unsigned char)(sum.green / (FINE * FINE));
            to[2] = (unsigned char)(sum.blue / (FINE * FINE));
        }
}

static bool write_pixels(const char *path, int width, int height, const unsigned char *pixels,
                         kiln_error *err)
{
    kiln_image *picture = NULL;
    bool good = kiln_image_new(width, height, 3, 8, pixels, &picture, err) == KILN_OK &&
                kiln_image_write(path, picture, 0, err) == KILN_OK;
    kiln_image_free(picture);
    return good;
}

static bool paint_all(const char *folder, const char *words, kiln_error *err)
{
    static unsigned char pixels[SIDE * SIDE * 3];
    for (int i = 0; i < POSES; i++) {
        char path[1000];
        paint(&poses[i], pixels);
        snprintf(path, sizeof path, "%s/%d.png", folder, i + 1);
        if (!write_pixels(path, SIDE, SIDE, pixels, err))
            return false;
        snprintf(path, sizeof path, "%s/%d.txt", folder, i + 1);
        FILE *f = fopen(path, "w");
        if (!f)
            return snprintf(err->text, sizeof err->text, "%s: cannot be written", path) < 0;
        fprintf(f, "a %s%s\n", words, poses[i].place);
        fclose(f);
    }
    return true;
}

/* ------------------------------------------------------------------------------------ blueprints */

static double brightness(const unsigned char *pixels, int width, int height, int channel, int x, int y)
{
    x = x < 0 ? 0 : x >= width ? width - 1 : x;
    y = y < 0 ? 0 : y >= height ? height - 1 : y;
    return pixels[3 * (y * width + x) + channel];
}

/* The longest of the colours' gradients. */
static double edge_at(const unsigned char *pixels, int width, int height, int x, int y)
{
    double most = 0;
    for (int c = 0; c < 3; c++) {
        double across = brightness(pixels, width, height, c, x + 1, y) -
                        brightness(pixels, width, height, c, x - 1, y),
               along = brightness(pixels, width, height, c, x, y + 1) -
                       brightness(pixels, width, height, c, x, y - 1);
        most = fmax(most, hypot(across, along));
    }
    return fmin(1, fmax(0, most - 18) / 70);
}

static bool print(const char *from, const char *to, kiln_error *err)
{
    kiln_image *picture = NULL;
    if (kiln_image_read(from, &picture, err) != KILN_OK)
        return false;
    int width = kiln_image_width(picture), height = kiln_image_height(picture);
    const unsigned char *pixels = kiln_image_pixels(picture);
    unsigned char *out = malloc((size_t)width * (size_t)height * 3);
    bool good = out && kiln_image_channels(picture) == 3 && kiln_image_bits(picture) == 8;
    for (int i = 0; good && i < width * height; i++) {
        double line = edge_at(pixels, width, height, i % width, i / width);
        double grid = i % width % 16 == 0 || i / width % 16 == 0 ? 14 : 0;
        out[3 * i] = (unsigned char)(24 + grid + line * 215);
        out[3 * i + 1] = (unsigned char)(70 + grid + line * 170);
        out[3 * i + 2] = (unsigned char)(150 + grid + line * 90);
    }
    if (!good)
        snprintf(err->text, sizeof err->text, "%s: not a picture of 8-bit colours", from);
    good = good && write_pixels(to, width, height, out, err);
    free(out);
    kiln_image_free(picture);
    return good;
}

int main(int argc, char **argv)
{
    kiln_error err = {0};
    bool good;
    if (argc == 4 && strcmp(argv[1], "--print") == 0)
        good = print(argv[2], argv[3], &err);
    else if (argc == 2 || argc == 3)
        good = paint_all(argv[1], argc == 3 ? argv[2] : "zogg", &err);
    else
        return 2;
    if (!good)
        fprintf(stderr, "character: %s\n", err.text);
    return good ? 0 : 1;
}
