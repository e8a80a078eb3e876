/* hypernetwork_file.h - hypernetworks as files.
 *
 *   A1111's .pt       {768: (dict for keys, dict for values), ..., "layer_structure": [1, 2, 1], "activation_func": ...}
 *   safetensors       tensors "768.0.linear.0.weight" with the same words as metadata: the form that Kiln writes
 *   NovelAI, old      the same dicts with linear1 and linear2, and nothing else
 *
 * What an old file does not say is as it was when such files were written: [1, 2, 1], linear, activate_output. */
#ifndef KILN_WEIGHTS_HYPERNETWORK_FILE_H
#define KILN_WEIGHTS_HYPERNETWORK_FILE_H

#include "formats/tensor_file.h"
#include "model/hypernetwork.h"

/* The words of A1111's dict beside the networks. */
typedef struct hypernetwork_words {
    const char *name, *weight_initialization, *sd_checkpoint, *sd_checkpoint_name,
        *optional_info; /* NULL: None */
    int64_t step;
    bool last_layer_dropout;
} hypernetwork_words;

typedef struct hypernetwork_file {
    tensor_file *file;
    hypernetwork_config config;
    hypernetwork_words words;
    float *values; /* the parameters in the order of hypernetwork_parameter_at */
    int64_t count; /* all elements */
} hypernetwork_file;

/* KILN_BAD_FORMAT for a file that is none, lacks a tensor, has one of another shape or holds NaN. */
kiln_status hypernetwork_file_open(const char *path, hypernetwork_file **out, kiln_error *err) KILN_CHECKED;
void hypernetwork_file_close(hypernetwork_file *);
/* The values of the parameter of that name ("768.0.linear.0.weight"), *count of them; NULL when there is none. */
const float *hypernetwork_file_find(const hypernetwork_file *, const char *name, int64_t *count);

/* A file to be written: `values` in the order of hypernetwork_parameter_at; metadata {key, text}, in a .pt as further keys
 * of its dict, which other readers pass over. */
typedef struct hypernetwork_content {
    const hypernetwork_config *config;
    const hypernetwork_words *words;
    const float *values;
    const char *const (*metadata)[2];
    int metadata_count;
} hypernetwork_content;

/* The file appears when it is whole. A path that ends in .pt gets A1111's form, every other safetensors. */
kiln_status hypernetwork_file_write(const char *path, const hypernetwork_content *,
                                    kiln_error *err) KILN_CHECKED;

#endif
