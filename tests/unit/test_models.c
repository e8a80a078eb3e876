/* floors: base tensor formats graph ops nn model
 *
 * test_models.c - what the models declare, against what files hold: every name and shape of the real-size
 * checkpoints (original dialect), of tiny model folders (canonical names), of tiny single files and of real
 * preview decoders. */
#include "model/clip_text.h"
#include "model/taesd.h"
#include "model/unet.h"
#include "model/vae.h"
#include "model/vae_approx.h"

#include <unistd.h>

#include "key_set.h"

#define SHARED TEST_SHARED "/golden"

static void need_shared(void)
{
    if (access(SHARED "/keys/sd15.txt", R_OK) != 0) {
        print_message("reference files are not here (%s): skipped\n", SHARED);
        skip();
    }
}

/* ------------------------------------------------------------------------------------ declared against
 * stored */

/* Read the storage marks off an original name: the shape that the file should have for the declared one. */
static shape stored_shape(char *name, shape s)
{
    char *mark = strpbrk(name, "[^");
    if (!mark)
        return s;
    if (*mark == '[') {
        int part, parts;
        assert_int_equal(sscanf(mark, "[%d/%d]", &part, &parts), 2);
        s.dim[0] *= parts;
    } else {
        assert_string_equal(mark, "^T");
        assert_int_equal(s.rank, 2);
        int64_t rows = s.dim[0];
        s.dim[0] = s.dim[1];
        s.dim[1] = rows;
    }
    *mark = 0;
    return s;
}

/* [C,C] and [C,C,1,1] are the same matrix. */
static bool binds(shape declared, shape stored)
{
    if (shape_equal(declared, stored))
        return true;
    while (declared.rank > 2 && declared.dim[declared.rank - 1] == 1)
        declared.rank--;
    while (stored.rank > 2 && stored.dim[stored.rank - 1] == 1)
        stored.rank--;
    return shape_equal(declared, stored);
}

/* Every parameter of the graph must be in the set with its shape; marks what it used. Frees the graph. */
static int match(graph *g, key_set *set, const char *prefix, bool original)
{
    kiln_error err = {0};
    if (graph_finish(g, &err) != KILN_OK)
        fail_msg("the graph failed: %s", err.text);
    for (int i = 0; i < g->parameter_count; i++) {
        const parameter *p = &g->parameters[i];
        char name[300], want[SHAPE_TEXT], have[SHAPE_TEXT];
        snprintf(name, sizeof name, "%s%s", prefix, original ? p->original : p->canonical);
        shape s = original ? stored_shape(name, p->shape) : p->shape;
        key *k = find_key(set, name);
        if (!k)
            fail_msg("'%s' (%s) is declared but not in the file", name, p->canonical);
        if (!binds(s, k->shape))
            fail_msg("'%s' is declared %s, the file has %s", name, shape_text(s, want),
                     shape_text(k->shape, have));
        k->used = true;
    }
    int count = g->parameter_count;
    graph_free(g);
    return count;
}

/* What is left over must begin with one of `extras` (ended by NULL); returns how many there were. */
static int left_over(const key_set *set, const char *const *extras)
{
    int count = 0;
    for (size_t i = 0; i < set->count; i++) {
        if (set->keys[i].used)
            continue;
        bool known = false;
        for (int k = 0; extras[k]; k++)
            known = known || strncmp(extras[k], set->keys[i].name, strlen(extras[k])) == 0;
        if (!known)
            fail_msg("'%s' is in the file but not declared", set->keys[i].name);
        count++;
    }
    return count;
}

static const char *const schedule_buffers[] = {
    "alphas_cumprod",
    "betas",
    "log_one_minus_alphas_cumprod",
    "posterior_",
    "sqrt_",
    "cond_stage_model.transformer.text_model.embeddings.position_ids",
    "conditioner.embedders.0.transformer.text_model.embeddings.position_ids",
    NULL};
/* OpenCLIP files hold one more layer than SD 2 uses, and a projection that it does not. */
static const char *const openclip_extras[] = {
    "alphas_cumprod",
    "betas",
    "log_one_minus_alphas_cumprod",
    "posterior_",
    "sqrt_",
    "cond_stage_model.model.transformer.resblocks.23.",
    "cond_stage_model.model.text_projection",
    "cond_stage_model.model.logit_scale",
    "conditioner.embedders.1.model.logit_scale",
    "conditioner.embedders.0.transformer.text_model.embeddings.position_ids",
    NULL};

static graph *drawn_unet(const unet_config *c)
{
    graph *g = graph_new();
    assert_non_null(g);
    unet_draw(g, c, &(unet_shape){.batch = 2, .height = 16, .width = 24, .context_tokens = 77});
    return g;
}

static graph *drawn_clip(const clip_text_config *c)
{
    graph *g = graph_new();
    assert_non_null(g);
    clip_text_draw(g, c, &(clip_text_shape){.batch = 2, .tokens = 77, .outputs = CLIP_LAST_HIDDEN_STATE});
    return g;
}

static int match_vae(const vae_config *c, key_set *set, const char *prefix, bool original)
{
    graph *encoder = graph_new(), *decoder = graph_new();
    assert_non_null(encoder);
    assert_non_null(decoder);
    vae_draw_encoder(encoder, c, 1, 64, 32);
    vae_draw_decoder(decoder, c, 1, 8, 4);
    return match(encoder, set, prefix, original) + match(decoder, set, prefix, original);
}

/* ------------------------------------------------------------------------------------ real sizes */

static void sd15_names(void **state)
{
    (void)state;
    need_shared();
    key_set set = keys_from_text(SHARED "/keys/sd15.txt");
    graph *g = drawn_unet(&unet_sd15);
    assert_int_equal(graph_parameter_elements(g), 859520964);
    assert_int_equal(match(g, &set, UNET_ORIGINAL_PREFIX, true), 686);
    assert_int_equal(match(drawn_clip(&clip_text_l), &set, CLIP_PREFIX_SD1, true), 196);
    assert_int_equal(match_vae(&vae_sd, &set, VAE_ORIGINAL_PREFIX, true), 248);
    assert_int_equal(left_over(&set, schedule_buffers), 13);
    free(set.keys);
}

static void sd15_inpaint_names(void **state)
{
    (void)state;
    need_shared();
    key_set set = keys_from_text(SHARED "/keys/sd15-inpaint-unet.txt");
    assert_int_equal(match(drawn_unet(&unet_sd15_inpaint), &set, UNET_ORIGINAL_PREFIX, true), 686);
    assert_int_equal(left_over(&set, schedule_buffers), 0);
    free(set.keys);
}

static void sd21_names(void **state)
{
    (void)state;
    need_shared();
    key_set set = keys_from_text(SHARED "/keys/sd21.txt");
    graph *g = drawn_unet(&unet_sd21);
    assert_int_equal(graph_parameter_elements(g), 865910724);
    assert_int_equal(match(g, &set, UNET_ORIGINAL_PREFIX, true), 686);
    assert_int_equal(match(drawn_clip(&clip_text_h), &set, CLIP_PREFIX_SD2, true), 372);
    assert_int_equal(match_vae(&vae_sd, &set, VAE_ORIGINAL_PREFIX, true), 248);
    assert_int_equal(left_over(&set, openclip_extras), 12 + 12 + 2);
    free(set.keys);
}

static void sdxl_names(void **state)
{
    (void)state;
    need_shared();
    key_set set = keys_from_text(SHARED "/keys/sdxl.txt");
    graph *g = drawn_unet(&unet_sdxl);
    assert_int_equal(graph_parameter_elements(g), 2567463684);
    assert_int_equal(match(g, &set, UNET_ORIGINAL_PREFIX, true), 1680);
    assert_int_equal(match(drawn_clip(&clip_text_l), &set, CLIP_PREFIX_SDXL_1, true), 196);
    assert_int_equal(match(drawn_clip(&clip_text_big_g), &set, CLIP_PREFIX_SDXL_2, true), 517);
    assert_int_equal(match_vae(&vae_sdxl, &set, VAE_ORIGINAL_PREFIX, true), 248);
    assert_int_equal(left_over(&set, openclip_extras), 2);
    free(set.keys);
}

static void x4_upscaler_draws(void **state)
{
    (void)state;
    kiln_error err = {0};
    graph *g = drawn_unet(&unet_x4_upscaler);
    assert_int_equal(graph_finish(g, &err), KILN_OK);
    int i = graph_find_parameter(g, "class_embedding.weight");
    assert_true(i >= 0);
    assert_string_equal(g->parameters[i].original, "label_emb.weight");
    assert_true(shape_equal(g->parameters[i].shape, SHAPE2(1000, 1024)));
    /* level 1 looks only at the context; the middle at itself */
    i = graph_find_parameter(g, "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_k.weight");
    assert_true(i >= 0 && shape_equal(g->parameters[i].shape, SHAPE2(512, 1024)));
    i = graph_find_parameter(g, "mid_block.attentions.0.transformer_blocks.0.attn1.to_k.weight");
    assert_true(i >= 0 && shape_equal(g->parameters[i].shape, SHAPE2(1024, 1024)));
    graph_free(g);
}

/* ------------------------------------------------------------------------------------ told from tensors */

static void same_unet(const unet_config *a, const unet_config *b)
{
    assert_int_equal(a->levels, b->levels);
    assert_memory_equal(a->heads, b->heads, sizeof a->heads);
    assert_memory_equal(a->depth, b->depth, sizeof a->depth);
    assert_memory_equal(a->up_depth, b->up_depth, sizeof a->up_depth);
    assert_memory_equal(a->channels, b->channels, sizeof a->channels);
    assert_memory_equal(a->layers, b->layers, sizeof a->layers);
    assert_memory_equal(a->only_cross_attention, b->only_cross_attention, sizeof a->only_cross_attention);
    assert_int_equal(a->in_channels, b->in_channels);
    assert_int_equal(a->middle_depth, b->middle_depth);
    assert_int_equal(a->context_channels, b->context_channels);
    assert_int_equal(a->linear_projection, b->linear_projection);
    assert_int_equal(a->text_time, b->text_time);
    assert_int_equal(a->added_channels, b->added_channels);
    assert_int_equal(a->added_time_channels, b->added_time_channels);
    assert_int_equal(a->class_kind, b->class_kind);
    assert_int_equal(a->class_count, b->class_count);
    assert_int_equal(a->time_channels, b->time_channels);
    assert_int_equal(a->conv_in_kernel, b->conv_in_kernel);
    assert_int_equal(a->groups, b->groups);
    assert_int_equal(a->sample_size, b->sample_size);
    assert_true(a->norm_epsilon == b->norm_epsilon);
}

/* The original names of a drawn UNet as a set, for families of which no list is at hand. */
static key_set keys_of_graph(graph *g)
{
    key_set set = {.prefix = ""};
    for (int i = 0; i < g->parameter_count; i++)
        add_key(&set, g->parameters[i].original, g->parameters[i].shape);
    graph_free(g);
    sort_keys(&set);
    return set;
}

static void presets_are_told_from_tensors(void **state)
{
    (void)state;
    need_shared();
    static const struct {
        const char *path;
        const unet_config *unet;
    } cases[] = {{SHARED "/keys/sd15.txt", &unet_sd15},
                 {SHARED "/keys/sd15-inpaint-unet.txt", &unet_sd15_inpaint},
                 {SHARED "/keys/sd21.txt", &unet_sd21},
                 {SHARED "/keys/sdxl.txt", &unet_sdxl}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        key_set set = keys_from_text(cases[i].path);
        tensor_finder finder = finder_of(&set, UNET_ORIGINAL_PREFIX);
        unet_config c;
        assert_int_equal(unet_config_from_tensors(&finder, NULL, &c, NULL), KILN_OK);
        same_unet(&c, cases[i].unet);
        vae_config v;
        finder = finder_of(&set, VAE_ORIGINAL_PREFIX);
        if (i != 1) {
            assert_int_equal(vae_config_from_tensors(&finder, 0.0f, 0, &v, NULL), KILN_OK);
            assert_memory_equal(v.channels, vae_sd.channels, sizeof v.channels);
            assert_int_equal(v.layers, 2);
            assert_true(v.quant_convolution && v.post_quant_convolution && v.middle_attention);
        } else {
            assert_int_equal(vae_config_from_tensors(&finder, 0.0f, 0, &v, NULL), KILN_NOT_FOUND);
        }
        free(set.keys);
    }
    key_set set = keys_of_graph(drawn_unet(&unet_x4_upscaler));
    tensor_finder finder = finder_of(&set, "");
    unet_config c;
    assert_int_equal(unet_config_from_tensors(&finder, NULL, &c, NULL), KILN_OK);
    unet_config expected = unet_x4_upscaler;
    expected.only_cross_attention[0] = false; /* no attention there: nothing to tell it by */
    expected.sample_size = c.sample_size;
    same_unet(&c, &expected);
    free(set.keys);
}

static void text_encoders_are_told_from_tensors(void **state)
{
    (void)state;
    need_shared();
    static const struct {
        const char *path, *prefix;
        const clip_text_config *preset;
        int layers, projection;
    } cases[] = {{SHARED "/keys/sd15.txt", CLIP_PREFIX_SD1, &clip_text_l, 12, 0},
                 {SHARED "/keys/sd21.txt", CLIP_PREFIX_SD2, &clip_text_h, 24, 1024},
                 {SHARED "/keys/sdxl.txt", CLIP_PREFIX_SDXL_1, &clip_text_l, 12, 0},
                 {SHARED "/keys/sdxl.txt", CLIP_PREFIX_SDXL_2, &clip_text_big_g, 32, 1280}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        key_set set = keys_from_text(cases[i].path);
        tensor_finder finder = finder_of(&set, cases[i].prefix);
        clip_text_config c;
        assert_int_equal(clip_text_config_from_tensors(&finder, 0, &c, NULL), KILN_OK);
        assert_int_equal(c.layers, cases[i].layers);
        assert_int_equal(c.projection_channels, cases[i].projection);
        assert_int_equal(c.width, cases[i].preset->width);
        assert_int_equal(c.heads, cases[i].preset->heads);
        assert_int_equal(c.feed_forward, cases[i].preset->feed_forward);
        assert_int_equal(c.vocabulary, cases[i].preset->vocabulary);
        assert_int_equal(c.positions, 77);
        assert_int_equal(c.quick_gelu, cases[i].preset->quick_gelu);
        assert_int_equal(c.dialect, cases[i].preset->dialect);
        free(set.keys);
    }
}

static const char *const nothing[] = {NULL};

static void match_clip_probe(key_set *set, const char *prefix, int heads)
{
    kiln_error err = {0};
    tensor_finder finder = finder_of(set, prefix);
    clip_text_config c;
    if (clip_text_config_from_tensors(&finder, heads, &c, &err) != KILN_OK)
        fail_msg("%s", err.text);
    match(drawn_clip(&c), set, prefix, true);
}

/* The tiny single files, with the hints that come beside them. */
static void single_files(void **state)
{
    (void)state;
    need_shared();
    static const struct {
        const char *path, *text[2];
        int text_heads[2];
        unet_hints hints;
        float scaling;
    } cases[] = {{SHARED "/single_file/sd1-single.ckpt", {CLIP_PREFIX_SD1}, {4}, {.heads = 8}, 0.18215f},
                 {SHARED "/single_file/sd2-single.safetensors",
                  {CLIP_PREFIX_SD2},
                  {3},
                  {.head_channels = 8},
                  0.18215f},
                 {SHARED "/single_file/sdxl-single.safetensors",
                  {CLIP_PREFIX_SDXL_1, CLIP_PREFIX_SDXL_2},
                  {2, 4},
                  {.head_channels = 8, .added_time_channels = 8},
                  0.13025f}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        key_set set = keys_from_file(cases[i].path);
        kiln_error err = {0};
        tensor_finder finder = finder_of(&set, UNET_ORIGINAL_PREFIX);
        unet_config u;
        if (unet_config_from_tensors(&finder, &cases[i].hints, &u, &err) != KILN_OK)
            fail_msg("%s", err.text);
        assert_int_equal(u.heads[0], cases[i].hints.heads ? 8 : 4);
        match(drawn_unet(&u), &set, UNET_ORIGINAL_PREFIX, true);
        finder = finder_of(&set, VAE_ORIGINAL_PREFIX);
        vae_config v;
        if (vae_config_from_tensors(&finder, cases[i].scaling, 0, &v, &err) != KILN_OK)
            fail_msg("%s", err.text);
        match_vae(&v, &set, VAE_ORIGINAL_PREFIX, true);
        for (int k = 0; k < 2 && cases[i].text[k]; k++)
            match_clip_probe(&set, cases[i].text[k], cases[i].text_heads[k]);
        left_over(&set, i == 0 ? schedule_buffers : openclip_extras);
        free(set.keys);
    }
}

/* ------------------------------------------------------------------------------------ folders */

static char *read_text(const char *path, size_t *length)
{
    FILE *f = fopen(path, "r");
    if (!f)
        return NULL;
    char *text = malloc(1 << 16);
    assert_non_null(text);
    *length = fread(text, 1, 1 << 16, f);
    fclose(f);
    return text;
}

static void check_folder_part(const char *model, const char *part)
{
    char path[300];
    size_t length;
    kiln_error err = {0};
    snprintf(path, sizeof path, SHARED "/models/%s/%s/config.json", model, part);
    char *json = read_text(path, &length);
    if (!json)
        return;
    snprintf(path, sizeof path, SHARED "/models/%s/%s", model, part);
    key_set set = keys_from_file(path);
    if (strcmp(part, "unet") == 0) {
        unet_config c;
        if (unet_config_parse(json, length, path, &c, &err) != KILN_OK)
            fail_msg("%s", err.text);
        match(drawn_unet(&c), &set, "", false);
    } else if (strcmp(part, "vae") == 0) {
        vae_config c;
        if (vae_config_parse(json, length, path, &c, &err) != KILN_OK)
            fail_msg("%s", err.text);
        assert_int_equal(vae_factor(&c), 2);
        match_vae(&c, &set, "", false);
    } else {
        clip_text_config c;
        if (clip_text_config_parse(json, length, path, &c, &err) != KILN_OK)
            fail_msg("%s", err.text);
        match(drawn_clip(&c), &set, "", false);
    }
    assert_int_equal(left_over(&set, nothing), 0);
    free(set.keys);
    free(json);
}

static void folders(void **state)
{
    (void)state;
    need_shared();
    static const char *const models[] = {"sd1-tiny", "sd2v-tiny", "sdxl-tiny", "inpaint-tiny", "x4unet-tiny"};
    static const char *const parts[] = {"unet", "vae", "text_encoder", "text_encoder_2"};
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        for (size_t k = 0; k < sizeof parts / sizeof *parts; k++)
            check_folder_part(models[i], parts[k]);
}

static void old_vae_names(void **state)
{
    (void)state;
    char old[PATH_TEXT];
    assert_true(vae_old_name("encoder.mid_block.attentions.0.to_out.0.bias", old));
    assert_string_equal(old, "encoder.mid_block.attentions.0.proj_attn.bias");
    assert_true(vae_old_name("decoder.mid_block.attentions.0.to_q.weight", old));
    assert_string_equal(old, "decoder.mid_block.attentions.0.query.weight");
    assert_false(vae_old_name("decoder.mid_block.attentions.0.group_norm.weight", old));
    assert_false(vae_old_name("decoder.conv_in.weight", old));
}

/* ------------------------------------------------------------------------------------ preview decoders */

static void check_taesd(const char *file, bool decoder, int factor, int latent_channels, bool pooled)
{
    char path[300];
    snprintf(path, sizeof path, TEST_SHARED "/real/taesd/%s", file);
    if (access(path, R_OK) != 0)
        skip();
    key_set set = keys_from_file(path);
    tensor_finder finder = finder_of(&set, "");
    taesd_config c;
    bool plain = false;
    kiln_error err = {0};
    assert_int_equal(taesd_config_from_tensors(&finder, !decoder, &c, &plain, NULL), KILN_NOT_FOUND);
    if (taesd_config_from_tensors(&finder, decoder, &c, &plain, &err) != KILN_OK)
        fail_msg("%s", err.text);
    assert_true(plain);
    assert_int_equal(c.factor, factor);
    assert_int_equal(decoder ? c.in_channels : c.out_channels, latent_channels);
    int pools = 0;
    for (int i = 0; i < c.module_count; i++)
        pools += c.modules[i].pooled;
    assert_int_equal(pools, pooled ? 3 : 0);
    graph *g = graph_new();
    taesd_draw(g, &c, 1, 64, 64);
    match(g, &set, "", true);
    assert_int_equal(left_over(&set, nothing), 0);
    free(set.keys);
}

static void taesd_files(void **state)
{
    (void)state;
    check_taesd("taef2_encoder.pth", false, 8, 32, true);
    check_taesd("taef2_decoder.pth", true, 8, 32, true);
    check_taesd("taesana_encoder.pth", false, 32, 32, false);
}

/* diffusers' naming of the same decoder: one less, under a prefix. */
static void taesd_of_diffusers(void **state)
{
    (void)state;
    const char *path = TEST_SHARED "/real/taesd/taef2_decoder.pth";
    if (access(path, R_OK) != 0)
        skip();
    key_set plain = keys_from_file(path), renamed = {.prefix = ""};
    for (size_t i = 0; i < plain.count; i++) {
        char name[300], *rest;
        long number = strtol(plain.keys[i].name, &rest, 10);
        snprintf(name, sizeof name, "decoder.layers.%ld%s", number - 1, rest);
        add_key(&renamed, name, plain.keys[i].shape);
    }
    sort_keys(&renamed);
    tensor_finder a = finder_of(&plain, ""), b = finder_of(&renamed, "");
    taesd_config from_plain, from_renamed;
    bool is_plain = true;
    assert_int_equal(taesd_config_from_tensors(&a, true, &from_plain, NULL, NULL), KILN_OK);
    assert_int_equal(taesd_config_from_tensors(&b, true, &from_renamed, &is_plain, NULL), KILN_OK);
    assert_false(is_plain);
    assert_int_equal(from_plain.module_count, from_renamed.module_count);
    graph *g = graph_new();
    taesd_draw(g, &from_renamed, 1, 8, 8);
    match(g, &renamed, "", false);
    assert_int_equal(left_over(&renamed, nothing), 0);
    free(plain.keys);
    free(renamed.keys);
}

static void vae_approx_file(void **state)
{
    (void)state;
    const char *path = TEST_SHARED "/real/vae_approx/vaeapprox_sd_model.pt";
    if (access(path, R_OK) != 0)
        skip();
    key_set set = keys_from_file(path);
    tensor_finder finder = finder_of(&set, "");
    vae_approx_config c;
    assert_int_equal(vae_approx_config_from_tensors(&finder, &c, NULL), KILN_OK);
    assert_int_equal(c.latent_channels, 4);
    graph *g = graph_new();
    vae_approx_draw(g, &c, 1, 8, 9);
    assert_true(shape_equal(graph_node(g, g->outputs[0].value)->shape, SHAPE4(1, 16, 18, 3)));
    match(g, &set, "", true);
    assert_int_equal(left_over(&set, nothing), 0);
    free(set.keys);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sd15_names),
        cmocka_unit_test(sd15_inpaint_names),
        cmocka_unit_test(sd21_names),
        cmocka_unit_test(sdxl_names),
        cmocka_unit_test(x4_upscaler_draws),
        cmocka_unit_test(presets_are_told_from_tensors),
        cmocka_unit_test(text_encoders_are_told_from_tensors),
        cmocka_unit_test(single_files),
        cmocka_unit_test(folders),
        cmocka_unit_test(old_vae_names),
        cmocka_unit_test(taesd_files),
        cmocka_unit_test(taesd_of_diffusers),
        cmocka_unit_test(vae_approx_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
