/* cache.c - see cache.h. */
#include "cache.h"

#include <stdio.h>
#include <stdlib.h>

const char *cache_hashes(char *path, size_t size)
{
    const char *own = getenv("KILN_CACHE"), *shared = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int length = 0;
    if (own && own[0])
        length = snprintf(path, size, "%s/hashes", own);
    else if (own)
        return NULL;
    else if (shared && shared[0] == '/') /* the XDG rules: a relative one does not count */
        length = snprintf(path, size, "%s/kiln/hashes", shared);
    else if (home && home[0])
        length = snprintf(path, size, "%s/.cache/kiln/hashes", home);
    return length > 0 && (size_t)length < size ? path : NULL;
}
