/* config_text.h - a configuration as the config.json that diffusers or transformers load. The inverse of the model
 * floor's *_config_parse. */
#ifndef KILN_WEIGHTS_CONFIG_TEXT_H
#define KILN_WEIGHTS_CONFIG_TEXT_H

#include "weights/probe.h"

/* The text of a present part's config.json: the one that it was opened with, or one written from its configuration.
 * NULL when memory is short. Given back with free(). */
char *part_config_text(const model_parts *, part_kind);

/* The text of model_index.json for the parts that are present; `note` (or NULL) is kept under "_note". */
char *model_index_text(const model_parts *, const char *note);

/* tokenizer_config.json and special_tokens_map.json of CLIP's tokenizer; `pad` is "<|endoftext|>" or "!". */
char *tokenizer_config_text(const char *pad);
char *special_tokens_text(const char *pad);

#endif
