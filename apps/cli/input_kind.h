/* input_kind.h - what a plain argument is: a text, a picture or a file of tensors. */
#ifndef KILN_CLI_INPUT_KIND_H
#define KILN_CLI_INPUT_KIND_H

typedef enum input_kind { INPUT_TEXT, INPUT_PICTURE, INPUT_LATENTS, INPUT_MISSING } input_kind;

/* A name that ends like a file is meant as one: taking a mistyped name for a text would be a silent mistake. */
input_kind input_kind_of(const char *argument);

#endif
