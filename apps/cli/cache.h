/* cache.h - where the command remembers what is costly to compute again. */
#ifndef KILN_CLI_CACHE_H
#define KILN_CLI_CACHE_H

#include <stddef.h>

/* The file of known hashes: $KILN_CACHE/hashes, else $XDG_CACHE_HOME/kiln/hashes, else ~/.cache/kiln/hashes. NULL, and
 * nothing is remembered, when KILN_CACHE is empty, or there is no home. Else `path`. */
const char *cache_hashes(char *path, size_t size);

#endif
