/* key_set.h - sets of tensor names and shapes, from a text list or a weights file, for tests of what models
 * declare. */
#ifndef KILN_TESTS_KEY_SET_H
#define KILN_TESTS_KEY_SET_H

#include "formats/tensor_file.h"
#include "model/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h> /* last: it defines a macro called fail */

typedef struct key {
    char name[300];
    shape shape;
    bool used;
} key;

typedef struct key_set {
    key *keys;
    size_t count;
    const char *prefix; /* what a finder puts before names */
} key_set;

static inline void add_key(key_set *set, const char *name, shape s)
{
    set->keys = realloc(set->keys, (set->count + 1) * sizeof *set->keys);
    assert_non_null(set->keys);
    key *k = &set->keys[set->count++];
    *k = (key){.shape = s};
    snprintf(k->name, sizeof k->name, "%s", name);
}

static inline int compare_keys(const void *a, const void *b)
{
    return strcmp(((const key *)a)->name, ((const key *)b)->name);
}

static inline void sort_keys(key_set *set)
{
    qsort(set->keys, set->count, sizeof *set->keys, compare_keys);
}

static inline key *find_key(const key_set *set, const char *name)
{
    key wanted;
    snprintf(wanted.name, sizeof wanted.name, "%s", name);
    return bsearch(&wanted, set->keys, set->count, sizeof *set->keys, compare_keys);
}

/* Lines "name 320x4x3x3" or "name scalar". */
static inline key_set keys_from_text(const char *path)
{
    key_set set = {.prefix = ""};
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    char line[400], name[300], dims[100];
    while (fgets(line, sizeof line, f)) {
        assert_int_equal(sscanf(line, "%299s %99s", name, dims), 2);
        shape s = {0};
        for (char *p = dims; *p >= '0' && *p <= '9';) {
            s.dim[s.rank++] = strtoll(p, &p, 10);
            p += *p == 'x';
        }
        add_key(&set, name, s);
    }
    fclose(f);
    sort_keys(&set);
    return set;
}

static inline key_set keys_from_file(const char *path)
{
    key_set set = {.prefix = ""};
    tensor_file *file;
    kiln_error err = {0};
    kiln_status status = tensor_file_open(path, &file, &err);
    if (status != KILN_OK)
        print_error("%s\n", err.text);
    assert_int_equal(status, KILN_OK);
    for (size_t i = 0; i < tensor_file_count(file); i++)
        add_key(&set, tensor_file_entry(file, i)->name, tensor_file_entry(file, i)->shape);
    tensor_file_close(file);
    sort_keys(&set);
    return set;
}

static inline const shape *find_in_set(void *self, const char *name)
{
    const key_set *set = self;
    char full[256];
    snprintf(full, sizeof full, "%s%s", set->prefix, name);
    key *k = find_key(set, full);
    return k ? &k->shape : NULL;
}

static inline tensor_finder finder_of(key_set *set, const char *prefix)
{
    set->prefix = prefix;
    return (tensor_finder){find_in_set, set};
}

#endif
