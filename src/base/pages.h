/* pages.h - large blocks of memory for activations and packed weights: zeroed, aligned to a page, in huge pages where
 * the system offers them (they halve the time of a pass over a large activation). */
#ifndef KILN_BASE_PAGES_H
#define KILN_BASE_PAGES_H

#include <stddef.h>

/* NULL when memory is short. bytes 0 gives a valid block. Nothing is resident until it is written. */
void *pages_new(size_t bytes);
/* `bytes` as asked. NULL is ignored. */
void pages_free(void *block, size_t bytes);

#endif
