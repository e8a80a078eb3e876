/* clip_options.h - opening a CLIP model and encoding with it, shared by the subcommands that do. */
#ifndef KILN_CLI_CLIP_OPTIONS_H
#define KILN_CLI_CLIP_OPTIONS_H

#include "model_options.h"

#include <kiln/vision.h>

/* The path of --model, KILN_CLIP or KILN_MODEL; NULL after complaining. */
const char *clip_path(const model_choice *);
/* Open it, or complain and return an exit status. A NULL path is wrong use, complained of before. */
int clip_open(const model_choice *, const char *path, kiln_clip **out);
/* A picture's file, or else a text, to a map; complains likewise. */
int clip_encode(kiln_clip *, const char *argument, bool picture, kiln_map **out);

#endif
