/* upscale_parts.h - what the pages of the upscalers share. Internal to model/upscale_*.c. */
#ifndef KILN_MODEL_UPSCALE_PARTS_H
#define KILN_MODEL_UPSCALE_PARTS_H

#include "model/upscale.h"
#include "nn/nn.h"

/* Each tells one kind: KILN_NOT_FOUND where the tensors are no such network. Scale, channels and the rest are filled. */
kiln_status esrgan_config_from_tensors(const tensor_finder *, upscale_config *, kiln_error *);
kiln_status compact_config_from_tensors(const tensor_finder *, upscale_config *, kiln_error *);
kiln_status span_config_from_tensors(const tensor_finder *, upscale_config *, kiln_error *);
kiln_status plksr_config_from_tensors(const tensor_finder *, upscale_config *, kiln_error *);
kiln_status swinir_config_from_tensors(const tensor_finder *, upscale_config *, kiln_error *);
kiln_status dat_config_from_tensors(const tensor_finder *, upscale_config *, kiln_error *);

value esrgan_apply(at, const upscale_config *, value);
value compact_apply(at, const upscale_config *, value);
value span_apply(at, const upscale_config *, bool folded, value);
value plksr_apply(at, const upscale_config *, value);
value swinir_apply(at, const upscale_config *, value);
value dat_apply(at, const upscale_config *, value);

/* This kind it is not. */
kiln_status upscale_not_this(kiln_error *err);
/* The whole number whose square is `square`, or 0. */
int upscale_root(int square);
/* How many of "PREFIX0SUFFIX", "PREFIX1SUFFIX", ... there are, 0..limit. */
int upscale_count(const tensor_finder *, const char *prefix, const char *suffix, int limit);

value upscale_leaky(at, value, float slope);
/* (x - mean of DIV2K) * range, and back; a picture of one channel has no mean. */
value upscale_centre(at, value picture, float range);
value upscale_uncentre(at, value, float range);

/* The tensors of a transformer's end, and drawing it: "conv_before_upsample", "upsample", "conv_last", ... */
kiln_status transformer_tail_from_tensors(const tensor_finder *, upscale_config *, kiln_error *);
/* x: the deep features with the shallow ones added; picture: the centred input. */
value transformer_tail(at, const upscale_config *, value x, value picture);
/* 3x3, or the three of 3x3, 1x1, 3x3 with a quarter of the features. */
value transformer_convolution(at, const upscale_config *, value x);

#endif
