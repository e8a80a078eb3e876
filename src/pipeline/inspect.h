/* inspect.h - what the files of inspect*.c share. Internal. */
#ifndef KILN_PIPELINE_INSPECT_H
#define KILN_PIPELINE_INSPECT_H

#include "base/arena.h"
#include "base/error.h"
#include "formats/tensor_file.h"

enum { INSPECT_MAX_FACTS = 32, INSPECT_MAX_FILES = 8 };

/* A file and what stands before the names of its tensors ("unet/"). */
typedef struct inspected_file {
    const tensor_file *file;
    const char *place;
} inspected_file;

struct kiln_inspection {
    arena memory;
    struct {
        const char *name, *text;
    } facts[INSPECT_MAX_FACTS];
    int fact_count;
    inspected_file files[INSPECT_MAX_FILES];
    int file_count;
    const char **names; /* of all tensors, when they stand in places */
    /* One of these owns the files. */
    tensor_file *own_file;
    struct model_parts *parts;
};

/* Append a fact; an empty text is left out. False when memory is short. */
bool add_fact(kiln_inspection *, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The facts of a model folder; its parts' files are added. */
kiln_status inspect_folder(kiln_inspection *, const char *path, kiln_error *err);
void inspect_folder_close(kiln_inspection *);

#endif
