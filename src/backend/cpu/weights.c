/* weights.c - see weights.h. */
#include "backend/cpu/weights.h"

#include "base/error.h"

#include <stdlib.h>
#include <string.h>

enum { KEY_BYTES = 1024 };

typedef struct pack_arguments {
    const product *product;
    const weight_variant *variant;
} pack_arguments;

static kiln_status pack(const void *self, const float *from, int64_t count, void *to, kiln_error *err)
{
    const pack_arguments *a = self;
    if (!a->variant)
        return product_pack(a->product, from, count, to, err);
    float *changed = malloc((size_t)a->variant->changed_count * sizeof(float));
    if (!changed)
        return fail(err, KILN_NO_MEMORY, "not enough memory to pack weights");
    a->variant->change(a->variant->arguments, from, changed);
    kiln_status status = product_pack(a->product, changed, a->variant->changed_count, to, err);
    free(changed);
    return status;
}

kiln_status weighted_new(const product_request *request, const kernel_request *r, int index, const weight_variant *variant,
                         weighted *w, kiln_error *err)
{
    *w = (weighted){.store = r->packed};
    kiln_status status = product_new(request, &w->product, err);
    if (status != KILN_OK || !w->product)
        return status;
    char key[KEY_BYTES];
    size_t bytes;
    const void *layout = product_weight_key(w->product, &bytes);
    if (bytes + 2 > sizeof key) {
        weighted_free(w);
        return fail(err, KILN_INTERNAL, "a weight layout of %zu bytes is longer than expected", bytes);
    }
    key[0] = 'P';
    key[1] = variant ? variant->mark : 0;
    memcpy(key + 2, layout, bytes);
    pack_arguments arguments = {w->product, variant};
    status = packed_take(r->packed, r->graph, r->parameter[index], key, bytes + 2, product_weight_bytes(w->product), pack,
                         &arguments, &w->packed, &w->weights, err);
    if (status != KILN_OK)
        weighted_free(w);
    return status;
}

void weighted_free(weighted *w)
{
    if (w->packed)
        packed_release(w->store, w->packed);
    product_free(w->product);
    *w = (weighted){0};
}
