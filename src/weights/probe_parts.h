/* probe_parts.h - what the files of probe_*.c share; private to weights/. */
#ifndef KILN_WEIGHTS_PROBE_PARTS_H
#define KILN_WEIGHTS_PROBE_PARTS_H

#include "base/arena.h"
#include "weights/probe.h"

enum { PROBE_MAX_FILES = 16 };

struct probe_memory {
    arena arena;
    tensor_file *files[PROBE_MAX_FILES];
    int file_count;
};

typedef struct model_hints {
    unet_hints unet;
    int text_heads, text_2_heads, vae_groups;
    float vae_scaling;
    int vision_heads;
    const char *activation, *vision_activation, *prediction; /* NULL: not told */
} model_hints;

/* Read the hints file (path NULL: none) for the model at `model_path`. */
kiln_status hints_read(const char *path, const char *model_path, arena *memory, model_hints *out,
                       kiln_error *err);

/* Open a weights file that is closed with the parts. */
kiln_status probe_file_open(model_parts *, const char *path, const tensor_file **out, kiln_error *err);
/* Mark a part as there, or as missing for a printf-style reason. */
void part_found(model_parts *, part_kind, const tensor_file *, const char *prefix, dialect);
kiln_status part_missing(model_parts *, part_kind, kiln_error *err, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* The tensors below a prefix, for the model floor's *_from_tensors. */
typedef struct prefix_finder {
    const tensor_file *file;
    const char *prefix;
} prefix_finder;
tensor_finder finder_of(prefix_finder *);
bool has_tensor(const tensor_file *, const char *prefix, const char *name);

kiln_status probe_folder(model_parts *, const probe_options *, kiln_error *err);
kiln_status probe_single_file(model_parts *, const model_hints *, kiln_error *err);
/* A folder with config.json and weights is one part; `file` NULL: the weights are looked for. */
kiln_status probe_component(model_parts *, const char *folder, const char *file, const char *variant,
                            kiln_error *err);
/* Parse a part's config.json into the parts. */
kiln_status part_parse_config(model_parts *, part_kind, const char *text, size_t length, const char *name,
                              kiln_error *err);
/* Take the VAE from a file or folder of its own, in either dialect. scaling 0: as the file's kind has it. */
kiln_status probe_vae(model_parts *, const char *path, const char *variant, float scaling, int groups,
                      kiln_error *err);

/* Family, its text, prediction and scheduler out of what was found. `prediction` NULL: not told by the files. */
kiln_status probe_conclude(model_parts *, const char *prediction, bool zero_snr, kiln_error *err);

#endif
