/* data_file.h - what comes with Kiln: CLIP's vocabulary, the bundled models. Internal. */
#ifndef KILN_PIPELINE_DATA_FILE_H
#define KILN_PIPELINE_DATA_FILE_H

#include <stdbool.h>
#include <stddef.h>

/* The path of `name` ("clip/...", "models/...") in the data directory `given`, or with NULL where Kiln was installed or in
 * the sources that it was built from. False, and the path where it was looked for last, when it is in none of them. */
bool data_file_find(const char *given, const char *name, char *path, size_t size);

#endif
