/* upscale_esrgan.c - RRDBNet: residual blocks of densely joined convolutions (Wang et al. 2018, "ESRGAN"), and ESRGAN+
 * (Rakotonirina & Rasoanaivo 2020). Enlarging is by nearest neighbour before a convolution.
 *
 * The old naming numbers the modules of one list: 0 the first convolution, 1 the trunk (sub.0 ... sub.N-1 the blocks,
 * sub.N the convolution after them), 3 and 6 the enlarging convolutions, and two more at the end. */
#include "model/upscale_parts.h"

#include <stdio.h>

enum { MAX_BLOCKS = 512, MAX_DOUBLINGS = 3 };

static const char *const first_name[] = {
    [ESRGAN_REAL] = "conv_first", [ESRGAN_BSRGAN] = "conv_first", [ESRGAN_OLD] = "model.0"};
static const char *const block_name[] = {
    [ESRGAN_REAL] = "body.%d", [ESRGAN_BSRGAN] = "RRDB_trunk.%d", [ESRGAN_OLD] = "model.1.sub.%d"};
static const char *const dense_name[] = {
    [ESRGAN_REAL] = "rdb%d", [ESRGAN_BSRGAN] = "RDB%d", [ESRGAN_OLD] = "RDB%d"};
static const char *const inner_name[] = {
    [ESRGAN_REAL] = "conv%d", [ESRGAN_BSRGAN] = "conv%d", [ESRGAN_OLD] = "conv%d.0"};

typedef char part_name[64];

/* The names of the convolutions around the blocks, by number: 0 after the blocks, 1..3 enlarging, 4 and 5 last. */
static void outer_name(const esrgan_config *e, int which, part_name out)
{
    static const char *const real[] = {"conv_body", "conv_up1", "conv_up2",
                                       "conv_up3",  "conv_hr",  "conv_last"};
    static const char *const bsrgan[] = {"trunk_conv", "upconv1", "upconv2",
                                         "upconv3",    "HRconv",  "conv_last"};
    if (e->naming != ESRGAN_OLD)
        snprintf(out, sizeof(part_name), "%s", (e->naming == ESRGAN_REAL ? real : bsrgan)[which]);
    else if (which == 0)
        snprintf(out, sizeof(part_name), "model.1.sub.%d", e->blocks);
    else
        snprintf(out, sizeof(part_name), "model.%d",
                 which <= 3 ? 3 * which : 3 * e->doublings + 2 * (which - 3));
}

static bool find_naming(const tensor_finder *f, esrgan_config *e)
{
    for (int n = ESRGAN_REAL; n <= ESRGAN_OLD; n++) {
        part_name dense;
        snprintf(dense, sizeof dense,
                 n == ESRGAN_REAL     ? "body.0.rdb1.%s"
                 : n == ESRGAN_BSRGAN ? "RRDB_trunk.0.RDB1.%s"
                                      : "model.1.sub.0.RDB1.%s",
                 n == ESRGAN_OLD ? "conv1.0.weight" : "conv1.weight");
        e->naming = (esrgan_naming)n;
        e->features = find_dim(f, 0, "%s.weight", first_name[n]);
        e->growth = find_dim(f, 0, "%s", dense);
        if (e->features && e->growth)
            return true;
    }
    return false;
}

static void count_parts(const tensor_finder *f, esrgan_config *e)
{
    static const char *const prefix[] = {"body.", "RRDB_trunk.", "model.1.sub."};
    static const char *const suffix[] = {".rdb1.conv1.weight", ".RDB1.conv1.weight", ".RDB1.conv1.0.weight"};
    part_name name;
    e->blocks = upscale_count(f, prefix[e->naming], suffix[e->naming], MAX_BLOCKS);
    e->plus = find_shape(f, "%s0.%s1.conv1x1.weight", prefix[e->naming],
                         e->naming == ESRGAN_REAL ? "rdb" : "RDB") != NULL;
    /* The last convolution's number in the old naming: 4, and 3 more for each enlargement. */
    if (e->naming == ESRGAN_OLD) {
        while (e->doublings < MAX_DOUBLINGS && !find_shape(f, "model.%d.weight", 3 * e->doublings + 4))
            e->doublings++;
        return;
    }
    for (int i = 1; i <= MAX_DOUBLINGS; i++) {
        outer_name(e, i, name);
        if (!find_shape(f, "%s.weight", name))
            break;
        e->doublings = i;
    }
}

kiln_status esrgan_config_from_tensors(const tensor_finder *f, upscale_config *c, kiln_error *err)
{
    esrgan_config *e = &c->of.esrgan;
    part_name last;
    if (!find_naming(f, e))
        return upscale_not_this(err);
    count_parts(f, e);
    outer_name(e, 5, last);
    int in = find_dim(f, 1, "%s.weight", first_name[e->naming]);
    c->channels = find_dim(f, 0, "%s.weight", last);
    if (!c->channels || in % c->channels || !upscale_root(in / c->channels))
        return fail(err, KILN_UNSUPPORTED, "this ESRGAN makes %d channels of %d: such a form is not known",
                    c->channels, in);
    c->unshuffle = c->multiple = c->align = upscale_root(in / c->channels);
    int scale = 1 << e->doublings;
    if (scale % c->unshuffle)
        return fail(err, KILN_UNSUPPORTED, "this ESRGAN shrinks by %d and enlarges by %d", c->unshuffle,
                    scale);
    c->scale = scale / c->unshuffle;
    c->reach = c->unshuffle * (15 * e->blocks + 2 + 3);
    return KILN_OK;
}

static value dense_block(at a, const esrgan_config *e, value x)
{
    value parts[5] = {x}, second = NO_VALUE;
    for (int i = 1; i <= 4; i++) {
        at here = in_numbered(a, "conv%d", i, inner_name[e->naming], i);
        value joined = i == 1 ? x : op_concat(a, i, parts, -1);
        parts[i] = upscale_leaky(here, nn_conv2d(here, joined, e->growth, 3), 0.2f);
        if (e->plus && i == 2) {
            at path = same(a, "conv1x1");
            parts[i] = op_add(a, parts[i], nn_pointwise(path, x, e->growth, NN_NO_BIAS));
            second = parts[i];
        } else if (e->plus && i == 4) {
            parts[i] = op_add(a, parts[i], second);
        }
    }
    at last = in_numbered(a, "conv%d", 5, inner_name[e->naming], 5);
    value y = nn_conv2d(last, op_concat(a, 5, parts, -1), e->features, 3);
    return op_add(a, op_scale(a, y, 0.2f, 0), x);
}

static value residual_block(at a, const esrgan_config *e, value x)
{
    value y = x;
    for (int i = 1; i <= 3; i++)
        y = dense_block(in_numbered(a, "rdb%d", i, dense_name[e->naming], i), e, y);
    return op_add(a, op_scale(a, y, 0.2f, 0), x);
}

static at outer(at a, const esrgan_config *e, int which)
{
    part_name canonical, original;
    outer_name(&(esrgan_config){.naming = ESRGAN_REAL}, which, canonical);
    outer_name(e, which, original);
    return in(a, canonical, original);
}

value esrgan_apply(at a, const upscale_config *c, value picture)
{
    static const conv2d_attributes enlarging = {
        .stride = 1, .upsample = 2, .pad_top = 1, .pad_bottom = 1, .pad_left = 1, .pad_right = 1};
    const esrgan_config *e = &c->of.esrgan;
    value x = op_pixel_unshuffle(a, picture, c->unshuffle);
    x = nn_conv2d(in(a, "conv_first", first_name[e->naming]), x, e->features, 3);
    value y = x;
    for (int i = 0; i < e->blocks; i++) {
        at here = in_numbered(a, "body.%d", i, block_name[e->naming], i);
        y = graph_tap(here, residual_block(here, e, y));
    }
    x = op_add(a, nn_conv2d(outer(a, e, 0), y, e->features, 3), x);
    for (int i = 1; i <= e->doublings; i++) {
        at here = outer(a, e, i);
        x = upscale_leaky(here, nn_conv2d_with(here, x, e->features, 3, &enlarging, NN_BIAS), 0.2f);
    }
    at fourth = outer(a, e, 4);
    x = upscale_leaky(fourth, nn_conv2d(fourth, x, e->features, 3), 0.2f);
    return nn_conv2d(outer(a, e, 5), x, c->channels, 3);
}
