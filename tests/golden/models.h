/* models.h - single passes of the models against reference folders. */
#ifndef KILN_TESTS_GOLDEN_MODELS_H
#define KILN_TESTS_GOLDEN_MODELS_H

#include "golden/pass.h"

/* Folders made like golden/models: for each model, text encoders, UNet and VAE, single passes with the
 * activations between them. */
int golden_models(const char *folder, const pass_options *options, golden_report *report);
/* Folders made like golden/single_file: checkpoints, hints.json and NAME.golden.safetensors beside them. */
int golden_single_files(const char *folder, const pass_options *options, golden_report *report);
/* Real preview autoencoders beside their references: a folder with taesd/, vae_approx/ and refs/. */
int golden_previews(const char *folder, const pass_options *options, golden_report *report);

#endif
