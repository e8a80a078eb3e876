/* pull_hub.c - see pull_hub.h. */
#include "pull_hub.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void sha256_of(const void *data, size_t size, char digits[65])
{
    unsigned char sum[32];
    assert_true(EVP_Digest(data, size, sum, NULL, EVP_sha256(), NULL));
    for (int i = 0; i < 32; i++)
        snprintf(digits + 2 * i, 3, "%02x", sum[i]);
}

resource *hub_serve(hub *h, const char *path, const void *body, size_t size)
{
    assert_true(h->count < COUNT(h->resources));
    h->resources[h->count] = (resource){.path = path, .body = body, .size = size};
    return &h->resources[h->count++];
}

void hub_list(hub *h, const char *path, const void *body, size_t size)
{
    char digits[65] = "", row[512];
    if (body)
        sha256_of(body, size, digits);
    snprintf(row, sizeof row, "%s{\"type\":\"file\",\"path\":\"%s\",\"size\":%zu%s%s%s}",
             h->listing[1] ? "," : "", path, body ? 130 : size, body ? ",\"lfs\":{\"oid\":\"" : "", digits,
             "");
    h->listing[strlen(h->listing) - (h->listing[1] ? 1 : 0)] = '\0';
    if (body)
        snprintf(row + strlen(row) - 1, sizeof row - strlen(row), "\",\"size\":%zu}}", size);
    strcat(h->listing, row);
    strcat(h->listing, "]");
}

resource *hub_file(hub *h, const char *path, const char *url, const void *body, size_t size)
{
    hub_list(h, path, body, size);
    return hub_serve(h, url, body, size);
}

hub *hub_new(void)
{
    hub *h = calloc(1, sizeof *h);
    assert_non_null(h);
    strcpy(h->listing, "[");
    for (int i = 0; i < WEIGHTS; i++)
        h->weights[i] = (char)((unsigned)i * 7919u >> 5);
    strcpy(h->folder, "/tmp/kiln-pull-XXXXXX");
    assert_non_null(mkdtemp(h->folder));
    h->options = kiln_pull_defaults();
    return h;
}

void hub_start(hub *h)
{
    hub_serve(h, TREE, h->listing, strlen(h->listing));
    assert_true(http_server_start(&h->server, h->resources, h->count));
    h->options.endpoint = h->server.url;
}

kiln_status hub_pull(hub *h)
{
    memset(&h->err, 0, sizeof h->err);
    return kiln_pull("me/model", h->folder, &h->options, &h->err);
}

void hub_free(hub *h)
{
    char command[128];
    http_server_stop(&h->server);
    snprintf(command, sizeof command, "rm -rf '%s'", h->folder);
    assert_int_equal(system(command), 0);
    free(h);
}

char *contents(const hub *h, const char *name, size_t *size)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", h->folder, name);
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    char *data = malloc(WEIGHTS * 2);
    *size = fread(data, 1, WEIGHTS * 2, file);
    fclose(file);
    return data;
}

void assert_file(const hub *h, const char *name, const void *body, size_t size)
{
    size_t there;
    char *data = contents(h, name, &there);
    assert_non_null(data);
    assert_int_equal(there, size);
    assert_memory_equal(data, body, size);
    free(data);
}

void assert_no_file(const hub *h, const char *name)
{
    size_t size;
    char *data = contents(h, name, &size);
    free(data);
    assert_null(data);
}

void write_part(const hub *h, const char *name, const void *data, size_t size)
{
    char path[256], folder[256];
    snprintf(folder, sizeof folder, "%s/unet", h->folder);
    mkdir(folder, 0777);
    snprintf(path, sizeof path, "%s/%s", h->folder, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    fclose(file);
}

resource *small_hub(hub *h)
{
    hub_file(h, "model_index.json", FILE_URL("model_index.json"), index_json, sizeof index_json - 1);
    return hub_file(h, UNET, FILE_URL(UNET), h->weights, WEIGHTS);
}
