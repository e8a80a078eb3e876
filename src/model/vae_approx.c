/* vae_approx.c - the preview decoder: enlarge by 2, pad by 11, eight convolutions without padding (which take
 * the 11 away again), a leaky ReLU after each. Here the first convolution enlarges and pads. See
 * vae_approx.h. */
#include "model/vae_approx.h"

#include "nn/nn.h"

static const struct {
    int channels, kernel;
} stages[] = {{8, 7}, {16, 5}, {32, 3}, {64, 3}, {32, 3}, {16, 3}, {8, 3}, {3, 3}};
enum { STAGES = sizeof stages / sizeof *stages };

kiln_status vae_approx_config_from_tensors(const tensor_finder *f, vae_approx_config *out, kiln_error *err)
{
    *out = (vae_approx_config){0};
    for (int i = 0; i < STAGES; i++) {
        int channels = find_dim(f, 0, "conv%d.weight", i + 1);
        if (channels != stages[i].channels)
            return fail(err, KILN_NOT_FOUND,
                        "these tensors are no VAE-approx: 'conv%d.weight' should have %d "
                        "channels, found %d",
                        i + 1, stages[i].channels, channels);
    }
    out->latent_channels = find_dim(f, 1, "conv1.weight");
    return KILN_OK;
}

void vae_approx_draw(graph *g, const vae_approx_config *c, int batch, int height, int width)
{
    at root = graph_root(g);
    if (batch < 1 || height < 1 || width < 1) {
        graph_fail(root, "batch %d of %dx%d latents cannot be decoded", batch, width, height);
        return;
    }
    value x = graph_input(g, "latents", SHAPE4(batch, height, width, c->latent_channels), DTYPE_F32);
    conv2d_attributes first = {
        .stride = 1, .upsample = 2, .pad_top = 11, .pad_bottom = 11, .pad_left = 11, .pad_right = 11};
    conv2d_attributes next = {.stride = 1, .upsample = 1};
    for (int i = 0; i < STAGES; i++) {
        at a = in_numbered(root, "conv%d", i + 1, "conv%d", i + 1);
        x = nn_conv2d_with(a, x, stages[i].channels, stages[i].kernel, i ? &next : &first, NN_BIAS);
        x = op_activation(a, x, ACTIVATION_LEAKY_RELU, 0.1f);
    }
    graph_output(g, "image", x);
}
