/* recipe_inpaint.c - what an inpainting adds to a picture's recipe, under A1111's names, and back. */
#include "pipeline/inpaint.h"
#include "pipeline/outpaint_parts.h"
#include "pipeline/recipe.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *key;
    size_t offset;
} soft_keys[] = {
    {"Soft inpainting schedule bias", offsetof(kiln_inpaint_options, soft_bias)},
    {"Soft inpainting preservation strength", offsetof(kiln_inpaint_options, soft_preservation)},
    {"Soft inpainting transition contrast boost", offsetof(kiln_inpaint_options, soft_contrast)},
    {"Soft inpainting mask influence", offsetof(kiln_inpaint_options, soft_influence)},
    {"Soft inpainting difference threshold", offsetof(kiln_inpaint_options, soft_threshold)},
    {"Soft inpainting difference contrast", offsetof(kiln_inpaint_options, soft_difference)},
};

/* The whole picture drawn at its own size has no size to be asked for again. */
static const char own_size[] = "Own size";

void inpaint_add_fields(const void *options, struct infotext *t)
{
    const kiln_inpaint_options *o = options;
    recipe_set_real(t, "Mask blur", o->mask_blur);
    if (o->mask_grow != 0)
        recipe_set_real(t, "Mask grow", o->mask_grow);
    if (o->invert)
        (void)!infotext_set(t, "Mask mode", "Inpaint not masked", NULL);
    (void)!infotext_set(t, "Inpaint area", o->only_masked ? "Only masked" : "Whole picture", NULL);
    if (o->only_masked)
        recipe_set_real(t, "Masked area padding", o->padding);
    else if (!o->draw.width && !o->draw.height)
        (void)!infotext_set(t, own_size, "True", NULL);
    (void)!infotext_set(t, "Masked content", o->content, NULL);
    if (o->mask_weight != 1)
        recipe_set_real(t, "Conditional mask weight", o->mask_weight);
    if (!o->match_colour)
        (void)!infotext_set(t, "Match colour", "False", NULL);
    if (!o->soft)
        return;
    (void)!infotext_set(t, "Soft inpainting enabled", "True", NULL);
    for (size_t i = 0; i < sizeof soft_keys / sizeof *soft_keys; i++)
        recipe_set_real(t, soft_keys[i].key, *(const double *)((const char *)o + soft_keys[i].offset));
}

static bool says(const kiln_recipe *r, const char *key, const char *expected)
{
    const char *text = kiln_recipe_field(r, key);
    return text && strcmp(text, expected) == 0;
}

void kiln_recipe_apply_inpaint(const kiln_recipe *r, kiln_inpaint_options *o)
{
    kiln_recipe_apply(r, &o->draw);
    if (says(r, own_size, "True"))
        o->draw.width = o->draw.height = 0;
    double padding = o->padding;
    o->mask_blur = 0; /* A1111 leaves a blur of 0 out */
    recipe_get_real(r, "Mask blur", &o->mask_blur);
    recipe_get_real(r, "Mask grow", &o->mask_grow);
    recipe_get_real(r, "Masked area padding", &padding);
    recipe_get_real(r, "Conditional mask weight", &o->mask_weight);
    if (padding >= 0 && padding <= 4096)
        o->padding = (int)padding;
    o->invert = says(r, "Mask mode", "Inpaint not masked");
    o->only_masked = says(r, "Inpaint area", "Only masked");
    const char *content = kiln_recipe_field(r, "Masked content");
    o->content = content ? content : "original";
    o->match_colour = !says(r, "Match colour", "False");
    o->soft = says(r, "Soft inpainting enabled", "True");
    for (size_t i = 0; i < sizeof soft_keys / sizeof *soft_keys; i++)
        recipe_get_real(r, soft_keys[i].key, (double *)((char *)o + soft_keys[i].offset));
}

/* ------------------------------------------------------------------------------------ outpainting */

static const struct {
    const char *key;
    size_t offset;
} outpaint_keys[] = {
    {"Outpaint left", offsetof(kiln_outpaint_options, left)},
    {"Outpaint right", offsetof(kiln_outpaint_options, right)},
    {"Outpaint up", offsetof(kiln_outpaint_options, up)},
    {"Outpaint down", offsetof(kiln_outpaint_options, down)},
    {"Outpaint feather", offsetof(kiln_outpaint_options, feather)},
    {"Outpaint step", offsetof(kiln_outpaint_options, step)},
    {"Outpaint repeat", offsetof(kiln_outpaint_options, repeat)},
};

static void add_outpaint(const void *options, struct infotext *t)
{
    const kiln_outpaint_options *o = options;
    (void)!infotext_set(t, "Outpaint fill", o->fill, NULL);
    for (size_t i = 0; i < sizeof outpaint_keys / sizeof *outpaint_keys; i++)
        recipe_set_real(t, outpaint_keys[i].key, *(const int *)((const char *)o + outpaint_keys[i].offset));
    recipe_set_real(t, "Color variation", o->variation);
    if (!o->match_colour)
        (void)!infotext_set(t, "Match colour", "False", NULL);
}

kiln_status outpaint_recipe(const outpainting *p, work *w, char **text, kiln_error *err)
{
    /* The words and the seed of the picture, not as the window had them. */
    kiln_draw_options draw = p->options->draw;
    const kiln_draw_options *own = w->request.options;
    texts own_texts = w->request.texts;
    draw.width = p->plan.window_width;
    draw.height = p->plan.window_height;
    w->request.options = &draw;
    w->request.texts = p->words.texts;
    w->request.add_fields = add_outpaint;
    w->request.add_self = p->options;
    kiln_status status = work_wait_for_hash(w, err);
    *text = status == KILN_OK ? request_infotext(w->session, &w->request, p->index) : NULL;
    w->request.options = own;
    w->request.texts = own_texts;
    return status != KILN_OK || *text ? status
                                      : fail(err, KILN_NO_MEMORY, "out of memory for the picture's text");
}

void kiln_recipe_apply_outpaint(const kiln_recipe *r, kiln_outpaint_options *o)
{
    kiln_recipe_apply(r, &o->draw);
    for (size_t i = 0; i < sizeof outpaint_keys / sizeof *outpaint_keys; i++) {
        int *place = (int *)((char *)o + outpaint_keys[i].offset);
        double v = *place;
        recipe_get_real(r, outpaint_keys[i].key, &v);
        *place = v >= 0 && v <= 65535 ? (int)v : *place;
    }
    recipe_get_real(r, "Color variation", &o->variation);
    const char *fill = kiln_recipe_field(r, "Outpaint fill");
    o->fill = fill ? fill : o->fill;
    o->match_colour = !says(r, "Match colour", "False");
}
