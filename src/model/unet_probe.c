/* unet_probe.c - a UNet's configuration told from the names and shapes of its tensors.
 *
 * The original dialect numbers everything in order of use: input_blocks.N is a resnet (with a transformer, if
 * any, beside it) or the halving that ends a level; output_blocks.N mirrors them. So the structure is read by
 * walking the numbers. Head counts leave no trace in shapes: they follow the family's custom, or a hint. */
#include "model/unet_parts.h"

/* Transformer blocks under a place, 0 when it has no transformer. */
static int count_depth(const tensor_finder *f, const char *place, int n)
{
    int depth = 0;
    while (depth < UNET_MAX_DEPTH &&
           find_shape(f, "%s.%d.1.transformer_blocks.%d.norm1.weight", place, n, depth))
        depth++;
    return depth;
}

/* Width of the context, and whether attn1 looks at it too, from the first block of a transformer. */
static void read_attention(const tensor_finder *f, unet_config *c, int n, int level)
{
    int context = find_dim(f, 1, "input_blocks.%d.1.transformer_blocks.0.attn2.to_k.weight", n);
    int own = find_dim(f, 1, "input_blocks.%d.1.transformer_blocks.0.attn1.to_k.weight", n);
    const shape *projection = find_shape(f, "input_blocks.%d.1.proj_in.weight", n);
    c->context_channels = context;
    c->only_cross_attention[level] = own != c->channels[level] && own == context;
    c->linear_projection = projection && projection->rank == 2;
}

static void walk_down(const tensor_finder *f, unet_config *c)
{
    int level = 0;
    for (int n = 1; level < UNET_MAX_LEVELS; n++) {
        int channels = find_dim(f, 0, "input_blocks.%d.0.in_layers.2.weight", n);
        if (channels && c->layers[level] < UNET_MAX_LAYERS) {
            c->channels[level] = channels;
            c->depth[level][c->layers[level]] = count_depth(f, "input_blocks", n);
            if (c->depth[level][c->layers[level]])
                read_attention(f, c, n, level);
            c->layers[level]++;
            c->levels = level + 1;
        } else if (!channels && find_shape(f, "input_blocks.%d.0.op.weight", n)) {
            level++;
        } else {
            return;
        }
    }
}

static void walk_up(const tensor_finder *f, unet_config *c)
{
    int n = 0;
    for (int i = c->levels - 1; i >= 0; i--)
        for (int j = 0; j <= c->layers[i]; j++)
            c->up_depth[i][j] = count_depth(f, "output_blocks", n++);
}

static void read_middle(const tensor_finder *f, unet_config *c)
{
    if (find_shape(f, "middle_block.1.norm.weight")) {
        c->middle = UNET_MIDDLE_ATTENTION;
        while (c->middle_depth < UNET_MAX_DEPTH &&
               find_shape(f, "middle_block.1.transformer_blocks.%d.norm1.weight", c->middle_depth))
            c->middle_depth++;
        if (!c->context_channels)
            c->context_channels = find_dim(f, 1, "middle_block.1.transformer_blocks.0.attn2.to_k.weight");
    } else {
        c->middle =
            find_shape(f, "middle_block.0.in_layers.0.weight") ? UNET_MIDDLE_RESNET : UNET_MIDDLE_NONE;
    }
}

/* label_emb is a table of class labels (the x4 upscaler), a projection of SDXL's added conditions, or one of
 * an image embedding with its noise level (SD 2.1 unCLIP: twice CLIP's 768 or 1024). */
static void read_labels(const tensor_finder *f, const unet_hints *hints, unet_config *c)
{
    int vectors = find_dim(f, 1, "label_emb.0.0.weight");
    c->class_count = find_dim(f, 0, "label_emb.weight");
    if (c->class_count) {
        c->class_kind = UNET_CLASS_TABLE;
    } else if (vectors && !hints->added_time_channels && (vectors == 1536 || vectors == 2048)) {
        c->class_kind = UNET_CLASS_PROJECTION;
        c->class_channels = vectors;
    } else if (vectors) {
        c->text_time = true;
        c->added_channels = vectors;
        c->added_time_channels = hints->added_time_channels ? hints->added_time_channels : 256;
    }
}

void unet_custom_heads(const unet_hints *hints, unet_config *c)
{
    for (int i = 0; i < c->levels; i++) {
        int width = hints->head_channels;
        if (!width && !hints->heads && c->linear_projection && c->class_kind != UNET_CLASS_TABLE)
            width = 64;
        c->heads[i] = hints->heads ? hints->heads : width ? c->channels[i] / width : 8;
        if (c->heads[i] < 1)
            c->heads[i] = 1;
    }
}

void unet_read_way_down(const tensor_finder *f, const unet_hints *hints, unet_config *c)
{
    c->in_channels = find_dim(f, 1, "input_blocks.0.0.weight");
    c->conv_in_kernel = find_dim(f, 2, "input_blocks.0.0.weight");
    c->time_channels = find_dim(f, 0, "time_embed.0.weight");
    c->time_condition_channels = find_dim(f, 1, "time_embed.cond_proj.weight");
    walk_down(f, c);
    read_middle(f, c);
    read_labels(f, hints, c);
    unet_custom_heads(hints, c);
}

kiln_status unet_config_from_tensors(const tensor_finder *f, const unet_hints *hints, unet_config *out,
                                     kiln_error *err)
{
    static const unet_hints none = {0};
    const char *place = "the UNet's tensors";
    unet_config c = {.norm_epsilon = 1e-5f, .downsample_padding = 1, .cosine_first = true};
    *out = (unet_config){0};
    hints = hints ? hints : &none;
    unet_read_way_down(f, hints, &c);
    c.out_channels = find_dim(f, 0, "out.2.weight");
    c.conv_out_kernel = find_dim(f, 2, "out.2.weight");
    c.groups = hints->groups ? hints->groups : 32;
    if (!c.in_channels || !c.out_channels || !c.time_channels || c.conv_in_kernel < 1 ||
        c.conv_out_kernel < 1)
        return fail(err, KILN_NOT_FOUND,
                    "there is no UNet here: 'input_blocks.0.0.weight', 'time_embed.0.weight' or "
                    "'out.2.weight' is missing");
    if (c.levels < 1)
        return fail(err, KILN_NOT_FOUND,
                    "there is no UNet here: 'input_blocks.1.0.in_layers.2.weight' is missing");
    walk_up(f, &c);
    c.sample_size = c.text_time ? 128 : c.linear_projection ? 96 : 64;
    if (!c.context_channels)
        return fail(err, KILN_UNSUPPORTED, "%s have no cross attention: not a text-to-image model", place);
    kiln_status status = unet_config_check(&c, place, err);
    if (status == KILN_OK)
        *out = c;
    return status;
}
