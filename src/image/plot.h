/* plot.h - curves over a number as a picture. */
#ifndef KILN_IMAGE_PLOT_H
#define KILN_IMAGE_PLOT_H

#include "image/image.h"

#include <kiln/plot.h>

/* kiln_plot_draw's work: 8-bit RGB. The caller frees *out with image_free. */
kiln_status plot_draw(const kiln_plot *, image **out, kiln_error *err) KILN_CHECKED;

#endif
