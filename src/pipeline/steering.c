/* steering.c - see steering.h. */
#include "pipeline/steering.h"

#include "image/resize.h"
#include "pipeline/image_api.h"
#include "pipeline/map.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Passes of one drawing differ in how many contexts they hold and how long these are. */
enum { CONTROL_PLANS = 3 };

typedef struct control_plan {
    int batch, tokens;
    side_plan side;
} control_plan;

typedef struct one_control {
    const kiln_control *control;
    float *hint; /* [h,w,C] */
    control_plan plans[CONTROL_PLANS];
    int plan_count;
} one_control;

typedef struct one_prompt {
    const kiln_image_prompt *prompt;
    int tokens;
    /* For each layer its keys and then its values, [tokens,C] each: of the picture, and of no picture. */
    float *told, *blank;
} one_prompt;

struct steering {
    kiln_session *session;
    int height, width; /* of the latents */
    one_control controls[KILN_MAX_CONTROLS];
    one_prompt prompts[KILN_MAX_IMAGE_PROMPTS];
    int control_count, prompt_count;
    variation *variation; /* NULL: none */
};

static kiln_status no_memory(kiln_error *err)
{
    return fail(err, KILN_NO_MEMORY, "out of memory for what steers the drawing");
}

/* ------------------------------------------------------------------------------------ control pictures */

/* The picture at the size of the drawing, in 0..1, channels as the network takes them. */
static kiln_status to_hint(const image *from, const controlnet_config *c, int height, int width, float *to,
                           kiln_error *err)
{
    image *rgb = NULL, *resized = NULL;
    kiln_status status = image_to_bytes(from, 3, &rgb, err);
    if (status == KILN_OK && (rgb->width != width || rgb->height != height))
        status = image_resize(rgb, width, height, RESIZE_LANCZOS, &resized, err);
    if (status == KILN_OK) {
        const uint8_t *bytes = resized ? resized->pixels : rgb->pixels;
        for (int64_t i = 0; i < (int64_t)width * height * 3; i++)
            to[c->bgr ? i / 3 * 3 + 2 - i % 3 : i] = (float)bytes[i] / 255.0f;
    }
    image_free(rgb);
    image_free(resized);
    return status;
}

static graph *draw_hint(const controlnet_config *c, int height, int width)
{
    graph *g = graph_new();
    if (g)
        controlnet_draw_hint(g, c, height, width);
    return g;
}

static kiln_status encode_hint(steering *s, one_control *one, kiln_error *err)
{
    const kiln_controlnet *net = one->control->net;
    const controlnet_config *c = &net->parts->config;
    int factor = controlnet_factor(c);
    size_t count = (size_t)s->height * (size_t)s->width * (size_t)c->unet.channels[0];
    side_plan p;
    kiln_status status =
        side_plan_new(&net->hint, &s->session->model->plan, draw_hint(c, s->height, s->width), &p, err);
    if (status != KILN_OK)
        return status;
    one->hint = malloc(count * sizeof *one->hint);
    status = one->hint ? to_hint(one->control->picture->picture, c, s->height * factor, s->width * factor,
                                 run_input(p.run, "hint"), err)
                       : no_memory(err);
    if (status == KILN_OK)
        status = session_run(s->session, p.plan, p.run, err);
    if (status == KILN_OK)
        memcpy(one->hint, run_output(p.run, "hint_embedding"), count * sizeof *one->hint);
    side_plan_fini(&p);
    return status;
}

/* ------------------------------------------------------------------------------------ image prompts */

static graph *draw_adapter(const kiln_image_adapter *a)
{
    graph *g = graph_new();
    if (g)
        ip_adapter_draw(g, &a->parts->config, image_adapter_states(a));
    return g;
}

static size_t layers_count(const ip_adapter_config *c, int tokens)
{
    size_t count = 0;
    for (int l = 0; l < c->layers; l++)
        count += 2 * (size_t)tokens * (size_t)c->channels[l];
    return count;
}

/* Run the adapter on what is in its input. */
static kiln_status run_adapter(steering *s, const ip_adapter_config *c, int tokens, const side_plan *p,
                               float **out, kiln_error *err)
{
    *out = malloc(layers_count(c, tokens) * sizeof **out + 1);
    kiln_status status = *out ? session_run(s->session, p->plan, p->run, err) : no_memory(err);
    float *to = *out;
    for (int l = 0; status == KILN_OK && l < c->layers; l++)
        for (int part = 0; part < 2; part++) {
            char name[32];
            size_t count = (size_t)tokens * (size_t)c->channels[l];
            snprintf(name, sizeof name, part ? "image_value_%d" : "image_key_%d", l);
            memcpy(to, run_output(p->run, name), count * sizeof *to);
            to += count;
        }
    return status;
}

/* What the encoder says of pixels into the adapter's input. pixels NULL: what stands for no picture, which is an
 * embedding of zeros, or the states of a picture of zeros. */
static kiln_status give_image(steering *s, const kiln_image_adapter *a, const float *pixels,
                              const side_plan *p, kiln_error *err)
{
    bool embeds = a->parts->config.projection == IP_LINEAR;
    size_t side = (size_t)a->encoder->parts->vision.image_size;
    size_t count = (size_t)image_adapter_states(a) * (size_t)a->parts->config.image_channels;
    float *to = run_input(p->run, "image"), *zeros = NULL;
    kiln_map *map = NULL;
    if (!pixels && embeds) {
        memset(to, 0, count * sizeof *to);
        return KILN_OK;
    }
    if (!pixels && !(pixels = zeros = calloc(side * side * 3, sizeof *zeros)))
        return no_memory(err);
    kiln_status status =
        clip_encode_pixels(a->encoder, pixels, embeds ? CLIP_IMAGE_EMBEDS : CLIP_VISION_PENULTIMATE,
                           &s->session->cancel, &map, err);
    if (status == KILN_OK)
        memcpy(to, map_find(map, embeds ? "image_embeds" : "penultimate", NULL), count * sizeof *to);
    kiln_map_free(map);
    free(zeros);
    return status;
}

static kiln_status encode_prompt(steering *s, one_prompt *one, kiln_error *err)
{
    const kiln_image_adapter *a = one->prompt->adapter;
    const ip_adapter_config *c = &a->parts->config;
    size_t side = (size_t)a->encoder->parts->vision.image_size;
    one->tokens = ip_adapter_tokens(c, image_adapter_states(a));
    side_plan p;
    kiln_status status = side_plan_new(&a->network, &s->session->model->plan, draw_adapter(a), &p, err);
    if (status != KILN_OK)
        return status;
    float *pixels = malloc(side * side * 3 * sizeof *pixels);
    status = pixels ? clip_pixels(one->prompt->picture->picture, &a->encoder->parts->preparation, pixels, err)
                    : no_memory(err);
    if (status == KILN_OK)
        status = give_image(s, a, pixels, &p, err);
    if (status == KILN_OK)
        status = run_adapter(s, c, one->tokens, &p, &one->told, err);
    if (status == KILN_OK)
        status = give_image(s, a, NULL, &p, err);
    if (status == KILN_OK)
        status = run_adapter(s, c, one->tokens, &p, &one->blank, err);
    free(pixels);
    side_plan_fini(&p);
    return status;
}

/* ------------------------------------------------------------------------------------ open, close */

kiln_status steering_new(kiln_session *session, const kiln_draw_options *o, int height, int width,
                         steering **out, kiln_error *err)
{
    *out = NULL;
    if (!o->control_count && !o->image_prompt_count && !o->variation)
        return KILN_OK;
    steering *s = calloc(1, sizeof *s);
    if (!s)
        return no_memory(err);
    *s = (steering){.session = session, .height = height, .width = width};
    kiln_status status = KILN_OK;
    for (; status == KILN_OK && s->control_count < o->control_count; s->control_count++) {
        s->controls[s->control_count].control = &o->controls[s->control_count];
        status = encode_hint(s, &s->controls[s->control_count], err);
    }
    for (; status == KILN_OK && s->prompt_count < o->image_prompt_count; s->prompt_count++) {
        s->prompts[s->prompt_count].prompt = &o->image_prompts[s->prompt_count];
        status = encode_prompt(s, &s->prompts[s->prompt_count], err);
    }
    if (status == KILN_OK)
        status = variation_new(session, o->variation, &s->variation, err);
    if (status == KILN_OK)
        *out = s;
    else
        steering_free(s);
    return status;
}

void steering_free(steering *s)
{
    if (!s)
        return;
    for (int i = 0; i < KILN_MAX_CONTROLS; i++) {
        for (int k = 0; k < s->controls[i].plan_count; k++)
            side_plan_fini(&s->controls[i].plans[k].side);
        free(s->controls[i].hint);
    }
    for (int i = 0; i < KILN_MAX_IMAGE_PROMPTS; i++) {
        free(s->prompts[i].told);
        free(s->prompts[i].blank);
    }
    variation_free(s->variation);
    free(s);
}

void steering_shape(const kiln_draw_options *o, network_shape *size)
{
    size->control = o->control_count > 0;
    size->image_prompts = o->image_prompt_count;
    for (int i = 0; i < o->image_prompt_count; i++) {
        const kiln_image_adapter *a = o->image_prompts[i].adapter;
        size->image_tokens[i] = ip_adapter_tokens(&a->parts->config, image_adapter_states(a));
    }
}

/* ------------------------------------------------------------------------------------ a pass */

static graph *draw_body(const controlnet_config *c, const network_shape *size)
{
    unet_shape s = {
        .batch = size->batch, .height = size->height, .width = size->width, .context_tokens = size->tokens};
    graph *g = graph_new();
    if (g)
        controlnet_draw(g, c, &s);
    return g;
}

/* The network at the size of this pass, compiled at the first. */
static kiln_status plan_of(steering *s, one_control *one, const network_shape *size, const side_plan **out,
                           kiln_error *err)
{
    const kiln_controlnet *net = one->control->net;
    for (int i = 0; i < one->plan_count; i++)
        if (one->plans[i].batch == size->batch && one->plans[i].tokens == size->tokens) {
            *out = &one->plans[i].side;
            return KILN_OK;
        }
    if (one->plan_count == CONTROL_PLANS)
        return fail(err, KILN_INTERNAL, "a drawing has more kinds of passes than were foreseen");
    control_plan *p = &one->plans[one->plan_count];
    *p = (control_plan){.batch = size->batch, .tokens = size->tokens};
    kiln_status status = side_plan_new(&net->body, &s->session->model->plan,
                                       draw_body(&net->parts->config, size), &p->side, err);
    if (status != KILN_OK)
        return status;
    one->plan_count++;
    size_t count = (size_t)s->height * (size_t)s->width * (size_t)net->parts->config.unet.channels[0];
    float *hint = run_input(p->side.run, "hint_embedding");
    for (int b = 0; b < size->batch; b++)
        memcpy(hint + (size_t)b * count, one->hint, count * sizeof *hint);
    *out = &p->side;
    return KILN_OK;
}

static shape input_shape(const graph *g, const char *name)
{
    for (int i = 0; i < g->input_count; i++)
        if (strcmp(g->inputs[i].name, name) == 0)
            return graph_node(g, g->inputs[i].value)->shape;
    return (shape){0};
}

/* What the UNet is told, the ControlNet is told: the latents without an inpainting UNet's other channels. */
static void copy_inputs(const steering *s, const side_plan *p, run *unet)
{
    static const char *const names[] = {"timestep", "encoder_hidden_states", "added_text_embeds",
                                        "added_time_ids"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        float *to = run_input(p->run, names[i]);
        const float *from = run_input(unet, names[i]);
        if (to && from)
            memcpy(to, from, (size_t)shape_count(input_shape(p->graph, names[i])) * sizeof *to);
    }
    shape latents = input_shape(p->graph, "sample");
    int64_t channels = latents.dim[3], stride = s->session->model->parts->unet.in_channels;
    float *to = run_input(p->run, "sample");
    const float *from = run_input(unet, "sample");
    for (int64_t i = 0; i < shape_count(latents) / channels; i++)
        memcpy(to + i * channels, from + i * stride, (size_t)channels * sizeof *to);
}

/* In guess mode the outputs count from 0.1, the finest, to 1, the middle. */
static float scale_of(const kiln_control *c, int i, int outputs)
{
    bool levelled = c->guess && !c->net->parts->config.global_pool;
    return (float)(levelled ? c->strength * pow(10.0, (double)i / outputs - 1) : c->strength);
}

/* Add the outputs to the UNet's inputs of the same names; that of the middle is the last. */
static void add_outputs(const one_control *one, const side_plan *p, run *unet, const bool *told)
{
    const graph *g = p->graph;
    for (int i = 0; i < g->output_count; i++) {
        const char *name = g->outputs[i].name;
        shape s = graph_node(g, g->outputs[i].value)->shape;
        const float *from = run_output(p->run, name);
        float *to = run_input(unet, name), scale = scale_of(one->control, i, g->output_count - 1);
        int64_t count = shape_count(s) / s.dim[0];
        for (int64_t b = 0; b < s.dim[0]; b++)
            for (int64_t k = 0; (told[b] || !one->control->guess) && k < count; k++)
                to[b * count + k] += scale * from[b * count + k];
    }
}

/* diffusers' rule: the whole step must lie within. Some samplers take more steps than they were asked for. */
static bool is_active(double start, double end, int step, int steps)
{
    return (double)step / steps >= start && (end >= 1 || (double)(step + 1) / steps <= end);
}

/* Zeros, by the shapes that the first network's outputs have. */
static void clear_outputs(const side_plan *p, run *unet)
{
    const graph *g = p->graph;
    for (int i = 0; i < g->output_count; i++)
        memset(run_input(unet, g->outputs[i].name), 0,
               (size_t)shape_count(graph_node(g, g->outputs[i].value)->shape) * sizeof(float));
}

static kiln_status run_controls(steering *s, run *unet, const network_shape *size, const bool *told, int step,
                                int steps, kiln_error *err)
{
    kiln_status status = KILN_OK;
    for (int i = 0; status == KILN_OK && i < s->control_count; i++) {
        one_control *one = &s->controls[i];
        const side_plan *p = NULL;
        bool active = is_active(one->control->start, one->control->end, step, steps);
        if (i > 0 && !active)
            continue;
        status = plan_of(s, one, size, &p, err);
        if (status == KILN_OK && i == 0)
            clear_outputs(p, unet);
        if (status != KILN_OK || !active)
            continue;
        copy_inputs(s, p, unet);
        status = session_run(s->session, p->plan, p->run, err);
        if (status == KILN_OK)
            add_outputs(one, p, unet, told);
    }
    return status;
}

/* Keys and values of prompt number p; the strength is in the values, and where the prompt is not seen they are zeros. */
static void give_prompt(const one_prompt *one, int p, run *unet, int batch, const bool *told, bool active)
{
    const ip_adapter_config *c = &one->prompt->adapter->parts->config;
    float strength = active ? (float)one->prompt->strength : 0.0f;
    for (int b = 0; b < batch; b++) {
        const float *from = told[b] ? one->told : one->blank;
        for (int l = 0; l < c->layers; l++) {
            char name[48];
            size_t count = (size_t)one->tokens * (size_t)c->channels[l];
            snprintf(name, sizeof name, "image_key_%d_%d", p, l);
            memcpy((float *)run_input(unet, name) + (size_t)b * count, from, count * sizeof *from);
            snprintf(name, sizeof name, "image_value_%d_%d", p, l);
            float *to = (float *)run_input(unet, name) + (size_t)b * count;
            for (size_t i = 0; i < count; i++)
                to[i] = strength * from[count + i];
            from += 2 * count;
        }
    }
}

kiln_status steering_noise(steering *s, noise_source *noise, kiln_error *err)
{
    if (!s || !s->variation)
        return KILN_OK;
    float *scratch = malloc((size_t)s->variation->channels * sizeof *scratch);
    if (!scratch)
        return no_memory(err);
    variation_noise(s->variation, noise, scratch);
    free(scratch);
    return KILN_OK;
}

kiln_status steering_pass(steering *s, run *unet, const network_shape *size, const bool *told, int step,
                          int steps, kiln_error *err)
{
    if (!s)
        return KILN_OK;
    for (int p = 0; p < s->prompt_count; p++) {
        const kiln_image_prompt *o = s->prompts[p].prompt;
        give_prompt(&s->prompts[p], p, unet, size->batch, told, is_active(o->start, o->end, step, steps));
    }
    for (int b = 0; s->variation && b < size->batch; b++) {
        size_t count = 2 * (size_t)s->variation->channels;
        float *labels = (float *)run_input(unet, "class_labels") + (size_t)b * count;
        for (size_t i = 0; i < count; i++)
            labels[i] = told[b] ? s->variation->labels[i] : 0;
    }
    return run_controls(s, unet, size, told, step, steps, err);
}
