/* single_files.c - golden/single_file: checkpoints in the original naming, opened as a user would, one pass
 * each of what they hold. Reference tensors lie beside each file under NAME.golden.safetensors. */
#include "golden/models.h"

#include "weights/probe.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

typedef struct single_case {
    const char *name;
    const model_parts *parts;
    const tensor_file *golden;
    const pass_options *options;
    golden_report *report;
} single_case;

static int dim_of(const tensor_file *file, const char *tensor, int axis)
{
    const tensor_entry *e = tensor_file_find(file, tensor);
    return e && axis < e->shape.rank ? (int)e->shape.dim[axis] : 0;
}

static void open_pass(pass *p, const single_case *c, graph *g, part_kind kind)
{
    pass_open(p, g, &c->parts->part[kind].place, c->options, c->report, c->name, part_name(kind));
}

/* The references of one text encoder: "text", "text1" or "text2". */
static void check_text(const single_case *c, part_kind kind, const clip_text_config *config,
                       const char *group)
{
    static const char *const pairs[][2] = {{"last_hidden_state", "last_hidden_state"},
                                           {"hidden_raw", "penultimate_raw"},
                                           {"hidden_ln", "penultimate_ln"},
                                           {"text_embeds", "text_embeds"}};
    int batch = dim_of(c->golden, "ids", 0), tokens = dim_of(c->golden, "ids", 1);
    size_t count = 0;
    float *values = golden_tensor(c->golden, "ids", &count);
    int32_t *ids = values ? malloc(count * sizeof *ids) : NULL, pooling[64] = {0};
    if (ids && batch >= 1 && batch <= 64) {
        for (size_t i = 0; i < count; i++)
            ids[i] = (int32_t)values[i];
        for (int n = 0; n < batch; n++)
            pooling[n] = clip_pooling_index(config, ids + (size_t)n * (size_t)tokens, tokens);
        /* SD 2's spare last layer is gone already when the file has been told: its penultimate is our last.
         */
        bool dropped = kind == PART_TEXT && config->dialect == CLIP_DIALECT_OPENCLIP;
        clip_text_shape size = {.batch = batch, .tokens = tokens, .skip = dropped ? 1 : 2};
        size.outputs = CLIP_LAST_HIDDEN_STATE | CLIP_HIDDEN_RAW | CLIP_HIDDEN_LN;
        if (config->projection_channels)
            size.outputs |= CLIP_TEXT_EMBEDS;
        graph *g = graph_new();
        if (g)
            clip_text_draw(g, config, &size);
        pass p;
        open_pass(&p, c, g, kind);
        pass_input_ids(&p, "ids", ids, count);
        if (config->projection_channels)
            pass_input_ids(&p, "pooling_index", pooling, (size_t)batch);
        pass_run(&p);
        for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
            char tensor[100];
            snprintf(tensor, sizeof tensor, "%s.%s", group, pairs[i][1]);
            pass_compare(&p, pairs[i][0], c->golden, tensor);
        }
        pass_close(&p);
    }
    free(ids);
    free(values);
}

static void check_unet(const single_case *c)
{
    const tensor_file *golden = c->golden;
    unet_shape size = {.batch = dim_of(golden, "unet.sample", 0),
                       .height = dim_of(golden, "unet.sample", 2),
                       .width = dim_of(golden, "unet.sample", 3),
                       .context_tokens = dim_of(golden, "unet.ctx", 1)};
    graph *g = graph_new();
    if (g)
        unet_draw(g, &c->parts->unet, &size);
    pass p;
    open_pass(&p, c, g, PART_UNET);
    pass_input(&p, "sample", golden, "unet.sample");
    pass_input(&p, "timestep", golden, "unet.t");
    pass_input(&p, "encoder_hidden_states", golden, "unet.ctx");
    if (c->parts->unet.text_time) {
        pass_input(&p, "added_text_embeds", golden, "unet.added.text_embeds");
        pass_input(&p, "added_time_ids", golden, "unet.added.time_ids");
    }
    pass_run(&p);
    pass_compare(&p, "out", golden, "unet.out");
    pass_close(&p);
}

/* "vae.decoded_sample" is the decoded picture of the UNet's sample. */
static void check_vae(const single_case *c)
{
    const tensor_file *golden = c->golden;
    const vae_config *config = &c->parts->vae;
    graph *encoder = graph_new(), *decoder = graph_new();
    if (encoder)
        vae_draw_encoder(encoder, config, dim_of(golden, "vae.image", 0), dim_of(golden, "vae.image", 2),
                         dim_of(golden, "vae.image", 3));
    if (decoder)
        vae_draw_decoder(decoder, config, dim_of(golden, "unet.sample", 0), dim_of(golden, "unet.sample", 2),
                         dim_of(golden, "unet.sample", 3));
    pass p;
    open_pass(&p, c, encoder, PART_VAE);
    pass_input(&p, "image", golden, "vae.image");
    pass_run(&p);
    pass_compare(&p, "moments", golden, "vae.moments");
    pass_close(&p);
    open_pass(&p, c, decoder, PART_VAE);
    pass_input(&p, "latents", golden, "unet.sample");
    pass_run(&p);
    pass_compare(&p, "image", golden, "vae.decoded_sample");
    pass_close(&p);
}

static void check_parts(const single_case *c)
{
    const model_part *part = c->parts->part;
    const tensor_file *golden = c->golden;
    bool two = part[PART_TEXT_2].present;
    if (part[PART_TEXT].present)
        check_text(c, PART_TEXT, &c->parts->text, two ? "text1" : "text");
    if (two)
        check_text(c, PART_TEXT_2, &c->parts->text_2, "text2");
    if (part[PART_UNET].present && tensor_file_find(golden, "unet.sample"))
        check_unet(c);
    if (part[PART_VAE].present && tensor_file_find(golden, "vae.image"))
        check_vae(c);
}

static void check_file(const char *folder, const char *file, const pass_options *options,
                       golden_report *report)
{
    char path[4200], stem[256], reference[300];
    snprintf(stem, sizeof stem, "%.*s", (int)strcspn(file, "."), file);
    snprintf(reference, sizeof reference, "%s.golden.safetensors", stem);
    snprintf(path, sizeof path, "%s/hints.json", folder);
    probe_options probing = {.hints = path};
    FILE *hints = fopen(path, "rb");
    if (hints)
        fclose(hints);
    else
        probing.hints = NULL;
    char model[4200];
    snprintf(model, sizeof model, "%s/%s", folder, file);
    model_parts *parts = NULL;
    kiln_error err;
    tensor_file *golden = golden_tensors(report, folder, reference);
    if (!golden || probe_open(model, &probing, &parts, &err))
        golden_failure(report, stem, "open", golden ? err.text : reference);
    else
        check_parts(&(single_case){stem, parts, golden, options, report});
    probe_close(parts);
    tensor_file_close(golden);
}

static bool is_checkpoint(const char *name)
{
    const char *end = strchr(name, '.');
    return end && (strcmp(end, ".safetensors") == 0 || strcmp(end, ".ckpt") == 0);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int golden_single_files(const char *folder, const pass_options *options, golden_report *report)
{
    char *names[256];
    size_t count = 0;
    DIR *directory = opendir(folder);
    if (!directory) {
        golden_failure(report, "single_file", folder, "the folder cannot be read");
        return 1;
    }
    for (struct dirent *e; count < 256 && (e = readdir(directory));)
        if (is_checkpoint(e->d_name) && (names[count] = strdup(e->d_name)))
            count++;
    closedir(directory);
    qsort(names, count, sizeof *names, by_name);
    for (size_t i = 0; i < count; i++) {
        check_file(folder, names[i], options, report);
        free(names[i]);
    }
    return 0;
}
