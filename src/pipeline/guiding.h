/* guiding.h - options of guidance and sampling: checked, handed on, and in recipes. Internal. */
#ifndef KILN_PIPELINE_GUIDING_H
#define KILN_PIPELINE_GUIDING_H

#include "diffusion/guidance.h"
#include "diffusion/sampler.h"
#include "image/infotext.h"
#include "kiln/kiln.h"

kiln_status guiding_check(const kiln_guidance *, kiln_error *);
guidance_interval guiding_interval(const kiln_guidance *);
void guiding_request(const kiln_sampling *, sampler_request *);
/* A1111's keys where it has them. */
void guiding_add_fields(const kiln_guidance *, const kiln_sampling *, infotext *);
void guiding_read_fields(const infotext *, kiln_guidance *, kiln_sampling *);

#endif
