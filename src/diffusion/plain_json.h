/* plain_json.h - JSON as Python writes it, made JSON as the standard has it.
 *
 * Python's json module writes the bare words Infinity, -Infinity and NaN, which no strict reader takes, and
 * scheduler_config.json files contain them ("lambda_min_clipped": -Infinity). */
#ifndef KILN_DIFFUSION_PLAIN_JSON_H
#define KILN_DIFFUSION_PLAIN_JSON_H

#include <stddef.h>

/* A copy of `text` in which, outside strings, Infinity becomes 1e308 and NaN becomes null. The caller
 * frees it. NULL when memory is short. `out_size` may not be NULL. */
char *plain_json(const char *text, size_t size, size_t *out_size);

#endif
