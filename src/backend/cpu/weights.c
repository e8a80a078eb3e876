/* weights.c - see weights.h. */
#include "backend/cpu/weights.h"

#include "backend/cpu/products.h"

#include "base/error.h"

#include <stdlib.h>
#include <string.h>

typedef struct pack_arguments {
    const weighted_group *group;
    const weight_change *change;
} pack_arguments;

static kiln_status pack(const void *self, const float *from, int64_t count, void *to, kiln_error *err)
{
    const pack_arguments *a = self;
    char *target = to;
    kiln_status status = KILN_OK;
    float *changed =
        a->change ? packed_store_spare(a->group->store, (size_t)a->change->count * sizeof(float)) : NULL;
    if (a->change && !changed)
        return fail(err, KILN_NO_MEMORY, "not enough memory to pack weights");
    for (int i = 0; i < a->group->count && status == KILN_OK; i++) {
        const product *p = a->group->part[i].product;
        if (a->change)
            a->change->make(a->change->arguments, i, from, changed);
        status = product_pack(p, changed ? changed : from, changed ? a->change->count : count, target, err);
        target += scratch_rounded(product_weight_bytes(p));
    }
    return status;
}

/* The mark and the layouts of all parts; malloc'd. */
static char *make_key(const weighted_group *g, const weight_change *change, size_t *bytes)
{
    size_t one = 0, length = 2;
    for (int i = 0; i < g->count; i++) {
        product_weight_key(g->part[i].product, &one);
        length += one;
    }
    char *key = malloc(length);
    if (!key)
        return NULL;
    key[0] = g->transposed ? 'T' : 'P';
    key[1] = change ? change->mark : 0;
    *bytes = length;
    length = 2;
    for (int i = 0; i < g->count; i++) {
        const void *layout = product_weight_key(g->part[i].product, &one);
        memcpy(key + length, layout, one);
        length += one;
    }
    return key;
}

static kiln_status take_weights(weighted_group *g, const kernel_request *r, int index,
                                const weight_change *change, kiln_error *err)
{
    size_t bytes = 0, key_bytes = 0;
    for (int i = 0; i < g->count; i++)
        bytes += scratch_rounded(product_weight_bytes(g->part[i].product));
    char *key = make_key(g, change, &key_bytes);
    if (!key)
        return fail(err, KILN_NO_MEMORY, "not enough memory to pack weights");
    const void *data = NULL;
    pack_arguments arguments = {g, change};
    kiln_status status = packed_take(g->store, r->graph, r->parameter[index], key, key_bytes, bytes, pack,
                                     &arguments, &g->packed, &data, err);
    free(key);
    const char *at_part = data;
    for (int i = 0; i < g->count && status == KILN_OK; i++) {
        g->part[i].weights = at_part;
        at_part += scratch_rounded(product_weight_bytes(g->part[i].product));
    }
    return status;
}

kiln_status weighted_group_new(const product_request *requests, int count, const kernel_request *r, int index,
                               const weight_change *change, weighted_group *g, kiln_error *err)
{
    bool live = r->parameter[index] < 0;
    *g = (weighted_group){.store = r->packed, .transposed = requests[0].transposed};
    if (live && change)
        return KILN_OK;
    for (int i = 0; i < count; i++) {
        product_request request = requests[i];
        request.live = live;
        request.live_type = r->input_type[index];
        kiln_status status = product_new(&request, &g->part[i].product, err);
        if (status != KILN_OK || !g->part[i].product) {
            weighted_group_free(g);
            return status;
        }
        g->count = i + 1;
    }
    kiln_status status = live ? KILN_OK : take_weights(g, r, index, change, err);
    if (status != KILN_OK)
        weighted_group_free(g);
    return status;
}

void weighted_group_free(weighted_group *g)
{
    if (g->packed)
        packed_release(g->store, g->packed);
    for (int i = 0; i < MOST_PARTS; i++)
        product_free(g->part[i].product);
    *g = (weighted_group){0};
}
