/* embedding_json.c - see embedding_json.h. */
#include "image/embedding_json.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------------ base64 (RFC 4648) */

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *base64_encode(const void *from, size_t size)
{
    const unsigned char *p = from;
    char *text = malloc((size + 2) / 3 * 4 + 1), *to = text;
    for (size_t i = 0; text && i < size; i += 3) {
        size_t left = size - i;
        unsigned b =
            (unsigned)p[i] << 16 | (left > 1 ? (unsigned)p[i + 1] << 8 : 0) | (left > 2 ? p[i + 2] : 0u);
        *to++ = digits[b >> 18];
        *to++ = digits[b >> 12 & 63];
        *to++ = left > 1 ? digits[b >> 6 & 63] : '=';
        *to++ = left > 2 ? digits[b & 63] : '=';
    }
    if (text)
        *to = '\0';
    return text;
}

kiln_status base64_decode(const char *text, const char *path, unsigned char **bytes, size_t *size,
                          kiln_error *err)
{
    size_t count = 0;
    unsigned held = 0, bits = 0;
    *size = 0;
    unsigned char *to = *bytes = malloc(strlen(text) / 4 * 3 + 4);
    if (!to)
        return fail(err, KILN_NO_MEMORY, "%s: out of memory for the embedding in it", path);
    for (const char *p = text; *p && *p != '='; p++) {
        const char *digit = strchr(digits, *p);
        if (*p == '\n' || *p == '\r' || *p == ' ')
            continue;
        if (!digit) {
            free(*bytes);
            *bytes = NULL;
            return fail(err, KILN_BAD_FORMAT, "%s: the embedding in its text is no base64", path);
        }
        held = held << 6 | (unsigned)(digit - digits);
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            to[count++] = (unsigned char)(held >> bits);
        }
    }
    *size = count;
    return KILN_OK;
}

/* ------------------------------------------------------------------------------------ reading */

static kiln_status damaged(const char *path, const char *what, kiln_error *err)
{
    return fail(err, KILN_BAD_FORMAT, "%s: the embedding in the picture is damaged: %s", path, what);
}

static kiln_status read_row(const json_t *row, float *to, int width, const char *path, kiln_error *err)
{
    if ((int)json_array_size(row) != width)
        return damaged(path, "its vectors have different lengths", err);
    for (int i = 0; i < width; i++) {
        const json_t *number = json_array_get(row, (size_t)i);
        if (!json_is_number(number))
            return damaged(path, "a vector holds something that is no number", err);
        to[i] = (float)json_number_value(number);
    }
    return KILN_OK;
}

static kiln_status read_tensor(const json_t *tensor, const char *path, embedding *out, kiln_error *err)
{
    const json_t *rows = json_object_get(tensor, "TORCHTENSOR");
    bool one = json_is_array(rows) && json_is_number(json_array_get(rows, 0));
    size_t vectors = one ? 1 : json_array_size(rows),
           width = json_array_size(one ? rows : json_array_get(rows, 0));
    if (!vectors || !width)
        return damaged(path, "it has no vectors", err);
    if (vectors > EMBEDDING_MAX_VECTORS || width > EMBEDDING_MAX_WIDTH)
        return fail(err, KILN_BAD_FORMAT, "%s: the embedding is [%zu,%zu]; at most %d vectors of %d are read",
                    path, vectors, width, EMBEDDING_MAX_VECTORS, EMBEDDING_MAX_WIDTH);
    const int widths[EMBEDDING_ENCODERS] = {(int)width, 0};
    kiln_status status = embedding_allocate(out, (int)vectors, widths, err);
    for (size_t i = 0; i < vectors && !status; i++)
        status =
            read_row(one ? rows : json_array_get(rows, i), out->values[0] + i * width, (int)width, path, err);
    return status ? status : embedding_check(out, path, err);
}

static char *text_of(const json_t *root, const char *key)
{
    const char *text = json_string_value(json_object_get(root, key));
    return text && *text ? strdup(text) : NULL;
}

kiln_status embedding_of_json(const char *json, size_t length, const char *path, embedding *out,
                              kiln_error *err)
{
    json_error_t where;
    json_t *root = json_loadb(json, length, 0, &where);
    if (!root)
        return damaged(path, where.text, err);
    json_t *params = json_object_get(root, "string_to_param");
    const json_t *step = json_object_get(root, "step");
    kiln_status status = KILN_OK;
    if (json_object_size(params) != 1)
        status = fail(err, KILN_BAD_FORMAT, "%s: holds %zu embeddings, where a file holds one", path,
                      json_object_size(params));
    else
        status = read_tensor(json_object_iter_value(json_object_iter(params)), path, out, err);
    out->dialect = "A1111 picture";
    out->name = text_of(root, "name");
    out->checkpoint = text_of(root, "sd_checkpoint");
    out->checkpoint_name = text_of(root, "sd_checkpoint_name");
    out->step = json_is_integer(step) ? json_integer_value(step) : -1;
    json_decref(root);
    return status;
}

/* ------------------------------------------------------------------------------------ writing */

static json_t *rows_of(const embedding *e)
{
    json_t *rows = json_array();
    for (int i = 0; rows && i < e->vectors; i++) {
        json_t *row = json_array();
        for (int k = 0; row && k < e->width[0]; k++)
            if (json_array_append_new(row, json_real((double)e->values[0][i * e->width[0] + k])) != 0) {
                json_decref(row);
                row = NULL;
            }
        if (json_array_append_new(rows, row) != 0) {
            json_decref(rows);
            rows = NULL;
        }
    }
    return rows;
}

kiln_status embedding_to_json(const embedding *e, const char *word, char **json, kiln_error *err)
{
    const char *name = e->name ? e->name : e->token ? e->token : word;
    json_t *root = json_pack("{s:{s:i}, s:{s:{s:o}}, s:s, s:o, s:s?, s:s?}", "string_to_token", "*", 265,
                             "string_to_param", "*", "TORCHTENSOR", rows_of(e), "name", name, "step",
                             e->step >= 0 ? json_integer(e->step) : json_null(), "sd_checkpoint",
                             e->checkpoint, "sd_checkpoint_name", e->checkpoint_name);
    *json = root ? json_dumps(root, JSON_REAL_PRECISION(17)) : NULL;
    json_decref(root);
    return *json ? KILN_OK : fail(err, KILN_NO_MEMORY, "the embedding '%s' cannot be written as JSON", name);
}
