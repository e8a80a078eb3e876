/* sampler_table.c - the samplers: names, views and defaults. Command help, recipes and tests read this
 * table. */
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
    {"DPM++ SDE", NAMES("dpmpp_sde", "k_dpmpp_sde", "dpmpp_sde_gpu"), "DPMSolverSDEScheduler",
     &dpmpp_sde_folder, &dpmpp_sde_named, SIGMAS_KARRAS, false, 1, true},
    {"DPM++ 2M SDE", NAMES("dpmpp_2m_sde", "k_dpmpp_2m_sde", "dpmpp_2m_sde_gpu"), NULL, NULL,
     &dpmpp_2m_sde_named, SIGMAS_EXPONENTIAL, false, 1, true},
    {"DPM++ 2M SDE Heun", NAMES("dpmpp_2m_sde_heun", "k_dpmpp_2m_sde_heun", "dpmpp_2m_sde_heun_gpu"), NULL,
     NULL, &dpmpp_2m_sde_heun_named, SIGMAS_EXPONENTIAL, false, 1, true},
    {"DPM++ 2S a", NAMES("dpmpp_2s_ancestral", "k_dpmpp_2s_a", "dpmpp_2s_a", "dpm++2s_a"), NULL, NULL,
     &dpmpp_2s_a_named, SIGMAS_KARRAS, false, 1, true},
    {"DPM++ 3M SDE", NAMES("dpmpp_3m_sde", "k_dpmpp_3m_sde", "dpmpp_3m_sde_gpu"), NULL, NULL,
     &dpmpp_3m_sde_named, SIGMAS_EXPONENTIAL, true, 1, true},
    {"LMS", NAMES("k_lms"), "LMSDiscreteScheduler", &lms_folder, &lms_named, SIGMAS_UNIFORM, false, 0, false},
    {"DPM2", NAMES("dpm_2", "k_dpm_2", "dpm2"), "KDPM2DiscreteScheduler", &dpm2_folder, &dpm2_named,
     SIGMAS_KARRAS, true, 0, false},
    {"DPM2 a", NAMES("dpm_2_ancestral", "k_dpm_2_a", "k_dpm_2_ancestral", "dpm2_a"),
     "KDPM2AncestralDiscreteScheduler", &dpm2_a_folder, &dpm2_a_named, SIGMAS_KARRAS, true, 1, true},
    {"LCM", NAMES("k_lcm"), "LCMScheduler", &lcm_folder, &lcm_named, SIGMAS_SGM_UNIFORM, false, 1, true},
    {"DDPM", NAMES(NULL), "DDPMScheduler", &ddpm_folder, NULL, SIGMAS_AUTOMATIC, false, 1, true},
    {"UniPC", NAMES("uni_pc", "unipc", "uni_pc_bh2"), "UniPCMultistepScheduler", &unipc_folder, NULL,
     SIGMAS_AUTOMATIC, false, 0, false},
    {"DEIS", NAMES("deis"), "DEISMultistepScheduler", &deis_folder, NULL, SIGMAS_AUTOMATIC, false, 0, false},
    {"DPM singlestep", NAMES("dpmpp_2s"), "DPMSolverSinglestepScheduler", &dpm_singlestep_folder, NULL,
     SIGMAS_AUTOMATIC, false, 0, false},
    {"SA-Solver", NAMES("sa_solver"), "SASolverScheduler", &sa_solver_folder, &sa_solver_named,
     SIGMAS_AUTOMATIC, false, 1, true},
    {"SA-Solver PECE", NAMES("sa_solver_pece"), NULL, NULL, &sa_solver_pece_named, SIGMAS_AUTOMATIC, false, 1,
     true},
    {"IPNDM", NAMES("ipndm"), "IPNDMScheduler", &ipndm_folder, NULL, SIGMAS_AUTOMATIC, false, 0, false},
    {"TCD", NAMES("tcd"), "TCDScheduler", &tcd_folder, &tcd_named, SIGMAS_SGM_UNIFORM, false, 0.3, true},
    {"DPM fast", NAMES("k_dpm_fast"), NULL, NULL, &dpm_fast_named, SIGMAS_UNIFORM, false, 1, true},
    {"DPM fast ODE", NAMES("dpm_fast"), NULL, NULL, &dpm_fast_named, SIGMAS_UNIFORM, false, 0, true},
    {"DPM adaptive", NAMES("k_dpm_ad"), NULL, NULL, &dpm_adaptive_named, SIGMAS_UNIFORM, false, 1, true},
    {"DPM adaptive ODE", NAMES("dpm_adaptive"), NULL, NULL, &dpm_adaptive_named, SIGMAS_UNIFORM, false, 0,
     true},
    {"DDIM Inverse", NAMES("ddim_inverse"), "DDIMInverseScheduler", &ddim_inverse_folder, NULL,
     SIGMAS_AUTOMATIC, false, 0, false},
    {"EDM Euler", NAMES("edm_euler"), "EDMEulerScheduler", &edm_euler_folder, &euler_named, SIGMAS_KARRAS,
     false, 0, false},
    {"EDM DPM++ 2M", NAMES("edm_dpmpp_2m"), "EDMDPMSolverMultistepScheduler", &edm_dpm_folder,
     &dpmpp_2m_named, SIGMAS_KARRAS, false, 0, false},
    {"Flow Euler", NAMES("flow_euler"), "FlowMatchEulerDiscreteScheduler", &flow_euler_folder, &euler_named,
     SIGMAS_AUTOMATIC, false, 0, false},
    {"Flow Heun", NAMES("flow_heun"), "FlowMatchHeunDiscreteScheduler", &flow_heun_folder, &heun_named,
     SIGMAS_AUTOMATIC, false, 0, false},
};
const int sampler_table_count = (int)(sizeof sampler_table / sizeof *sampler_table);
