/* inpaint_options.h - the options of subcommands that draw parts of pictures. */
#ifndef KILN_CLI_INPAINT_OPTIONS_H
#define KILN_CLI_INPAINT_OPTIONS_H

#include "draw_options.h"

typedef struct inpaint_values {
    draw_values draw; /* first: see drawing_option_table */
    const char *picture, *mask, *rectangle, *polygon, *colour, *content;
    int tolerance, padding;
    double mask_blur, mask_grow, mask_weight;
    double soft_bias, soft_preservation, soft_contrast, soft_influence, soft_threshold, soft_difference;
    bool transparent, invert, only_masked, keep_colour, soft;
} inpaint_values;

extern const option inpaint_option_table[];

inpaint_values inpaint_values_of(const kiln_inpaint_options *);
/* What concerns the mask and the region; `draw` is draw_values_apply's. */
void inpaint_values_apply(const inpaint_values *, kiln_inpaint_options *);

/* The mask of --mask, or of --select, --polygon, --colour and --transparent. Complains and gives an exit status. */
int inpaint_read_mask(const inpaint_values *, const kiln_image *picture, kiln_image **mask);
/* Whether these options say what is to be drawn, once and rightly written; before anything is read. */
int inpaint_check_selection(const inpaint_values *);

#endif
