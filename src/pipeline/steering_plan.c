/* steering_plan.c - what is known of controls and image prompts before a drawing: whether they fit the model, what memory
 * they take, and what the recipe says of them. */
#include "pipeline/steering.h"

#include "image/infotext.h"
#include "pipeline/drawing.h"
#include "pipeline/image_api.h"

#include <stdio.h>
#include <string.h>

/* ------------------------------------------------------------------------------------ checks */

static kiln_status check_span(const char *what, int i, double strength, double start, double end,
                              kiln_error *err)
{
    if (!(strength >= -10 && strength <= 10))
        return fail(err, KILN_BAD_ARGUMENT, "the strength of %s %d is -10 to 10, not %g", what, i + 1,
                    strength);
    if (!(start >= 0 && start <= 1 && end >= 0 && end <= 1 && start <= end))
        return fail(err, KILN_BAD_ARGUMENT,
                    "%s %d runs from %g to %g: both are 0 to 1, and the end is not before the start", what,
                    i + 1, start, end);
    return KILN_OK;
}

/* The ControlNet's skips are added to the UNet's: these must be alike. */
static bool same_way_down(const unet_config *a, const unet_config *b)
{
    bool same = a->levels == b->levels && a->context_channels == b->context_channels &&
                a->text_time == b->text_time &&
                (!a->text_time || (a->added_channels == b->added_channels &&
                                   a->added_time_channels == b->added_time_channels));
    for (int i = 0; same && i < a->levels; i++)
        same = a->channels[i] == b->channels[i] && a->layers[i] == b->layers[i];
    return same;
}

static const char *kind_of(const unet_config *u)
{
    return u->text_time ? "SDXL" : u->linear_projection ? "SD 2" : "SD 1";
}

static kiln_status check_control(const kiln_model *m, const kiln_control *c, int i, kiln_error *err)
{
    if (!c->net || !c->picture)
        return fail(err, KILN_BAD_ARGUMENT, "control %d has no %s", i + 1, c->net ? "picture" : "network");
    const unet_config *own = &m->parts->unet, *other = &c->net->parts->config.unet;
    if (!same_way_down(own, other) || own->class_kind != UNET_CLASS_NONE)
        return fail(
            err, KILN_MISMATCH,
            "the ControlNet %s was made for another UNet (%s, %d levels from %d channels, context of %d) "
            "than that of %s (%s, %d levels from %d channels, context of %d)",
            c->net->parts->path, kind_of(other), other->levels, other->channels[0], other->context_channels,
            m->path, kind_of(own), own->levels, own->channels[0], own->context_channels);
    if (other->in_channels != drawing_channels(m))
        return fail(err, KILN_MISMATCH, "the ControlNet %s takes latents of %d channels, the model's have %d",
                    c->net->parts->path, other->in_channels, drawing_channels(m));
    return check_span("control", i, c->strength, c->start, c->end, err);
}

static kiln_status check_prompt(const kiln_model *m, const kiln_image_prompt *p, int i, kiln_error *err)
{
    if (!p->adapter || !p->picture)
        return fail(err, KILN_BAD_ARGUMENT, "image prompt %d has no %s", i + 1,
                    p->adapter ? "picture" : "adapter");
    kiln_status status =
        ip_adapter_check(&p->adapter->parts->config, &m->parts->unet, p->adapter->parts->path, err);
    return status == KILN_OK ? check_span("image prompt", i, p->strength, p->start, p->end, err) : status;
}

kiln_status steering_check(const kiln_model *m, const kiln_draw_options *o, kiln_error *err)
{
    if (o->control_count < 0 || o->control_count > KILN_MAX_CONTROLS || (o->control_count && !o->controls))
        return fail(err, KILN_BAD_ARGUMENT, "a drawing has 0 to %d controls, not %d", KILN_MAX_CONTROLS,
                    o->control_count);
    if (o->image_prompt_count < 0 || o->image_prompt_count > KILN_MAX_IMAGE_PROMPTS ||
        (o->image_prompt_count && !o->image_prompts))
        return fail(err, KILN_BAD_ARGUMENT, "a drawing has 0 to %d image prompts, not %d",
                    KILN_MAX_IMAGE_PROMPTS, o->image_prompt_count);
    kiln_status status = KILN_OK;
    for (int i = 0; status == KILN_OK && i < o->control_count; i++)
        status = check_control(m, &o->controls[i], i, err);
    for (int i = 0; status == KILN_OK && i < o->image_prompt_count; i++)
        status = check_prompt(m, &o->image_prompts[i], i, err);
    return status == KILN_OK ? variation_check(m, o->variation, err) : status;
}

/* ------------------------------------------------------------------------------------ memory */

/* Whether an earlier entry has the same network: its weights are there once. */
static bool seen_before(const kiln_draw_options *o, int i)
{
    for (int k = 0; k < i; k++)
        if (o->controls[k].net == o->controls[i].net)
            return true;
    return false;
}

kiln_status steering_measure(kiln_session *s, const kiln_draw_options *o, const network_shape *size,
                             int64_t *weights_bytes, int64_t *activations, kiln_error *err)
{
    *weights_bytes = *activations = 0;
    kiln_status status = KILN_OK;
    unet_shape at_size = {
        .batch = size->batch, .height = size->height, .width = size->width, .context_tokens = size->tokens};
    for (int i = 0; status == KILN_OK && i < o->control_count; i++) {
        int64_t own_weights, own_activations;
        graph *g = graph_new();
        if (g)
            controlnet_draw(g, &o->controls[i].net->parts->config, &at_size);
        status = side_plan_measure(&s->model->plan, g, &own_weights, &own_activations, err);
        *weights_bytes += seen_before(o, i) ? 0 : own_weights;
        *activations += own_activations;
    }
    return status;
}

/* ------------------------------------------------------------------------------------ the recipe */

static void set_field(infotext *t, const char *key, int i, const char *text)
{
    char name[40];
    snprintf(name, sizeof name, "%s %d", key, i);
    (void)!infotext_set(t, name, text, NULL);
}

void steering_add_fields(const kiln_draw_options *o, infotext *t)
{
    char text[512];
    for (int i = 0; i < o->control_count; i++) {
        const kiln_control *c = &o->controls[i];
        snprintf(text, sizeof text,
                 "Module: %.32s, Model: %.200s, Weight: %g, Resize Mode: Just Resize, Guidance Start: %g, "
                 "Guidance End: %g, "
                 "Control Mode: %s",
                 c->module ? c->module : "none", c->net->name, c->strength, c->start, c->end,
                 c->guess ? "ControlNet is more important" : "Balanced");
        set_field(t, "ControlNet", i, text);
    }
    if (o->variation) {
        snprintf(text, sizeof text, "noise level %d", o->variation->noise_level);
        (void)!infotext_set(t, "Image variation", text, NULL);
    }
    for (int i = 0; i < o->image_prompt_count; i++) {
        const kiln_image_prompt *p = &o->image_prompts[i];
        snprintf(text, sizeof text, "Model: %.200s, Weight: %g, Guidance Start: %g, Guidance End: %g",
                 p->adapter->name, p->strength, p->start, p->end);
        set_field(t, "Image prompt", i, text);
    }
}
