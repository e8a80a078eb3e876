/* upscale_file.h - an upscaler's file: which network it is, and where its parameters come from. */
#ifndef KILN_WEIGHTS_UPSCALE_FILE_H
#define KILN_WEIGHTS_UPSCALE_FILE_H

#include "model/upscale.h"
#include "weights/binding.h"

typedef struct upscale_file upscale_file;

/* Open any weights file, or the one in a folder or its inner folder "upscaler" (as training writes it); names may stand below a wrapper or a prefix ("params_ema.", "module.", "netG.", ...), the
 * averaged weights first. Every tensor of the network is looked up and its shape compared. KILN_UNSUPPORTED, saying what
 * the file is, when it is no upscaler that is known here. */
kiln_status upscale_file_open(const char *path, upscale_file **out, kiln_error *err) KILN_CHECKED;
void upscale_file_close(upscale_file *);

const upscale_config *upscale_file_config(const upscale_file *);
/* The parameters of the graph drawn by upscale_draw with `folded` as upscale_has_folded() says. Reading may be done from
 * several threads. */
parameter_source upscale_file_source(const upscale_file *);
/* The parameters as the file has them: of the graph drawn without folding. */
const weights *upscale_file_weights(const upscale_file *);

#endif
