/* tiny_model.h - the small model of tests/data (random weights, latents at half the picture's size), opened and drawn
 * from through the public interface only. Include after cmocka.h. */
#ifndef TINY_MODEL_H
#define TINY_MODEL_H

#include "kiln/kiln.h"

#include <stdio.h>
#include <string.h>

#define TINY_PATH TEST_DATA "/sd1-tiny"

#define assert_ok(call)                                                                                      \
    do {                                                                                                     \
        kiln_error *assert_error = &(kiln_error){0};                                                         \
        kiln_error *err = assert_error;                                                                      \
        if ((call) != KILN_OK)                                                                               \
            fail_msg("%s: %s", #call, assert_error->text);                                                   \
    } while (0)

/* The call fails with this status and one clean sentence that has `word` in it. `call` uses `err`. */
#define assert_refused(call, expected, word)                                                                 \
    do {                                                                                                     \
        kiln_error *err = &(kiln_error){0};                                                                  \
        kiln_status got = (call);                                                                            \
        if (got != (expected) || err->status != (expected) || !strstr(err->text, word) ||                    \
            strchr(err->text, '\n'))                                                                         \
            fail_msg("%s: gave %d '%s', expected %d with '%s'", #call, (int)got, err->text, (int)(expected), \
                     word);                                                                                  \
    } while (0)

static inline kiln_model *tiny_open(int threads, kiln_precision precision)
{
    kiln_model *m = NULL;
    kiln_model_options o = kiln_model_defaults();
    o.threads = threads;
    o.precision = precision;
    assert_ok(kiln_model_open(TINY_PATH, &o, &m, err));
    return m;
}

static inline kiln_session *tiny_session(kiln_model *m)
{
    kiln_session *s = NULL;
    assert_ok(kiln_session_new(m, &s, err));
    return s;
}

static inline kiln_draw_options tiny_options(const char *prompt, uint64_t seed)
{
    kiln_draw_options o = kiln_draw_defaults();
    o.prompt = prompt;
    o.seed = seed;
    o.steps = 4;
    return o;
}

static inline kiln_image *tiny_draw(kiln_session *s, const kiln_draw_options *o)
{
    kiln_image *out = NULL;
    assert_ok(kiln_draw(s, o, &out, err));
    assert_non_null(out);
    return out;
}

static inline bool same_pixels(const kiln_image *a, const kiln_image *b)
{
    if (kiln_image_width(a) != kiln_image_width(b) || kiln_image_height(a) != kiln_image_height(b))
        return false;
    return memcmp(kiln_image_pixels(a), kiln_image_pixels(b),
                  (size_t)kiln_image_width(a) * (size_t)kiln_image_height(a) * 3) == 0;
}

/* Draws in a session of its own. */
static inline kiln_image *tiny_draw_alone(kiln_model *m, const kiln_draw_options *o)
{
    kiln_session *s = tiny_session(m);
    kiln_image *out = tiny_draw(s, o);
    kiln_session_free(s);
    return out;
}

/* A picture with some of everything. */
static inline kiln_image *tiny_picture(int width, int height, int channels)
{
    kiln_image *k = NULL;
    unsigned char pixels[128 * 128 * 4];
    for (int i = 0; i < width * height * channels; i++)
        pixels[i] = (unsigned char)(i * 37 + i / 11 * 5);
    assert_ok(kiln_image_new(width, height, channels, 8, pixels, &k, err));
    return k;
}

#endif
