/* taught.c - golden/grads: LoRA and hypernetworks. See taught.h.
 *
 * The UNet is drawn with the hooks that training and drawing set; LoRA both ways, as a changed weight and as a branch. Small
 * parameters come from the files that users have, read by the library's readers. */
#include "golden/taught.h"

#include "model/hypernetwork.h"
#include "model/unet.h"
#include "ops/gradient.h"
#include "ops/ops.h"
#include "weights/hypernetwork_file.h"
#include "weights/lora_draw.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PLACE "hypernetwork"

typedef struct taught_case {
    const pass_options *options;
    golden_report *report;
    const json_t *info;
    unet_config config;
    tensor_file *unet, *inputs, *golden;
    lora *lora;
    hypernetwork_file *hyper;
    lora_form form;
} taught_case;

/* ------------------------------------------------------------------------------------ parameters */

static kiln_status read_unet(void *self, const parameter *p, int index, float *to, kiln_error *err)
{
    (void)index;
    const taught_case *c = self;
    int64_t count = 0;
    const float *own = c->hyper && strncmp(p->canonical, PLACE ".", sizeof PLACE) == 0
                           ? hypernetwork_file_find(c->hyper, p->canonical + sizeof PLACE, &count)
                           : NULL;
    if (own && count == shape_count(p->shape)) {
        memcpy(to, own, (size_t)count * sizeof *to);
        return KILN_OK;
    }
    const tensor_entry *e = tensor_file_find(c->unet, p->canonical);
    if (!e || shape_count(e->shape) != shape_count(p->shape))
        return fail(err, KILN_MISMATCH, "there is no '%s'", p->canonical);
    return tensor_file_read_f32(c->unet, e, 0, shape_count(p->shape), to, err);
}

/* ------------------------------------------------------------------------------------ the hooks of LoRA */

static bool is_adapted(const taught_case *c, const char *name)
{
    size_t i;
    json_t *module;
    json_array_foreach(json_object_get(json_object_get(c->info, "lora"), "modules"), i,
                       module) if (strcmp(json_string_value(module), name) == 0) return true;
    return false;
}

static value change_weight(void *self, at a, value weight)
{
    const taught_case *c = self;
    return is_adapted(c, a.canonical) ? lora_draw(&c->form, a, weight) : weight;
}

static value add_branch(void *self, at a, value x, value weight, const conv2d_attributes *window,
                        value result)
{
    const taught_case *c = self;
    return is_adapted(c, a.canonical) ? lora_branch(&c->form, a, x, weight, window, result) : result;
}

/* ------------------------------------------------------------------------------------ drawing and comparing */

static bool is_taught(const char *name)
{
    return strstr(name, ".lora_") || strncmp(name, PLACE ".", sizeof PLACE) == 0;
}

/* Outputs "out", "loss" and "grad.NAME" of what is taught. */
static graph *drawn(const taught_case *c, const graph_hooks *hooks)
{
    graph *g = graph_new();
    if (!g)
        return NULL;
    g->hooks = hooks;
    unet_draw(g, &c->config, &(unet_shape){.batch = 2, .height = 16, .width = 16, .context_tokens = 77});
    value out = NO_VALUE;
    for (int i = 0; i < g->output_count; i++)
        out = strcmp(g->outputs[i].name, "out") == 0 ? g->outputs[i].value : out;
    at a = graph_root(g);
    value loss =
        op_mean_squared_error(a, out, graph_input(g, "target", value_shape(a, out), DTYPE_F32), NO_VALUE);
    int count = 0, parameters = g->parameter_count;
    value *wanted = calloc(2 * (size_t)parameters + 1, sizeof *wanted), *gradients = wanted + parameters;
    int *which = calloc((size_t)parameters + 1, sizeof *which);
    kiln_error err = {.text = "out of memory"};
    for (int i = 0; wanted && which && i < parameters; i++)
        if (is_taught(g->parameters[i].canonical)) {
            which[count] = i;
            wanted[count++] = g->parameters[i].value;
        }
    graph_output(g, "loss", loss);
    if (!count || graph_gradient(g, loss, wanted, count, gradients, &err))
        graph_fail(a, "%s", count ? err.text : "nothing is taught here");
    for (int i = 0; i < count && !graph_failed(a); i++) {
        char name[400];
        snprintf(name, sizeof name, "grad.%s", g->parameters[which[i]].canonical);
        graph_output(g, name, gradients[i]);
    }
    free(which);
    free(wanted);
    return g;
}

static void open_taught(taught_case *c, const graph_hooks *hooks, parameter_source source, const char *id,
                        pass *p)
{
    pass_open_from(p, drawn(c, hooks), source, c->options, c->report, "grads", id);
    pass_input(p, "sample", c->inputs, "xt");
    pass_input(p, "timestep", c->inputs, "t");
    pass_input(p, "encoder_hidden_states", c->inputs, "ctx");
    pass_input(p, "target", c->inputs, "noise");
    pass_run(p);
}

static void compare_loss(pass *p, const tensor_file *golden, const char *tensor)
{
    size_t count = 0;
    float *expected = golden_tensor(golden, tensor, &count);
    const float *got = p->failed ? NULL : run_output(p->run, "loss");
    if (got)
        golden_result(p->report, p->group, p->id, tensor,
                      expected && count == 1 ? fabs((double)got[0] / (double)expected[0] - 1) : (double)NAN,
                      p->limit);
    free(expected);
}

/* "lora.grad_down.MODULE" is the gradient by "MODULE.lora_down.weight". */
static void compare_lora(taught_case *c, const char *id, const graph_hooks *hooks)
{
    pass p;
    const lora_factors factors = {c->lora, LORA_UNET, {.read = read_unet, .self = c}};
    open_taught(c, hooks, lora_factor_source(&factors), id, &p);
    pass_compare(&p, "out", c->golden, "lora.pred");
    compare_loss(&p, c->golden, "lora.loss");
    for (size_t i = 0; i < tensor_file_count(c->golden); i++) {
        const char *name = tensor_file_entry(c->golden, i)->name;
        const char *leaf = strncmp(name, "lora.grad_up.", 13) == 0     ? "lora_up"
                           : strncmp(name, "lora.grad_down.", 15) == 0 ? "lora_down"
                                                                       : NULL;
        char output[400];
        if (!leaf)
            continue;
        snprintf(output, sizeof output, "grad.%s.%s.weight", strchr(name + 5, '.') + 1, leaf);
        pass_compare(&p, output, c->golden, name);
    }
    pass_close(&p);
}

static void check_lora(taught_case *c, const char *folder)
{
    char path[4096];
    kiln_error err;
    const json_t *about = json_object_get(c->info, "lora");
    snprintf(path, sizeof path, "%s/lora_kohya.safetensors", folder);
    if (lora_open(path, &c->lora, &err)) {
        golden_failure(c->report, "grads", "lora", err.text);
        return;
    }
    c->form = (lora_form){.kind = LORA_LOW_RANK,
                          .rank = (int)json_integer_value(json_object_get(about, "rank")),
                          .scale = (float)json_number_value(json_object_get(about, "scale"))};
    compare_lora(c, "lora in the weight", &(graph_hooks){.self = c, .weight = change_weight});
    compare_lora(c, "lora beside the layer", &(graph_hooks){.self = c, .result = add_branch});
    lora_close(c->lora);
}

/* "hyper.grad.16.k.linear.0.weight" is the gradient by "hypernetwork.16.0.linear.0.weight". What the last bias of keys adds
 * is the same for all keys and does not change attention: that gradient is 0 but for rounding, in both. */
static void compare_bent(taught_case *c, pass *p)
{
    for (size_t i = 0; i < tensor_file_count(c->golden); i++) {
        const char *name = tensor_file_entry(c->golden, i)->name;
        char output[400];
        int width = 0;
        if (strncmp(name, "hyper.grad.", 11) != 0 || strstr(name, ".k.linear.2.bias"))
            continue;
        width = (int)strtol(name + 11, NULL, 10);
        const char *linear = strstr(name, ".linear.");
        if (!linear)
            continue;
        snprintf(output, sizeof output, "grad." PLACE ".%d.%c%s", width, linear[-1] == 'k' ? '0' : '1',
                 linear);
        pass_compare(p, output, c->golden, name);
    }
}

static void check_hypernetwork(taught_case *c, const char *folder)
{
    char path[4096];
    kiln_error err;
    snprintf(path, sizeof path, "%s/hypernetwork_a1111.pt", folder);
    if (hypernetwork_file_open(path, &c->hyper, &err)) {
        golden_failure(c->report, "grads", "hypernetwork", err.text);
        return;
    }
    static const struct {
        float strength;
        const char *answer;
    } cases[] = {{1, "hyper.pred_mult1"}, {0.6f, "hyper.pred_mult06"}};
    for (int i = 0; i < 2; i++) {
        pass p;
        const hypernetwork h = {.config = c->hyper->config, .place = PLACE, .strength = cases[i].strength};
        hypernetwork_chain chain = {&h, 1, false};
        const graph_hooks hooks = {.self = &chain, .context = hypernetwork_bend};
        open_taught(c, &hooks, (parameter_source){.read = read_unet, .self = c},
                    i ? "hypernetwork at 0.6" : "hypernetwork", &p);
        pass_compare(&p, "out", c->golden, cases[i].answer);
        if (i == 0) {
            compare_loss(&p, c->golden, "hyper.loss");
            compare_bent(c, &p);
        }
        pass_close(&p);
    }
    hypernetwork_file_close(c->hyper);
    c->hyper = NULL;
}

static bool open_unet(taught_case *c, const char *model)
{
    char path[4096], json[1 << 15];
    size_t length = 0;
    kiln_error err = {.text = "the model has no unet/config.json"};
    snprintf(path, sizeof path, "%s/unet/config.json", model);
    FILE *f = fopen(path, "rb");
    if (f) {
        length = fread(json, 1, sizeof json, f);
        fclose(f);
    }
    snprintf(path, sizeof path, "%s/unet", model);
    if (f && !unet_config_parse(json, length, "unet/config.json", &c->config, &err) &&
        !tensor_file_open(path, &c->unet, &err))
        return true;
    golden_failure(c->report, "grads", "what is taught", err.text);
    return false;
}

void golden_taught(const char *folder, const char *model, const json_t *info, const pass_options *options,
                   golden_report *report)
{
    taught_case c = {.options = options, .report = report, .info = info};
    c.inputs = golden_tensors(report, folder, "unet.safetensors");
    c.golden = golden_tensors(report, folder, "tuning.safetensors");
    if (c.inputs && c.golden && open_unet(&c, model)) {
        check_lora(&c, folder);
        check_hypernetwork(&c, folder);
    }
    tensor_file_close(c.unet);
    tensor_file_close(c.inputs);
    tensor_file_close(c.golden);
}
