/* sheet.h - a contact sheet: pictures in a grid, each with a caption below, collected one by one. */
#ifndef EMOJI_SHEET_H
#define EMOJI_SHEET_H

#include "base/error.h"

#include <stdint.h>

typedef struct sheet {
    int columns, cell, count;
    struct image **pictures; /* NULL: not begun */
    char **captions;
} sheet;

/* Room for `count` pictures of `size` px, `columns` a row. */
kiln_status sheet_init(sheet *, int count, int columns, int size, kiln_error *err);
/* Keep a copy of picture `index` (RGB, the size given before) and its caption. */
kiln_status sheet_put(sheet *, int index, const uint8_t *rgb, const char *caption, kiln_error *err);
/* A PNG. Places without a picture stay empty. */
kiln_status sheet_write(const sheet *, const char *path, kiln_error *err);
void sheet_fini(sheet *);

#endif
