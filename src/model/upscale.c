/* upscale.c - which network it is, and what all of them share. See upscale.h. */
#include "model/upscale_parts.h"

static const struct {
    const char *name;
    kiln_status (*from_tensors)(const tensor_finder *, upscale_config *, kiln_error *);
} kinds[UPSCALE_KINDS] = {
    [UPSCALE_ESRGAN] = {"ESRGAN", esrgan_config_from_tensors},
    [UPSCALE_COMPACT] = {"SRVGGNetCompact", compact_config_from_tensors},
    [UPSCALE_SPAN] = {"SPAN", span_config_from_tensors},
    [UPSCALE_PLKSR] = {"RealPLKSR", plksr_config_from_tensors},
    [UPSCALE_SWINIR] = {"SwinIR", swinir_config_from_tensors},
    [UPSCALE_DAT] = {"DAT", dat_config_from_tensors},
};

const char *upscale_kind_name(upscale_kind kind)
{
    return (unsigned)kind < UPSCALE_KINDS ? kinds[kind].name : "?";
}

kiln_status upscale_not_this(kiln_error *err)
{
    return fail(err, KILN_NOT_FOUND, "these tensors are no upscaler that is known here");
}

int upscale_root(int square)
{
    int root = 1;
    while (root < 64 && root * root < square)
        root++;
    return root * root == square ? root : 0;
}

int upscale_count(const tensor_finder *f, const char *prefix, const char *suffix, int limit)
{
    int count = 0;
    while (count < limit && find_shape(f, "%s%d%s", prefix, count, suffix))
        count++;
    return count;
}

static kiln_status check_common(const upscale_config *c, kiln_error *err)
{
    if (c->channels != 1 && c->channels != 3)
        return fail(err, KILN_UNSUPPORTED, "this %s takes pictures of %d channels; 1 and 3 are known",
                    upscale_kind_name(c->kind), c->channels);
    if (c->scale < 1 || c->scale > 16)
        return fail(err, KILN_UNSUPPORTED, "this %s would enlarge by %d; 1 to 16 are known",
                    upscale_kind_name(c->kind), c->scale);
    return KILN_OK;
}

kiln_status upscale_config_from_tensors(const tensor_finder *f, upscale_config *out, kiln_error *err)
{
    for (int k = 0; k < UPSCALE_KINDS; k++) {
        upscale_config c = {.kind = (upscale_kind)k, .unshuffle = 1, .multiple = 1, .align = 1};
        kiln_status status = kinds[k].from_tensors(f, &c, err);
        if (status == KILN_OK)
            status = check_common(&c, err);
        if (status == KILN_OK)
            *out = c;
        if (status != KILN_NOT_FOUND)
            return status;
    }
    return upscale_not_this(err);
}

bool upscale_has_folded(const upscale_config *c)
{
    return c->kind == UPSCALE_SPAN;
}

value upscale_leaky(at a, value x, float slope)
{
    return op_activation(a, x, ACTIVATION_LEAKY_RELU, slope);
}

/* The mean colour of the DIV2K pictures (Agustsson & Timofte 2017), which the published models subtract. */
static const float mean_colour[3] = {0.4488f, 0.4371f, 0.4040f};

/* x * factor + shift of each channel, scaled. There are no constants of several numbers: three slices and a concat. */
static value shift_channels(at a, value x, float factor, float shift_scale)
{
    if (value_channels(a, x) != 3)
        return op_scale(a, x, factor, 0);
    value parts[3];
    for (int i = 0; i < 3; i++)
        parts[i] = op_scale(a, op_slice(a, x, -1, i, 1), factor, mean_colour[i] * shift_scale);
    return op_concat(a, 3, parts, -1);
}

value upscale_centre(at a, value picture, float range)
{
    return shift_channels(a, picture, range, -range);
}

value upscale_uncentre(at a, value x, float range)
{
    return shift_channels(a, x, 1 / range, 1);
}

value upscale_apply(at a, const upscale_config *c, bool folded, value picture)
{
    shape s = value_shape(a, picture);
    char text[SHAPE_TEXT];
    if (picture.index && (s.rank != 4 || s.dim[1] % c->multiple || s.dim[2] % c->multiple))
        return graph_fail(a, "%s wants a picture whose sides are multiples of %d, got %s",
                          upscale_kind_name(c->kind), c->multiple, shape_text(s, text));
    switch (c->kind) {
    case UPSCALE_ESRGAN:
        return esrgan_apply(a, c, picture);
    case UPSCALE_COMPACT:
        return compact_apply(a, c, picture);
    case UPSCALE_SPAN:
        return span_apply(a, c, folded, picture);
    case UPSCALE_PLKSR:
        return plksr_apply(a, c, picture);
    case UPSCALE_SWINIR:
        return swinir_apply(a, c, picture);
    case UPSCALE_DAT:
        return dat_apply(a, c, picture);
    case UPSCALE_KINDS:
        break;
    }
    return graph_fail(a, "no such upscaler");
}

void upscale_draw(graph *g, const upscale_config *c, bool folded, int batch, int height, int width)
{
    at root = graph_root(g);
    if (batch < 1 || height < 1 || width < 1) {
        graph_fail(root, "batch %d of %dx%d cannot be enlarged", batch, width, height);
        return;
    }
    value x = graph_input(g, "picture", SHAPE4(batch, height, width, c->channels), DTYPE_F32);
    graph_output(g, "enlarged", upscale_apply(root, c, folded, x));
}
