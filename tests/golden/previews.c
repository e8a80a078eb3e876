/* previews.c - real TAESD and VAE-approx files against what torch made of them. See models.h. */
#include "golden/models.h"

#include "model/taesd.h"
#include "model/vae_approx.h"

#include <stdlib.h>
#include <string.h>

static const shape *find_entry(void *self, const char *name)
{
    const tensor_entry *e = tensor_file_find(self, name);
    return e ? &e->shape : NULL;
}

typedef struct preview {
    const char *weights, *reference; /* files within the folder */
    enum { ENCODER, DECODER, APPROXIMATION } kind;
    const char *input, *output; /* tensors of the reference */
} preview;

static graph *draw(const preview *v, tensor_file *file, shape s, kiln_error *err)
{
    tensor_finder finder = {find_entry, file};
    int batch = (int)s.dim[0], height = (int)s.dim[2], width = (int)s.dim[3];
    graph *g = graph_new();
    if (!g)
        return NULL;
    taesd_config t;
    vae_approx_config a;
    if (v->kind == APPROXIMATION) {
        if (!vae_approx_config_from_tensors(&finder, &a, err)) {
            vae_approx_draw(g, &a, batch, height, width);
            return g;
        }
    } else if (!taesd_config_from_tensors(&finder, v->kind == DECODER, &t, NULL, err)) {
        taesd_draw(g, &t, batch, height, width);
        return g;
    }
    graph_free(g);
    return NULL;
}

static void check(const char *folder, const preview *v, const pass_options *options, golden_report *report)
{
    char path[4096];
    kiln_error err = {.text = "out of memory"};
    tensor_file *file = NULL, *golden = NULL;
    snprintf(path, sizeof path, "%s/%s", folder, v->weights);
    if (!tensor_file_open(path, &file, &err))
        golden = golden_tensors(report, folder, v->reference);
    const tensor_entry *input = golden ? tensor_file_find(golden, v->input) : NULL;
    if (!input || input->shape.rank != 4) {
        golden_skip(report, "previews", v->weights, file ? "its reference is not here" : err.text);
    } else {
        graph *g = draw(v, file, input->shape, &err);
        if (!g) {
            golden_failure(report, "previews", v->weights, err.text);
        } else {
            pass p;
            weights_place place = {file, "", DIALECT_ORIGINAL};
            pass_open(&p, g, &place, options, report, "previews", v->weights);
            const char *input_name = v->kind == ENCODER ? "image" : "latents";
            pass_input(&p, input_name, golden, v->input);
            pass_run(&p);
            pass_compare(&p, v->kind == ENCODER ? "latents" : "image", golden, v->output);
            pass_close(&p);
        }
    }
    tensor_file_close(golden);
    tensor_file_close(file);
}

int golden_previews(const char *folder, const pass_options *options, golden_report *report)
{
    static const preview previews[] = {
        {"taesd/taef2_encoder.pth", "refs/astronaut_taef2.safetensors", ENCODER, "input", "latent"},
        {"taesd/taef2_decoder.pth", "refs/astronaut_taef2.safetensors", DECODER, "latent", "output"},
        {"taesd/taesana_encoder.pth", "refs/astronaut_taesana_latent.safetensors", ENCODER, "input",
         "latent"},
        {"vae_approx/vaeapprox_sd_model.pt", "refs/astronaut_vaeapprox.safetensors", APPROXIMATION,
         "sd_latent_scaled", "vaeapprox_out"},
        {"vae_approx/vaeapprox-sdxl.pt", "refs/astronaut_vaeapprox.safetensors", APPROXIMATION,
         "sd_latent_scaled", "vaeapprox_sdxl_out_same_latent"},
    };
    for (size_t i = 0; i < sizeof previews / sizeof *previews; i++)
        check(folder, &previews[i], options, report);
    return 0;
}
