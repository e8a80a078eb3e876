/* free_memory.h - how much memory the machine can still give to this process, and how much it has. */
#ifndef KILN_BASE_FREE_MEMORY_H
#define KILN_BASE_FREE_MEMORY_H

#include <stdint.h>

/* Bytes: MemAvailable, or what is left under the limits of the control groups that the process is in (v1 and v2, and all
 * groups above), whichever is least. A group's page cache counts as free, as it does in MemAvailable. 0: unknown.
 * `root` is put before /proc and /sys: "" but in tests. */
int64_t free_memory(const char *root);
/* The pages that this process has now, in bytes. 0: unknown. */
int64_t resident_memory(void);

#endif
