/* sheet.h - many pictures on one, with labels: contact sheets and X/Y/Z plots.
 *
 *     const char *samplers[] = {"Euler", "DPM++ 2M"}, *steps[] = {"10", "20"};
 *     kiln_sheet s = {.columns = 2, .rows = 2, .layers = 1, .pictures = drawn, .column_labels = samplers,
 *                     .row_labels = steps, .title = "a lighthouse at dusk"};
 *     kiln_sheet_draw(&s, &sheet, &err);
 *
 * Part of libkiln; see kiln.h for errors and ownership. */
#ifndef KILN_SHEET_H
#define KILN_SHEET_H

#include <kiln/kiln.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Every list of texts may be NULL, as may each text in it (UTF-8; long ones are broken into lines). */
typedef struct kiln_sheet {
    int columns, rows, layers; /* at least 1 each, at most 4096 pictures in all */
    const kiln_image *const
        *pictures;                    /* [layers][rows][columns], of any sizes and forms; NULL leaves a gap */
    const char *const *captions;      /* [layers][rows][columns]: below each picture */
    const char *const *column_labels; /* [columns] */
    const char *const *row_labels;    /* [rows] */
    const char *const *layer_labels;  /* [layers] */
    const char *title;                /* on top */
    const char
        *font; /* a font's file; NULL: the first of the usual sans-serif fonts of a Linux system, or dots */
    /* px: the larger side of a picture on the sheet; larger ones are made smaller, smaller ones are enlarged by a whole
     * number. 0: all as they are. */
    int cell_px;
} kiln_sheet;

/* Whether pictures of that size (px) would fit on the sheet, before they are drawn: `pictures` is not looked at. */
KILN_API KILN_CHECKED kiln_status kiln_sheet_check(const kiln_sheet *, int width_px, int height_px,
                                                   kiln_error *);
/* The sheet: RGB, 8 bit, without texts. */
KILN_API KILN_CHECKED kiln_status kiln_sheet_draw(const kiln_sheet *, kiln_image **out, kiln_error *);

#ifdef __cplusplus
}
#endif
#endif
