/* sheet.h - many pictures on one: rows and columns with labels, in several layers, each picture with its caption. */
#ifndef KILN_IMAGE_SHEET_H
#define KILN_IMAGE_SHEET_H

#include "image/image.h"

#include <stddef.h>

/* Every list of texts may be NULL, as may each text in it; pictures may be NULL, which leaves gaps. */
typedef struct sheet_content {
    int columns, rows, layers;      /* at least 1 each, at most SHEET_MOST pictures in all */
    const image *const *pictures;   /* [layers][rows][columns], of any sizes */
    const char *const *captions;    /* the same: below each picture, wrapped to at most `caption_lines` */
    const char *const *columns_say; /* [columns]: above */
    const char *const *rows_say;    /* [rows]: on the left */
    const char *const *layers_say;  /* [layers]: above each layer */
    const char *title;              /* on top */
    const char *font;               /* a file; NULL: a usual one */
    int caption_lines;              /* 0: as many as are needed, at most 8 */
    /* Larger side of a picture on the sheet: larger ones are made smaller, smaller ones are shown at their size times the
     * largest whole number that fits. 0: all as they are. */
    int cell_px;
} sheet_content;

enum { SHEET_MOST = 4096 };

/* Its number of pictures. BAD_ARGUMENT when columns, rows or layers are out of range. */
kiln_status sheet_count(const sheet_content *, int64_t *count, kiln_error *err) KILN_CHECKED;
/* Whether pictures of that size would fit on it, before there are any. BAD_ARGUMENT as for sheet_draw. */
kiln_status sheet_check(const sheet_content *, int width, int height, kiln_error *err) KILN_CHECKED;
/* 8-bit RGB. BAD_ARGUMENT when it would be larger than a picture can be. The caller frees *out with image_free. */
kiln_status sheet_draw(const sheet_content *, image **out, kiln_error *err) KILN_CHECKED;

#endif
