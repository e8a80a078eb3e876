/* hypernetwork_write.c - writing hypernetworks; see hypernetwork_file.h. */
#include "weights/hypernetwork_file.h"

#include "formats/safetensors.h"
#include "formats/torch_write.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool any_dropout(const hypernetwork_config *c)
{
    for (int i = 0; i <= c->layers; i++)
        if (c->dropout[i] > 0)
            return true;
    return false;
}

/* ------------------------------------------------------------------------------------ A1111's .pt */

static void put_text(torch_writer *w, const char *key, const char *text)
{
    torch_text(w, key);
    if (text)
        torch_text(w, text);
    else
        torch_none(w);
}

static void put_bool(torch_writer *w, const char *key, bool truth)
{
    torch_text(w, key);
    torch_bool(w, truth);
}

static void put_list(torch_writer *w, const char *key, const double *numbers, int count)
{
    torch_text(w, key);
    torch_list(w);
    for (int i = 0; i < count; i++)
        if (numbers[i] == (double)(int)numbers[i])
            torch_integer(w, (int)numbers[i]);
        else
            torch_number(w, numbers[i]);
    torch_end(w);
}

static void put_networks(torch_writer *w, const hypernetwork_content *n)
{
    hypernetwork_parameter p;
    const char *before = "";
    char branch[HYPERNETWORK_NAME] = "";
    const float *from = n->values;
    for (int i = 0; hypernetwork_parameter_at(n->config, i, &p); i++, from += shape_count(p.shape)) {
        size_t prefix = (size_t)(strstr(p.name, "linear") - p.name);
        bool fresh = strncmp(branch, p.name, prefix) != 0 || strlen(branch) != prefix;
        bool values = p.name[prefix - 2] == '1';
        if (fresh && *before)
            torch_end(w); /* the dict before it */
        if (fresh && *before && !values)
            torch_end(w); /* its tuple */
        if (fresh && !values) {
            torch_integer(w, strtol(p.name, NULL, 10));
            torch_tuple(w);
        }
        if (fresh)
            torch_dict(w);
        snprintf(branch, sizeof branch, "%.*s", (int)prefix, p.name);
        before = branch;
        torch_text(w, p.name + prefix);
        torch_tensor(w, from, p.shape);
    }
    torch_end(w);
    torch_end(w);
}

static kiln_status write_torch(const char *path, const hypernetwork_content *n, kiln_error *err)
{
    const hypernetwork_config *c = n->config;
    const hypernetwork_words *words = n->words;
    torch_writer *w = NULL;
    kiln_status status = torch_writer_open(path, &w, err);
    if (status)
        return status;
    torch_dict(w);
    put_networks(w, n);
    torch_text(w, "step");
    torch_integer(w, words->step);
    put_text(w, "name", words->name);
    put_list(w, "layer_structure", c->structure, c->layers + 1);
    put_text(w, "activation_func", hypernetwork_activation_name(c->activation));
    put_bool(w, "is_layer_norm", c->layer_norm);
    put_text(w, "weight_initialization",
             words->weight_initialization ? words->weight_initialization : "Normal");
    put_text(w, "sd_checkpoint", words->sd_checkpoint);
    put_text(w, "sd_checkpoint_name", words->sd_checkpoint_name);
    put_bool(w, "activate_output", c->activate_output);
    put_bool(w, "use_dropout", any_dropout(c));
    put_list(w, "dropout_structure", c->dropout, c->layers + 1);
    put_bool(w, "last_layer_dropout", words->last_layer_dropout);
    put_text(w, "optional_info", words->optional_info);
    for (int i = 0; i < n->metadata_count; i++)
        put_text(w, n->metadata[i][0], n->metadata[i][1]);
    torch_end(w);
    return torch_writer_finish(w, err);
}

/* ------------------------------------------------------------------------------------ safetensors */

static void list_text(const double *numbers, int count, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (int i = 0; i < count && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%.9g", i ? ", " : "", numbers[i]);
}

static kiln_status put_words(safetensors_writer *w, const hypernetwork_content *n, kiln_error *err)
{
    const hypernetwork_config *c = n->config;
    const hypernetwork_words *words = n->words;
    char structure[512], dropout[512], step[32];
    list_text(c->structure, c->layers + 1, structure, sizeof structure);
    list_text(c->dropout, c->layers + 1, dropout, sizeof dropout);
    snprintf(step, sizeof step, "%lld", (long long)words->step);
    const char *const entries[][2] = {
        {"format", "pt"},
        {"kiln.kind", "hypernetwork"},
        {"step", step},
        {"name", words->name},
        {"layer_structure", structure},
        {"activation_func", hypernetwork_activation_name(c->activation)},
        {"is_layer_norm", c->layer_norm ? "true" : "false"},
        {"weight_initialization", words->weight_initialization ? words->weight_initialization : "Normal"},
        {"sd_checkpoint", words->sd_checkpoint},
        {"sd_checkpoint_name", words->sd_checkpoint_name},
        {"activate_output", c->activate_output ? "true" : "false"},
        {"use_dropout", any_dropout(c) ? "true" : "false"},
        {"dropout_structure", dropout},
        {"last_layer_dropout", words->last_layer_dropout ? "true" : "false"},
        {"optional_info", words->optional_info}};
    kiln_status status = KILN_OK;
    for (size_t i = 0; i < sizeof entries / sizeof *entries && !status; i++)
        if (entries[i][1])
            status = safetensors_writer_metadata(w, entries[i][0], entries[i][1], err);
    for (int i = 0; i < n->metadata_count && !status; i++)
        status = safetensors_writer_metadata(w, n->metadata[i][0], n->metadata[i][1], err);
    return status;
}

static kiln_status write_safetensors(const char *path, const hypernetwork_content *n, kiln_error *err)
{
    safetensors_writer *w = NULL;
    hypernetwork_parameter p;
    kiln_status status = safetensors_writer_open(path, &w, err);
    if (status)
        return status;
    status = put_words(w, n, err);
    for (int i = 0; !status && hypernetwork_parameter_at(n->config, i, &p); i++)
        status = safetensors_writer_declare(w, p.name, DTYPE_F32, p.shape, err);
    const float *from = n->values;
    for (int i = 0; !status && hypernetwork_parameter_at(n->config, i, &p); i++, from += shape_count(p.shape))
        status = safetensors_writer_write(w, p.name, from, (size_t)shape_count(p.shape) * sizeof *from, err);
    if (!status)
        return safetensors_writer_finish(w, err);
    safetensors_writer_abort(w);
    return status;
}

kiln_status hypernetwork_file_write(const char *path, const hypernetwork_content *n, kiln_error *err)
{
    size_t length = strlen(path);
    return length > 3 && strcmp(path + length - 3, ".pt") == 0 ? write_torch(path, n, err)
                                                               : write_safetensors(path, n, err);
}
