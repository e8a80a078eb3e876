/* fuzz_taught.c - files that change a model: LoRA and its family, hypernetworks. What opens is applied: LoRAs are bound to a
 * small network and merged into its weights. The input is the whole file, or, where it begins with '{', the JSON of a
 * safetensors header in front of 4 KB of data.
 * floors: base tensor formats graph ops backend plan nn model weights */
#include "weights/hypernetwork_file.h"
#include "weights/lora.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DATA = 4096, MOST = 4096 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void expect(bool truth)
{
    if (!truth)
        abort();
}

/* The layers that the files of the corpus change, with an attention of 8 to 12 and a convolution of 4 to 6 channels. */
static const graph *small_network(void)
{
    static graph *g;
    if (g || !(g = graph_new()))
        return g;
    at linear = same(graph_root(g), "mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0"),
       window = same(graph_root(g), "mid_block.resnets.0.conv1"),
       norm = same(graph_root(g), "mid_block.resnets.0.norm1");
    graph_parameter(linear, "weight", SHAPE2(12, 8), ROLE_WEIGHT);
    graph_parameter(linear, "bias", SHAPE1(12), ROLE_BIAS);
    graph_parameter(window, "weight", SHAPE4(6, 4, 3, 3), ROLE_WEIGHT);
    graph_parameter(window, "bias", SHAPE1(6), ROLE_BIAS);
    graph_parameter(norm, "weight", SHAPE1(4), ROLE_NORM);
    graph_parameter(norm, "bias", SHAPE1(4), ROLE_NORM);
    return g;
}

static void merge_all(const lora *file, const graph *g)
{
    lora_binding *binding = NULL;
    kiln_error err = {0};
    if (lora_bind(file, LORA_UNET, g, &binding, &err) != KILN_OK) {
        expect(!binding && err.text[0]);
        return;
    }
    for (int i = 0; i < g->parameter_count; i++) {
        float weight[MOST];
        const lora_layer layer = {.binding = binding, .strength = 0.5};
        for (int64_t k = 0; k < shape_count(g->parameters[i].shape); k++)
            weight[k] = 0.25f;
        if (lora_merge(&layer, &g->parameters[i], i, weight, &err) != KILN_OK)
            expect(err.text[0]);
    }
    lora_binding_free(binding);
}

static void open_file(const char *path)
{
    lora *l = NULL;
    hypernetwork_file *h = NULL;
    kiln_error err = {0};
    const graph *g = small_network();
    if (lora_open(path, &l, &err) == KILN_OK && g)
        merge_all(l, g);
    else
        expect(!l && err.text[0]);
    lora_close(l);
    err = (kiln_error){0};
    if (hypernetwork_file_open(path, &h, &err) == KILN_OK) {
        hypernetwork_parameter p;
        int64_t all = 0;
        for (int i = 0; hypernetwork_parameter_at(&h->config, i, &p); i++)
            all += shape_count(p.shape);
        expect(all == h->count);
        for (int64_t i = 0; i < all; i++)
            expect(isfinite(h->values[i]));
    } else
        expect(!h && err.text[0]);
    hypernetwork_file_close(h);
}

static void write_and_open(const uint8_t *header, size_t header_size, const uint8_t *bytes, size_t size)
{
    static char path[32];
    static int file = -1;
    if (file < 0) {
        FILE *unnamed = tmpfile(); /* lives as long as the process */
        file = unnamed ? fileno(unnamed) : -1;
        snprintf(path, sizeof path, "/dev/fd/%d", file);
    }
    bool good = file >= 0 && ftruncate(file, 0) == 0 && lseek(file, 0, SEEK_SET) == 0;
    good = good && write(file, header, header_size) == (ssize_t)header_size;
    if (good && write(file, bytes, size) == (ssize_t)size)
        open_file(path);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size == 0 || size > 1 << 20)
        return 0;
    if (bytes[0] != '{') {
        write_and_open(bytes, 0, bytes, size);
        return 0;
    }
    uint8_t length[8], *whole = calloc(1, size + DATA);
    for (int i = 0; i < 8; i++)
        length[i] = (uint8_t)(size >> (8 * i));
    if (whole) {
        memcpy(whole, bytes, size);
        write_and_open(length, sizeof length, whole, size + DATA);
    }
    free(whole);
    return 0;
}
