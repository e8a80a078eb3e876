/* taught.h - what is taught beside the weights, against reference folders. */
#ifndef KILN_TESTS_GOLDEN_TAUGHT_H
#define KILN_TESTS_GOLDEN_TAUGHT_H

#include "golden/pass.h"

/* LoRA and hypernetwork of a folder made like golden/grads (lora_kohya.safetensors, hypernetwork_a1111.pt) on the UNet of the
 * model folder: the answers, at two strengths of the hypernetwork, the loss, and the gradients by all that is taught. `info`
 * is the folder's info.json. */
void golden_taught(const char *folder, const char *model, const json_t *info, const pass_options *options,
                   golden_report *report);

#endif
