/* config.h - reading a model's config.json: fields with types, ranges and sentences, and the search for
 * tensors that tells a configuration where there is no config.json.
 *
 * A reader keeps the first error: later calls do nothing and return the default, so a parser is a list of
 * fields without error checks. A field that is absent or null takes its default. */
#ifndef KILN_MODEL_CONFIG_H
#define KILN_MODEL_CONFIG_H

#include "base/error.h"
#include "tensor/tensor.h"

#include <jansson.h>

typedef struct config_reader {
    const char *name; /* of the file, for messages */
    json_t *document; /* owned */
    json_t *root;     /* the object that fields are read from: the document or one nested in it */
    kiln_error *err;
    kiln_status status;
} config_reader;

/* Parse `length` bytes of JSON, which must hold an object. `err` must not be NULL. */
void config_open(config_reader *reader, const char *json, size_t length, const char *name, kiln_error *err);
/* Frees the document; returns the status kept. */
kiln_status config_close(config_reader *reader);

/* Record the first error: "NAME: sentence". */
void config_fail(config_reader *reader, kiln_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The field, or NULL when it is absent or null (or an error is kept). Borrowed. */
json_t *config_get(config_reader *reader, const char *field);

/* `value` as a whole number of low..high; `what` names it in messages. */
int config_number(config_reader *reader, const char *what, const json_t *value, int low, int high);

int config_int(config_reader *reader, const char *field, int absent, int low, int high);
double config_real(config_reader *reader, const char *field, double absent, double low, double high);
bool config_bool(config_reader *reader, const char *field, bool absent);
/* One whole number for all, or a list of exactly `count` of them. */
void config_int_each(config_reader *reader, const char *field, int absent, int count, int low, int high,
                     int *out);
/* A list of 1..limit whole numbers; returns its length. The field must be there. */
int config_int_list(config_reader *reader, const char *field, int limit, int low, int high, int *out);
/* A list of 0..limit numbers; 0 when absent. */
int config_real_list(config_reader *reader, const char *field, int limit, double low, double high,
                     float *out);
/* One truth value for all, or a list of exactly `count`. */
void config_bool_each(config_reader *reader, const char *field, bool absent, int count, bool *out);
/* Index in `words` (ended by NULL) of the field's text; `absent` when it is not there. An unknown word is
 * refused by name. */
int config_word(config_reader *reader, const char *field, int absent, const char *const *words);

/* What this program can not do: a field that must be absent, null or the given value. */
void config_only_null(config_reader *reader, const char *field);
void config_only_bool(config_reader *reader, const char *field, bool allowed);
void config_only_real(config_reader *reader, const char *field, double allowed);
void config_only_word(config_reader *reader, const char *field, const char *allowed);

/* How a configuration is told from the tensors of a file: `find` gives the shape of a tensor, or NULL. The
 * names are those of the model's own dialect, without the prefix that a checkpoint puts before them. */
typedef struct tensor_finder {
    const shape *(*find)(void *self, const char *name);
    void *self;
} tensor_finder;

/* The shape under a printf-style name, or NULL. */
const shape *find_shape(const tensor_finder *finder, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Dimension `axis` of it, or 0 when there is none or it does not fit an int. */
int find_dim(const tensor_finder *finder, int axis, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
