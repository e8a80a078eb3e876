/* lora_metadata.h - what a LoRA file says of itself: kohya's ss_ keys and Stability's modelspec. Internal. */
#ifndef KILN_PIPELINE_LORA_METADATA_H
#define KILN_PIPELINE_LORA_METADATA_H

#include "formats/safetensors.h"
#include "weights/probe.h"

typedef struct lora_description {
    const model_parts *parts; /* the model that it is for */
    const char *to;           /* where it is written: its name and title */
    const char *module;       /* "networks.lora", "lycoris.kohya" */
    int rank, window_rank;    /* window_rank 0: convolutions are left out */
    double alpha;
    const char *arguments; /* ss_network_args, JSON; NULL: {} or the rank of convolutions */
} lora_description;

/* Before the first tensor is written. */
kiln_status lora_metadata_write(safetensors_writer *, const lora_description *, kiln_error *err);
/* "sd_v1", "sd_v2_v", "sdxl_base_v1-0": kohya's word for a model's family; "" where it has none. */
const char *lora_base_version(const model_parts *);

#endif
