/* fuzz_embedding.c - words with vectors of their own, by the first byte:
 *
 *     p   width in the next two bytes, then the samples of a picture: an embedding in its pixels
 *     t   a text that a picture carries: base64 of JSON
 *     {   JSON as pictures carry it; what is read is put into a picture, and comes out of it as it was
 *     else a weights file
 *
 * floors: base tensor formats image */
#include "image/embedding_json.h"
#include "image/embedding_picture.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_SAMPLES = 1 << 18 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void expect(bool truth)
{
    if (!truth)
        abort();
}

static bool same(const embedding *a, const embedding *b)
{
    bool equal = a->vectors == b->vectors;
    for (int k = 0; k < EMBEDDING_ENCODERS && equal; k++)
        equal = a->width[k] == b->width[k] &&
                (!a->width[k] || memcmp(a->values[k], b->values[k],
                                        (size_t)a->vectors * (size_t)a->width[k] * sizeof(float)) == 0);
    return equal;
}

static void into_picture_and_out(const embedding *e)
{
    image *front = NULL, *made = NULL;
    picture_text *text = picture_text_new();
    kiln_error err = {0};
    if (text && image_new(64, 64, 3, 8, &front, &err) == KILN_OK &&
        embedding_to_picture(e, "word", front, &made, text, &err) == KILN_OK) {
        embedding again = {0};
        bool found = false;
        expect(embedding_of_picture(made, NULL, "fuzz", &found, &again, &err) == KILN_OK && found);
        expect(same(e, &again));
        embedding_fini(&again);
    }
    picture_text_free(text);
    image_free(front);
    image_free(made);
}

static void read_json(const char *json, size_t length)
{
    embedding e = {0};
    kiln_error err = {0};
    kiln_status status = embedding_of_json(json, length, "fuzz", &e, &err);
    if (status == KILN_OK && embedding_check(&e, "fuzz", &err) == KILN_OK)
        into_picture_and_out(&e);
    else
        expect(err.text[0]);
    embedding_fini(&e);
}

static void read_text(const uint8_t *bytes, size_t size)
{
    char *text = malloc(size + 1);
    unsigned char *json = NULL;
    size_t length = 0;
    kiln_error err = {0};
    if (!text)
        return;
    memcpy(text, bytes, size);
    text[size] = '\0';
    if (base64_decode(text, "fuzz", &json, &length, &err) == KILN_OK)
        read_json((const char *)json, length);
    free(json);
    free(text);
}

static void read_pixels(const uint8_t *bytes, size_t size)
{
    int width = size > 2 ? bytes[0] + 256 * bytes[1] : 0;
    int height = width && size < MOST_SAMPLES ? (int)((size - 2) / (3 * (size_t)width)) : 0;
    image *picture = NULL;
    embedding e = {0};
    kiln_error err = {0};
    bool found = false;
    if (height < 1 || image_new(width, height, 3, 8, &picture, &err) != KILN_OK)
        return;
    memcpy(picture->pixels, bytes + 2, (size_t)width * (size_t)height * 3);
    if (embedding_of_picture(picture, NULL, "fuzz", &found, &e, &err) != KILN_OK)
        expect(err.text[0]);
    embedding_fini(&e);
    image_free(picture);
}

static void read_file(const uint8_t *bytes, size_t size)
{
    tensor_file *file;
    embedding_list list = {0};
    kiln_error err = {0};
    if (tensor_file_open_memory(bytes, size, "fuzz", &file, &err) != KILN_OK)
        return;
    if (embedding_list_read(file, &list, &err) == KILN_OK)
        expect(list.count >= 1 && list.items[0].vectors >= 1);
    else
        expect(err.text[0]);
    embedding_list_fini(&list);
    tensor_file_close(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    if (size && bytes[0] == 'p')
        read_pixels(bytes + 1, size - 1);
    else if (size && bytes[0] == 't')
        read_text(bytes + 1, size - 1);
    else if (size && bytes[0] == '{')
        read_json((const char *)bytes, size);
    else
        read_file(bytes, size);
    return 0;
}
