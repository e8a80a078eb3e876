/* help.h - help pages, made from the same tables as the parser. */
#ifndef KILN_CLI_HELP_H
#define KILN_CLI_HELP_H

#include "options.h"

/* The page of one subcommand, on standard output. */
void help_command(const command *);
/* The first page: what kiln is, and its subcommands (ends with NULL). */
void help_all(const command *const *commands);

#endif
