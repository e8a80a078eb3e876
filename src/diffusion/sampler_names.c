/* sampler_names.c - find the sampler and the noise curve that a request names, and make its plan. */
#include "diffusion/sampling.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { NAME_TEXT = 96 };

const char *sampler_label(int i)
{
    return i >= 0 && i < sampler_table_count ? sampler_table[i].label : NULL;
}

const char *const *sampler_aliases(int i)
{
    return i >= 0 && i < sampler_table_count ? sampler_table[i].aliases : NULL;
}

const char *sampler_class(int i)
{
    return i >= 0 && i < sampler_table_count ? sampler_table[i].class_name : NULL;
}

const char *sampler_good_for(int i)
{
    return i >= 0 && i < sampler_table_count ? sampler_table[i].good_for : NULL;
}

static const sampler_row *row_of_class(const char *name)
{
    for (int i = 0; i < sampler_table_count; i++)
        if (sampler_table[i].class_name && strcasecmp(name, sampler_table[i].class_name) == 0)
            return &sampler_table[i];
    return NULL;
}

static const sampler_row *row_of_name(const char *name)
{
    for (int i = 0; i < sampler_table_count; i++) {
        const sampler_row *row = &sampler_table[i];
        if (strcasecmp(name, row->label) == 0)
            return row;
        for (const char *const *alias = row->aliases; *alias; alias++)
            if (strcasecmp(name, *alias) == 0)
                return row;
    }
    return NULL;
}

/* "DPM++ 2M Karras": the longest known curve label at the end, a known sampler before it. */
static const sampler_row *row_of_joined_name(const char *name, sigma_curve *curve)
{
    size_t length = strlen(name);
    for (int i = 0; i < SIGMAS_COUNT && length < NAME_TEXT; i++) {
        const char *label = sigma_curve_label((sigma_curve)i);
        size_t tail = strlen(label);
        if (length <= tail + 1 || strcasecmp(name + length - tail, label) != 0)
            continue;
        char between = name[length - tail - 1];
        if (between != ' ' && between != '_')
            continue;
        char head[NAME_TEXT];
        memcpy(head, name, length - tail - 1);
        head[length - tail - 1] = '\0';
        const sampler_row *row = row_of_name(head);
        if (row) {
            *curve = (sigma_curve)i;
            return row;
        }
    }
    return NULL;
}

/* "euler_k" and "k_dpmpp_2m_ka" (InvokeAI, old A1111): Karras' levels. */
static const sampler_row *row_of_karras_name(const char *name, sigma_curve *curve)
{
    const char *tail = strrchr(name, '_');
    char head[NAME_TEXT];
    if (!tail || tail - name >= NAME_TEXT || (strcasecmp(tail, "_k") != 0 && strcasecmp(tail, "_ka") != 0))
        return NULL;
    memcpy(head, name, (size_t)(tail - name));
    head[tail - name] = '\0';
    const sampler_row *row = row_of_name(head);
    if (row)
        *curve = SIGMAS_KARRAS;
    return row;
}

static void append(char *text, size_t room, const char *word)
{
    size_t used = strlen(text), length = strlen(word);
    if (used + length + 3 > room)
        return;
    if (used) {
        text[used++] = ',';
        text[used++] = ' ';
    }
    memcpy(text + used, word, length + 1);
}

static kiln_status unknown_sampler(const char *name, kiln_error *err)
{
    char known[1024] = "";
    for (int i = 0; i < sampler_table_count; i++)
        append(known, sizeof known, sampler_table[i].label);
    return fail(err, KILN_NOT_FOUND, "sampler '%.80s' is not known; known are %s", name, known);
}

static kiln_status find_curve(const char *name, sigma_curve *curve, kiln_error *err)
{
    if (!name || !*name || sigma_curve_from_name(name, curve))
        return KILN_OK;
    char known[640] = "";
    for (int i = 0; i < SIGMAS_COUNT; i++)
        append(known, sizeof known, sigma_curve_label((sigma_curve)i));
    return fail(err, KILN_NOT_FOUND, "schedule '%.80s' is not known; known are %s", name, known);
}

static const char *kind_word(schedule_kind kind)
{
    return kind == SCHEDULE_FLOW ? "flow matching" : kind == SCHEDULE_EDM ? "EDM" : "diffusion";
}

static bool draws_kind(const sampler_method *method, schedule_kind kind)
{
    unsigned kinds = method && method->kinds ? method->kinds : 1u << SCHEDULE_VP;
    return method && (kinds >> kind & 1);
}

/* Which of the row's methods draws with the model's schedule; the other view's where the asked one does not. */
static kiln_status choose_method(sampler_plan *plan, const sampler_row *row, bool folder, kiln_error *err)
{
    schedule_kind kind = plan->schedule->kind;
    bool asked = draws_kind(folder ? row->folder : row->named, kind);
    bool other = draws_kind(folder ? row->named : row->folder, kind);
    if (!asked && !other)
        return fail(err, KILN_UNSUPPORTED, "sampler %s does not draw with models of %s", row->label,
                    kind_word(kind));
    plan->row = row;
    plan->folder_view = asked ? folder : !folder;
    plan->method = plan->folder_view ? row->folder : row->named;
    if (!plan->folder_view)
        plan->config.clip_sample = plan->config.thresholding = false;
    return KILN_OK;
}

/* Models of zero terminal SNR begin at level 4096: of curves over levels, most steps would lie where there is nothing to
 * see yet. They are drawn with the timesteps that they are made for (Lin et al. 2023, arXiv:2305.08891, section 3.3). */
static sigma_curve automatic_curve(const sampler_row *row, const schedule *table)
{
    if (table->kind == SCHEDULE_VP && table->config.rescale_betas_zero_snr)
        return SIGMAS_TRAILING;
    bool even = row->automatic == SIGMAS_AUTOMATIC || table->kind == SCHEDULE_FLOW;
    return even ? SIGMAS_UNIFORM : row->automatic;
}

static kiln_status find_sampler(sampler_plan *plan, const sampler_request *request, kiln_error *err)
{
    const char *name = request->sampler;
    bool by_config = !name || !*name;
    if (by_config)
        name = plan->config.class_name;
    const sampler_row *row = row_of_class(name);
    if (row && !row->folder)
        row = NULL;
    plan->curve = SIGMAS_AUTOMATIC;
    if (by_config && !row)
        return fail(err, KILN_UNSUPPORTED, "the model's scheduler '%s' is not supported: name a sampler",
                    name);
    bool folder = row != NULL;
    if (!row)
        row = row_of_name(name);
    if (!row)
        row = row_of_joined_name(name, &plan->curve);
    if (!row)
        row = row_of_karras_name(name, &plan->curve);
    if (!row)
        return unknown_sampler(name, err);
    kiln_status status = choose_method(plan, row, folder, err);
    if (!status)
        status = find_curve(request->curve, &plan->curve, err);
    if (plan->curve == SIGMAS_AUTOMATIC)
        plan->curve = automatic_curve(row, plan->schedule);
    return status;
}

static kiln_status take_number(const char *what, double asked, double usual, double least, double most,
                               double *out, kiln_error *err)
{
    *out = isnan(asked) ? usual : asked;
    if (!(*out >= least && *out <= most))
        return fail(err, KILN_BAD_ARGUMENT, "%s is %g, expected %g to %g", what, asked, least, most);
    return KILN_OK;
}

static kiln_status take_numbers(sampler_plan *plan, const sampler_request *request, kiln_error *err)
{
    double strength, most = plan->schedule->count;
    kiln_status status = take_number("steps", request->steps, 0, 1, most, &strength, err);
    if (!status)
        status = take_number("strength", request->strength, 1, 0, 1, &strength, err);
    if (!status)
        status = take_number("eta", request->eta, plan->row->eta, 0, 1, &plan->eta, err);
    if (!status)
        status = take_number("s_noise", request->s_noise, 1, 0, 1000, &plan->s_noise, err);
    if (!status)
        status = take_number("s_churn", request->s_churn, 0, 0, 1e6, &plan->s_churn, err);
    if (!status)
        status = take_number("s_tmin", request->s_tmin, 0, 0, 1e6, &plan->s_tmin, err);
    if (!status)
        status = take_number("s_tmax", request->s_tmax, INFINITY, 0, INFINITY, &plan->s_tmax, err);
    if (!status)
        status = take_number("rtol", request->rtol, 0.05, 1e-9, 1, &plan->rtol, err);
    if (!status)
        status = take_number("atol", request->atol, 0.0078, 1e-9, 1, &plan->atol, err);
    plan->steps = request->steps;
    if (!status && plan->s_churn > 0 && plan->schedule->kind == SCHEDULE_FLOW)
        status = fail(err, KILN_UNSUPPORTED, "s_churn is not defined for models of flow matching");
    return status;
}

kiln_status sampler_plan_new(sampler_plan **out, const schedule *table, const sampler_request *request,
                             kiln_error *err)
{
    *out = NULL;
    sampler_plan *plan = calloc(1, sizeof *plan);
    if (!plan)
        return fail(err, KILN_NO_MEMORY, "no memory for a sampling plan");
    plan->schedule = table;
    plan->config = table->config;
    plan->begin_alpha = -1;
    plan->guidance_factor = 1;
    plan->image_tokens = request->image_tokens > 0 ? request->image_tokens : table->config.base_image_seq_len;
    kiln_status status = find_sampler(plan, request, err);
    if (!status)
        status = take_numbers(plan, request, err);
    if (!status)
        status = plan->method->plan(plan, request, err);
    if (!status && plan->begin_alpha == 0 && plan->config.prediction == PREDICTION_EPSILON)
        status =
            fail(err, KILN_UNSUPPORTED,
                 "%s: a model that predicts the noise cannot begin at zero terminal SNR", plan->row->label);
    if (status) {
        sampler_plan_free(plan);
        return status;
    }
    *out = plan;
    return KILN_OK;
}

const char *sampler_plan_name(const sampler_plan *plan)
{
    return plan->row->label;
}

const char *sampler_plan_curve(const sampler_plan *plan)
{
    return plan->on_curve ? sigma_curve_label(plan->curve) : "";
}
