/* draw_options.c - see draw_options.h. */
#include "draw_options.h"

#include <stdio.h>
#include <string.h>

#define AT(member) offsetof(draw_values, member)

const option draw_option_table[] = {
    {"init", 'i', OPTION_TEXT, AT(init), "PICTURE", NULL, 0, 0, NULL, "start from this picture"},
    {"hires-scale", 0, OPTION_NUMBER, AT(hires_scale), "X", "none", 1, 16, NULL,
     "draw a second pass so many times larger over the picture (hires fix)"},
    {"hires-size", 0, OPTION_SIZE, AT(hires_size), "WxH", NULL, 1, 16384, NULL,
     "the size of that pass instead"},
    {"hires-upscaler", 0, OPTION_TEXT, AT(hires_upscaler), "NAME", "Latent", 0, 0, NULL,
     "what enlarges in between: Latent, \"Latent (bicubic)\", \"Latent (nearest-exact)\" and so on, lanczos, "
     "or an upscaler's file"},
    {"hires-steps", 0, OPTION_INTEGER, AT(hires_steps), "N", "as the first", 0, 1000, NULL,
     "steps of that pass"},
    {"hires-denoise", 0, OPTION_NUMBER, AT(hires_strength), "X", "0.7", 0, 1, NULL,
     "how far that pass leaves the first"},
    {"upscale", 0, OPTION_NUMBER, AT(upscale), "X", "none", 0.01, 64, NULL,
     "enlarge the finished picture so many times, as 'kiln upscale' does"},
    {"upscaler", 0, OPTION_TEXT, AT(upscaler), "MODEL", "$KILN_UPSCALER or upscale-2x", 0, 0, NULL,
     "by this network's file, or a filter; upscale-2x comes with Kiln"},
    {0},
};

const option drawing_option_table[] = {
    {"output", 'o', OPTION_TEXT, AT(output), "FILE", "out.png", 0, 0, NULL,
     "picture to write: .png, .jpg or .webp; a batch adds -2, -3 ... to the name; an existing file is "
     "replaced"},
    MODEL_OPTIONS(draw_values),
    {"prompt", 'p', OPTION_TEXT, AT(prompt), "TEXT", NULL, 0, 0, NULL,
     "the prompt, instead of the first argument"},
    {"negative", 'n', OPTION_TEXT, AT(negative), "TEXT", NULL, 0, 0, NULL,
     "what the picture should not show"},
    {"steps", 's', OPTION_INTEGER, AT(steps), "N", "20", 1, 1000, NULL, "denoising steps"},
    {"cfg", 'c', OPTION_NUMBER, AT(cfg), "X", "the model's, or 7", 0, 100, NULL,
     "guidance by the prompt; 1 turns it off"},
    {"size", 0, OPTION_SIZE, AT(size), "WxH", "the model's", 1, 16384, NULL, "size of the picture in pixels"},
    {"seed", 'S', OPTION_SEED, AT(seed), "N", "random", 0, 0, NULL,
     "seed of the first picture; the next of a batch has the next number"},
    {"variation-strength", 0, OPTION_NUMBER, AT(seeding.variation_strength), "X", "0", 0, 1, NULL,
     "go this share of the way to the noise of another seed: small ones vary the picture"},
    {"variation-seed", 0, OPTION_SEED, AT(variation_seed), "N", "random", 0, 0, NULL,
     "that seed; the next picture of a batch has the next number, and the same --seed"},
    {"seed-resize", 0, OPTION_SIZE, AT(seed_resize), "WxH", "none", 1, 16384, NULL,
     "keep what the seed gives at this size, in the middle of a picture of another"},
    {"ensd", 0, OPTION_INTEGER, AT(eta_noise_seed_delta), "N", "0", -2147483647, 2147483647, NULL,
     "eta noise seed delta: fresh noise in the steps from seed + N"},
    {"batch", 'b', OPTION_INTEGER, AT(batch), "N", "1", 1, 1000, NULL, "how many pictures"},
    {"sampler", 0, OPTION_TEXT, AT(sampler), "NAME", "DPM++ 2M", 0, 0, NULL,
     "see below; \"model\" takes the model's scheduler_config.json"},
    {"schedule", 0, OPTION_TEXT, AT(schedule), "NAME", "the sampler's own", 0, 0, NULL,
     "noise schedule, see below"},
    {"rng", 0, OPTION_CHOICE, AT(rng), "WHICH", "cpu", 0, 0, "cpu|nv",
     "noise as torch draws it on a processor, or as on an NVIDIA card"},
    {"strength", 0, OPTION_NUMBER, AT(strength), "X", "0.75", 0, 1, NULL,
     "how far to leave the picture that is started from"},
    {"image-cfg", 0, OPTION_NUMBER, AT(image_cfg), "X", "1.5", 0, 100, NULL,
     "guidance by the picture, in models that change one by words"},
    {"like", 0, OPTION_TEXT, AT(like), "PICTURE", NULL, 0, 0, NULL,
     "repeat the recipe recorded in this picture; options given as well win"},
    {"cond", 0, OPTION_TEXT, AT(condition), "FILE", NULL, 0, 0, NULL,
     "conditioning written by 'kiln encode', instead of the prompt"},
    {"negative-cond", 0, OPTION_TEXT, AT(negative_condition), "FILE", NULL, 0, 0, NULL,
     "same, instead of the negative prompt"},
    STEERING_OPTIONS(draw_values),
    {"lora", 0, OPTION_LIST, AT(loras), "FILE[:X[:Y]]", NULL, 0, 0, NULL,
     "change the model by this LoRA, at strength X (1) in the text encoders and Y (as X) in the UNet; may be "
     "given "
     "several times. <lora:NAME:X:Y> in the prompt does the same with a file of --lora-dir"},
    {"lora-dir", 0, OPTION_TEXT, AT(lora_folder), "FOLDER", "Lora or loras beside the model", 0, 0, NULL,
     "where the LoRAs are that a prompt names"},
    {"hypernetwork-dir", 0, OPTION_TEXT, AT(hypernetwork_folder), "FOLDER", "hypernetworks beside the model",
     0, 0, NULL, "where the hypernetworks are that a prompt names: <hypernet:NAME:X>"},
    TEMPLATE_OPTIONS(draw_values),
    {"clip-skip", 0, OPTION_INTEGER, AT(clip_skip), "N", "1", 1, 12, NULL,
     "which layer of the text encoder counts, from the last"},
    {"emphasis", 0, OPTION_CHOICE, AT(emphasis), "HOW", "Original", 0, 0,
     "Original|No norm|ComfyUI|Ignore|None", "how the weights of (words:1.3) act"},
    {"eta", 0, OPTION_NUMBER, AT(eta), "X", "the sampler's own", 0, 10, NULL,
     "fresh noise in DDIM and the ancestral samplers"},
    {"cfg-rescale", 0, OPTION_NUMBER, AT(cfg_rescale), "X", "0", 0, 1, NULL,
     "tames high guidance of v-models"},
    SAMPLING_OPTIONS(draw_values),
    {"preview", 0, OPTION_TEXT, AT(preview), "FILE", NULL, 0, 0, NULL,
     "keep writing the picture so far to this file"},
    {"preview-every", 0, OPTION_INTEGER, AT(preview_every), "N", "5", 1, 1000, NULL,
     "steps between previews"},
    {"preview-decoder", 0, OPTION_TEXT, AT(model.preview_decoder), "FILE", NULL, 0, 0, NULL,
     "TAESD decoder or VAE-approx file for better previews"},
    {"vae-tile", 0, OPTION_INTEGER, AT(vae_tile), "PX", "chosen by memory", -1, 16384, NULL,
     "decode in tiles of this size; -1: never in tiles, 0: chosen by memory"},
    {"memory", 0, OPTION_BYTES, AT(memory), "LIMIT", "what is free", 0, 0, NULL,
     "refuse to begin a drawing that would need more (6G, 512M)"},
    {"profile", 0, OPTION_FLAG, AT(profile), NULL, NULL, 0, 0, NULL, "print where the time went"},
    {"trace", 0, OPTION_TEXT, AT(trace), "FILE", NULL, 0, 0, NULL,
     "write a line for every node of every network: place, shape, time, range of values"},
    {"quiet", 'q', OPTION_FLAG, AT(quiet), NULL, NULL, 0, 0, NULL, "no progress and no remarks"},
    {0},
};

draw_values draw_values_of(const kiln_draw_options *o)
{
    return (draw_values){
        .prompt = o->prompt,
        .negative = o->negative,
        .output = "out.png",
        .steps = o->steps,
        .clip_skip = o->clip_skip,
        .batch = o->batch,
        .vae_tile = o->vae_tile,
        .preview_every = 5,
        .cfg = o->cfg,
        .emphasis = o->emphasis,
        .cfg_rescale = o->cfg_rescale,
        .strength = o->strength,
        .image_cfg = o->image_cfg,
        .hires_scale = o->hires_scale,
        .hires_strength = o->hires_strength,
        .hires_size = {o->hires_width, o->hires_height},
        .hires_upscaler = o->hires_upscaler,
        .hires_steps = o->hires_steps,
        .eta = o->eta,
        .guidance = o->guidance,
        .sampling = o->sampling,
        .size = {o->width, o->height},
        .seed = {o->seed, true},
        .variation_seed = {o->seeding.variation_seed, o->seeding.variation_strength == 0},
        .seeding = o->seeding,
        .seed_resize = {o->seeding.resize_width, o->seeding.resize_height},
        .eta_noise_seed_delta = (int)o->seeding.eta_noise_seed_delta,
        .rng = o->rng,
        .sampler = o->sampler,
        .schedule = o->schedule,
        .memory = o->memory_limit,
    };
}

void draw_values_apply(const draw_values *v, kiln_draw_options *o)
{
    o->prompt = v->prompt;
    o->negative = v->negative;
    o->width = v->size.width;
    o->height = v->size.height;
    o->steps = v->steps;
    o->cfg = v->cfg;
    o->emphasis = v->emphasis;
    o->cfg_rescale = v->cfg_rescale;
    o->seed = v->seed.random ? kiln_seed_random() : v->seed.value;
    o->seeding = v->seeding;
    o->seeding.variation_seed = v->variation_seed.value;
    if (v->seeding.variation_strength > 0 && v->variation_seed.random)
        o->seeding.variation_seed = kiln_seed_random();
    o->seeding.resize_width = v->seed_resize.width;
    o->seeding.resize_height = v->seed_resize.height;
    o->seeding.eta_noise_seed_delta = v->eta_noise_seed_delta;
    o->rng = v->rng;
    o->sampler = v->sampler;
    o->schedule = v->schedule;
    o->eta = v->eta;
    o->guidance = v->guidance;
    o->sampling = v->sampling;
    o->clip_skip = v->clip_skip;
    o->batch = v->batch;
    o->strength = v->strength;
    o->image_cfg = v->image_cfg;
    o->hires_scale = v->hires_scale;
    o->hires_strength = v->hires_strength;
    o->hires_width = v->hires_size.width;
    o->hires_height = v->hires_size.height;
    o->hires_upscaler = v->hires_upscaler;
    o->hires_steps = v->hires_steps;
    o->lora_folder = v->lora_folder;
    o->hypernetwork_folder = v->hypernetwork_folder;
    o->vae_tile = v->vae_tile;
    o->memory_limit = v->memory;
    o->preview_every = v->preview ? v->preview_every : 0;
}

static void print_list(const char *title, const char *(*name)(int))
{
    int column = printf("\n%s:", title);
    for (int i = 0; name(i); i++) {
        const char *comma = name(i + 1) ? "," : "";
        int length = (int)(strlen(name(i)) + strlen(comma)) + 1;
        if (column + length > 79)
            column = printf("\n   ") - 1;
        column += printf(" %s%s", name(i), comma);
    }
    printf("\n");
}

void draw_print_names(void)
{
    print_list("samplers", kiln_sampler_name);
    print_list("schedules", kiln_schedule_name);
}
