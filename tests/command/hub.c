/* hub.c - a hub on loopback for pull.sh: hub FOLDER REPOSITORY FILE... serves the files of a folder as a repository of
 * that name, prints its address, and runs until standard input ends. With "cut:N" in place of a file's name the next
 * file's transfers end early after N bytes, twice. */
#include "http_server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FILES = 64 };

static char *read_all(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) != 0)
        return NULL;
    long length = ftell(file);
    char *data = malloc((size_t)length + 1);
    rewind(file);
    *size = data ? fread(data, 1, (size_t)length, file) : 0;
    fclose(file);
    return data;
}

int main(int argc, char **argv)
{
    static resource resources[MAX_FILES + 1];
    static char urls[MAX_FILES + 1][1024], listing[MAX_FILES * 512] = "[";
    size_t count = 0, cut = 0;
    for (int i = 3; i < argc && count < MAX_FILES; i++) {
        char path[2048];
        if (strncmp(argv[i], "cut:", 4) == 0) {
            cut = strtoul(argv[i] + 4, NULL, 10);
            continue;
        }
        resource *r = &resources[count];
        snprintf(path, sizeof path, "%s/%s", argv[1], argv[i]);
        snprintf(urls[count], sizeof urls[count], "/%s/resolve/main/%s", argv[2], argv[i]);
        *r = (resource){.path = urls[count], .cut = cut ? 2 : 0, .cut_at = cut};
        r->body = read_all(path, &r->size);
        if (!r->body)
            return 1;
        size_t n = strlen(listing);
        snprintf(listing + n, sizeof listing - n, "%s{\"type\":\"file\",\"path\":\"%s\",\"size\":%zu}",
                 count ? "," : "", argv[i], r->size);
        cut = 0;
        count++;
    }
    strcat(listing, "]");
    snprintf(urls[count], sizeof urls[count], "/api/models/%s/tree/main?recursive=true", argv[2]);
    resources[count] = (resource){.path = urls[count], .body = listing, .size = strlen(listing)};
    http_server server;
    if (!http_server_start(&server, resources, count + 1))
        return 1;
    printf("%s\n", server.url);
    fflush(stdout);
    while (getchar() != EOF)
        continue;
    http_server_stop(&server);
    return 0;
}
