/* beside.h - where the things that a prompt names lie: in a folder, or in one beside the model. Internal. */
#ifndef KILN_PIPELINE_BESIDE_H
#define KILN_PIPELINE_BESIDE_H

#include <stdbool.h>

enum { BESIDE_UP = 2, BESIDE_PATH = 4096 };

/* The folder that a model's file or folder lies in, `up` steps above it: 1 .. BESIDE_UP. */
void folder_above(const char *model, int up, char out[BESIDE_PATH]);
/* Whether a name with slashes would lead out of its folder. */
bool name_leaves_folder(const char *name);

#endif
