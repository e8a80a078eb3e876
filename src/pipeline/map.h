/* map.h - building and reading semantic maps (kiln_map). Internal. */
#ifndef KILN_PIPELINE_MAP_H
#define KILN_PIPELINE_MAP_H

#include "base/error.h"
#include "tensor/tensor.h"

/* An empty map of a kind ("conditioning", "latents"); freed with kiln_map_free. */
kiln_status map_new(const char *kind, kiln_map **out, kiln_error *);
/* Append a copy of a tensor. */
kiln_status map_add(kiln_map *, const char *name, shape, const float *data, kiln_error *);
/* The tensor of that name and its shape (may be NULL); NULL when there is none. */
const float *map_find(const kiln_map *, const char *name, shape *);

#endif
