/* draw_options.h - the options of `kiln draw`: their table, and from them to what the library takes. */
#ifndef KILN_CLI_DRAW_OPTIONS_H
#define KILN_CLI_DRAW_OPTIONS_H

#include "model_options.h"
#include "options.h"
#include "sampling_options.h"
#include "steering_options.h"
#include "template_options.h"

#include <kiln/kiln.h>

/* `cfg` until it is chosen. */
#define CFG_OF_MODEL (-1.0)

/* The first member of the struct of every subcommand that draws. */
typedef struct draw_values {
    model_choice model;
    const char *prompt, *negative, *output;
    template_values templates;
    int steps, clip_skip, batch, vae_tile, preview_every;
    double hires_scale, hires_strength;
    picture_size hires_size;
    const char *hires_upscaler;
    int hires_steps;
    double upscale; /* 0: no */
    const char *upscaler;
    const char *emphasis;
    double cfg, cfg_rescale, image_cfg, strength, eta;
    picture_size size;
    seed_choice seed, variation_seed;
    const char *rng, *sampler, *schedule;
    const char *init, *condition, *negative_condition, *like, *lora_folder, *hypernetwork_folder, *preview,
        *trace;
    option_list loras;
    int64_t memory;
    bool profile, quiet;
    steering_values steering;
    kiln_guidance guidance;
    kiln_sampling sampling;
    kiln_seeding seeding;
    picture_size seed_resize;
    int eta_noise_seed_delta;
} draw_values;

/* What `draw` has alone, and what all subcommands that draw have. */
extern const option draw_option_table[], drawing_option_table[];

/* The values before the command line is read, from the library's defaults. */
draw_values draw_values_of(const kiln_draw_options *);
/* Put the values into the library's options (pictures and maps apart); random seeds are drawn here. */
void draw_values_apply(const draw_values *, kiln_draw_options *);
/* The samplers and schedules, for the help page. */
void draw_print_names(void);

#endif
