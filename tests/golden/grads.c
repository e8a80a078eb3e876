/* grads.c - golden/grads: the reverse pass of UNet, text encoder and autoencoder. See grads.h.
 *
 * The graph of a model is drawn as ever, a loss is put on its output, and graph_gradient() appends the rest. Where a
 * loss reaches through two models (textual inversion, the autoencoder's halves) the gradient by the second one's input
 * is handed to the first one as the weights of a sum. */
#include "golden/grads.h"
#include "golden/taught.h"

#include "model/clip_text.h"
#include "model/unet.h"
#include "model/vae.h"
#include "ops/gradient.h"
#include "ops/ops.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct gradient_case {
    const char *folder, *model;
    const pass_options *options;
    golden_report *report;
    json_t *info;
} gradient_case;

/* ------------------------------------------------------------------------------------ models */

typedef struct model_part {
    char json[1 << 15];
    size_t length;
    tensor_file *file;
} model_part;

static model_part *open_part(const gradient_case *c, const char *name)
{
    char path[4096];
    model_part *p = calloc(1, sizeof *p);
    kiln_error err = {.text = "out of memory"};
    snprintf(path, sizeof path, "%s/%s/config.json", c->model, name);
    FILE *f = p ? fopen(path, "rb") : NULL;
    if (f) {
        p->length = fread(p->json, 1, sizeof p->json, f);
        fclose(f);
    }
    snprintf(path, sizeof path, "%s/%s", c->model, name);
    if (!f || tensor_file_open(path, &p->file, &err)) {
        golden_failure(c->report, "grads", name, f ? err.text : "the model has no such part");
        free(p);
        return NULL;
    }
    return p;
}

static void close_part(model_part *p)
{
    if (p)
        tensor_file_close(p->file);
    free(p);
}

static value output_of(const graph *g, const char *name)
{
    for (int i = 0; i < g->output_count; i++)
        if (strcmp(g->outputs[i].name, name) == 0)
            return g->outputs[i].value;
    return NO_VALUE;
}

static value input_of(const graph *g, const char *name)
{
    for (int i = 0; i < g->input_count; i++)
        if (strcmp(g->inputs[i].name, name) == 0)
            return g->inputs[i].value;
    return NO_VALUE;
}

/* Outputs "loss", "grad.NAME" for every parameter and "d_NAME" for the named inputs. */
static void draw_gradients(graph *g, value loss, const char *const *inputs, int input_count)
{
    int count = g->parameter_count + input_count;
    value *wanted = calloc((size_t)count * 2, sizeof *wanted), *gradients = wanted + count;
    if (!wanted)
        return;
    for (int i = 0; i < g->parameter_count; i++)
        wanted[i] = g->parameters[i].value;
    for (int i = 0; i < input_count; i++)
        wanted[g->parameter_count + i] = input_of(g, inputs[i]);
    kiln_error err;
    graph_output(g, "loss", loss);
    if (graph_gradient(g, loss, wanted, count, gradients, &err) != KILN_OK && !graph_failed(graph_root(g)))
        graph_fail(graph_root(g), "%s", err.text);
    for (int i = 0; i < count && !graph_failed(graph_root(g)); i++) {
        char name[400];
        if (i < g->parameter_count)
            snprintf(name, sizeof name, "grad.%s", g->parameters[i].canonical);
        else
            snprintf(name, sizeof name, "d_%s", inputs[i - g->parameter_count]);
        graph_output(g, name, gradients[i]);
    }
    free(wanted);
}

/* sum(x * factors) * factor, where `factors` becomes an input of x's shape. */
static value weighted_sum(graph *g, value x, const char *factors, double factor)
{
    at a = graph_root(g);
    shape s = value_shape(a, x);
    value product = op_multiply(a, x, graph_input(g, factors, s, DTYPE_F32));
    return op_scale(a, op_mean(a, product), (float)((double)shape_count(s) * factor), 0);
}

/* ------------------------------------------------------------------------------------ comparing */

static void compare_number(pass *p, const char *output, const char *what, double expected)
{
    const float *got = p->failed ? NULL : run_output(p->run, output);
    if (got)
        golden_result(p->report, p->group, p->id, what, fabs((double)got[0] - expected) / fabs(expected),
                      p->limit);
}

/* Parameters keep the shapes of their files, so that there is nothing to turn. `rows` NULL: all of them. */
static void compare_plain(pass *p, const char *output, const tensor_file *golden, const char *tensor,
                          const int *rows, size_t row_count)
{
    size_t count = 0;
    const float *got = p->failed ? NULL : run_output(p->run, output);
    float *expected = got && tensor_file_find(golden, tensor) ? golden_tensor(golden, tensor, &count) : NULL;
    size_t width = rows ? count / row_count : 1;
    double worst = 0, scale = 0;
    for (size_t i = 0; expected && i < count; i++) {
        double e = expected[i], d = fabs(got[rows ? (size_t)rows[i / width] * width + i % width : i] - e);
        worst = d <= worst ? worst : d;
        scale = fmax(scale, fabs(e));
    }
    if (expected)
        golden_result(p->report, p->group, p->id, tensor, worst / scale, p->limit);
    free(expected);
}

/* Every gradient's length and sum. Some are nought but for rounding (a bias of keys shifts all scores of a query alike):
 * those are held against the length of the model's whole gradient. */
static void compare_norms(pass *p, const json_t *norms)
{
    const char *name;
    json_t *pair;
    double whole = 0, worst_length = 0, worst_sum = 0;
    json_object_foreach((json_t *)norms, name, pair) whole +=
        pow(json_number_value(json_array_get(pair, 0)), 2);
    json_object_foreach((json_t *)norms, name, pair)
    {
        char output[400];
        snprintf(output, sizeof output, "grad.%s", name);
        int index = graph_find_parameter(p->graph, name);
        const float *got = index >= 0 ? run_output(p->run, output) : NULL;
        int64_t count = got ? shape_count(p->graph->parameters[index].shape) : 0;
        double squares = 0, sum = 0, length = json_number_value(json_array_get(pair, 0));
        for (int64_t i = 0; i < count; i++) {
            squares += (double)got[i] * got[i];
            sum += got[i];
        }
        double scale = length > 1e-6 * sqrt(whole) ? length : sqrt(whole);
        double length_error = got ? fabs(sqrt(squares) - length) / scale : NAN;
        double sum_error =
            fabs(sum - json_number_value(json_array_get(pair, 1))) / (scale * sqrt((double)count));
        worst_length = length_error <= worst_length ? worst_length : length_error;
        worst_sum = sum_error <= worst_sum ? worst_sum : sum_error;
    }
    char what[100];
    snprintf(what, sizeof what, "lengths of %zu gradients", json_object_size(norms));
    golden_result(p->report, p->group, p->id, what, worst_length, p->limit);
    snprintf(what, sizeof what, "sums of %zu gradients", json_object_size(norms));
    golden_result(p->report, p->group, p->id, what, worst_sum, p->limit);
}

static void compare_tensors(pass *p, const tensor_file *golden, const char *prefix)
{
    size_t length = strlen(prefix);
    for (size_t i = 0; i < tensor_file_count(golden); i++) {
        const char *name = tensor_file_entry(golden, i)->name;
        if (strncmp(name, prefix, length) == 0 && strncmp(name + length, "grad.", 5) == 0)
            compare_plain(p, name + length, golden, name, NULL, 0);
    }
}

/* The losses and the norms that info.json tells of a part. */
static void compare_info(pass *p, const gradient_case *c, const char *part)
{
    const json_t *info = json_object_get(c->info, part);
    if (p->failed)
        return;
    compare_number(p, "loss", "loss", json_number_value(json_object_get(info, "loss")));
    compare_norms(p, json_object_get(info, "grad_l2_and_sum"));
}

/* ------------------------------------------------------------------------------------ UNet */

/* abar_t of Stable Diffusion's schedule: betas are squares of 1000 even steps from sqrt(0.00085) to sqrt(0.012). */
static double alpha_bar(int t)
{
    double product = 1;
    for (int i = 0; i <= t; i++) {
        double root = sqrt(0.00085) + (sqrt(0.012) - sqrt(0.00085)) * i / 999;
        product *= 1 - root * root;
    }
    return product;
}

/* The target sqrt(abar) * noise - sqrt(1 - abar) * x0, in our layout, from the two as inputs would be filled. */
static void fill_velocity(pass *p, const tensor_file *golden, const double *abar, int batch)
{
    float *target = p->failed ? NULL : run_input(p->run, "target");
    size_t count =
        target ? (size_t)shape_count(graph_node(p->graph, input_of(p->graph, "target"))->shape) : 0;
    float *noise = malloc((count + 1) * sizeof *noise);
    pass_input(p, "target", golden, "noise");
    if (noise && target && !p->failed) {
        memcpy(noise, target, count * sizeof *noise);
        pass_input(p, "target", golden, "x0");
        for (size_t i = 0; i < count; i++) {
            double a = abar[i / (count / (size_t)batch)];
            target[i] = (float)(sqrt(a) * noise[i] - sqrt(1 - a) * target[i]);
        }
    }
    free(noise);
}

static void fill_weights(pass *p, const double *numbers, int batch)
{
    float *to = p->failed ? NULL : run_input(p->run, "weights");
    for (int i = 0; to && i < batch; i++)
        to[i] = (float)numbers[i];
}

static void compare_losses(pass *p, const gradient_case *c, const tensor_file *golden,
                           const tensor_file *tuning)
{
    enum { BATCH = 2 };
    double abar[BATCH], ones[BATCH] = {1, 1}, twos[BATCH] = {2, 2}, minimum[BATCH];
    size_t count = 0;
    float *t = golden_tensor(golden, "t", &count);
    for (int i = 0; i < BATCH; i++) {
        abar[i] = alpha_bar(t && count == BATCH ? (int)t[i] : 0);
        double snr = abar[i] / (1 - abar[i]);
        minimum[i] = fmin(snr, 5) / snr;
    }
    free(t);
    fill_weights(p, ones, BATCH);
    pass_run(p);
    pass_compare(p, "out", golden, "pred");
    compare_info(p, c, "unet_eps_mse");
    compare_tensors(p, golden, "");
    pass_compare(p, "d_sample", golden, "d_xt");
    pass_compare(p, "d_encoder_hidden_states", golden, "d_ctx");
    fill_weights(p, minimum, BATCH);
    pass_run(p);
    compare_plain(p, "loss", golden, "minsnr.loss", NULL, 0);
    compare_tensors(p, golden, "minsnr.");
    fill_weights(p, twos, BATCH); /* mse(first) + mse(second) is twice the mean of both */
    pass_run(p);
    compare_plain(p, "loss", tuning, "dreambooth.loss", NULL, 0);
    compare_tensors(p, tuning, "dreambooth.");
    fill_weights(p, ones, BATCH);
    fill_velocity(p, golden, abar, BATCH);
    pass_run(p);
    compare_plain(p, "loss", golden, "v.loss", NULL, 0);
    compare_tensors(p, golden, "v.");
}

static graph *drawn_unet(const unet_config *config)
{
    graph *g = graph_new();
    if (!g)
        return NULL;
    static const char *const inputs[] = {"sample", "encoder_hidden_states"};
    unet_draw(g, config, &(unet_shape){.batch = 2, .height = 16, .width = 16, .context_tokens = 77});
    value out = output_of(g, "out"),
          target = graph_input(g, "target", value_shape(graph_root(g), out), DTYPE_F32);
    value by_sample = graph_input(g, "weights", SHAPE1(2), DTYPE_F32);
    draw_gradients(g, op_mean_squared_error(graph_root(g), out, target, by_sample), inputs, 2);
    return g;
}

static void open_unet(const gradient_case *c, const model_part *part, const tensor_file *golden,
                      const char *id, pass *p)
{
    unet_config config;
    kiln_error err;
    *p = (pass){.failed = true};
    if (unet_config_parse(part->json, part->length, "unet/config.json", &config, &err)) {
        golden_failure(c->report, "grads", id, err.text);
        return;
    }
    pass_open(p, drawn_unet(&config), &(weights_place){part->file, "", DIALECT_CANONICAL}, c->options,
              c->report, "grads", id);
    pass_input(p, "sample", golden, "xt");
    pass_input(p, "timestep", golden, "t");
    pass_input(p, "encoder_hidden_states", golden, "ctx");
    pass_input(p, "target", golden, "noise");
}

static void check_unet(const gradient_case *c)
{
    model_part *part = open_part(c, "unet");
    tensor_file *golden = golden_tensors(c->report, c->folder, "unet.safetensors");
    tensor_file *tuning = golden_tensors(c->report, c->folder, "tuning.safetensors");
    if (part && golden && tuning) {
        pass p;
        open_unet(c, part, golden, "unet", &p);
        if (!p.failed)
            compare_losses(&p, c, golden, tuning);
        pass_close(&p);
    }
    tensor_file_close(golden);
    tensor_file_close(tuning);
    close_part(part);
}

/* ------------------------------------------------------------------------------------ text encoder */

/* The sum of the last hidden state times the input "w", times `factor`. */
static void open_text(const gradient_case *c, const model_part *part, const char *id, double factor, pass *p)
{
    clip_text_config config;
    kiln_error err;
    *p = (pass){.failed = true};
    if (clip_text_config_parse(part->json, part->length, "text_encoder/config.json", &config, &err)) {
        golden_failure(c->report, "grads", id, err.text);
        return;
    }
    graph *g = graph_new();
    if (g) {
        clip_text_draw(
            g, &config,
            &(clip_text_shape){.batch = 2, .tokens = 77, .outputs = CLIP_LAST_HIDDEN_STATE, .skip = 1});
        draw_gradients(g, weighted_sum(g, output_of(g, "last_hidden_state"), "w", factor), NULL, 0);
    }
    pass_open(p, g, &(weights_place){part->file, "", DIALECT_CANONICAL}, c->options, c->report, "grads", id);
}

static const char token_table[] = "grad.text_model.embeddings.token_embedding.weight";

static void check_text(const gradient_case *c)
{
    model_part *part = open_part(c, "text_encoder");
    tensor_file *golden = golden_tensors(c->report, c->folder, "text.safetensors");
    static const int stored_rows[] = {998, 999, 320, 540, 700, 300};
    if (part && golden) {
        pass p;
        open_text(c, part, "text", 1.0 / 77, &p);
        pass_input(&p, "ids", golden, "ids");
        pass_input(&p, "w", golden, "w");
        pass_run(&p);
        compare_info(&p, c, "text");
        compare_plain(&p, token_table, golden, token_table, stored_rows, 6);
        for (size_t i = 0; i < tensor_file_count(golden); i++) {
            const char *name = tensor_file_entry(golden, i)->name;
            if (strncmp(name, "grad.", 5) == 0 && strcmp(name, token_table) != 0)
                compare_plain(&p, name, golden, name, NULL, 0);
        }
        pass_close(&p);
    }
    tensor_file_close(golden);
    close_part(part);
}

/* The gradient by the placeholder's row, through the text encoder and the UNet. */
static void invert(const gradient_case *c, const model_part *unet, const model_part *text,
                   const tensor_file *golden, const tensor_file *tuning)
{
    pass u, t;
    const json_t *info = json_object_get(c->info, "textual_inversion");
    int row = (int)json_integer_value(json_object_get(info, "placeholder"));
    open_text(c, text, "textual inversion", 1, &t);
    pass_input(&t, "ids", tuning, "ti.ids");
    pass_run(&t);
    pass_compare(&t, "last_hidden_state", tuning, "ti.hidden");
    open_unet(c, unet, golden, "textual inversion", &u);
    fill_weights(&u, (double[]){1, 1}, 2);
    if (!t.failed && !u.failed) {
        size_t bytes =
            (size_t)shape_count(graph_node(t.graph, input_of(t.graph, "w"))->shape) * sizeof(float);
        memcpy(run_input(u.run, "encoder_hidden_states"), run_output(t.run, "last_hidden_state"), bytes);
        pass_run(&u);
        compare_number(&u, "loss", "loss",
                       json_number_value(json_array_get(json_object_get(info, "losses"), 0)));
        memcpy(run_input(t.run, "w"), run_output(u.run, "d_encoder_hidden_states"), bytes);
        pass_run(&t);
        compare_plain(&t, token_table, tuning, "ti.grad_row", &row, 1);
    }
    pass_close(&u);
    pass_close(&t);
}

static void check_inversion(const gradient_case *c)
{
    model_part *unet = open_part(c, "unet"), *text = open_part(c, "text_encoder");
    tensor_file *golden = golden_tensors(c->report, c->folder, "unet.safetensors");
    tensor_file *tuning = golden_tensors(c->report, c->folder, "tuning.safetensors");
    if (unet && text && golden && tuning)
        invert(c, unet, text, golden, tuning);
    tensor_file_close(golden);
    tensor_file_close(tuning);
    close_part(unet);
    close_part(text);
}

/* ------------------------------------------------------------------------------------ autoencoder */

static graph *drawn_decoder(const vae_config *config)
{
    graph *g = graph_new();
    if (!g)
        return NULL;
    static const char *const inputs[] = {"latents"};
    vae_draw_decoder(g, config, 2, 16, 16);
    value out = output_of(g, "image"),
          target = graph_input(g, "target", value_shape(graph_root(g), out), DTYPE_F32);
    draw_gradients(g, op_mean_squared_error(graph_root(g), out, target, NO_VALUE), inputs, 1);
    return g;
}

/* z = mean + exp(logvar / 2) * eps; the loss is sum(z * dz) + 1e-3 * KL. */
static graph *drawn_encoder(const vae_config *config)
{
    graph *g = graph_new();
    if (!g)
        return NULL;
    static const char *const inputs[] = {"image"};
    at a = graph_root(g);
    vae_draw_encoder(g, config, 2, 32, 32);
    value moments = output_of(g, "moments");
    int64_t channels = config->latent_channels;
    value mean = op_slice(a, moments, -1, 0, channels);
    value logvar = op_clamp(a, op_slice(a, moments, -1, channels, channels), -30, 20);
    shape s = value_shape(a, mean);
    value eps = graph_input(g, "eps", s, DTYPE_F32);
    value z = op_add(a, mean, op_multiply(a, op_exp(a, op_scale(a, logvar, 0.5f, 0)), eps));
    value terms =
        op_add(a, op_multiply(a, mean, mean), op_add(a, op_exp(a, logvar), op_scale(a, logvar, -1, -1)));
    value kl = op_scale(a, op_mean(a, terms), (float)(0.5 * (double)shape_count(s) / (double)s.dim[0]), 0);
    graph_output(g, "z", z);
    graph_output(g, "kl", kl);
    draw_gradients(g, op_add(a, weighted_sum(g, z, "dz", 1), op_scale(a, kl, 1e-3f, 0)), inputs, 1);
    return g;
}

/* Norms of parameters beginning with one of the prefixes: those of one half. */
static json_t *half_of(const json_t *norms, const char *prefix, const char *other)
{
    json_t *half = json_object(), *pair;
    const char *name;
    json_object_foreach((json_t *)norms, name, pair) if (strncmp(name, prefix, strlen(prefix)) == 0 ||
                                                         strncmp(name, other, strlen(other)) == 0)
        json_object_set(half, name, pair);
    return half;
}

static void compare_half(pass *p, const gradient_case *c, const tensor_file *golden, const char *prefix,
                         const char *other)
{
    json_t *norms =
        half_of(json_object_get(json_object_get(c->info, "vae"), "grad_l2_and_sum"), prefix, other);
    if (!p->failed) {
        compare_norms(p, norms);
        compare_tensors(p, golden, "");
    }
    json_decref(norms);
}

static void run_autoencoder(const gradient_case *c, const model_part *part, const vae_config *config,
                            const tensor_file *golden)
{
    pass e, d;
    weights_place place = {part->file, "", DIALECT_CANONICAL};
    const json_t *info = json_object_get(c->info, "vae");
    pass_open(&e, drawn_encoder(config), &place, c->options, c->report, "grads", "vae encoder");
    pass_open(&d, drawn_decoder(config), &place, c->options, c->report, "grads", "vae decoder");
    pass_input(&e, "image", golden, "image");
    pass_input(&e, "eps", golden, "eps");
    pass_run(&e);
    pass_compare(&e, "z", golden, "z");
    compare_number(&e, "kl", "kl", json_number_value(json_object_get(info, "kl")));
    pass_input(&d, "latents", golden, "z");
    pass_input(&d, "target", golden, "image");
    if (!e.failed && !d.failed) {
        size_t bytes =
            (size_t)shape_count(graph_node(e.graph, input_of(e.graph, "dz"))->shape) * sizeof(float);
        memcpy(run_input(d.run, "latents"), run_output(e.run, "z"), bytes);
        pass_run(&d);
        pass_compare(&d, "image", golden, "rec");
        compare_number(&d, "loss", "mse", json_number_value(json_object_get(info, "mse")));
        compare_half(&d, c, golden, "decoder.", "post_quant_conv.");
        memcpy(run_input(e.run, "dz"), run_output(d.run, "d_latents"), bytes);
        pass_run(&e);
        compare_half(&e, c, golden, "encoder.", "quant_conv.");
        pass_compare(&e, "d_image", golden, "d_image");
    }
    pass_close(&e);
    pass_close(&d);
}

static void check_vae(const gradient_case *c)
{
    model_part *part = open_part(c, "vae");
    tensor_file *golden = golden_tensors(c->report, c->folder, "vae.safetensors");
    vae_config config;
    kiln_error err;
    if (part && golden) {
        if (vae_config_parse(part->json, part->length, "vae/config.json", &config, &err))
            golden_failure(c->report, "grads", "vae", err.text);
        else
            run_autoencoder(c, part, &config, golden);
    }
    tensor_file_close(golden);
    close_part(part);
}

int golden_gradients(const char *folder, const char *model, const pass_options *options,
                     golden_report *report)
{
    gradient_case c = {.folder = folder, .model = model, .options = options, .report = report};
    c.info = golden_json(report, folder, "info.json");
    if (!c.info)
        return 1;
    check_unet(&c);
    check_text(&c);
    check_inversion(&c);
    check_vae(&c);
    golden_taught(folder, model, c.info, options, report);
    json_decref(c.info);
    return 0;
}
