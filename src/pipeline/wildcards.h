/* wildcards.h - the folder of a prompt's wildcards. Internal.
 *
 * __animals/cats__ is the file animals/cats.txt in it: UTF-8, one text a line; empty lines and those that begin with # are left
 * out, and so are blanks at the ends. In a name * and ? stand for what they do in file names, ** for folders as well; all lines
 * of all files that fit are then one list, in the order of the files' names. */
#ifndef KILN_PIPELINE_WILDCARDS_H
#define KILN_PIPELINE_WILDCARDS_H

#include "base/arena.h"
#include "text/prompt_template.h"

/* Starts as {.folder}; a file is read once. Free with wildcard_folder_free. */
typedef struct wildcard_folder {
    const char *folder;
    arena memory;
    struct wildcard_entry *entries;
    int count, capacity;
} wildcard_folder;

kiln_status wildcard_folder_check(const wildcard_folder *, kiln_error *err);
/* What it has, for template_fill. */
wildcard_source wildcard_folder_source(wildcard_folder *);
void wildcard_folder_free(wildcard_folder *);

#endif
