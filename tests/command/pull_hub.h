/* pull_hub.h - a hub for test_pull.c: a repository's list, its files, and a folder to download to. */
#ifndef TEST_PULL_HUB_H
#define TEST_PULL_HUB_H

#include "http_server.h"

#include <kiln/kiln.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))
#define TREE "/api/models/me/model/tree/main?recursive=true"
#define FILE_URL(name) "/me/model/resolve/main/" name

enum { WEIGHTS = 300000 };

/* The hub: files of a repository, and what the server answers. */
typedef struct hub {
    http_server server;
    resource resources[24];
    size_t count;
    char listing[16384], folder[64];
    char weights[WEIGHTS];
    kiln_pull_options options;
    kiln_error err;
} hub;

#define UNET "unet/diffusion_pytorch_model.safetensors"
static const char index_json[] = "{\"_class_name\": \"StableDiffusionPipeline\"}";

/* Serve `body` under that address, without listing it. */
resource *hub_serve(hub *h, const char *path, const void *body, size_t size);
/* List a file with the sha256 of `body`, or none for NULL. */
void hub_list(hub *h, const char *path, const void *body, size_t size);
/* List and serve a file. */
resource *hub_file(hub *h, const char *path, const char *url, const void *body, size_t size);
/* A hub with nothing in it, and a folder of its own. */
hub *hub_new(void);
void hub_start(hub *h);
kiln_status hub_pull(hub *h);
void hub_free(hub *h);
/* The contents of a file below the hub's folder (free); NULL when there is none. */
char *contents(const hub *h, const char *name, size_t *size);
void assert_file(const hub *h, const char *name, const void *body, size_t size);
void assert_no_file(const hub *h, const char *name);
void write_part(const hub *h, const char *name, const void *data, size_t size);
/* A hub of two files, the index and the UNet's weights; gives the weights. */
resource *small_hub(hub *h);

#endif
