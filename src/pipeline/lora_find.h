/* lora_find.h - which file a prompt means by the name of an extra network. Internal.
 *
 * In a folder and the folders below it: the file whose name without its extension is the given one; where there is none, one
 * whose metadata say that it was written under that name (ss_output_name). "style/ink" names ink in the folder style. */
#ifndef KILN_PIPELINE_LORA_FIND_H
#define KILN_PIPELINE_LORA_FIND_H

#include "base/error.h"

#include <stddef.h>

/* Look in `folder`, or, when it is NULL, where LoRAs lie beside a model: in Lora, loras or lora next to it or to its folder.
 * KILN_NOT_FOUND says where was looked; KILN_BAD_ARGUMENT for a name that would leave the folder. */
kiln_status lora_find(const char *folder, const char *model, const char *name, char *path, size_t size,
                      kiln_error *err);
/* The same for hypernetworks, in the folders hypernetworks or hypernetwork; by their files' names alone. */
kiln_status hypernetwork_find(const char *folder, const char *model, const char *name, char *path,
                              size_t size, kiln_error *err);

#endif
