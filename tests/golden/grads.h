/* grads.h - gradients of whole models against reference folders. */
#ifndef KILN_TESTS_GOLDEN_GRADS_H
#define KILN_TESTS_GOLDEN_GRADS_H

#include "golden/pass.h"

/* Folders made like golden/grads, whose gradients are of the model folder `model` (with unet/, vae/, text_encoder/):
 * losses, gradients by parameters and by inputs of UNet, text encoder, both together (one row of the token table), and
 * autoencoder, and by what is taught beside the weights (taught.h). Optimisers belong to training and are not run here. 0, or 1 when the folder could not be
 * read. */
int golden_gradients(const char *folder, const char *model, const pass_options *options,
                     golden_report *report);

#endif
