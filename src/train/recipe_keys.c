/* recipe_keys.c - every key of a recipe: name, type, range, default, help. Names are those that users of kohya's scripts,
 * of diffusers' examples and of OneTrainer know; where they differ, the aliases below lead to the one used here. */
#include "train/recipe.h"

#include <string.h>

#define AT(field) offsetof(recipe, field)
#define TEXT(key, field, standard, heading, help)                                                            \
    {                                                                                                        \
        key, RECIPE_TEXT, AT(field), 0, 0, standard, NULL, heading, help                                     \
    }
#define CHOICE(key, field, standard, words, heading, help)                                                   \
    {                                                                                                        \
        key, RECIPE_CHOICE, AT(field), 0, 0, standard, words, heading, help                                  \
    }
#define BOOL(key, field, standard, heading, help)                                                            \
    {                                                                                                        \
        key, RECIPE_BOOL, AT(field), 0, 0, standard, NULL, heading, help                                     \
    }
#define INTEGER(key, field, low, high, standard, heading, help)                                              \
    {                                                                                                        \
        key, RECIPE_INTEGER, AT(field), low, high, standard, NULL, heading, help                             \
    }
#define STEPS(key, field, standard, heading, help)                                                           \
    {                                                                                                        \
        key, RECIPE_STEPS, AT(field), 0, 1e12, standard, NULL, heading, help                                 \
    }
#define NUMBER(key, field, low, high, standard, heading, help)                                               \
    {                                                                                                        \
        key, RECIPE_NUMBER, AT(field), low, high, standard, NULL, heading, help                              \
    }
#define SEED(key, field, standard, heading, help)                                                            \
    {                                                                                                        \
        key, RECIPE_SEED, AT(field), 0, 0, standard, NULL, heading, help                                     \
    }
#define LIST(key, field, low, high, standard, heading, help)                                                 \
    {                                                                                                        \
        key, RECIPE_NUMBERS, AT(field), low, high, standard, NULL, heading, help                             \
    }

static const recipe_key keys[] = {
    CHOICE("method", method, "text_to_image",
           "text_to_image|vae|pixel|upscaler|dreambooth|hypernetwork|textual_inversion|lora", "general",
           "what is trained: the denoiser of a latent model, the VAE, a denoiser of pixels, or an upscaler; "
           "dreambooth: text_to_image that needs instance_prompt"),
    TEXT("base", base, "", "general",
         "the model to start from: a folder or a checkpoint; none: from nothing"),
    TEXT("output_dir", output_dir, "training", "general", "the folder of this run"),
    SEED("seed", seed, "0", "general", "of weights made from nothing, noise, order and augmentations"),
    CHOICE(
        "mixed_precision", mixed_precision, "auto", "auto|no|bf16", "general",
        "arithmetic: bf16 products with f32 sums and f32 weights; auto takes it where the processor has it"),
    INTEGER("threads", threads, 0, 1024, "0", "general", "processor threads; 0: one per core"),

    TEXT("train_data_dir", train_data_dir, "", "data", "folder of pictures with captions"),
    TEXT("validation_data_dir", validation_data_dir, "", "data",
         "folder of pictures for the validation loss, instead of validation_split"),
    LIST("resolution", resolution, 8, 8192, "512", "data",
         "size of pictures in px: one side, or width, height"),
    TEXT("caption_extension", caption_extension, "", "data",
         "of the caption files beside the pictures; none: .txt, then .caption"),
    TEXT("reg_data_dir", reg_data_dir, "", "data",
         "folder of pictures of the class, shown in turn; with_prior_preservation: one beside each picture"),
    TEXT("caption_prefix", caption_prefix, "", "data", "put before every caption"),
    TEXT("caption_suffix", caption_suffix, "", "data", "put after every caption"),
    BOOL("shuffle_caption", shuffle_caption, "false", "data",
         "put tags (parts between commas) into a new order each time"),
    INTEGER("keep_tokens", keep_tokens, 0, 1000, "0", "data",
            "tags at the start that are not shuffled or dropped"),
    TEXT("keep_tokens_separator", keep_tokens_separator, "", "data",
         "instead: what stands before this mark is kept"),
    NUMBER("caption_dropout_rate", caption_dropout_rate, 0, 1, "0", "data",
           "how often the caption is left out, so that guidance works; 0.1 is usual"),
    NUMBER("caption_tag_dropout_rate", caption_tag_dropout_rate, 0, 1, "0", "data",
           "how often each tag is left out"),
    BOOL("conditional", conditional, "true", "data", "method pixel: whether captions are used"),
    BOOL("flip_aug", flip_aug, "false", "data", "mirror pictures half of the time"),
    BOOL("random_crop", random_crop, "false", "data", "crop anywhere instead of the middle"),
    BOOL("crop_unscaled", crop_unscaled, "false", "data",
         "crop pictures without scaling them first, as upscalers want it; only smaller ones are enlarged"),
    INTEGER("dataset_repeats", dataset_repeats, 1, 1000000, "1", "data",
            "how often each picture counts in an epoch"),
    BOOL("enable_bucket", enable_bucket, "false", "data",
         "keep the shapes of pictures: buckets of alike aspect"),
    INTEGER("min_bucket_reso", min_bucket_reso, 8, 8192, "256", "data", "smallest side of a bucket"),
    INTEGER("max_bucket_reso", max_bucket_reso, 8, 8192, "1024", "data", "largest side of a bucket"),
    INTEGER("bucket_reso_steps", bucket_reso_steps, 8, 1024, "64", "data", "sides are multiples of this"),
    BOOL("bucket_no_upscale", bucket_no_upscale, "false", "data", "never enlarge a picture"),
    BOOL("cache_latents", cache_latents, "true", "data",
         "encode each picture once and keep its latents on disk"),
    BOOL("cache_text_encoder_outputs", cache_text_encoder_outputs, "false", "data",
         "encode each caption once; only while the text encoder is not trained"),
    TEXT("cache_dir", cache_dir, "", "data",
         "where; none: cache/ in the run's folder. Safe to share and to delete"),
    NUMBER("validation_split", validation_split, 0, 0.9, "0", "data",
           "share of the pictures kept for the validation loss"),
    INTEGER("max_data_loader_n_workers", workers, 0, 64, "1", "data",
            "threads that read pictures ahead; 0: none"),

    TEXT(
        "instance_prompt", instance_prompt, "", "dreambooth",
        "caption of the pictures that have none of their own: a rare word and the class, a photo of sks dog"),
    BOOL("with_prior_preservation", with_prior_preservation, "false", "dreambooth",
         "each picture goes with one of its class, so that the class stays as it was"),
    TEXT("class_prompt", class_prompt, "", "dreambooth",
         "what class pictures are drawn by, and their caption: a photo of a dog"),
    TEXT("class_data_dir", class_data_dir, "", "dreambooth",
         "folder of class pictures; none: reg_data_dir, or class/ in the run's folder"),
    INTEGER("num_class_images", num_class_images, 0, 100000, "100", "dreambooth",
            "at least so many class pictures: the base draws what is missing"),
    NUMBER("prior_loss_weight", prior_loss_weight, 0, 1000, "1", "dreambooth",
           "weight of the loss of class pictures, those of reg_data_dir too"),
    SEED("class_seed", class_seed, "0", "dreambooth",
         "of the first class picture drawn; the others count on"),
    CHOICE("class_sampler", class_sampler, "DPM++ 2M", "Euler|Euler a|DDIM|DPM++ 2M|Heun|UniPC", "dreambooth",
           "that draws class pictures"),
    INTEGER("class_steps", class_steps, 1, 1000, "25", "dreambooth", "of drawing one"),
    NUMBER("class_cfg", class_cfg, 1, 100, "7.5", "dreambooth", "guidance of drawing one"),
    TEXT("class_validation_data_dir", class_validation_data_dir, "", "dreambooth",
         "folder of class pictures that are never trained on; none: class-validation/ in the run's folder"),
    INTEGER("num_class_validation_images", num_class_validation_images, 0, 10000, "16", "dreambooth",
            "at least so many of those: the base draws what is missing; 0: their loss is not measured"),
    STEPS("class_validate_every_n_steps", class_validate_every_n_steps, "100", "dreambooth",
          "measure their loss, which tells what became of the class; 0: at the beginning and end only"),

    INTEGER("train_batch_size", train_batch_size, 1, 65536, "1", "training", "pictures per pass"),
    INTEGER("gradient_accumulation_steps", gradient_accumulation_steps, 1, 65536, "1", "training",
            "passes per step"),
    STEPS("max_train_steps", max_train_steps, "1600", "training",
          "steps in all; 0: as max_train_epochs says"),
    INTEGER("max_train_epochs", max_train_epochs, 0, 10000000, "0", "training",
            "rounds through the pictures; 0: as max_train_steps says"),
    BOOL("train_unet", train_unet, "true", "training", "train the denoiser"),
    BOOL("train_text_encoder", train_text_encoder, "false", "training",
         "train the text encoder too (both of SDXL's); it always is when it starts from nothing"),
    TEXT("trainable", trainable, "", "training",
         "only parameters that one of these patterns (a*b, separated by commas) fits"),
    TEXT("frozen", frozen, "", "training", "never parameters that one of these patterns fits"),
    INTEGER("clip_skip", clip_skip, 1, 512, "1", "training",
            "which layer of the text encoder is looked at, from the last"),
    BOOL("gradient_checkpointing", gradient_checkpointing, "false", "training",
         "keep only what enters each block and compute the rest again: less memory, the same result"),
    NUMBER("max_grad_norm", max_grad_norm, 0, 1e9, "1", "training",
           "gradients longer than this are shortened to it; 0: never"),

    CHOICE("optimizer", optimizer, "AdamW", "AdamW|AdamW8bit|Adafactor|Lion|Prodigy|SGD|Muon", "optimizer",
           "which"),
    TEXT("learning_rate", learning_rate, "1e-4", "optimizer",
         "at its highest; or rates until steps: 1e-4:1000, 1e-5:2000"),
    NUMBER("text_encoder_lr", text_encoder_lr, 0, 1e4, "0", "optimizer", "of the text encoder; 0: the same"),
    NUMBER("adam_beta1", adam_beta1, -1, 0.999999, "-1", "optimizer",
           "-1: the optimizer's own, 0.9 for most"),
    NUMBER("adam_beta2", adam_beta2, -1, 0.999999999, "-1", "optimizer",
           "-1: the optimizer's own, 0.999 for most"),
    NUMBER("adam_epsilon", adam_epsilon, -1, 1, "-1", "optimizer", "-1: the optimizer's own, 1e-8 for most"),
    NUMBER("weight_decay", weight_decay, -1, 10, "-1", "optimizer",
           "not of biases and norms; -1: the optimizer's own"),
    BOOL("relative_step", relative_step, "true", "optimizer", "Adafactor finds its own rate"),
    BOOL("scale_parameter", scale_parameter, "true", "optimizer",
         "Adafactor's rate goes with the size of the parameter"),
    CHOICE("lr_scheduler", lr_scheduler, "constant",
           "constant|constant_with_warmup|linear|cosine|cosine_with_restarts|polynomial|inverse_sqrt|warmup_"
           "stable_decay|rex",
           "optimizer", "how the learning rate goes on after the warm-up"),
    NUMBER("lr_warmup_steps", lr_warmup_steps, 0, 1e9, "0", "optimizer",
           "steps of warm-up from 0; below 1: a share of all steps"),
    INTEGER("lr_num_cycles", lr_num_cycles, 1, 1000000, "1", "optimizer", "of cosine_with_restarts"),
    NUMBER("lr_power", lr_power, 0, 100, "1", "optimizer", "of polynomial"),
    NUMBER("lr_min_ratio", lr_min_ratio, 0, 1, "0", "optimizer",
           "the lowest learning rate, as a share of the highest"),
    NUMBER("lr_decay_steps", lr_decay_steps, 0, 1e9, "0.1", "optimizer",
           "of warmup_stable_decay; below 1: a share of all steps"),
    NUMBER(
        "ema_decay", ema_decay, 0, 0.9999999, "0", "optimizer",
        "keep a running mean of the weights, which is what is saved and drawn with; 0: none; 0.999 is usual"),
    CHOICE("ema_kind", ema_kind, "growing", "constant|growing|warmup", "optimizer",
           "constant: decay from the first step; growing: at most (1 + step) / (10 + step); warmup: 1 - (1 + "
           "step)^(-2/3)"),
    STEPS("ema_update_every", ema_update_every, "1", "optimizer", "steps between updates of the mean"),

    CHOICE("prediction_type", prediction_type, "auto", "auto|epsilon|v_prediction|flow", "loss",
           "what the denoiser gives: the noise, the velocity, or the flow; auto: as the base, else epsilon"),
    INTEGER("num_train_timesteps", num_train_timesteps, 2, 100000, "1000", "loss",
            "from nothing: steps of the noise schedule"),
    CHOICE("beta_schedule", beta_schedule, "scaled_linear", "scaled_linear|linear|squaredcos_cap_v2", "loss",
           "from nothing: how the noise grows"),
    NUMBER("beta_start", beta_start, 1e-9, 0.5, "0.00085", "loss", ""),
    NUMBER("beta_end", beta_end, 1e-9, 0.999, "0.012", "loss", ""),
    BOOL("zero_terminal_snr", zero_terminal_snr, "false", "loss",
         "rescale the schedule so that the last step is all noise"),
    NUMBER("noise_offset", noise_offset, 0, 1, "0", "loss",
           "a shift of the noise of each channel as a whole; 0.05 to 0.1 is usual"),
    NUMBER("min_snr_gamma", min_snr_gamma, 0, 1000, "0", "loss",
           "weigh steps by min(SNR, gamma); 0: alike; 5 is usual"),
    INTEGER("min_timestep", min_timestep, 0, 100000, "0", "loss", "train on timesteps from this one"),
    INTEGER("max_timestep", max_timestep, 0, 100000, "0", "loss", "up to but without this one; 0: all"),
    CHOICE("timestep_sampling", timestep_sampling, "uniform", "uniform|logit_normal", "loss",
           "how timesteps are drawn"),
    NUMBER("timestep_shift", timestep_shift, 0.01, 100, "1", "loss",
           "moves the drawn timesteps towards noise when above 1: t = s t / (1 + (s - 1) t)"),
    NUMBER("flow_shift", flow_shift, 0.01, 100, "1", "loss",
           "prediction_type flow: shift of the times towards noise, also of drawing; auto keeps the base's"),
    BOOL("zero_init", zero_init, "true", "loss",
         "from nothing: the last layer of each residual block starts at zero, as in the code of CompVis"),
    CHOICE("reconstruction_loss", reconstruction_loss, "l1", "l1|l2", "loss", "methods vae and upscaler"),
    NUMBER("kl_weight", kl_weight, 0, 1e6, "1e-6", "loss",
           "method vae: pull of the latents towards a normal distribution"),
    NUMBER(
        "gradient_weight", gradient_weight, 0, 1e6, "1", "loss",
        "vae and upscaler: weight of the differences between neighbouring pixels, which keeps edges sharp"),
    INTEGER("gradient_scales", gradient_scales, 1, 5, "3", "loss",
            "vae and upscaler: at how many sizes, each half of the one before"),

    NUMBER(
        "degrade_blur", degrade_blur, 0, 20, "0", "degradations",
        "method upscaler: most of the Gaussian blur before a picture is made small, in px of the large one"),
    NUMBER("degrade_noise", degrade_noise, 0, 128, "0", "degradations",
           "most of the noise on the small one, as a deviation of 0..255; grey half of the time"),
    INTEGER("degrade_jpeg", degrade_jpeg, 0, 100, "0", "degradations",
            "lowest JPEG quality, up to 95, for half of the pictures; 0: none"),
    BOOL("degrade_second_order", degrade_second_order, "false", "degradations",
         "go through blur, resizing, noise and JPEG twice, as Real-ESRGAN"),

    STEPS("save_every_n_steps", save_every_n_steps, "500", "saving", "0: never"),
    INTEGER("save_every_n_epochs", save_every_n_epochs, 0, 10000000, "0", "saving", "0: never"),
    NUMBER("save_every_n_minutes", save_every_n_minutes, 0, 1e6, "0", "saving", "0: never"),
    INTEGER("save_last_n", save_last_n, 1, 10000, "3", "saving", "older checkpoints are removed"),
    BOOL("save_best", save_best, "true", "saving", "keep the one of the lowest validation loss besides"),
    CHOICE("save_precision", save_precision, "fp32", "fp32|fp16|bf16", "saving",
           "of the model in a checkpoint; its state is always whole"),

    STEPS("validate_every_n_steps", validate_every_n_steps, "0", "validation and samples", "0: never"),
    INTEGER("validate_every_n_epochs", validate_every_n_epochs, 0, 10000000, "1", "validation and samples",
            "0: never"),
    INTEGER("max_validation_samples", max_validation_samples, 1, 1000000, "64", "validation and samples",
            "pictures of the validation loss"),
    SEED("validation_seed", validation_seed, "0", "validation and samples",
         "of its noise, which is always the same"),
    STEPS("sample_every_n_steps", sample_every_n_steps, "0", "validation and samples", "0: never"),
    INTEGER("sample_every_n_epochs", sample_every_n_epochs, 0, 10000000, "0", "validation and samples",
            "0: never"),
    BOOL("sample_at_first", sample_at_first, "false", "validation and samples", "also before the first step"),
    TEXT("sample_prompts", sample_prompts, "", "validation and samples",
         "file with a prompt per line, or prompts separated by |"),
    CHOICE("sample_sampler", sample_sampler, "DPM++ 2M", "Euler|Euler a|DDIM|DPM++ 2M|Heun|UniPC",
           "validation and samples", ""),
    INTEGER("sample_steps", sample_steps, 1, 1000, "20", "validation and samples", ""),
    NUMBER("sample_cfg", sample_cfg, 1, 100, "7", "validation and samples",
           "guidance; a model trained from nothing recommends it to those who draw with it"),
    SEED("sample_seed", sample_seed, "1", "validation and samples",
         "of the first sample; the others count on"),
    INTEGER("sample_width", sample_width, 0, 8192, "0", "validation and samples", "px; 0: the resolution"),
    INTEGER("sample_height", sample_height, 0, 8192, "0", "validation and samples", "px; 0: the resolution"),
    STEPS("plot_every_n_steps", plot_every_n_steps, "100", "validation and samples", "draw loss.png anew"),

    TEXT("output_name", output_name, "", "taught",
         "name of the file of what is taught beside the weights, which prompts call it by; none: that of "
         "output_dir"),
    TEXT("network_weights", network_weights, "", "taught",
         "file of the same kind to learn on; none: from nothing"),
    CHOICE("save_model_as", save_model_as, "safetensors", "safetensors|pt", "taught",
           "its format; safetensors carries the recipe, the hashes of base and data, and the losses"),

    CHOICE("network_type", lora.network_type, "lora", "lora|locon|loha|lokr|dora", "lora",
           "what changes a layer: low rank; of convolutions too; Hadamard or Kronecker product; low rank "
           "with magnitudes"),
    INTEGER("network_dim", lora.network_dim, 1, 4096, "4", "lora", "rank"),
    NUMBER("network_alpha", lora.network_alpha, 0, 1e6, "1", "lora",
           "what is learnt counts alpha / rank times"),
    INTEGER("conv_dim", lora.conv_dim, 0, 4096, "0", "lora",
            "rank of convolutions in residual blocks and resampling; 0: they are left alone (locon: as "
            "network_dim)"),
    NUMBER("conv_alpha", lora.conv_alpha, 0, 1e6, "1", "lora", "alpha of those"),
    NUMBER("network_dropout", lora.network_dropout, 0, 0.95, "0", "lora",
           "share of the ranks left out in each step"),
    INTEGER("network_factor", lora.network_factor, 0, 4096, "0", "lora",
            "lokr: largest side of the first factor; 0: as near a square as goes"),
    TEXT("block_dims", lora.block_dims, "", "lora",
         "other ranks for some layers: mid_block*:16, up_blocks.3*:2"),

    TEXT("placeholder_token", words.placeholder_token, "", "textual_inversion",
         "the word that is learnt, as captions and prompts write it"),
    TEXT("initializer_token", words.initializer_token, "*", "textual_inversion",
         "known words that it begins as, such as the class of what it is for"),
    INTEGER("num_vectors", words.num_vectors, 1, 75, "1", "textual_inversion",
            "vectors of the word; each takes the place of a token"),
    CHOICE("learnable_property", words.learnable_property, "object", "object|style|caption",
           "textual_inversion",
           "what pictures are said to be: sentences about an object, or in a style; or their own captions, "
           "the word put before those that lack it"),

    TEXT("layer_structure", hypernetwork.layer_structure, "1, 2, 1", "hypernetwork",
         "widths of the layers, as multiples of what they bend; begins and ends with 1"),
    TEXT("activation_func", hypernetwork.activation_func, "linear", "hypernetwork",
         "linear, relu, leakyrelu, elu, swish, tanh, sigmoid, or another of torch.nn in lower case"),
    CHOICE("weight_initialization", hypernetwork.weight_initialization, "Normal",
           "Normal|XavierUniform|XavierNormal|KaimingUniform|KaimingNormal", "hypernetwork",
           "how weights begin; Normal: with a deviation of 0.01"),
    BOOL("is_layer_norm", hypernetwork.is_layer_norm, "false", "hypernetwork",
         "a layer norm after each layer"),
    BOOL("activate_output", hypernetwork.activate_output, "false", "hypernetwork",
         "an activation after the last layer, too"),
    BOOL("use_dropout", hypernetwork.use_dropout, "false", "hypernetwork",
         "drop 0.3 of the hidden layers' outputs, of the last one with last_layer_dropout only"),
    BOOL("last_layer_dropout", hypernetwork.last_layer_dropout, "false", "hypernetwork", "see use_dropout"),
    TEXT(
        "dropout_structure", hypernetwork.dropout_structure, "", "hypernetwork",
        "instead: the share dropped after each layer, as many numbers as in layer_structure, 0 at both ends"),
    LIST("modules", hypernetwork.modules, 0, 65536, "0", "hypernetwork",
         "widths that are bent, 768, 320, 640, 1280; 0: all that the model has"),

    TEXT("unet.base", unet.base, "", "unet", "take it from this model; none: as base, or from nothing"),
    LIST("unet.block_out_channels", unet.block_out_channels, 2, 16384, "320, 640, 1280, 1280", "unet",
         "per level, finest first"),
    LIST("unet.attention", unet.attention, 0, 64, "1, 1, 1, 0", "unet",
         "transformer blocks per level; 0: none"),
    LIST("unet.attention_head_dim", unet.attention_head_dim, 1, 1024, "8", "unet",
         "attention heads per level (the name is diffusers')"),
    INTEGER("unet.layers_per_block", unet.layers_per_block, 1, 8, "2", "unet", ""),
    INTEGER("unet.cross_attention_dim", unet.cross_attention_dim, 0, 16384, "0", "unet",
            "0: the text encoder's width"),
    INTEGER("unet.norm_num_groups", unet.norm_num_groups, 1, 16384, "32", "unet", ""),
    CHOICE("unet.mid_block", unet.mid_block, "attention", "attention|resnet|none", "unet", ""),
    BOOL("unet.use_linear_projection", unet.use_linear_projection, "false", "unet", ""),

    TEXT("vae.base", vae.base, "", "vae", "take it from this model; none: as base, or from nothing"),
    LIST("vae.block_out_channels", vae.block_out_channels, 1, 16384, "128, 256, 512, 512", "vae",
         "each level but the last halves the picture"),
    INTEGER("vae.layers_per_block", vae.layers_per_block, 1, 64, "2", "vae", ""),
    INTEGER("vae.latent_channels", vae.latent_channels, 1, 64, "4", "vae", ""),
    INTEGER("vae.norm_num_groups", vae.norm_num_groups, 1, 16384, "32", "vae", ""),
    BOOL("vae.mid_block_add_attention", vae.mid_block_add_attention, "true", "vae", ""),
    NUMBER("vae.scaling_factor", vae.scaling_factor, 0, 1e6, "0", "vae",
           "0: measured, so that latents have deviation 1"),

    TEXT("text_encoder.base", text_encoder.base, "", "text_encoder",
         "take it from this model; none: as base, or from nothing"),
    TEXT("text_encoder.tokenizer", text_encoder.tokenizer, "", "text_encoder",
         "folder with vocab.json and merges.txt; none: CLIP's"),
    INTEGER("text_encoder.hidden_size", text_encoder.hidden_size, 1, 65536, "768", "text_encoder", ""),
    INTEGER("text_encoder.intermediate_size", text_encoder.intermediate_size, 0, 262144, "0", "text_encoder",
            "0: four times hidden_size"),
    INTEGER("text_encoder.num_hidden_layers", text_encoder.num_hidden_layers, 1, 512, "12", "text_encoder",
            ""),
    INTEGER("text_encoder.num_attention_heads", text_encoder.num_attention_heads, 1, 1024, "12",
            "text_encoder", ""),
    CHOICE("text_encoder.hidden_act", text_encoder.hidden_act, "quick_gelu", "quick_gelu|gelu",
           "text_encoder", ""),

    INTEGER("upscaler.num_feat", upscaler.num_feat, 1, 4096, "48", "upscaler",
            "method upscaler, from nothing: features of an SRVGGNetCompact"),
    INTEGER("upscaler.num_conv", upscaler.num_conv, 0, 256, "12", "upscaler",
            "convolutions between its first and its last"),
    INTEGER("upscaler.upscale", upscaler.upscale, 1, 16, "2", "upscaler", "times"),
};

static const char *const aliases[][2] = {
    {"pretrained_model_name_or_path", "base"},
    {"pretrained_model", "base"},
    {"enable_sizes", "modules"},
    {"weight_init", "weight_initialization"},
    {"add_layer_norm", "is_layer_norm"},
    {"optimizer_type", "optimizer"},
    {"snr_gamma", "min_snr_gamma"},
    {"offset_noise_weight", "noise_offset"},
    {"rescale_betas_zero_snr", "zero_terminal_snr"},
    {"batch_size", "train_batch_size"},
    {"num_train_epochs", "max_train_epochs"},
    {"checkpointing_steps", "save_every_n_steps"},
    {"checkpoints_total_limit", "save_last_n"},
    {"save_last_n_steps", "save_last_n"},
    {"save_last_n_epochs", "save_last_n"},
    {"unet_lr", "learning_rate"},
    {"lr_scheduler_num_cycles", "lr_num_cycles"},
    {"lr_scheduler_power", "lr_power"},
    {"lr_scheduler_min_lr_ratio", "lr_min_ratio"},
    {"adam_weight_decay", "weight_decay"},
    {"random_flip", "flip_aug"},
    {"instance_data_dir", "train_data_dir"},
    {"cache_latents_to_disk", "cache_latents"},
    {"train_dtype", "mixed_precision"},
    {"dataloader_num_workers", "max_data_loader_n_workers"},
};

const recipe_key *recipe_key_at(int i)
{
    return i >= 0 && i < (int)(sizeof keys / sizeof *keys) ? &keys[i] : NULL;
}

const recipe_key *recipe_key_find(const char *name)
{
    for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++)
        if (strcmp(aliases[i][0], name) == 0)
            name = aliases[i][1];
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(keys[i].name, name) == 0)
            return &keys[i];
    return NULL;
}
