/* contact_sheet.h - many small pictures with their captions in one. */
#ifndef KILN_TRAIN_CONTACT_SHEET_H
#define KILN_TRAIN_CONTACT_SHEET_H

#include "image/image.h"

/* A sheet of `count` pictures (of any sizes; NULL leaves a gap) in `columns` columns (0: about square), each
 * with its caption (NULL: none; wrapped to three lines, then cut) below it, `title` (NULL: none) on top.
 * Pictures larger than cell_px are made smaller, smaller ones are shown at their size times the largest whole
 * number that fits (0: the largest picture's side, at least 64). The caller frees *out with image_free. */
kiln_status contact_sheet_new(const image *const *pictures, const char *const *captions, size_t count,
                              int columns, int cell_px, const char *title, image **out,
                              kiln_error *) KILN_CHECKED;
/* Make and write it (PNG, atomically). */
kiln_status contact_sheet_write(const char *path, const image *const *pictures, const char *const *captions,
                                size_t count, int columns, int cell_px, const char *title,
                                kiln_error *) KILN_CHECKED;

#endif
