/* pickle_build.h - what calling a global gives: the only place where names of Python functions mean something.
 * Private to the pickle machine. */
#ifndef KILN_FORMATS_PICKLE_BUILD_H
#define KILN_FORMATS_PICKLE_BUILD_H

#include "formats/pickle.h"

/* The machine's memory and error, as the builders need them. */
typedef struct pickle_builder {
    arena *memory;
    const char *what;
    size_t values; /* how many were made */
    kiln_error *err;
} pickle_builder;

/* A new value; NULL (with the error filled) when memory or the allowed number of values is exhausted. */
pickle_value *pickle_new(pickle_builder *builder, pickle_kind kind);
/* Append to a list, tuple, set or dict. */
kiln_status pickle_append(pickle_builder *builder, pickle_value *list, pickle_value *item);
/* REDUCE, NEWOBJ: the value of calling `callable` with a tuple of arguments. */
kiln_status pickle_call(pickle_builder *builder, pickle_value *callable, pickle_value *arguments,
                        pickle_value **out);
/* BUILD: give an object its state. */
kiln_status pickle_set_state(pickle_builder *builder, pickle_value *object, pickle_value *state);
/* BINPERSID: torch's ("storage", type, key, location, count). */
kiln_status pickle_persistent(pickle_builder *builder, pickle_value *id, pickle_value **out);

#endif
