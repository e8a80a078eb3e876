/* seeding.c - see seeding.h. */
#include "pipeline/seeding.h"

#include "image/image.h"
#include "pipeline/recipe.h"
#include "pipeline/request.h"

#include <inttypes.h>
#include <stdlib.h>

/* ------------------------------------------------------------------------------------ seeds */

static bool varies(const kiln_seeding *s)
{
    return s->variation_strength > 0;
}

uint64_t seeding_seed(const kiln_draw_options *o, int k)
{
    return o->seed + (varies(&o->seeding) ? 0 : (uint64_t)k);
}

uint64_t seeding_variation(const kiln_draw_options *o, int k)
{
    return o->seeding.variation_seed + (uint64_t)k;
}

void seeding_take_picture(kiln_draw_options *o, int k)
{
    o->seed = seeding_seed(o, k);
    o->seeding.variation_seed = seeding_variation(o, k);
}

void seeding_take_part(kiln_draw_options *o, int k)
{
    o->seed += (uint64_t)k;
    o->seeding.variation_seed += (uint64_t)k;
}

/* ------------------------------------------------------------------------------------ checks */

static bool resized(const kiln_seeding *s)
{
    return s->resize_width > 0 && s->resize_height > 0;
}

kiln_status seeding_check(const kiln_draw_options *o, kiln_error *err)
{
    const kiln_seeding *s = &o->seeding;
    kiln_status status = request_check_number("seeding.variation_strength", s->variation_strength, 0, 1, err);
    if (status == KILN_OK)
        status = request_check_number("seeding.resize_width", s->resize_width, 0, IMAGE_MAX_SIDE, err);
    if (status == KILN_OK)
        status = request_check_number("seeding.resize_height", s->resize_height, 0, IMAGE_MAX_SIDE, err);
    if (status == KILN_OK && (s->resize_width > 0) != (s->resize_height > 0))
        status = fail(err, KILN_BAD_ARGUMENT,
                      "a seed is resized from a width and a height, and one of the two is 0");
    return status;
}

/* ------------------------------------------------------------------------------------ noise */

static size_t elements(noise_shape s)
{
    return (size_t)s.channels * (size_t)s.height * (size_t)s.width;
}

/* Another seed's noise of that shape into `out`. */
static kiln_status fresh(noise_kind kind, uint64_t seed, noise_shape s, float *out, kiln_error *err)
{
    noise_source *own = malloc(sizeof *own);
    if (!own)
        return fail(err, KILN_NO_MEMORY, "out of memory for the noise");
    noise_init(own, kind, seed);
    noise_fill(own, out, elements(s));
    free(own);
    return KILN_OK;
}

/* Move the noise, which is picture k's of shape s, towards the variation seed's. */
static kiln_status vary(const kiln_draw_options *o, noise_kind kind, int k, noise_shape s, float *noise,
                        kiln_error *err)
{
    if (!varies(&o->seeding))
        return KILN_OK;
    float *other = malloc(elements(s) * sizeof *other);
    kiln_status status = other ? fresh(kind, seeding_variation(o, k), s, other, err)
                               : fail(err, KILN_NO_MEMORY, "out of memory for the noise");
    if (status == KILN_OK)
        noise_vary(noise, other, s, o->seeding.variation_strength);
    free(other);
    return status;
}

static noise_shape shape_resized(const kiln_seeding *s, int channels, int factor)
{
    int height = s->resize_height / factor, width = s->resize_width / factor;
    return (noise_shape){channels, height > 0 ? height : 1, width > 0 ? width : 1};
}

kiln_status seeding_start(const kiln_draw_options *o, noise_kind kind, int k, noise_shape s, int factor,
                          noise_source *stream, float *out, kiln_error *err)
{
    noise_shape from = shape_resized(&o->seeding, s.channels, factor);
    noise_fill(stream, out, elements(s));
    if (!resized(&o->seeding) || (from.height == s.height && from.width == s.width))
        return vary(o, kind, k, s, out, err);
    float *small = malloc(elements(from) * sizeof *small);
    kiln_status status = small ? fresh(kind, seeding_seed(o, k), from, small, err)
                               : fail(err, KILN_NO_MEMORY, "out of memory for the noise");
    if (status == KILN_OK)
        status = vary(o, kind, k, from, small, err);
    if (status == KILN_OK)
        noise_place(small, from, out, s);
    free(small);
    return status;
}

void seeding_restart(const kiln_draw_options *o, noise_kind kind, int k, noise_source *stream)
{
    int64_t delta = o->seeding.eta_noise_seed_delta;
    if (delta != 0)
        noise_init(stream, kind, seeding_seed(o, k) + (uint64_t)delta);
}

/* ------------------------------------------------------------------------------------ the recipe */

void seeding_add_fields(const kiln_draw_options *o, int k, bool stepwise, infotext *t)
{
    const kiln_seeding *s = &o->seeding;
    if (varies(s)) {
        recipe_set_format(t, "Variation seed", "%" PRIu64, seeding_variation(o, k));
        recipe_set_real(t, "Variation seed strength", s->variation_strength);
    }
    if (resized(s))
        recipe_set_format(t, "Seed resize from", "%dx%d", s->resize_width, s->resize_height);
    if (s->eta_noise_seed_delta && stepwise)
        recipe_set_format(t, "ENSD", "%" PRId64, s->eta_noise_seed_delta);
}

void seeding_read_fields(const infotext *t, kiln_draw_options *o)
{
    const char *seed = infotext_get(t, "Variation seed"), *delta = infotext_get(t, "ENSD"),
               *strength = infotext_get(t, "Variation seed strength");
    kiln_seeding *s = &o->seeding;
    *s = (kiln_seeding){0};
    if (seed)
        s->variation_seed = strtoull(seed, NULL, 10);
    if (seed && strength)
        s->variation_strength = strtod(strength, NULL);
    if (!(s->variation_strength >= 0 && s->variation_strength <= 1))
        s->variation_strength = 0;
    if (delta)
        s->eta_noise_seed_delta = strtoll(delta, NULL, 10);
    int width, height;
    if (infotext_get_size(t, "Seed resize from", &width, &height)) {
        s->resize_width = width;
        s->resize_height = height;
    }
}
