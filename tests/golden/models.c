/* models.c - golden/models: every tiny model's text encoders, UNet and VAE, one pass each. See models.h. */
#include "golden/models.h"

#include "model/clip_text.h"
#include "model/unet.h"
#include "model/vae.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

/* What a case is made of: a model's folder, its reference tensors, and how to run. */
typedef struct model_case {
    const char *name, *folder;
    const tensor_file *golden;
    const pass_options *options;
    golden_report *report;
} model_case;

/* A part of the model: its config.json and its weights; false when the folder does not have it. */
typedef struct part {
    char *json;
    size_t length;
    tensor_file *file;
} folder_part;

static bool open_part(const model_case *c, const char *name, folder_part *out)
{
    char path[4096];
    kiln_error err;
    *out = (folder_part){0};
    snprintf(path, sizeof path, "%s/%s/config.json", c->folder, name);
    FILE *f = fopen(path, "rb");
    if (!f)
        return false;
    out->json = malloc(1 << 16);
    out->length = out->json ? fread(out->json, 1, 1 << 16, f) : 0;
    fclose(f);
    snprintf(path, sizeof path, "%s/%s", c->folder, name);
    if (!out->json || tensor_file_open(path, &out->file, &err)) {
        golden_failure(c->report, c->name, name, out->json ? err.text : "out of memory");
        free(out->json);
        return false;
    }
    return true;
}

static void close_part(folder_part *p)
{
    free(p->json);
    tensor_file_close(p->file);
}

static int dim_of(const tensor_file *file, const char *tensor, int axis)
{
    const tensor_entry *e = tensor_file_find(file, tensor);
    return e && axis < e->shape.rank ? (int)e->shape.dim[axis] : 0;
}

/* ------------------------------------------------------------------------------------ text */

static void feed_text(pass *p, const clip_text_config *config, const tensor_file *golden,
                      const char *ids_name, int batch, int tokens)
{
    int32_t index[64];
    size_t count = 0;
    float *values = golden_tensor(golden, ids_name, &count);
    int32_t *ids = values ? malloc(count * sizeof *ids) : NULL;
    for (size_t i = 0; ids && i < count; i++)
        ids[i] = (int32_t)values[i];
    for (int n = 0; ids && n < batch && n < 64; n++)
        index[n] = clip_pooling_index(config, ids + (size_t)n * (size_t)tokens, tokens);
    if (ids) {
        pass_input_ids(p, "ids", ids, count);
        pass_input_ids(p, "pooling_index", index, (size_t)batch);
    }
    free(ids);
    free(values);
}

static void check_text(const model_case *c, const char *folder, const char *group)
{
    static const char *const pairs[][2] = {{"hidden_0", "hidden_0"},
                                           {"last_hidden_state", "last_hidden_state"},
                                           {"hidden_raw", "penultimate_raw"},
                                           {"hidden_ln", "penultimate_ln"},
                                           {"pooled", "pooled"},
                                           {"text_embeds", "text_embeds"}};
    char name[100];
    folder_part part;
    snprintf(name, sizeof name, "%s.ids", group);
    int batch = dim_of(c->golden, name, 0), tokens = dim_of(c->golden, name, 1);
    if (batch < 1 || batch > 64 || !open_part(c, folder, &part))
        return;
    clip_text_config config;
    kiln_error err;
    if (clip_text_config_parse(part.json, part.length, folder, &config, &err)) {
        golden_failure(c->report, c->name, group, err.text);
    } else {
        clip_text_shape size = {.batch = batch, .tokens = tokens, .skip = 2};
        size.outputs = CLIP_HIDDEN_0 | CLIP_LAST_HIDDEN_STATE | CLIP_HIDDEN_RAW | CLIP_HIDDEN_LN |
                       CLIP_POOLED | (config.projection_channels ? CLIP_TEXT_EMBEDS : 0);
        graph *g = graph_new();
        if (g)
            clip_text_draw(g, &config, &size);
        pass p;
        weights_place place = {part.file, "", DIALECT_CANONICAL};
        pass_open(&p, g, &place, c->options, c->report, c->name, group);
        feed_text(&p, &config, c->golden, name, batch, tokens);
        pass_run(&p);
        for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
            snprintf(name, sizeof name, "%s.%s", group, pairs[i][1]);
            pass_compare(&p, pairs[i][0], c->golden, name);
        }
        pass_close(&p);
    }
    close_part(&part);
}

/* ------------------------------------------------------------------------------------ UNet */

/* The tap that an activation's name means: a module's path, or the first module of a kind on the way down. */
static const char *tap_of(const graph *g, const char *name)
{
    static const char *const firsts[][2] = {{"down.first_attn1", ".attn1"},
                                            {"down.first_attn2", ".attn2"},
                                            {"down.first_ff", ".ff"},
                                            {"down.first_transformer", ".attentions.0"}};
    for (size_t k = 0; k < sizeof firsts / sizeof *firsts; k++) {
        if (strcmp(firsts[k][0], name) != 0)
            continue;
        for (int i = 0; i < g->tap_count; i++) {
            const char *tap = g->taps[i].name;
            size_t length = strlen(tap), end = strlen(firsts[k][1]);
            if (strncmp(tap, "down_blocks.", 12) == 0 && length > end &&
                strcmp(tap + length - end, firsts[k][1]) == 0)
                return tap;
        }
    }
    return name;
}

/* Every reference tensor whose name begins with `prefix` is an activation; its place's path begins with
 * `half`. */
static void compare_activations(pass *p, const tensor_file *golden, const char *prefix, const char *half)
{
    size_t length = strlen(prefix);
    for (size_t i = 0; !p->failed && i < tensor_file_count(golden); i++) {
        const char *name = tensor_file_entry(golden, i)->name;
        if (strncmp(name, prefix, length) == 0 && strncmp(name + length, half, strlen(half)) == 0)
            pass_compare(p, tap_of(p->graph, name + length), golden, name);
    }
}

static void check_unet(const model_case *c)
{
    folder_part part;
    const tensor_file *golden = c->golden;
    if (!tensor_file_find(golden, "unet.sample") || !open_part(c, "unet", &part))
        return;
    unet_config config;
    kiln_error err;
    if (unet_config_parse(part.json, part.length, "unet/config.json", &config, &err)) {
        golden_failure(c->report, c->name, "unet", err.text);
    } else {
        unet_shape size = {.batch = dim_of(golden, "unet.sample", 0),
                           .height = dim_of(golden, "unet.sample", 2),
                           .width = dim_of(golden, "unet.sample", 3),
                           .context_tokens = dim_of(golden, "unet.ctx", 1)};
        graph *g = graph_new();
        if (g)
            unet_draw(g, &config, &size);
        pass p;
        weights_place place = {part.file, "", DIALECT_CANONICAL};
        pass_open(&p, g, &place, c->options, c->report, c->name, "unet");
        pass_input(&p, "sample", golden, "unet.sample");
        pass_input(&p, "timestep", golden, "unet.timestep");
        pass_input(&p, "encoder_hidden_states", golden, "unet.ctx");
        if (config.text_time) {
            pass_input(&p, "added_text_embeds", golden, "unet.added.text_embeds");
            pass_input(&p, "added_time_ids", golden, "unet.added.time_ids");
        }
        if (config.class_kind != UNET_CLASS_NONE)
            pass_input(&p, "class_labels", golden, "unet.class_labels");
        pass_run(&p);
        pass_compare(&p, "out", golden, "unet.out");
        if (c->options->plan.taps)
            compare_activations(&p, golden, "unet.act.", "");
        pass_close(&p);
    }
    close_part(&part);
}

/* ------------------------------------------------------------------------------------ VAE */

static void check_encoder(const model_case *c, const vae_config *config, const weights_place *place)
{
    graph *g = graph_new();
    if (g)
        vae_draw_encoder(g, config, dim_of(c->golden, "vae.image", 0), dim_of(c->golden, "vae.image", 2),
                         dim_of(c->golden, "vae.image", 3));
    pass p;
    pass_open(&p, g, place, c->options, c->report, c->name, "vae");
    pass_input(&p, "image", c->golden, "vae.image");
    pass_run(&p);
    pass_compare(&p, "moments", c->golden, "vae.moments");
    pass_compare(&p, "moments", c->golden, "vae.mean");
    pass_compare_channels(&p, "moments", c->golden, "vae.logvar", config->latent_channels, -30.0f, 20.0f);
    if (c->options->plan.taps)
        compare_activations(&p, c->golden, "vae.act.", "encoder.");
    pass_close(&p);
}

static void check_decoder(const model_case *c, const vae_config *config, const weights_place *place)
{
    graph *g = graph_new();
    if (g)
        vae_draw_decoder(g, config, dim_of(c->golden, "vae.z", 0), dim_of(c->golden, "vae.z", 2),
                         dim_of(c->golden, "vae.z", 3));
    pass p;
    pass_open(&p, g, place, c->options, c->report, c->name, "vae");
    pass_input(&p, "latents", c->golden, "vae.z");
    pass_run(&p);
    pass_compare(&p, "image", c->golden, "vae.decoded");
    if (c->options->plan.taps)
        compare_activations(&p, c->golden, "vae.act.", "decoder.");
    pass_close(&p);
}

static void check_vae(const model_case *c)
{
    folder_part part;
    if (!tensor_file_find(c->golden, "vae.image") || !open_part(c, "vae", &part))
        return;
    vae_config config;
    kiln_error err;
    weights_place place = {part.file, "", DIALECT_CANONICAL};
    if (vae_config_parse(part.json, part.length, "vae/config.json", &config, &err)) {
        golden_failure(c->report, c->name, "vae", err.text);
    } else {
        check_encoder(c, &config, &place);
        check_decoder(c, &config, &place);
    }
    close_part(&part);
}

/* ------------------------------------------------------------------------------------ folders */

static void check_model(const char *root, const char *name, const pass_options *options,
                        golden_report *report)
{
    char folder[4096], path[4200];
    snprintf(folder, sizeof folder, "%s/%s", root, name);
    snprintf(path, sizeof path, "%s/golden.safetensors", folder);
    FILE *there = fopen(path, "rb");
    if (!there)
        return;
    fclose(there);
    tensor_file *golden = golden_tensors(report, folder, "golden.safetensors");
    if (!golden) {
        golden_failure(report, name, "all", "its reference tensors cannot be read");
        return;
    }
    model_case c = {name, folder, golden, options, report};
    check_text(&c, "text_encoder", "text");
    check_text(&c, "text_encoder", "text1");
    check_text(&c, "text_encoder_2", "text2");
    check_unet(&c);
    check_vae(&c);
    tensor_file_close(golden);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int golden_models(const char *folder, const pass_options *options, golden_report *report)
{
    char *names[256];
    size_t count = 0;
    DIR *directory = opendir(folder);
    if (!directory) {
        golden_failure(report, "models", folder, "the folder cannot be read");
        return 1;
    }
    for (struct dirent *e; count < 256 && (e = readdir(directory));)
        if (e->d_name[0] != '.' && (names[count] = strdup(e->d_name)))
            count++;
    closedir(directory);
    qsort(names, count, sizeof *names, by_name);
    for (size_t i = 0; i < count; i++) {
        check_model(folder, names[i], options, report);
        free(names[i]);
    }
    return 0;
}
