/* pickle.h - a pickle machine that can build data and nothing else.
 *
 * A pickle is a program for a small stack machine; its GLOBAL, REDUCE, NEWOBJ and BUILD instructions name Python
 * functions and call them, which is how a malicious checkpoint runs code. This machine knows all instructions of
 * protocols 0 to 5 but has nothing to call: a global is a name, and "calling" one of the few names in
 * pickle_build.c builds an inert value (a tensor's description, a dict, a set, a number). Every other call gives
 * a PICKLE_OBJECT that records the name and what it was given, so that a training checkpoint with callbacks and
 * optimizers still shows its tensors.
 *
 * Containers may contain themselves (a pickle can say so): whoever walks the values must guard against cycles
 * and against sharing that multiplies (see pickle_view.c).
 *
 * Source: CPython, Lib/pickletools.py (the instruction set); torch/serialization.py and torch/_utils.py (the
 * arguments of the rebuild functions). */
#ifndef KILN_FORMATS_PICKLE_H
#define KILN_FORMATS_PICKLE_H

#include "base/arena.h"
#include "base/error.h"
#include "tensor/tensor.h"

typedef enum pickle_kind {
    PICKLE_NONE,
    PICKLE_BOOL,
    PICKLE_INT,
    PICKLE_FLOAT,
    PICKLE_TEXT,
    PICKLE_BYTES,
    PICKLE_LIST,
    PICKLE_TUPLE,
    PICKLE_SET,
    PICKLE_DICT,
    PICKLE_GLOBAL,  /* a name, "module.name" */
    PICKLE_OBJECT,  /* the inert record of a call of an unknown global */
    PICKLE_STORAGE, /* torch: where elements are */
    PICKLE_TENSOR,  /* torch: a view of a storage */
    PICKLE_DTYPE,   /* numpy: an element type */
    PICKLE_ARRAY    /* numpy: an array with its bytes */
} pickle_kind;

typedef struct pickle_value pickle_value;

/* Bytes inside the pickle or the arena; not terminated. */
typedef struct pickle_text {
    const char *bytes;
    size_t length;
} pickle_text;

typedef struct pickle_storage {
    pickle_text key, class_name;
    bool known;   /* `type` is the element type */
    bool untyped; /* counts bytes; the tensor says its type */
    dtype type;
    int64_t count;
    int64_t first; /* of a view into the storage of this key (legacy files) */
} pickle_storage;

typedef struct pickle_tensor {
    const pickle_storage *storage; /* NULL for an array */
    bool known;
    dtype type;
    int64_t offset; /* in elements */
    shape shape;
    int64_t stride[SHAPE_MAX_RANK];
    bool contiguous;
    pickle_text bytes; /* of an array */
} pickle_tensor;

struct pickle_value {
    pickle_kind kind;
    bool on_path; /* for walkers: a container that is being walked */
    union {
        bool truth;
        int64_t integer;
        double number;
        pickle_text text; /* TEXT, BYTES, GLOBAL */
        struct {
            pickle_value **items; /* DICT: key, value, key, value ... */
            size_t count, capacity;
        } list;
        struct {
            pickle_text class_name;
            pickle_value *arguments, *state; /* may be NULL */
        } object;
        struct {
            dtype type;
            bool known;
        } element;
        pickle_storage *storage;
        pickle_tensor *tensor; /* TENSOR, ARRAY */
    };
};

/* Run one pickle from bytes[size], which must outlive the values; they live in `memory`. *used is the length of
 * the pickle; after a failure it is `size` when the bytes ended too early. `what` names the pickle in messages.
 * KILN_BAD_FORMAT, KILN_UNSUPPORTED, KILN_NO_MEMORY. */
kiln_status pickle_run(const uint8_t *bytes, size_t size, const char *what, arena *memory, pickle_value **out,
                       size_t *used, kiln_error *err) KILN_CHECKED;

bool pickle_text_is(pickle_text text, const char *expected);
/* The value of a text key, the last one set; NULL when the value is no dict or has no such key. */
pickle_value *pickle_get(const pickle_value *dict, const char *key);

#endif
