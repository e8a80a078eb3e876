/* schedule_config.c - read a scheduler_config.json: a table of fields, each with its type and range.
 *
 * Defaults differ by class (DDIM clips the sample unless told not to; Heun's betas are latent
 * diffusion's), so the class is looked up first and the file then overrides. */
#include "diffusion/schedule.h"

#include "diffusion/plain_json.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define STABLE_DIFFUSION_NOISE                                                                               \
    .num_train_timesteps = 1000, .beta_start = 0.00085, .beta_end = 0.012, .beta_schedule = BETA_SCALED_LINEAR
#define COMMON_DEFAULTS                                                                                      \
    .clip_sample_range = 1, .dynamic_thresholding_ratio = 0.995, .sample_max_value = 1, .solver_order = 2,   \
    .lower_order_final = true, .lambda_min_clipped = -1e308, .original_inference_steps = 50,                 \
    .timestep_scaling = 10, .predict_x0 = true, .predictor_order = 2, .corrector_order = 2,                  \
    .sigma_data = 0.5, .rho = 7, .shift = 1, .base_shift = 0.5, .max_shift = 1.15,                           \
    .base_image_seq_len = 256, .max_image_seq_len = 4096

const schedule_config schedule_config_sd1 = {.class_name = "PNDMScheduler",
                                             STABLE_DIFFUSION_NOISE,
                                             COMMON_DEFAULTS,
                                             .prediction = PREDICTION_EPSILON,
                                             .spacing = SPACING_LEADING,
                                             .steps_offset = 1,
                                             .skip_prk_steps = true};
const schedule_config schedule_config_sd2_v = {.class_name = "DDIMScheduler",
                                               STABLE_DIFFUSION_NOISE,
                                               COMMON_DEFAULTS,
                                               .prediction = PREDICTION_V,
                                               .spacing = SPACING_LEADING,
                                               .steps_offset = 1};
const schedule_config schedule_config_sdxl = {.class_name = "EulerDiscreteScheduler",
                                              STABLE_DIFFUSION_NOISE,
                                              COMMON_DEFAULTS,
                                              .prediction = PREDICTION_EPSILON,
                                              .spacing = SPACING_LEADING,
                                              .steps_offset = 1};

static bool one_of(const char *name, const char *const *list)
{
    for (; *list; list++)
        if (strcmp(name, *list) == 0)
            return true;
    return false;
}

void schedule_config_defaults(schedule_config *config, const char *class_name)
{
    static const char *const leading[] = {"DDIMScheduler",
                                          "DDIMInverseScheduler",
                                          "PNDMScheduler",
                                          "DDPMScheduler",
                                          "LCMScheduler",
                                          "TCDScheduler",
                                          NULL};
    static const char *const latent_betas[] = {"HeunDiscreteScheduler",
                                               "KDPM2DiscreteScheduler",
                                               "KDPM2AncestralDiscreteScheduler",
                                               "DPMSolverSDEScheduler",
                                               "LCMScheduler",
                                               "TCDScheduler",
                                               NULL};
    static const char *const clipping[] = {"DDIMScheduler", "DDIMInverseScheduler", "DDPMScheduler", NULL};
    static const char *const to_one[] = {"DDIMScheduler", "DDIMInverseScheduler", "LCMScheduler",
                                         "TCDScheduler", NULL};
    const char *name = class_name ? class_name : "";
    bool latent = one_of(name, latent_betas);
    *config = (schedule_config){.num_train_timesteps = 1000,
                                .beta_start = latent ? 0.00085 : 0.0001,
                                .beta_end = latent ? 0.012 : 0.02,
                                .beta_schedule = BETA_LINEAR,
                                COMMON_DEFAULTS};
    if (strcmp(name, "LCMScheduler") == 0 || strcmp(name, "TCDScheduler") == 0)
        config->beta_schedule = BETA_SCALED_LINEAR;
    config->spacing = one_of(name, leading) ? SPACING_LEADING : SPACING_LINSPACE;
    config->clip_sample = one_of(name, clipping);
    config->set_alpha_to_one = one_of(name, to_one);
    if (strncmp(name, "FlowMatch", 9) == 0)
        config->prediction = PREDICTION_FLOW;
    if (strncmp(name, "EDM", 3) == 0) {
        config->sigma_min = 0.002;
        config->sigma_max = 80;
    }
    if (strcmp(name, "DPMSolverSinglestepScheduler") == 0)
        config->lower_order_final = false;
    size_t length = strlen(name);
    if (length < sizeof config->class_name)
        memcpy(config->class_name, name, length + 1);
}

/* --------------------------------------------------------------------------- the table of fields */

typedef enum field_type { FIELD_INT, FIELD_REAL, FIELD_BOOL, FIELD_NAME } field_type;

typedef struct field_choice {
    const char *name;
    int value; /* -1: known to diffusers, not implemented here */
} field_choice;

typedef struct field {
    const char *key;
    field_type type;
    size_t offset;
    double least, most;          /* of a number */
    const field_choice *choices; /* of a name, ended by a NULL name */
} field;

static const field_choice beta_choices[] = {{"linear", BETA_LINEAR},
                                            {"scaled_linear", BETA_SCALED_LINEAR},
                                            {"squaredcos_cap_v2", BETA_SQUARED_COS},
                                            {"sigmoid", BETA_SIGMOID},
                                            {"exp", -1},
                                            {"laplace", -1},
                                            {NULL, 0}};
static const field_choice prediction_choices[] = {
    {"epsilon", PREDICTION_EPSILON},      {"v_prediction", PREDICTION_V},
    {"sample", PREDICTION_SAMPLE},        {"original_sample", PREDICTION_SAMPLE},
    {"flow_prediction", PREDICTION_FLOW}, {NULL, 0}};
static const field_choice spacing_choices[] = {
    {"leading", SPACING_LEADING}, {"trailing", SPACING_TRAILING}, {"linspace", SPACING_LINSPACE}, {NULL, 0}};
static const field_choice final_choices[] = {
    {"zero", FINAL_SIGMA_ZERO}, {"sigma_min", FINAL_SIGMA_MIN}, {NULL, 0}};
static const field_choice interpolation_choices[] = {
    {"linear", SIGMA_LINEAR}, {"log_linear", SIGMA_LOG_LINEAR}, {NULL, 0}};
static const field_choice timestep_choices[] = {
    {"discrete", TIMESTEP_DISCRETE}, {"continuous", TIMESTEP_CONTINUOUS}, {NULL, 0}};
/* "deis", "logrho" and the like are what other classes write: the multistep solver reads them as its own.
 *  */
static const field_choice algorithm_choices[] = {{"dpmsolver++", DPM_PLUS_PLUS},
                                                 {"dpmsolver", DPM_PLAIN},
                                                 {"sde-dpmsolver++", DPM_SDE_PLUS_PLUS},
                                                 {"sde-dpmsolver", DPM_SDE},
                                                 {"deis", DPM_PLUS_PLUS},
                                                 {"data_prediction", DPM_PLUS_PLUS},
                                                 {"noise_prediction", DPM_PLAIN},
                                                 {NULL, 0}};
static const field_choice solver_choices[] = {{"midpoint", DPM_MIDPOINT}, {"heun", DPM_HEUN},
                                              {"logrho", DPM_MIDPOINT},   {"bh1", SOLVER_BH1},
                                              {"bh2", SOLVER_BH2},        {NULL, 0}};

/* "learned" is for networks that give the variance as more channels. */
static const field_choice variance_choices[] = {{"fixed_small", DDPM_FIXED_SMALL},
                                                {"fixed_small_log", DDPM_FIXED_SMALL},
                                                {"fixed_large", DDPM_FIXED_LARGE},
                                                {"fixed_large_log", -1},
                                                {"learned", -1},
                                                {"learned_range", -1},
                                                {NULL, 0}};

static const field_choice shift_choices[] = {
    {"exponential", SHIFT_EXPONENTIAL}, {"linear", SHIFT_LINEAR}, {NULL, 0}};
static const field_choice edm_choices[] = {
    {"karras", EDM_KARRAS}, {"exponential", EDM_EXPONENTIAL}, {NULL, 0}};

#define AT(member) offsetof(schedule_config, member)
#define NUMBER(key, type, member, least, most)                                                               \
    {                                                                                                        \
        key, type, AT(member), least, most, NULL                                                             \
    }
#define SWITCH(key, member)                                                                                  \
    {                                                                                                        \
        key, FIELD_BOOL, AT(member), 0, 0, NULL                                                              \
    }
#define NAME(key, member, choices)                                                                           \
    {                                                                                                        \
        key, FIELD_NAME, AT(member), 0, 0, choices                                                           \
    }

static const field fields[] = {
    NUMBER("num_train_timesteps", FIELD_INT, num_train_timesteps, 2, SCHEDULE_MAX_TIMESTEPS),
    NUMBER("beta_start", FIELD_REAL, beta_start, 0, 1),
    NUMBER("beta_end", FIELD_REAL, beta_end, 0, 1),
    NAME("beta_schedule", beta_schedule, beta_choices),
    SWITCH("rescale_betas_zero_snr", rescale_betas_zero_snr),
    NAME("prediction_type", prediction, prediction_choices),
    NAME("timestep_spacing", spacing, spacing_choices),
    NUMBER("steps_offset", FIELD_INT, steps_offset, 0, SCHEDULE_MAX_TIMESTEPS),
    SWITCH("set_alpha_to_one", set_alpha_to_one),
    SWITCH("clip_sample", clip_sample),
    NUMBER("clip_sample_range", FIELD_REAL, clip_sample_range, 0, 1e30),
    SWITCH("thresholding", thresholding),
    NUMBER("dynamic_thresholding_ratio", FIELD_REAL, dynamic_thresholding_ratio, 0, 1),
    NUMBER("sample_max_value", FIELD_REAL, sample_max_value, 0, 1e30),
    SWITCH("use_karras_sigmas", use_karras_sigmas),
    SWITCH("use_exponential_sigmas", use_exponential_sigmas),
    SWITCH("use_beta_sigmas", use_beta_sigmas),
    SWITCH("use_lu_lambdas", use_lu_lambdas),
    NAME("final_sigmas_type", final_sigmas, final_choices),
    NUMBER("sigma_min", FIELD_REAL, sigma_min, 0, 1e6),
    NUMBER("sigma_max", FIELD_REAL, sigma_max, 0, 1e6),
    NAME("interpolation_type", interpolation, interpolation_choices),
    NAME("timestep_type", timesteps, timestep_choices),
    SWITCH("skip_prk_steps", skip_prk_steps),
    NUMBER("solver_order", FIELD_INT, solver_order, 1, 3),
    NAME("algorithm_type", algorithm, algorithm_choices),
    NAME("solver_type", solver, solver_choices),
    SWITCH("predict_x0", predict_x0),
    SWITCH("lower_order_final", lower_order_final),
    SWITCH("euler_at_final", euler_at_final),
    NAME("variance_type", variance, variance_choices),
    NUMBER("original_inference_steps", FIELD_INT, original_inference_steps, 1, SCHEDULE_MAX_TIMESTEPS),
    NUMBER("timestep_scaling", FIELD_REAL, timestep_scaling, 0, 1e9),
    NUMBER("lambda_min_clipped", FIELD_REAL, lambda_min_clipped, -1e308, 1e308),
    NUMBER("predictor_order", FIELD_INT, predictor_order, 1, 3),
    NUMBER("corrector_order", FIELD_INT, corrector_order, 1, 4),
    NUMBER("sigma_data", FIELD_REAL, sigma_data, 1e-6, 1e6),
    NUMBER("rho", FIELD_REAL, rho, 1e-3, 1000),
    NAME("sigma_schedule", edm_sigmas, edm_choices),
    SWITCH("use_flow_sigmas", use_flow_sigmas),
    SWITCH("use_dynamic_shifting", use_dynamic_shifting),
    SWITCH("invert_sigmas", invert_sigmas),
    SWITCH("stochastic_sampling", stochastic_sampling),
    NUMBER("shift", FIELD_REAL, shift, 1e-3, 1000),
    NUMBER("flow_shift", FIELD_REAL, shift, 1e-3, 1000),
    NUMBER("base_shift", FIELD_REAL, base_shift, -20, 20),
    NUMBER("max_shift", FIELD_REAL, max_shift, -20, 20),
    NUMBER("shift_terminal", FIELD_REAL, shift_terminal, 0, 0.999),
    NUMBER("base_image_seq_len", FIELD_INT, base_image_seq_len, 1, 1 << 24),
    NUMBER("max_image_seq_len", FIELD_INT, max_image_seq_len, 1, 1 << 24),
    NAME("time_shift_type", shift_kind, shift_choices),
};

static const char *type_word(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "true or false";
    default:
        return "null";
    }
}

static kiln_status read_number(void *to, const field *f, const json_t *value, const char *place,
                               kiln_error *err)
{
    double number = json_number_value(value);
    /* An integer may be written 1000.0. */
    bool fits = json_is_number(value) && (f->type == FIELD_REAL || number == floor(number));
    if (!fits)
        return fail(err, KILN_BAD_FORMAT, "%s: '%s' should be %s, found %s", place, f->key,
                    f->type == FIELD_INT ? "an integer" : "a number", type_word(value));
    if (!(number >= f->least && number <= f->most))
        return fail(err, KILN_BAD_FORMAT, "%s: '%s' should be from %g to %g, found %g", place, f->key,
                    f->least, f->most, number);
    if (f->type == FIELD_INT)
        *(int *)to = (int)number;
    else
        *(double *)to = number;
    return KILN_OK;
}

static kiln_status read_name(int *to, const field *f, const json_t *value, const char *place, kiln_error *err)
{
    if (!json_is_string(value))
        return fail(err, KILN_BAD_FORMAT, "%s: '%s' should be a string, found %s", place, f->key,
                    type_word(value));
    const char *name = json_string_value(value);
    char known[256] = "";
    for (const field_choice *choice = f->choices; choice->name; choice++) {
        if (strcmp(choice->name, name) == 0) {
            if (choice->value < 0)
                return fail(err, KILN_UNSUPPORTED, "%s: '%s' is '%s', which is not supported", place, f->key,
                            name);
            *to = choice->value;
            return KILN_OK;
        }
        if (choice->value >= 0 && strlen(known) + strlen(choice->name) + 3 < sizeof known) {
            strcat(known, *known ? ", " : "");
            strcat(known, choice->name);
        }
    }
    return fail(err, KILN_BAD_FORMAT, "%s: '%s' should be one of %s, found '%s'", place, f->key, known, name);
}

static kiln_status read_field(schedule_config *config, const field *f, const json_t *value, const char *place,
                              kiln_error *err)
{
    void *to = (char *)config + f->offset;
    switch (f->type) {
    case FIELD_BOOL:
        if (!json_is_boolean(value))
            return fail(err, KILN_BAD_FORMAT, "%s: '%s' should be true or false, found %s", place, f->key,
                        type_word(value));
        *(bool *)to = json_is_true(value);
        return KILN_OK;
    case FIELD_NAME:
        return read_name(to, f, value, place, err);
    default:
        return read_number(to, f, value, place, err);
    }
}

static kiln_status read_trained_betas(schedule_config *config, const json_t *root, const char *place,
                                      kiln_error *err)
{
    const json_t *list = json_object_get(root, "trained_betas");
    if (!list || json_is_null(list))
        return KILN_OK;
    if (!json_is_array(list))
        return fail(err, KILN_BAD_FORMAT, "%s: 'trained_betas' should be an array of numbers, found %s",
                    place, type_word(list));
    size_t count = json_array_size(list);
    if (count < 2 || count > SCHEDULE_MAX_TIMESTEPS)
        return fail(err, KILN_BAD_FORMAT, "%s: 'trained_betas' has %zu numbers, expected 2 to %d", place,
                    count, SCHEDULE_MAX_TIMESTEPS);
    float *betas = malloc(count * sizeof *betas);
    if (!betas)
        return fail(err, KILN_NO_MEMORY, "%s: no memory for %zu betas", place, count);
    for (size_t i = 0; i < count; i++) {
        const json_t *value = json_array_get(list, i);
        double beta = json_number_value(value);
        if (!json_is_number(value) || !(beta > 0 && beta < 1)) {
            free(betas);
            return fail(err, KILN_BAD_FORMAT,
                        "%s: 'trained_betas' entry %zu should be a number between 0 and 1", place, i);
        }
        betas[i] = (float)beta;
    }
    config->trained_betas = betas;
    config->num_train_timesteps = (int)count;
    return KILN_OK;
}

static kiln_status read_object(schedule_config *config, const json_t *root, const char *class_name,
                               const char *place, kiln_error *err)
{
    if (!json_is_object(root))
        return fail(err, KILN_BAD_FORMAT, "%s: expected an object, found %s", place, type_word(root));
    const json_t *own = json_object_get(root, "_class_name");
    if (!class_name && own && !json_is_null(own)) {
        if (!json_is_string(own) || json_string_length(own) >= SCHEDULE_CLASS_TEXT)
            return fail(err, KILN_BAD_FORMAT,
                        "%s: '_class_name' should be a string of less than %d characters", place,
                        SCHEDULE_CLASS_TEXT);
        class_name = json_string_value(own);
    }
    schedule_config_defaults(config, class_name);
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        const json_t *value = json_object_get(root, fields[i].key);
        if (!value || json_is_null(value))
            continue;
        kiln_status status = read_field(config, &fields[i], value, place, err);
        if (status)
            return status;
    }
    static const char *const no_zero_snr[] = {"PNDMScheduler",
                                              "HeunDiscreteScheduler",
                                              "LMSDiscreteScheduler",
                                              "KDPM2DiscreteScheduler",
                                              "KDPM2AncestralDiscreteScheduler",
                                              "DPMSolverSDEScheduler",
                                              NULL};
    if (one_of(config->class_name, no_zero_snr)) /* these classes do not know the field */
        config->rescale_betas_zero_snr = false;
    if ((config->prediction == PREDICTION_FLOW) != (schedule_kind_of(config) == SCHEDULE_FLOW))
        return fail(err, KILN_UNSUPPORTED,
                    "%s: 'prediction_type' flow_prediction belongs to a flow-matching class or to "
                    "use_flow_sigmas, and no other does",
                    place);
    if (config->use_karras_sigmas + config->use_exponential_sigmas + config->use_beta_sigmas > 1)
        return fail(
            err, KILN_BAD_FORMAT,
            "%s: only one of use_karras_sigmas, use_exponential_sigmas and use_beta_sigmas can be true",
            place);
    return read_trained_betas(config, root, place, err);
}

kiln_status schedule_config_read(schedule_config *config, const char *text, size_t size,
                                 const char *class_name, const char *place, kiln_error *err)
{
    memset(config, 0, sizeof *config);
    size_t plain_size;
    char *plain = plain_json(text, size, &plain_size);
    if (!plain)
        return fail(err, KILN_NO_MEMORY, "%s: no memory to read it", place);
    json_error_t at;
    json_t *root = json_loadb(plain, plain_size, 0, &at);
    free(plain);
    if (!root)
        return fail(err, KILN_BAD_FORMAT, "%s: line %d: %s", place, at.line, at.text);
    kiln_status status = read_object(config, root, class_name, place, err);
    json_decref(root);
    if (status)
        schedule_config_fini(config);
    return status;
}

void schedule_config_fini(schedule_config *config)
{
    if (!config)
        return;
    free(config->trained_betas);
    config->trained_betas = NULL;
}

void schedule_config_repair(schedule_config *config)
{
    config->steps_offset = 1;
    config->clip_sample = false;
}
