/* embedding_open.c - an embedding out of any file; see embedding_picture.h. */
#include "image/embedding_picture.h"
#include "image/picture_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static kiln_status is_picture(const char *path, bool *picture, kiln_error *err)
{
    unsigned char head[12] = {0};
    FILE *file = fopen(path, "rb");
    *picture = false;
    if (!file)
        return fail_system(err, "%s", path);
    size_t got = fread(head, 1, sizeof head, file);
    (void)fclose(file);
    *picture =
        got == sizeof head && (memcmp(head, "\x89PNG", 4) == 0 || memcmp(head, "\xff\xd8\xff", 3) == 0 ||
                               (memcmp(head, "RIFF", 4) == 0 && memcmp(head + 8, "WEBP", 4) == 0));
    return KILN_OK;
}

static kiln_status of_picture(const char *path, embedding_list *out, kiln_error *err)
{
    image *picture = NULL;
    picture_text *texts = NULL;
    bool found = false;
    kiln_status status = image_read(path, &picture, &texts, err);
    if (status)
        return status;
    out->items = calloc(1, sizeof *out->items);
    status = out->items ? embedding_of_picture(picture, texts, path, &found, out->items, err)
                        : fail(err, KILN_NO_MEMORY, "%s: out of memory for an embedding", path);
    if (!status && !found)
        status = fail(err, KILN_NOT_FOUND, "%s: is a picture without an embedding in it", path);
    out->count = status ? 0 : 1;
    if (status) {
        free(out->items);
        *out = (embedding_list){0};
    }
    image_free(picture);
    picture_text_free(texts);
    return status;
}

kiln_status embedding_open(const char *path, embedding_list *out, kiln_error *err)
{
    bool picture;
    tensor_file *file = NULL;
    *out = (embedding_list){0};
    kiln_status status = is_picture(path, &picture, err);
    if (status || picture)
        return status ? status : of_picture(path, out, err);
    status = tensor_file_open(path, &file, err);
    if (!status)
        status = embedding_list_read(file, out, err);
    tensor_file_close(file);
    return status;
}
