/* weights_files.h - what the tests of weights files share: temporary files, expected refusals, the samples' rule. */
#ifndef TESTS_UNIT_WEIGHTS_FILES_H
#define TESTS_UNIT_WEIGHTS_FILES_H

#include "formats/tensor_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* Element i of the tensors that tests/tools/make_weight_samples.py writes. */
static inline float sample(int64_t i)
{
    return (float)(i * 7 % 64 - 32) / 8.0f;
}

static inline tensor_file *must_open(const char *path)
{
    tensor_file *file;
    kiln_error err = {0};
    if (tensor_file_open(path, &file, &err) != KILN_OK)
        fail_msg("%s", err.text);
    return file;
}

/* Opening must fail with a sentence that holds `word`. */
static inline void must_refuse(const void *bytes, size_t size, const char *word)
{
    tensor_file *file = (tensor_file *)(uintptr_t)1;
    kiln_error err = {0};
    kiln_status status = tensor_file_open_memory(bytes, size, "bad-file", &file, &err);
    if (status == KILN_OK) {
        tensor_file_close(file);
        fail_msg("was opened, but should have been refused (%s)", word);
    }
    assert_null(file);
    assert_int_equal(err.status, status);
    if (!strstr(err.text, word) || !strstr(err.text, "bad-file"))
        fail_msg("expected a sentence with '%s', got: %s", word, err.text);
}

static inline float *must_read(const tensor_file *file, const char *name)
{
    const tensor_entry *entry = tensor_file_find(file, name);
    if (!entry)
        fail_msg("no tensor '%s' in %s", name, tensor_file_path(file));
    int64_t count = shape_count(entry->shape);
    float *numbers = malloc((size_t)count * sizeof *numbers + 1);
    assert_non_null(numbers);
    kiln_error err = {0};
    if (tensor_file_read_f32(file, entry, 0, count, numbers, &err) != KILN_OK)
        fail_msg("%s", err.text);
    return numbers;
}

/* The bytes of a whole file; the caller frees. NULL when it is not there. */
static inline uint8_t *file_bytes(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    uint8_t *bytes = malloc(*size + 1);
    if (bytes && fread(bytes, 1, *size, file) != *size)
        *size = 0;
    fclose(file);
    return bytes;
}

#define SKIP_WITHOUT(path)                                                                                   \
    do {                                                                                                     \
        if (access(path, R_OK) != 0) {                                                                       \
            print_message("%s is not there: skipped\n", path);                                               \
            skip();                                                                                          \
        }                                                                                                    \
    } while (0)

#endif
