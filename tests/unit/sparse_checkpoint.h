/* sparse_checkpoint.h - for tests: a file with the real header of a real-size checkpoint and a hole for its data, from
 * a list of names and shapes ("name 320x4x3x3", "name scalar"). Almost nothing of it is on the disk. */
#ifndef TEST_SPARSE_CHECKPOINT_H
#define TEST_SPARSE_CHECKPOINT_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* An entry of the header; the data in f16 from *offset on. */
static inline void sparse_entry(FILE *header, const char *prefix, const char *name, char *dims,
                                uint64_t *offset)
{
    uint64_t bytes = 2;
    fprintf(header, "%s\"%s%s\":{\"dtype\":\"F16\",\"shape\":[", *offset ? "," : "", prefix, name);
    const char *comma = "";
    for (char *digits = dims; strcmp(dims, "scalar") != 0 && *digits; digits += *digits == 'x') {
        uint64_t n = strtoull(digits, &digits, 10);
        fprintf(header, "%s%llu", comma, (unsigned long long)n);
        comma = ",";
        bytes *= n;
    }
    fprintf(header, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)*offset,
            (unsigned long long)(*offset + bytes));
    *offset += bytes;
}

/* Write it; the size of the file in bytes, 0 after a failure. `prefix` is put before each name. */
static inline uint64_t sparse_checkpoint(const char *keys, const char *prefix, const char *path, int *tensors)
{
    char name[256], dims[64], *text = NULL;
    size_t length = 0;
    uint64_t offset = 0;
    FILE *list = fopen(keys, "r"), *header = open_memstream(&text, &length), *file = fopen(path, "wb");
    *tensors = 0;
    if (!list || !header || !file)
        return 0;
    fputc('{', header);
    for (; fscanf(list, "%255s %63s", name, dims) == 2; (*tensors)++)
        sparse_entry(header, prefix, name, dims, &offset);
    fputc('}', header);
    while (ftell(header) % 8)
        fputc(' ', header);
    fclose(header);
    fclose(list);
    for (int i = 0; i < 8; i++)
        fputc((int)((uint64_t)length >> (8 * i) & 255), file);
    int failed = fwrite(text, 1, length, file) != length;
    failed |= fclose(file);
    free(text);
    return failed || truncate(path, (off_t)(8 + length + offset)) != 0 ? 0 : 8 + length + offset;
}

#endif
