/* config.c - typed, range-checked fields of a config.json, and shapes looked up by name; see config.h. */
#include "model/config.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

void config_fail(config_reader *reader, kiln_status status, const char *format, ...)
{
    if (reader->status != KILN_OK)
        return;
    va_list arguments;
    va_start(arguments, format);
    fail_with(reader->err, status, format, arguments);
    va_end(arguments);
    fail_within(reader->err, status, "%s", reader->name);
    reader->status = status;
}

void config_open(config_reader *reader, const char *json, size_t length, const char *name, kiln_error *err)
{
    *reader = (config_reader){.name = name, .err = err, .status = KILN_OK};
    json_error_t problem;
    reader->document = json_loadb(json, length, 0, &problem);
    if (!reader->document) {
        config_fail(reader, KILN_BAD_FORMAT, "not valid JSON: %s (line %d)", problem.text, problem.line);
        return;
    }
    reader->root = reader->document;
    if (!json_is_object(reader->root))
        config_fail(reader, KILN_BAD_FORMAT, "expected a JSON object, found %s",
                    json_is_array(reader->root) ? "a list" : "a plain value");
}

kiln_status config_close(config_reader *reader)
{
    json_decref(reader->document);
    reader->document = reader->root = NULL;
    return reader->status;
}

static const char *kind_of(const json_t *value)
{
    if (!value)
        return "nothing";
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "a list";
    case JSON_STRING:
        return "a text";
    case JSON_INTEGER:
        return "a whole number";
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a truth value";
    default:
        return "null";
    }
}

json_t *config_get(config_reader *reader, const char *field)
{
    if (reader->status != KILN_OK)
        return NULL;
    json_t *value = json_object_get(reader->root, field);
    return json_is_null(value) ? NULL : value;
}

int config_number(config_reader *reader, const char *what, const json_t *value, int low, int high)
{
    if (!json_is_integer(value)) {
        config_fail(reader, KILN_BAD_FORMAT, "'%s' must be a whole number, found %s", what, kind_of(value));
        return low;
    }
    json_int_t number = json_integer_value(value);
    if (number < low || number > high) {
        config_fail(reader, KILN_UNSUPPORTED, "'%s' must be %d to %d, found %lld", what, low, high,
                    (long long)number);
        return low;
    }
    return (int)number;
}

int config_int(config_reader *reader, const char *field, int absent, int low, int high)
{
    const json_t *value = config_get(reader, field);
    return value ? config_number(reader, field, value, low, high) : absent;
}

static double real_of(config_reader *reader, const char *what, const json_t *value, double low, double high)
{
    if (!json_is_number(value)) {
        config_fail(reader, KILN_BAD_FORMAT, "'%s' must be a number, found %s", what, kind_of(value));
        return low;
    }
    double number = json_number_value(value);
    if (!(number >= low && number <= high)) {
        config_fail(reader, KILN_UNSUPPORTED, "'%s' must be %g to %g, found %g", what, low, high, number);
        return low;
    }
    return number;
}

double config_real(config_reader *reader, const char *field, double absent, double low, double high)
{
    const json_t *value = config_get(reader, field);
    return value ? real_of(reader, field, value, low, high) : absent;
}

static bool bool_of(config_reader *reader, const char *what, const json_t *value)
{
    if (!json_is_boolean(value))
        config_fail(reader, KILN_BAD_FORMAT, "'%s' must be true or false, found %s", what, kind_of(value));
    return json_is_true(value);
}

bool config_bool(config_reader *reader, const char *field, bool absent)
{
    const json_t *value = config_get(reader, field);
    return value ? bool_of(reader, field, value) : absent;
}

/* A list of exactly `count` entries, said in a sentence when it is not. */
static bool list_of(config_reader *reader, const char *field, const json_t *value, size_t low, size_t high)
{
    if (!json_is_array(value)) {
        config_fail(reader, KILN_BAD_FORMAT, "'%s' must be a list, found %s", field, kind_of(value));
        return false;
    }
    size_t size = json_array_size(value);
    if (size >= low && size <= high)
        return true;
    if (low == high)
        config_fail(reader, KILN_BAD_FORMAT, "'%s' must have %zu entries, found %zu", field, low, size);
    else
        config_fail(reader, KILN_UNSUPPORTED, "'%s' must have %zu to %zu entries, found %zu", field, low,
                    high, size);
    return false;
}

void config_int_each(config_reader *reader, const char *field, int absent, int count, int low, int high,
                     int *out)
{
    const json_t *value = config_get(reader, field);
    bool list = json_is_array(value);
    if (list && !list_of(reader, field, value, (size_t)count, (size_t)count))
        list = false, value = NULL;
    int all = value && !list ? config_number(reader, field, value, low, high) : absent;
    for (int i = 0; i < count; i++)
        out[i] = list ? config_number(reader, field, json_array_get(value, (size_t)i), low, high) : all;
}

int config_int_list(config_reader *reader, const char *field, int limit, int low, int high, int *out)
{
    const json_t *value = config_get(reader, field);
    if (!value)
        config_fail(reader, KILN_BAD_FORMAT, "'%s' is missing", field);
    if (reader->status != KILN_OK || !list_of(reader, field, value, 1, (size_t)limit))
        return 0;
    int count = (int)json_array_size(value);
    for (int i = 0; i < count; i++)
        out[i] = config_number(reader, field, json_array_get(value, (size_t)i), low, high);
    return count;
}

int config_real_list(config_reader *reader, const char *field, int limit, double low, double high, float *out)
{
    const json_t *value = config_get(reader, field);
    if (!value || !list_of(reader, field, value, 0, (size_t)limit))
        return 0;
    int count = (int)json_array_size(value);
    for (int i = 0; i < count; i++)
        out[i] = (float)real_of(reader, field, json_array_get(value, (size_t)i), low, high);
    return count;
}

void config_bool_each(config_reader *reader, const char *field, bool absent, int count, bool *out)
{
    const json_t *value = config_get(reader, field);
    bool list = json_is_array(value);
    if (list && !list_of(reader, field, value, (size_t)count, (size_t)count))
        list = false, value = NULL;
    bool all = value && !list ? bool_of(reader, field, value) : absent;
    for (int i = 0; i < count; i++)
        out[i] = list ? bool_of(reader, field, json_array_get(value, (size_t)i)) : all;
}

int config_word(config_reader *reader, const char *field, int absent, const char *const *words)
{
    const json_t *value = config_get(reader, field);
    if (!value)
        return absent;
    const char *text = json_string_value(value);
    if (!text) {
        config_fail(reader, KILN_BAD_FORMAT, "'%s' must be a text, found %s", field, kind_of(value));
        return absent;
    }
    for (int i = 0; words[i]; i++)
        if (strcmp(words[i], text) == 0)
            return i;
    config_fail(reader, KILN_UNSUPPORTED, "'%s' is '%.80s', which is not supported", field, text);
    return absent;
}

void config_only_null(config_reader *reader, const char *field)
{
    const json_t *value = config_get(reader, field);
    if (json_is_string(value))
        config_fail(reader, KILN_UNSUPPORTED, "'%s' is '%.80s', which is not supported", field,
                    json_string_value(value));
    else if (value)
        config_fail(reader, KILN_UNSUPPORTED, "'%s' is %s; only null is supported", field, kind_of(value));
}

void config_only_bool(config_reader *reader, const char *field, bool allowed)
{
    if (config_bool(reader, field, allowed) != allowed)
        config_fail(reader, KILN_UNSUPPORTED, "'%s' is %s, which is not supported", field,
                    allowed ? "false" : "true");
}

void config_only_real(config_reader *reader, const char *field, double allowed)
{
    double value = config_real(reader, field, allowed, -HUGE_VAL, HUGE_VAL);
    if (reader->status == KILN_OK && value != allowed)
        config_fail(reader, KILN_UNSUPPORTED, "'%s' is %g; only %g is supported", field, value, allowed);
}

void config_only_word(config_reader *reader, const char *field, const char *allowed)
{
    const char *const words[] = {allowed, NULL};
    config_word(reader, field, 0, words);
}

static const shape *find_with(const tensor_finder *finder, const char *format, va_list arguments)
{
    char name[256];
    int length = vsnprintf(name, sizeof name, format, arguments);
    return length > 0 && (size_t)length < sizeof name ? finder->find(finder->self, name) : NULL;
}

const shape *find_shape(const tensor_finder *finder, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const shape *found = find_with(finder, format, arguments);
    va_end(arguments);
    return found;
}

int find_dim(const tensor_finder *finder, int axis, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const shape *found = find_with(finder, format, arguments);
    va_end(arguments);
    if (!found || axis >= found->rank || found->dim[axis] < 0 || found->dim[axis] > INT_MAX)
        return 0;
    return (int)found->dim[axis];
}
