/* csv.h - tables of texts: fields between commas, as RFC 4180 describes them.
 *
 *     name,prompt              a row ends with a new line (LF, CR LF or CR)
 *     "a ""b""","two
 *     lines"                   quoted: commas, new lines and doubled quotes are the field's
 *
 * Beyond the RFC, as spreadsheets and Python's csv module have it: blanks before a field are left out, a quote within a field
 * that does not begin with one is a character, a byte-order mark at the beginning is passed over, and rows may have different
 * numbers of fields. Rows without any field are left out. A quote that is not closed, and text behind a closing quote, are
 * mistakes. */
#ifndef KILN_FORMATS_CSV_H
#define KILN_FORMATS_CSV_H

#include "base/arena.h"
#include "base/error.h"

#include <stddef.h>

enum { CSV_MAX_FIELDS = 64, CSV_MAX_ROWS = 65536 };

typedef struct csv_row {
    const char **fields; /* NUL-terminated */
    int count;           /* at least 1 */
    int line;            /* where it begins, from 1 */
} csv_row;

/* Starts as {0}; free with csv_free, after failures too. */
typedef struct csv {
    arena memory;
    csv_row *rows;
    int count, capacity;
} csv;

/* `text` has `size` bytes and is copied; `name` is its file, for messages. KILN_BAD_FORMAT names the line. */
kiln_status csv_parse(const char *text, size_t size, const char *name, csv *out, kiln_error *err);
void csv_free(csv *);

#endif
