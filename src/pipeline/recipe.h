/* recipe.h - numbers in a picture's recipe. Internal. */
#ifndef KILN_PIPELINE_RECIPE_H
#define KILN_PIPELINE_RECIPE_H

#include "image/infotext.h"

#include <kiln/kiln.h>

/* A field of the recipe, at most 511 bytes. */
void recipe_set_format(infotext *, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* As short as reads back to the same number. */
void recipe_set_real(infotext *, const char *key, double);
/* Leaves *out alone when the field is absent or no number. */
void recipe_get_real(const kiln_recipe *, const char *key, double *out);

#endif
