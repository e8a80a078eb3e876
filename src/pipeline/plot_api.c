/* plot_api.c - the public call for plots; the work is done in src/image. */
#include "image/plot.h"
#include "pipeline/image_api.h"

kiln_status kiln_plot_draw(const kiln_plot *p, kiln_image **out, kiln_error *err)
{
    *out = NULL;
    image *made;
    kiln_status status = plot_draw(p, &made, err);
    return status ? status : kiln_image_wrap(made, out, err);
}
