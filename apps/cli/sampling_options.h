/* sampling_options.h - options of guidance and of the samplers' numbers, shared by the subcommands that draw. */
#ifndef KILN_CLI_SAMPLING_OPTIONS_H
#define KILN_CLI_SAMPLING_OPTIONS_H

#include "options.h"

#include <kiln/kiln.h>

/* Rows of an option table; `s` is the subcommand's struct, with members `guidance` and `sampling` of the library's. */
#define SAMPLING_NUMBER(s, name, member, least, most, shown, help)                                           \
    {                                                                                                        \
        name, 0, OPTION_NUMBER, offsetof(s, member), "X", shown, least, most, NULL, help                     \
    }
#define SAMPLING_OPTIONS(s)                                                                                  \
    SAMPLING_NUMBER(s, "cfg-skip-early", guidance.skip_early, 0, 1, "0",                                     \
                    "share of the steps at the beginning without guidance"),                                 \
        SAMPLING_NUMBER(s, "cfg-end", guidance.end, 0, 1, "0",                                               \
                        "end guidance after this share of the steps"),                                       \
        SAMPLING_NUMBER(s, "ngms", guidance.minimum_sigma, 0, 1000, "0",                                     \
                        "leave the negative prompt out of every other step below this noise level"),         \
        {"ngms-all",  0,                                                                                     \
         OPTION_FLAG, offsetof(s, guidance.minimum_every_step),                                              \
         NULL,        NULL,                                                                                  \
         0,           0,                                                                                     \
         NULL,        "... out of every step"},                                                              \
        SAMPLING_NUMBER(s, "cfg-mimic", guidance.mimic_scale, 0, 1000, "0",                                  \
                        "dynamic thresholding: keep the contrast of this milder guidance"),                  \
        SAMPLING_NUMBER(s, "cfg-percentile", guidance.mimic_percentile, 0, 1, "1",                           \
                        "... and clip first what is above this share (0.5 to 1)"),                           \
        SAMPLING_NUMBER(                                                                                     \
            s, "perp-negative", guidance.perpendicular, 0, 10, "0",                                          \
            "let only that part of the negative prompt count, so strongly, that leaves the prompt alone"),   \
        SAMPLING_NUMBER(s, "s-churn", sampling.s_churn, 0, 1000, "0",                                        \
                        "fresh noise of Euler, Heun and DPM2"),                                              \
        SAMPLING_NUMBER(s, "s-tmin", sampling.s_tmin, 0, 1000, "0", "... above this noise level"),           \
        SAMPLING_NUMBER(s, "s-tmax", sampling.s_tmax, 0, 100000, "none", "... and below this one"),          \
        SAMPLING_NUMBER(s, "s-noise", sampling.s_noise, 0, 1000, "1", "factor of all fresh noise"),          \
        SAMPLING_NUMBER(s, "sigma-min", sampling.sigma_min, 0, 100000, "the model's",                        \
                        "lowest level of the noise schedule"),                                               \
        SAMPLING_NUMBER(s, "sigma-max", sampling.sigma_max, 0, 100000, "the model's", "highest level"),      \
        SAMPLING_NUMBER(s, "rho", sampling.rho, 0, 100, "7 or 1", "exponent of Karras, Polyexponential")

#endif
