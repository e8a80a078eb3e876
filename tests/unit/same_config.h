/* same_config.h - two configurations are the same when they are written as the same config.json. (Comparing the bytes of
 * the structs would compare what lies between their fields, too.) */
#ifndef KILN_TESTS_SAME_CONFIG_H
#define KILN_TESTS_SAME_CONFIG_H

#include "weights/config_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static inline void assert_same_written(const model_parts *a, const model_parts *b, part_kind kind)
{
    char *one = part_config_text(a, kind), *other = part_config_text(b, kind);
    assert_non_null(one);
    assert_non_null(other);
    assert_string_equal(one, other);
    free(one);
    free(other);
}

static inline void assert_same_unet(const unet_config *a, const unet_config *b)
{
    model_parts one = {0}, other = {0};
    one.unet = *a;
    other.unet = *b;
    assert_same_written(&one, &other, PART_UNET);
}

static inline void assert_same_vae(const vae_config *a, const vae_config *b)
{
    model_parts one = {0}, other = {0};
    one.vae = *a;
    other.vae = *b;
    assert_same_written(&one, &other, PART_VAE);
}

/* Without the dialect, which no config.json tells. */
static inline void assert_same_text(const clip_text_config *a, const clip_text_config *b)
{
    model_parts one = {0}, other = {0};
    one.text = *a;
    other.text = *b;
    assert_same_written(&one, &other, PART_TEXT);
}

#endif
