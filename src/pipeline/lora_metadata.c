/* lora_metadata.c - see lora_metadata.h. Keys and words are those of kohya's sd-scripts and of Stability's ModelSpec 1.0.1. */
#include "pipeline/lora_metadata.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool predicts_v(const model_parts *p)
{
    return strcmp(p->prediction, "v_prediction") == 0;
}

const char *lora_base_version(const model_parts *p)
{
    switch (p->family) {
    case FAMILY_SD1:
        return "sd_v1";
    case FAMILY_SD2:
        return predicts_v(p) ? "sd_v2_v" : "sd_v2";
    case FAMILY_SDXL:
        return "sdxl_base_v1-0";
    case FAMILY_SDXL_REFINER:
    case FAMILY_X4_UPSCALER:
    case FAMILY_OTHER:
        break;
    }
    return "";
}

static const char *architecture(const model_parts *p)
{
    switch (p->family) {
    case FAMILY_SD1:
        return "stable-diffusion-v1/lora";
    case FAMILY_SD2:
        return predicts_v(p) ? "stable-diffusion-v2-768-v/lora" : "stable-diffusion-v2-512/lora";
    case FAMILY_SDXL:
        return "stable-diffusion-xl-v1-base/lora";
    case FAMILY_SDXL_REFINER:
    case FAMILY_X4_UPSCALER:
    case FAMILY_OTHER:
        break;
    }
    return "latent-diffusion/lora";
}

static const char *resolution(const model_parts *p)
{
    return p->family == FAMILY_SDXL                   ? "1024x1024"
           : p->family == FAMILY_SD2 && predicts_v(p) ? "768x768"
                                                      : "512x512";
}

static char *title_of(const char *path)
{
    const char *slash = strrchr(path, '/'), *file = slash ? slash + 1 : path, *dot = strrchr(file, '.');
    return strndup(file, dot && dot != file ? (size_t)(dot - file) : strlen(file));
}

kiln_status lora_metadata_write(safetensors_writer *w, const lora_description *d, kiln_error *err)
{
    char rank[24], alpha[32], arguments[64] = "{}";
    char *title = title_of(d->to);
    snprintf(rank, sizeof rank, "%d", d->rank);
    snprintf(alpha, sizeof alpha, "%g", d->alpha);
    if (d->window_rank)
        snprintf(arguments, sizeof arguments, "{\"conv_dim\": \"%d\", \"conv_alpha\": \"%d\"}",
                 d->window_rank, d->window_rank);
    const char *const entries[][2] = {
        {"ss_output_name", title},
        {"ss_network_module", d->module},
        {"ss_network_dim", rank},
        {"ss_network_alpha", alpha},
        {"ss_network_args", d->arguments ? d->arguments : arguments},
        {"ss_base_model_version", lora_base_version(d->parts)},
        {"ss_v2", d->parts->family == FAMILY_SD2 ? "True" : "False"},
        {"modelspec.sai_model_spec", "1.0.1"},
        {"modelspec.architecture", architecture(d->parts)},
        {"modelspec.implementation", "https://github.com/Stability-AI/generative-models"},
        {"modelspec.title", title},
        {"modelspec.resolution", resolution(d->parts)},
        {"modelspec.prediction_type", predicts_v(d->parts) ? "v" : "epsilon"},
    };
    kiln_status status = title ? KILN_OK : fail(err, KILN_NO_MEMORY, "out of memory for a LoRA");
    for (size_t i = 0; status == KILN_OK && i < sizeof entries / sizeof *entries; i++)
        if (entries[i][1][0])
            status = safetensors_writer_metadata(w, entries[i][0], entries[i][1], err);
    free(title);
    return status;
}
