/* seeding.h - from seeds to the noise that a picture begins with, and to the recipe's fields of them. Internal.
 *
 * The rules are those of AUTOMATIC1111's web UI: a variation seed moves the noise of the seed towards its own; noise of
 * another size is put into the middle of this one's; a delta gives the steps' own noise another seed than the start's. */
#ifndef KILN_PIPELINE_SEEDING_H
#define KILN_PIPELINE_SEEDING_H

#include "diffusion/noise.h"
#include "diffusion/seed_variation.h"
#include "image/infotext.h"
#include "kiln/kiln.h"

/* The seeds of picture k of a batch: as a rule the next numbers, with a variation the same seed and the next variations. */
uint64_t seeding_seed(const kiln_draw_options *, int k);
uint64_t seeding_variation(const kiln_draw_options *, int k);
/* Make the options those of picture k drawn alone, and those of part k of a picture that is drawn in parts. */
void seeding_take_picture(kiln_draw_options *, int k);
void seeding_take_part(kiln_draw_options *, int k);

kiln_status seeding_check(const kiln_draw_options *, kiln_error *);

/* The noise that picture k begins with, of shape `s`. `stream` is the picture's own and gives what it gives without a
 * variation, or what surrounds the noise of another size. factor: px of a latent's side. */
kiln_status seeding_start(const kiln_draw_options *, noise_kind, int k, noise_shape s, int factor,
                          noise_source *stream, float *out, kiln_error *);
/* After that: the stream that the steps draw from. */
void seeding_restart(const kiln_draw_options *, noise_kind, int k, noise_source *stream);

/* A1111's keys: Variation seed, Variation seed strength, Seed resize from, ENSD (where it has an effect: `stepwise`). */
void seeding_add_fields(const kiln_draw_options *, int k, bool stepwise, infotext *);
void seeding_read_fields(const infotext *, kiln_draw_options *);

#endif
