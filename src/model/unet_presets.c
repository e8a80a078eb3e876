/* unet_presets.c - the published members of the family at full size, as their config.json files say. */
#include "model/unet.h"

#define FOUR_LEVELS .levels = 4, .layers = {2, 2, 2, 2}
#define COMMON                                                                                               \
    .groups = 32, .norm_epsilon = 1e-5f, .conv_in_kernel = 3, .conv_out_kernel = 3, .downsample_padding = 1, \
    .cosine_first = true, .time_channels = 1280
#define SD1_SHAPE                                                                                            \
    .out_channels = 4, .sample_size = 64, FOUR_LEVELS, .channels = {320, 640, 1280, 1280},                   \
    .depth = {{1, 1}, {1, 1}, {1, 1}}, .up_depth = {{1, 1, 1}, {1, 1, 1}, {1, 1, 1}}, .middle_depth = 1,     \
    .heads = {8, 8, 8, 8}, .context_channels = 768

const unet_config unet_sd15 = {.in_channels = 4, SD1_SHAPE, COMMON};

const unet_config unet_sd15_inpaint = {.in_channels = 9, SD1_SHAPE, COMMON};

const unet_config unet_sd21 = {
    .in_channels = 4,
    .out_channels = 4,
    .sample_size = 96,
    FOUR_LEVELS,
    .channels = {320, 640, 1280, 1280},
    .depth = {{1, 1}, {1, 1}, {1, 1}},
    .up_depth = {{1, 1, 1}, {1, 1, 1}, {1, 1, 1}},
    .middle_depth = 1,
    .heads = {5, 10, 20, 20},
    .context_channels = 1024,
    .linear_projection = true,
    COMMON,
};

const unet_config unet_sdxl = {
    .in_channels = 4,
    .out_channels = 4,
    .sample_size = 128,
    .levels = 3,
    .layers = {2, 2, 2},
    .channels = {320, 640, 1280},
    .depth = {{0, 0}, {2, 2}, {10, 10}},
    .up_depth = {{0, 0, 0}, {2, 2, 2}, {10, 10, 10}},
    .middle_depth = 10,
    .heads = {5, 10, 20},
    .context_channels = 2048,
    .linear_projection = true,
    .text_time = true,
    .added_time_channels = 256,
    .added_channels = 2816,
    COMMON,
};

const unet_config unet_x4_upscaler = {
    .in_channels = 7,
    .out_channels = 4,
    .sample_size = 128,
    FOUR_LEVELS,
    .channels = {256, 512, 512, 1024},
    .depth = {{0, 0}, {1, 1}, {1, 1}, {1, 1}},
    .up_depth = {{0, 0, 0}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}},
    .middle_depth = 1,
    .heads = {8, 8, 8, 8},
    .only_cross_attention = {true, true, true, false},
    .context_channels = 1024,
    .linear_projection = true,
    .class_kind = UNET_CLASS_TABLE,
    .class_count = 1000,
    .groups = 32,
    .norm_epsilon = 1e-5f,
    .conv_in_kernel = 3,
    .conv_out_kernel = 3,
    .downsample_padding = 1,
    .cosine_first = true,
    .time_channels = 1024,
};
