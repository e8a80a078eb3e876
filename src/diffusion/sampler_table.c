/* sampler_table.c - the samplers: names, views and defaults. Command help, recipes and tests read this table. */
#include "diffusion/samplers.h"

#define NAMES(...)                                                                                           \
    (const char *const[])                                                                                    \
    {                                                                                                        \
        __VA_ARGS__, NULL                                                                                    \
    }

const sampler_row sampler_table[] = {
    {"DPM++ 2M", NAMES("dpmpp_2m", "k_dpmpp_2m", "dpm++2m", "dpm++_2m"), "DPMSolverMultistepScheduler",
     &dpm_multistep_folder, &dpmpp_2m_named, SIGMAS_KARRAS, false, 0, false},
    {"Euler", NAMES("k_euler", "euler_discrete"), "EulerDiscreteScheduler", &euler_folder, &euler_named,
     SIGMAS_UNIFORM, false, 0, false},
    {"Euler a", NAMES("euler_ancestral", "k_euler_a", "k_euler_ancestral", "euler_a", "Euler ancestral"),
     "EulerAncestralDiscreteScheduler", &euler_a_folder, &euler_a_named, SIGMAS_UNIFORM, false, 1, true},
    {"Heun", NAMES("k_heun", "heun_discrete"), "HeunDiscreteScheduler", &heun_folder, &heun_named,
     SIGMAS_UNIFORM, false, 0, false},
    {"DDIM", NAMES("k_ddim"), "DDIMScheduler", &ddim_folder, &ddim_named, SIGMAS_AUTOMATIC, false, 0, true},
    {"PLMS", NAMES("pndm", "k_plms"), "PNDMScheduler", &pndm_folder, &plms_named, SIGMAS_AUTOMATIC, false, 0,
     false},
};
const int sampler_table_count = (int)(sizeof sampler_table / sizeof *sampler_table);
