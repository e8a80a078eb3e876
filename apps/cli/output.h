/* output.h - where results go. A file that exists is replaced, in one step, once the new one is whole. */
#ifndef KILN_CLI_OUTPUT_H
#define KILN_CLI_OUTPUT_H

#include <kiln/kiln.h>

/* The name of picture k (from 0) of a batch: "out.png", "out-2.png", "out-3.png". free() it; NULL: no memory. */
char *output_name(const char *path, int k);

/* Complain and give an exit status when pictures 0..count-1 could not be written there; 0 when they could. */
int output_check_pictures(const char *path, int count);
/* Same for a file of another kind whose name must end in `extension` (".safetensors"). */
int output_check_file(const char *path, const char *extension);

#endif
