/* clip.c - CLIP models: pictures and texts to vectors, and how alike two are. */
#include "pipeline/clip.h"

#include "pipeline/image_api.h"
#include "pipeline/map.h"
#include "text/chunks.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------------ open, close */

static graph *draw_text(const clip_parts *parts)
{
    clip_text_shape size = {.batch = 1,
                            .tokens =
                                parts->text.positions < CHUNK_LENGTH ? parts->text.positions : CHUNK_LENGTH,
                            .outputs = CLIP_TEXT_EMBEDS,
                            .skip = 1};
    graph *g = graph_new();
    if (g)
        clip_text_draw(g, &parts->text, &size);
    return g;
}

static graph *draw_vision(const clip_parts *parts, unsigned outputs)
{
    graph *g = graph_new();
    if (g)
        clip_vision_draw(g, &parts->vision, 1, outputs);
    return g;
}

static kiln_status open_clip(kiln_clip *c, const char *path, const kiln_model_options *o, kiln_error *err)
{
    kiln_status status = model_plan_options(o, &c->plan, err);
    if (status == KILN_OK)
        status = probe_clip_open(path, o->hints, &c->parts, err);
    if (status == KILN_OK)
        status = side_network_bind(&c->vision, draw_vision(c->parts, CLIP_VISION_POOLED),
                                   &c->parts->vision_place, err);
    if (status == KILN_OK && c->parts->has_text)
        status = side_network_bind(&c->text, draw_text(c->parts), &c->parts->text_place, err);
    if (status == KILN_OK && c->parts->has_text)
        status = model_open_tokenizer(o, c->parts->tokenizer, &c->tokenizer, err);
    return status;
}

kiln_status kiln_clip_open(const char *path, const kiln_model_options *options, kiln_clip **out,
                           kiln_error *err)
{
    *out = NULL;
    kiln_model_options defaults = kiln_model_defaults();
    if (!path)
        return fail(err, KILN_BAD_ARGUMENT, "there is no CLIP model to open");
    kiln_clip *c = calloc(1, sizeof *c);
    if (!c)
        return fail(err, KILN_NO_MEMORY, "out of memory for a CLIP model");
    kiln_status status = open_clip(c, path, options ? options : &defaults, err);
    if (status == KILN_OK)
        *out = c;
    else
        kiln_clip_close(c);
    return status;
}

void kiln_clip_close(kiln_clip *c)
{
    if (!c)
        return;
    side_network_fini(&c->vision);
    side_network_fini(&c->text);
    tokenizer_close(c->tokenizer);
    probe_clip_close(c->parts);
    free(c);
}

bool kiln_clip_is_whole(const char *path)
{
    clip_parts *parts = NULL;
    bool whole = path && probe_clip_open(path, NULL, &parts, NULL) == KILN_OK && parts->alone;
    probe_clip_close(parts);
    return whole;
}

bool kiln_clip_has_text(const kiln_clip *c)
{
    return c->parts->has_text;
}

double kiln_clip_scale(const kiln_clip *c)
{
    return exp((double)c->parts->logit_scale);
}

/* ------------------------------------------------------------------------------------ pictures */

static kiln_status copy_outputs(const side_plan *p, kiln_map *map, kiln_error *err)
{
    const graph *g = p->graph;
    kiln_status status = KILN_OK;
    for (int i = 0; status == KILN_OK && i < g->output_count; i++)
        status = map_add(map, g->outputs[i].name, graph_node(g, g->outputs[i].value)->shape,
                         run_output(p->run, g->outputs[i].name), err);
    return status;
}

kiln_status clip_encode_pixels(const kiln_clip *c, const float *pixels, unsigned outputs,
                               const atomic_bool *cancel, kiln_map **out, kiln_error *err)
{
    *out = NULL;
    side_plan p;
    size_t size = (size_t)c->parts->vision.image_size;
    kiln_status status = side_plan_new(&c->vision, &c->plan, draw_vision(c->parts, outputs), &p, err);
    if (status != KILN_OK)
        return status;
    memcpy(run_input(p.run, "pixels"), pixels, size * size * 3 * sizeof *pixels);
    status = plan_run(p.plan, p.run, cancel, NULL, NULL, err);
    if (status == KILN_OK)
        status = map_new("image", out, err);
    if (status == KILN_OK)
        status = copy_outputs(&p, *out, err);
    side_plan_fini(&p);
    if (status != KILN_OK) {
        kiln_map_free(*out);
        *out = NULL;
    }
    return status;
}

kiln_status kiln_clip_encode_image(const kiln_clip *c, const kiln_image *picture, kiln_map **out,
                                   kiln_error *err)
{
    *out = NULL;
    if (!picture)
        return fail(err, KILN_BAD_ARGUMENT, "there is no picture to encode");
    const clip_vision_config *v = &c->parts->vision;
    unsigned outputs = CLIP_VISION_POOLED | CLIP_VISION_LAST | CLIP_VISION_PENULTIMATE |
                       (v->projection_channels ? CLIP_IMAGE_EMBEDS : 0);
    float *pixels = malloc((size_t)v->image_size * (size_t)v->image_size * 3 * sizeof *pixels);
    kiln_status status = pixels ? clip_pixels(picture->picture, &c->parts->preparation, pixels, err)
                                : fail(err, KILN_NO_MEMORY, "out of memory for a picture");
    if (status == KILN_OK)
        status = clip_encode_pixels(c, pixels, outputs, NULL, out, err);
    free(pixels);
    return status;
}

/* ------------------------------------------------------------------------------------ texts */

static kiln_status tokens_of(const kiln_clip *c, const char *text, token_chunks *chunks, kiln_error *err)
{
    if (!c->parts->has_text)
        return fail(err, KILN_NOT_FOUND,
                    "%s: the model has a vision encoder only: texts need a CLIP model with both halves",
                    c->parts->path);
    if (!c->tokenizer)
        return fail(err, KILN_NOT_FOUND,
                    "%s: no tokenizer was found; give one with --tokenizer DIR (a folder with vocab.json and "
                    "merges.txt)",
                    c->parts->path);
    chunk_options o = chunk_options_of(c->tokenizer);
    o.one_window = true;
    /* OpenCLIP's models were trained on windows filled with 0. */
    if (!c->parts->tokenizer && c->parts->text.dialect == CLIP_DIALECT_OPENCLIP)
        o.pad_id = 0;
    return chunks_of_prompt(c->tokenizer, text, &o, chunks, err);
}

static kiln_status run_text(const kiln_clip *c, const int32_t *ids, const side_plan *p, kiln_map **out,
                            kiln_error *err)
{
    const clip_text_config *t = &c->parts->text;
    int tokens = t->positions < CHUNK_LENGTH ? t->positions : CHUNK_LENGTH;
    for (int i = 0; i < tokens; i++)
        if (ids[i] >= t->vocabulary)
            return fail(err, KILN_MISMATCH,
                        "the tokenizer gives the id %d, but the text encoder knows only %d words",
                        (int)ids[i], t->vocabulary);
    memcpy(run_input(p->run, "ids"), ids, (size_t)tokens * sizeof *ids);
    *(int32_t *)run_input(p->run, "pooling_index") = clip_pooling_index(t, ids, tokens);
    kiln_status status = plan_run(p->plan, p->run, NULL, NULL, NULL, err);
    if (status == KILN_OK)
        status = map_new("text", out, err);
    return status == KILN_OK ? copy_outputs(p, *out, err) : status;
}

kiln_status kiln_clip_encode_text(const kiln_clip *c, const char *text, kiln_map **out, kiln_error *err)
{
    *out = NULL;
    token_chunks chunks = {0};
    side_plan p = {0};
    kiln_status status =
        text ? tokens_of(c, text, &chunks, err) : fail(err, KILN_BAD_ARGUMENT, "there is no text to encode");
    if (status == KILN_OK)
        status = side_plan_new(&c->text, &c->plan, draw_text(c->parts), &p, err);
    if (status == KILN_OK)
        status = run_text(c, chunks.ids[0], &p, out, err);
    side_plan_fini(&p);
    chunks_free(&chunks);
    if (status != KILN_OK) {
        kiln_map_free(*out);
        *out = NULL;
    }
    return status;
}

/* ------------------------------------------------------------------------------------ likeness */

static const float *vector_of(const kiln_map *map, int64_t *size)
{
    static const char *const names[] = {"image_embeds", "text_embeds", "pooled"};
    shape s = {0};
    const float *found = NULL;
    for (size_t i = 0; map && !found && i < sizeof names / sizeof *names; i++)
        found = map_find(map, names[i], &s);
    *size = shape_count(s);
    return found;
}

kiln_status kiln_clip_cosine(const kiln_map *a, const kiln_map *b, double *out, kiln_error *err)
{
    int64_t n, m;
    const float *x = vector_of(a, &n), *y = vector_of(b, &m);
    *out = 0;
    if (!x || !y)
        return fail(err, KILN_BAD_ARGUMENT, "a map to compare has no vector of a picture or a text");
    if (n != m)
        return fail(err, KILN_MISMATCH, "vectors of %lld and %lld numbers cannot be compared", (long long)n,
                    (long long)m);
    double dot = 0, xx = 0, yy = 0;
    for (int64_t i = 0; i < n; i++) {
        dot += (double)x[i] * (double)y[i];
        xx += (double)x[i] * (double)x[i];
        yy += (double)y[i] * (double)y[i];
    }
    double length = sqrt(xx) * sqrt(yy);
    *out = length > 0 ? dot / length : 0;
    if (*out > 1 || *out < -1)
        *out = *out > 0 ? 1 : -1;
    return KILN_OK;
}
