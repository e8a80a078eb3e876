/* tiny_session.h - the small model of tests/data with one session, open for all tests of a program: give open_model and
 * close_model to the group. Include after cmocka.h. */
#ifndef TINY_SESSION_H
#define TINY_SESSION_H

#include "unit/tiny_model.h"

#include <stdlib.h>

static kiln_model *model;
static kiln_session *session;

static int open_model(void **state)
{
    (void)state;
    model = tiny_open(1, KILN_PRECISION_F32);
    session = tiny_session(model);
    return 0;
}

static int close_model(void **state)
{
    (void)state;
    kiln_session_free(session);
    return kiln_model_close(model) != KILN_OK;
}

/* A picture of any form, each sample unlike its neighbours. */
static inline kiln_image *picture_of(int width, int height, int channels, int bits)
{
    kiln_image *k = NULL;
    size_t count = (size_t)width * (size_t)height * (size_t)channels;
    uint16_t *pixels = malloc(count * sizeof *pixels);
    assert_non_null(pixels);
    for (size_t i = 0; i < count; i++)
        if (bits == 8)
            ((uint8_t *)pixels)[i] = (uint8_t)(i * 37 + i / 11 * 5);
        else
            pixels[i] = (uint16_t)(i * 9973 + i / 7 * 77);
    assert_ok(kiln_image_new(width, height, channels, bits, pixels, &k, err));
    free(pixels);
    return k;
}

#endif
