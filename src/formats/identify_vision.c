/* identify_vision.c - vision encoders and IP-Adapters; see identify.h. */
#include "formats/identify_parts.h"

static bool identify_image_adapter(const tensor_file *file, identity *out)
{
    if (!identify_like(file, "ip_adapter.", "to_k_ip.weight"))
        return false;
    bool plain = identify_rank(file, "image_proj.proj.weight") == 2,
         plus = identify_rank(file, "image_proj.latents") == 3,
         full = identify_rank(file, "image_proj.proj.3.weight") == 1;
    out->kind = WEIGHTS_IP_ADAPTER;
    out->supported = plain || plus || full;
    SAY(dialect, "original");
    identify_by_context(out, identify_dim(file, "ip_adapter.1.to_k_ip.weight", 1));
    if (plain)
        SAY(detail, "image embeddings of %d", identify_dim(file, "image_proj.proj.weight", 1));
    else if (plus)
        SAY(detail, "plus, %d tokens, hidden states of %d", identify_dim(file, "image_proj.latents", 1),
            identify_dim(file, "image_proj.proj_in.weight", 1));
    else
        SAY(detail, "%s", full ? "full face" : "FaceID, which takes what a face recogniser says");
    return true;
}

static bool identify_vision_encoder(const tensor_file *file, identity *out)
{
    static const char *const names[] = {"vision_model.embeddings.class_embedding", "visual.class_embedding",
                                        "class_embedding"};
    static const char *const patches[] = {"vision_model.embeddings.patch_embedding.weight",
                                          "visual.conv1.weight", "conv1.weight"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        int width = identify_dim(file, names[i], 0);
        if (!width || identify_rank(file, patches[i]) != 4)
            continue;
        out->kind = WEIGHTS_VISION_ENCODER;
        out->supported = true;
        out->width = width;
        out->diffusers_names = i == 0;
        SAY(dialect, "%s", i == 0 ? "transformers" : "OpenCLIP");
        SAY(family_text, "%s",
            width == 768    ? "CLIP ViT-B"
            : width == 1024 ? "CLIP ViT-L"
            : width == 1280 ? "OpenCLIP ViT-H"
            : width == 1664 ? "OpenCLIP ViT-bigG"
                            : "CLIP");
        SAY(detail, "width %d, patches of %d px", width, identify_dim(file, patches[i], 2));
        return true;
    }
    return false;
}

bool identify_vision(const tensor_file *file, identity *out)
{
    return identify_image_adapter(file, out) || identify_vision_encoder(file, out);
}
