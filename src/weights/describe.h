/* describe.h - one phrase for what a file is, for the sentence that refuses it. */
#ifndef KILN_WEIGHTS_DESCRIBE_H
#define KILN_WEIGHTS_DESCRIBE_H

#include "formats/tensor_file.h"

/* "a LoRA (Stable Diffusion 1.x)", "an upscaler", or "" for what is nothing known. */
enum { DESCRIPTION_BYTES = 192 };
void describe_file(const tensor_file *, char text[DESCRIPTION_BYTES]);

#endif
