/* recipe.c - a drawing's recipe as A1111's infotext, and back. */
#include "pipeline/recipe.h"
#include "pipeline/guiding.h"
#include "pipeline/hires.h"
#include "pipeline/loras.h"
#include "pipeline/model_words.h"
#include "pipeline/request.h"
#include "pipeline/seeding.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ------------------------------------------------------------------------------------ writing */

static const char empty_negative[] = "Empty negative prompt";

void recipe_set_format(infotext *t, const char *key, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    (void)!infotext_set(t, key, text, NULL);
}

void recipe_set_real(infotext *t, const char *key, double v)
{
    char text[32];
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (strtod(text, NULL) == v)
            break;
    }
    recipe_set_format(t, key, "%s", text);
}

/* The sampler as it has to be asked for again: diffusers' class in the folder view, else A1111's label. */
static const char *sampler_again(const sampler_plan *p)
{
    if (!p->folder_view)
        return sampler_plan_name(p);
    for (int i = 0; sampler_label(i); i++)
        if (strcmp(sampler_label(i), sampler_plan_name(p)) == 0 && sampler_class(i))
            return sampler_class(i);
    return sampler_plan_name(p);
}

static void add_model(infotext *t, kiln_model *m)
{
    const char *hash = model_hash_text(&m->hash);
    if (hash)
        recipe_set_format(t, "Model hash", "%s", hash);
    recipe_set_format(t, "Model", "%s", m->name);
}

/* The embeddings whose words are in the prompts. */
static void add_words(infotext *t, const kiln_session *s, const request *r, const kiln_draw_options *o)
{
    const model_words *all = session_words(s);
    const char *const prompts[] = {o->conditioning ? NULL : o->prompt,
                                   o->negative_conditioning || !r->guided ? NULL : o->negative};
    bool *used = all && all->count ? calloc((size_t)all->count, sizeof *used) : NULL;
    for (int i = 0; used && i < 2; i++) {
        prompting_rules rules;
        if (prompts[i] && request_prompting(r, i == 1, &rules, NULL) == KILN_OK)
            (void)!prompting_words(s, prompts[i], &rules, used, NULL);
    }
    char *hashes = used ? model_words_hashes(all, used) : NULL;
    if (hashes)
        (void)!infotext_set(t, "TI hashes", hashes, NULL);
    free(hashes);
    free(used);
}

/* Where the prompts come from, under the names of A1111's script for wildcards and of SD.Next. */
static void add_templates(infotext *t, const texts *from)
{
    (void)!infotext_set(t, "Wildcard prompt", from->prompt_template, NULL);
    (void)!infotext_set(t, "Wildcard negative prompt", from->negative_template, NULL);
    (void)!infotext_set(t, "Styles", from->styles, NULL);
}

char *request_infotext(const kiln_session *s, const request *r, int index)
{
    kiln_draw_options own = request_options(r, texts_index(&r->texts, index));
    const kiln_draw_options *o = &own;
    char *prompt = loras_prompt(o);
    infotext *t = prompt ? infotext_new(prompt, o->negative) : NULL;
    free(prompt);
    if (!t)
        return NULL;
    recipe_set_format(t, "Steps", "%d", o->steps);
    recipe_set_format(t, "Sampler", "%s", sampler_again(r->sampler));
    if (sampler_plan_curve(r->sampler)[0])
        recipe_set_format(t, "Schedule type", "%s", sampler_plan_curve(r->sampler));
    recipe_set_real(t, "CFG scale", o->cfg);
    recipe_set_format(t, "Seed", "%" PRIu64, seeding_seed(o, index));
    seeding_add_fields(o, index,
                       sampler_plan_is_stochastic(r->sampler) && !sampler_plan_is_brownian(r->sampler), t);
    recipe_set_format(t, "Size", "%dx%d", r->width, r->height);
    add_model(t, s->model);
    if (r->kind.picture)
        recipe_set_real(t, "Denoising strength", o->strength);
    if (r->extra == EXTRA_EDIT)
        recipe_set_real(t, "Image CFG scale", o->image_cfg);
    if (o->clip_skip > 1)
        recipe_set_format(t, "Clip skip", "%d", o->clip_skip);
    if (o->emphasis && strcasecmp(o->emphasis, "Original") != 0)
        recipe_set_format(t, "Emphasis", "%s", o->emphasis);
    recipe_set_format(t, "RNG", "%s", r->noise == NOISE_TORCH ? "CPU" : "NV");
    if (o->eta != -1)
        recipe_set_real(t, "Eta", o->eta);
    if (o->cfg_rescale > 0)
        recipe_set_real(t, "CFG rescale", o->cfg_rescale);
    guiding_add_fields(&o->guidance, &o->sampling, t);
    /* SDXL tells an empty negative prompt from none, and the text does not. */
    if (s->model->parts->zero_empty_prompt && o->negative && !*o->negative)
        recipe_set_format(t, empty_negative, "%s", "encoded");
    if (o->conditioning || o->negative_conditioning)
        recipe_set_format(t, "Conditioning", "%s", "from a file");
    if (r->vae_tile)
        recipe_set_format(t, "VAE tile", "%d", r->vae_tile);
    recipe_set_format(t, "Precision", "%s", s->model->plan.compute == DTYPE_BF16 ? "bf16" : "f32");
    recipe_set_format(t, "Version", "Kiln %s", kiln_version());
    steering_add_fields(o, t);
    loras_add_fields(s, t);
    add_words(t, s, r, o);
    add_templates(t, &r->texts);
    if (r->add_fields)
        r->add_fields(r->add_self, t);
    infotext_sort(t);
    char *text = infotext_build(t);
    infotext_free(t);
    return text;
}

/* ------------------------------------------------------------------------------------ reading */

struct kiln_recipe {
    infotext *text;
    char *prompt;
};

kiln_status kiln_recipe_read(const char *parameters, kiln_recipe **out, kiln_error *err)
{
    *out = NULL;
    if (!parameters)
        return fail(err, KILN_BAD_ARGUMENT, "there is no text to read a recipe from");
    kiln_recipe *r = calloc(1, sizeof *r);
    if (!r)
        return fail(err, KILN_NO_MEMORY, "out of memory for a recipe");
    kiln_status status = infotext_parse(parameters, &r->text, err);
    if (status == KILN_OK && !(r->prompt = infotext_full_prompt(r->text)))
        status = fail(err, KILN_NO_MEMORY, "out of memory for a recipe");
    if (status == KILN_OK && !infotext_get(r->text, "Steps"))
        status = fail(err, KILN_BAD_FORMAT,
                      "the text holds no recipe: a line with Steps, Sampler and Seed is missing");
    if (status != KILN_OK) {
        kiln_recipe_free(r);
        return status;
    }
    *out = r;
    return KILN_OK;
}

void kiln_recipe_free(kiln_recipe *r)
{
    if (!r)
        return;
    infotext_free(r->text);
    free(r->prompt);
    free(r);
}

const char *kiln_recipe_field(const kiln_recipe *r, const char *name)
{
    return infotext_get(r->text, name);
}

void recipe_get_real(const kiln_recipe *r, const char *name, double *out)
{
    const char *text = infotext_get(r->text, name);
    char *end = NULL;
    double v = text ? strtod(text, &end) : 0;
    if (text && end != text && isfinite(v))
        *out = v;
}

static void read_int(const kiln_recipe *r, const char *name, int *out)
{
    double v = *out;
    recipe_get_real(r, name, &v);
    if (v >= -2147483647.0 && v <= 2147483647.0)
        *out = (int)v;
}

void kiln_recipe_apply(const kiln_recipe *r, kiln_draw_options *o)
{
    o->templates = NULL; /* what the texts come from is chosen already */
    o->prompt = r->prompt;
    o->negative = r->text->negative[0] || infotext_get(r->text, empty_negative) ? r->text->negative : NULL;
    read_int(r, "Steps", &o->steps);
    recipe_get_real(r, "CFG scale", &o->cfg);
    recipe_get_real(r, "Denoising strength", &o->strength);
    recipe_get_real(r, "Image CFG scale", &o->image_cfg);
    hires_read_fields(r, o);
    recipe_get_real(r, "Eta", &o->eta);
    recipe_get_real(r, "CFG rescale", &o->cfg_rescale);
    guiding_read_fields(r->text, &o->guidance, &o->sampling);
    o->clip_skip = 1;
    read_int(r, "Clip skip", &o->clip_skip);
    o->emphasis = infotext_get(r->text, "Emphasis");
    read_int(r, "VAE tile", &o->vae_tile);
    int width, height;
    if (infotext_get_size(r->text, "Size", &width, &height)) {
        o->width = width;
        o->height = height;
    }
    const char *seed = infotext_get(r->text, "Seed"), *rng = infotext_get(r->text, "RNG");
    if (seed)
        o->seed = strtoull(seed, NULL, 10);
    seeding_read_fields(r->text, o);
    /* A1111 leaves RNG out when the GPU drew the noise, which is what "nv" repeats. */
    o->rng = rng && strcasecmp(rng, "CPU") == 0 ? "cpu" : "nv";
    if (infotext_get(r->text, "Sampler"))
        o->sampler = infotext_get(r->text, "Sampler");
    o->schedule = infotext_get(r->text, "Schedule type");
}
