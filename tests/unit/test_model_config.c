/* floors: base tensor graph ops nn model
 *
 * test_model_config.c - configurations that must be refused, each with a sentence that names the field, and
 * drawings at sizes that are impossible or odd. */
#include "model/clip_text.h"
#include "model/unet.h"
#include "model/vae.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h> /* last: it defines a macro called fail */

typedef kiln_status (*parse_function)(const char *json, kiln_error *err);

static kiln_status parse_unet(const char *json, kiln_error *err)
{
    unet_config c;
    return unet_config_parse(json, strlen(json), "config.json", &c, err);
}
static kiln_status parse_vae(const char *json, kiln_error *err)
{
    vae_config c;
    return vae_config_parse(json, strlen(json), "config.json", &c, err);
}
static kiln_status parse_clip(const char *json, kiln_error *err)
{
    clip_text_config c;
    return clip_text_config_parse(json, strlen(json), "config.json", &c, err);
}

#define UNET_GOOD                                                                                            \
    "\"block_out_channels\": [32, 64], \"down_block_types\": [\"CrossAttnDownBlock2D\", \"DownBlock2D\"], "  \
    "\"up_block_types\": [\"UpBlock2D\", \"CrossAttnUpBlock2D\"]"
#define VAE_GOOD "\"block_out_channels\": [32, 64]"

static const struct {
    parse_function parse;
    const char *json;
    kiln_status status;
    const char *names; /* must be in the sentence */
} refused[] = {
    {parse_unet, "{" UNET_GOOD "}", KILN_OK, ""},
    {parse_unet, "", KILN_BAD_FORMAT, "not valid JSON"},
    {parse_unet, "[1]", KILN_BAD_FORMAT, "object"},
    {parse_unet, "{}", KILN_BAD_FORMAT, "block_out_channels"},
    {parse_unet, "{" UNET_GOOD ", \"in_channels\": \"4\"}", KILN_BAD_FORMAT, "in_channels"},
    {parse_unet, "{" UNET_GOOD ", \"in_channels\": 4.5}", KILN_BAD_FORMAT, "in_channels"},
    {parse_unet, "{" UNET_GOOD ", \"in_channels\": 1000000000000}", KILN_UNSUPPORTED, "in_channels"},
    {parse_unet, "{" UNET_GOOD ", \"norm_eps\": -1}", KILN_UNSUPPORTED, "norm_eps"},
    {parse_unet, "{" UNET_GOOD ", \"norm_num_groups\": 7}", KILN_BAD_FORMAT, "norm_num_groups"},
    {parse_unet, "{" UNET_GOOD ", \"attention_head_dim\": 5}", KILN_BAD_FORMAT, "attention_head_dim"},
    {parse_unet, "{" UNET_GOOD ", \"attention_head_dim\": [8]}", KILN_BAD_FORMAT, "attention_head_dim"},
    {parse_unet, "{" UNET_GOOD ", \"act_fn\": \"mish\"}", KILN_UNSUPPORTED, "mish"},
    {parse_unet, "{" UNET_GOOD ", \"resnet_time_scale_shift\": \"scale_shift\"}", KILN_UNSUPPORTED,
     "scale_shift"},
    {parse_unet, "{" UNET_GOOD ", \"dual_cross_attention\": true}", KILN_UNSUPPORTED, "dual_cross_attention"},
    {parse_unet, "{" UNET_GOOD ", \"addition_embed_type\": \"image\"}", KILN_UNSUPPORTED,
     "addition_embed_type"},
    {parse_unet, "{" UNET_GOOD ", \"addition_embed_type\": \"text_time\"}", KILN_BAD_FORMAT,
     "projection_class_embeddings_input_dim"},
    {parse_unet, "{" UNET_GOOD ", \"class_embed_type\": \"simple_projection\"}", KILN_UNSUPPORTED,
     "simple_projection"},
    {parse_unet, "{" UNET_GOOD ", \"encoder_hid_dim_type\": \"text_proj\"}", KILN_UNSUPPORTED, "text_proj"},
    {parse_unet, "{" UNET_GOOD ", \"conv_in_kernel\": 4}", KILN_UNSUPPORTED, "conv_in"},
    {parse_unet, "{" UNET_GOOD ", \"cross_attention_dim\": [768, 1024]}", KILN_UNSUPPORTED,
     "cross_attention_dim"},
    {parse_unet, "{" UNET_GOOD ", \"transformer_layers_per_block\": [[1, 2], 1]}", KILN_UNSUPPORTED,
     "reverse_transformer_layers_per_block"},
    {parse_unet, "{" UNET_GOOD ", \"transformer_layers_per_block\": {}}", KILN_BAD_FORMAT,
     "transformer_layers_per_block"},
    {parse_unet, "{" UNET_GOOD ", \"mid_block_type\": null}", KILN_OK, ""},
    {parse_unet, "{" UNET_GOOD ", \"mid_block_type\": \"UNetMidBlock2DSimpleCrossAttn\"}", KILN_UNSUPPORTED,
     "UNetMidBlock2DSimpleCrossAttn"},
    {parse_unet,
     "{\"block_out_channels\": [32, 64], \"down_block_types\": [\"AttnDownBlock2D\", \"DownBlock2D\"]}",
     KILN_UNSUPPORTED, "AttnDownBlock2D"},
    {parse_unet, "{\"block_out_channels\": [1,2,3,4,5,6,7,8,9]}", KILN_UNSUPPORTED, "block_out_channels"},
    {parse_unet, "{" UNET_GOOD ", \"layers_per_block\": [2, -3]}", KILN_UNSUPPORTED, "layers_per_block"},
    {parse_vae, "{" VAE_GOOD "}", KILN_OK, ""},
    {parse_vae, "{}", KILN_BAD_FORMAT, "block_out_channels"},
    {parse_vae, "{" VAE_GOOD ", \"latent_channels\": 0}", KILN_UNSUPPORTED, "latent_channels"},
    {parse_vae, "{" VAE_GOOD ", \"down_block_types\": [\"X\", 3]}", KILN_UNSUPPORTED, "down_block_types"},
    {parse_vae, "{" VAE_GOOD ", \"scaling_factor\": 0}", KILN_UNSUPPORTED, "scaling_factor"},
    {parse_vae, "{" VAE_GOOD ", \"latents_mean\": [1]}", KILN_BAD_FORMAT, "latents_mean"},
    {parse_vae, "{" VAE_GOOD ", \"_class_name\": \"AutoencoderTiny\"}", KILN_UNSUPPORTED, "AutoencoderTiny"},
    {parse_clip, "{}", KILN_OK, ""},
    {parse_clip, "{\"text_config\": {\"hidden_size\": 64}}", KILN_OK, ""},
    {parse_clip, "{\"text_config\": 3}", KILN_BAD_FORMAT, "text_config"},
    {parse_clip, "{\"hidden_act\": \"relu\"}", KILN_UNSUPPORTED, "relu"},
    {parse_clip, "{\"hidden_size\": 65}", KILN_BAD_FORMAT, "num_attention_heads"},
    {parse_clip, "{\"model_type\": \"t5\"}", KILN_UNSUPPORTED, "t5"},
    {parse_clip, "{\"num_hidden_layers\": 1e3}", KILN_BAD_FORMAT, "num_hidden_layers"},
};

static void refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        kiln_error err = {0};
        kiln_status status = refused[i].parse(refused[i].json, &err);
        if (status != refused[i].status || !strstr(err.text, refused[i].names))
            fail_msg("%s: status %d, '%s'", refused[i].json, status, err.text);
        if (status != KILN_OK)
            assert_non_null(strstr(err.text, "config.json"));
        assert_int_equal(refused[i].parse(refused[i].json, NULL), status);
    }
}

static void impossible_drawings(void **state)
{
    (void)state;
    kiln_error err = {0};
    graph *g = graph_new();
    unet_draw(g, &unet_sd15, &(unet_shape){.batch = 1, .height = 0, .width = 8, .context_tokens = 77});
    assert_int_equal(graph_finish(g, &err), KILN_MISMATCH);
    graph_free(g);
    g = graph_new();
    vae_draw_encoder(g, &vae_sd, 1, 60, 64);
    assert_int_equal(graph_finish(g, &err), KILN_MISMATCH);
    assert_non_null(strstr(err.text, "multiples of 8"));
    graph_free(g);
    g = graph_new();
    clip_text_draw(g, &clip_text_l,
                   &(clip_text_shape){.batch = 1, .tokens = 77, .outputs = CLIP_HIDDEN_LN, .skip = 13});
    assert_int_equal(graph_finish(g, &err), KILN_MISMATCH);
    assert_non_null(strstr(err.text, "clip skip 13"));
    graph_free(g);
}

/* Sizes that halving rounds up: the way up must meet each skip at its own size. */
static void odd_sizes(void **state)
{
    (void)state;
    kiln_error err = {0};
    for (int size = 1; size <= 17; size += 4) {
        graph *g = graph_new();
        unet_draw(g, &unet_sd15,
                  &(unet_shape){.batch = 1, .height = size, .width = size + 2, .context_tokens = 77});
        if (graph_finish(g, &err) != KILN_OK)
            fail_msg("%d: %s", size, err.text);
        assert_int_equal(g->output_count, 1);
        assert_true(shape_equal(graph_node(g, g->outputs[0].value)->shape, SHAPE4(1, size, size + 2, 4)));
        graph_free(g);
    }
}

static void pooling(void **state)
{
    (void)state;
    const int32_t ids[] = {49406, 320, 49407, 49407, 49407};
    clip_text_config c = clip_text_l;
    assert_int_equal(clip_pooling_index(&c, ids, 5), 2);
    c.eos_token = 320;
    assert_int_equal(clip_pooling_index(&c, ids, 5), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refusals),
        cmocka_unit_test(impossible_drawings),
        cmocka_unit_test(odd_sizes),
        cmocka_unit_test(pooling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
