/* styles.h - named pieces of prompt, as AUTOMATIC1111's web UI keeps them in styles.csv.
 *
 * Columns name, prompt and negative_prompt (old files: name and text). A row whose name begins with # is a comment. Where a
 * style says {prompt}, the prompt takes that place; else the style follows it after a comma. */
#ifndef KILN_TEXT_STYLES_H
#define KILN_TEXT_STYLES_H

#include "base/arena.h"
#include "base/error.h"
#include "formats/name_index.h"

#include <stddef.h>

typedef struct style {
    const char *name, *prompt, *negative; /* "": none */
} style;

/* Starts as {0}; free with styles_free, after failures too. */
typedef struct styles {
    arena memory;
    style *list; /* names are each another */
    int count, capacity;
    name_index names;
} styles;

/* Add what a file of `size` bytes says. Of two styles of one name the later one counts. KILN_BAD_FORMAT names the file. */
kiln_status styles_add(styles *, const char *text, size_t size, const char *path, kiln_error *err);
void styles_free(styles *);

/* By its very name; NULL where there is none. */
const style *styles_find(const styles *, const char *name);
/* The names most like the one that is not there, "'a', 'b'", in a buffer of `size` bytes; "" where none is. */
void styles_like(const styles *, const char *name, char *out, size_t size);

/* A prompt with a style's own text for it; *out: free(). KILN_BAD_ARGUMENT where that is longer than any prompt. */
kiln_status style_merge(const char *own, const char *prompt, char **out, kiln_error *err);

#endif
