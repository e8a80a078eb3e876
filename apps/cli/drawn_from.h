/* drawn_from.h - all that a drawing depends on, as a text: what was measured or drawn from the same text need not be again. */
#ifndef KILN_CLI_DRAWN_FROM_H
#define KILN_CLI_DRAWN_FROM_H

#include "draw_options.h"

/* Kiln's version, every option of the command that says something about a picture, and size and time of every file that they
 * name. free() it; NULL: no memory. */
char *drawn_from_text(const command *, const draw_values *);
/* A number for the text, which tells texts apart in names of files. */
unsigned long long drawn_from_digest(const char *text);

#endif
