/* sheet.h - a contact sheet: pictures in a grid, each with a caption below. */
#ifndef EMOJI_SHEET_H
#define EMOJI_SHEET_H

#include "base/error.h"

#include <stdint.h>

typedef struct sheet {
    int columns, cell, width, height, count;
    uint8_t *rgb;
} sheet;

/* Room for `count` pictures of `size` px, `columns` a row. */
kiln_status sheet_init(sheet *, int count, int columns, int size, kiln_error *err);
/* Put picture `index` (RGB, the size given before) with its caption in place. */
void sheet_put(sheet *, int index, const uint8_t *rgb, const char *caption);
kiln_status sheet_write(const sheet *, const char *path, kiln_error *err);
void sheet_fini(sheet *);

#endif
