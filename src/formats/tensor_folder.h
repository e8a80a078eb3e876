/* tensor_folder.h - the weights file inside a component folder of a diffusers model ("unet", "vae", ...). */
#ifndef KILN_FORMATS_TENSOR_FOLDER_H
#define KILN_FORMATS_TENSOR_FOLDER_H

#include "base/error.h"

/* Write the path of the folder's weights to path[size]. Looked for in this order: safetensors before pickles; a
 * single file before a sharded index; the named variant ("fp16") before the plain file, and when `variant` is
 * NULL the plain file before fp16 and other variants. KILN_NOT_FOUND when there is none. */
kiln_status tensor_folder_find(const char *folder, const char *variant, char *path, size_t size,
                               kiln_error *err) KILN_CHECKED;

#endif
