/* identify_parts.h - shared by the recognisers; private to formats/. Each returns whether it knew the file. */
#ifndef KILN_FORMATS_IDENTIFY_PARTS_H
#define KILN_FORMATS_IDENTIFY_PARTS_H

#include "formats/identify.h"

#include <stdio.h>
#include <string.h>

#define SAY(field, ...) snprintf(out->field, sizeof out->field, __VA_ARGS__)

bool identify_adapter(const tensor_file *file, identity *out); /* LoRA, textual inversion, hypernetwork */
bool identify_small(const tensor_file *file, identity *out);   /* TAESD, VAE-approx, upscalers */
bool identify_vision(const tensor_file *file, identity *out);  /* vision encoders, IP-Adapters */
bool identify_other(const tensor_file *file, identity *out);   /* families that are only recognised */

/* Dimension `axis` of the tensor, or 0 when there is no such tensor or axis. */
int identify_dim(const tensor_file *file, const char *name, int axis);
int identify_rank(const tensor_file *file, const char *name); /* -1 when there is no such tensor */
/* The first tensor whose name begins and ends so. */
const tensor_entry *identify_like(const tensor_file *file, const char *begin, const char *end);
/* Name the family after the width of the text that its cross-attention reads. */
void identify_by_context(identity *out, int width);

static inline bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static inline bool ends(const char *text, const char *with)
{
    size_t length = strlen(text), wanted = strlen(with);
    return length >= wanted && strcmp(text + length - wanted, with) == 0;
}

#endif
