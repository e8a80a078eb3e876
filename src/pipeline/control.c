/* control.c - opening what steers a drawing, and the edges that ControlNets are given. */
#include "pipeline/control.h"

#include "image/canny.h"
#include "pipeline/image_api.h"

#include <stdlib.h>
#include <string.h>

char *file_stem(const char *path)
{
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/')
        end--;
    size_t start = end;
    while (start > 0 && path[start - 1] != '/')
        start--;
    static const char *const endings[] = {".safetensors", ".bin", ".pth", ".pt", ".ckpt"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t n = strlen(endings[i]);
        if (end - start > n && strncmp(path + end - n, endings[i], n) == 0) {
            end -= n;
            break;
        }
    }
    char *name = strndup(path + start, end - start);
    for (char *p = name; p && !text_is_utf8(name, strlen(name)); p++)
        if ((unsigned char)*p >= 0x80)
            *p = '_';
    return name;
}

/* ------------------------------------------------------------------------------------ ControlNet */

static kiln_status bind_control(kiln_controlnet *c, kiln_error *err)
{
    const unet_config *u = &c->parts->config.unet;
    unet_shape small = {.batch = 1, .height = 1 << u->levels, .width = 1 << u->levels, .context_tokens = 1};
    graph *hint = graph_new(), *body = graph_new();
    if (hint)
        controlnet_draw_hint(hint, &c->parts->config, 1, 1);
    if (body)
        controlnet_draw(body, &c->parts->config, &small);
    kiln_status status = side_network_bind(&c->hint, hint, &c->parts->place, err);
    if (status != KILN_OK) {
        graph_free(body);
        return status;
    }
    return side_network_bind(&c->body, body, &c->parts->place, err);
}

kiln_status kiln_controlnet_open(const char *path, const char *hints, kiln_controlnet **out, kiln_error *err)
{
    *out = NULL;
    if (!path)
        return fail(err, KILN_BAD_ARGUMENT, "there is no ControlNet to open");
    kiln_controlnet *c = calloc(1, sizeof *c);
    if (!c || !(c->name = file_stem(path))) {
        free(c);
        return fail(err, KILN_NO_MEMORY, "out of memory for a ControlNet");
    }
    kiln_status status = probe_control_open(path, hints, &c->parts, err);
    if (status == KILN_OK)
        status = bind_control(c, err);
    if (status == KILN_OK)
        *out = c;
    else
        kiln_controlnet_close(c);
    return status;
}

void kiln_controlnet_close(kiln_controlnet *c)
{
    if (!c)
        return;
    side_network_fini(&c->hint);
    side_network_fini(&c->body);
    probe_control_close(c->parts);
    free(c->name);
    free(c);
}

/* ------------------------------------------------------------------------------------ IP-Adapter */

int image_adapter_states(const kiln_image_adapter *a)
{
    return a->parts->config.projection == IP_LINEAR ? 1 : clip_vision_tokens(&a->encoder->parts->vision);
}

static kiln_status check_encoder(const kiln_image_adapter *a, kiln_error *err)
{
    const clip_vision_config *v = &a->encoder->parts->vision;
    const ip_adapter_config *c = &a->parts->config;
    bool embeds = c->projection == IP_LINEAR;
    int given = embeds ? v->projection_channels : v->width;
    if (given == c->image_channels)
        return KILN_OK;
    return fail(
        err, KILN_MISMATCH,
        "%s takes %s of width %d, and the vision encoder %s gives %d (1024: ViT-H's embedding, 1280: bigG's "
        "embedding or ViT-H's hidden states)",
        a->parts->path, embeds ? "an image embedding" : "hidden states", c->image_channels,
        a->encoder->parts->path, given);
}

static kiln_status open_adapter(kiln_image_adapter *a, const char *path, kiln_error *err)
{
    kiln_status status = probe_adapter_open(path, &a->parts, err);
    if (status == KILN_OK)
        status = check_encoder(a, err);
    if (status != KILN_OK)
        return status;
    graph *g = graph_new();
    if (g)
        ip_adapter_draw(g, &a->parts->config, image_adapter_states(a));
    return side_network_bind(&a->network, g, &a->parts->place, err);
}

kiln_status kiln_image_adapter_open(const char *path, const kiln_clip *encoder, kiln_image_adapter **out,
                                    kiln_error *err)
{
    *out = NULL;
    if (!path || !encoder)
        return fail(err, KILN_BAD_ARGUMENT,
                    "an image prompt takes an IP-Adapter's file and a vision encoder");
    kiln_image_adapter *a = calloc(1, sizeof *a);
    if (!a || !(a->name = file_stem(path))) {
        free(a);
        return fail(err, KILN_NO_MEMORY, "out of memory for an IP-Adapter");
    }
    a->encoder = encoder;
    kiln_status status = open_adapter(a, path, err);
    if (status == KILN_OK)
        *out = a;
    else
        kiln_image_adapter_close(a);
    return status;
}

void kiln_image_adapter_close(kiln_image_adapter *a)
{
    if (!a)
        return;
    side_network_fini(&a->network);
    probe_adapter_close(a->parts);
    free(a->name);
    free(a);
}

/* ------------------------------------------------------------------------------------ edges */

kiln_canny_options kiln_canny_defaults(void)
{
    return (kiln_canny_options){.low = 100, .high = 200};
}

kiln_status kiln_canny(const kiln_image *from, const kiln_canny_options *options, kiln_image **out,
                       kiln_error *err)
{
    *out = NULL;
    if (!from)
        return fail(err, KILN_BAD_ARGUMENT, "there is no picture to find edges in");
    kiln_canny_options plain = kiln_canny_defaults();
    options = options ? options : &plain;
    canny_options o = {.low = options->low, .high = options->high, .blur = options->blur};
    image *edges = NULL, *rgb = NULL;
    kiln_status status = canny_edges(from->picture, &o, &edges, err);
    if (status == KILN_OK)
        status = image_to_bytes(edges, 3, &rgb, err);
    image_free(edges);
    return status == KILN_OK ? kiln_image_wrap(rgb, out, err) : status;
}
