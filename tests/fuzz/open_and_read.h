/* open_and_read.h - what the fuzz targets of weights files have in common: open from memory, tell what it is, and
 * read every tensor. */
#ifndef TESTS_FUZZ_OPEN_AND_READ_H
#define TESTS_FUZZ_OPEN_AND_READ_H

#include "formats/identify.h"
#include "formats/tensor_file.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void open_and_read(const uint8_t *bytes, size_t size)
{
    tensor_file *file;
    kiln_error err = {0};
    kiln_status status = tensor_file_open_memory(bytes, size, "input", &file, &err);
    if (status) {
        /* A refusal says why. */
        if (file || !err.text[0] || err.status != status)
            abort();
        return;
    }
    identity about;
    identify(file, &about);
    for (size_t i = 0; i < tensor_file_count(file) && i < 64; i++) {
        const tensor_entry *entry = tensor_file_entry(file, i);
        int64_t count = shape_count(entry->shape);
        if (tensor_file_find(file, entry->name) != entry)
            abort();
        float *numbers = count <= 1 << 20 ? malloc((size_t)count * sizeof *numbers + 1) : NULL;
        if (numbers && tensor_file_read_f32(file, entry, 0, count, numbers, &err) != KILN_OK && !err.text[0])
            abort();
        if (numbers && count > 2 && tensor_file_read_f32(file, entry, 1, count - 2, numbers, NULL) != KILN_OK)
            (void)numbers;
        free(numbers);
    }
    tensor_file_close(file);
}

#endif
