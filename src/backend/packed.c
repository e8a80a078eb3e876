/* packed.c - see packed.h. One lock guards the list; packing happens under it, so that two threads never make the same
 * copy. Packing is done once per model, at the first plan. */
#include "backend/packed.h"

#include "base/pages.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct packed {
    packed *next; /* of the same parameter */
    int parameter, users;
    size_t key_bytes, bytes;
    unsigned char *key;
    void *data;
};

struct packed_store {
    parameter_source source;
    pthread_mutex_t lock;
    packed **lists; /* by parameter */
    int list_count;
    size_t total;
    struct {
        void *data;
        size_t bytes;
    } rooms[2]; /* see room_for; the second is that of packed_store_spare */
};

packed_store *packed_store_new(parameter_source source)
{
    packed_store *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->source = source;
    if (pthread_mutex_init(&s->lock, NULL) != 0) {
        free(s);
        return NULL;
    }
    return s;
}

static void packed_free(packed *p)
{
    if (!p)
        return;
    pages_free(p->data, p->bytes);
    free(p->key);
    free(p);
}

static void free_rooms(packed_store *s)
{
    for (int i = 0; i < 2; i++) {
        pages_free(s->rooms[i].data, s->rooms[i].bytes);
        s->rooms[i].data = NULL;
        s->rooms[i].bytes = 0;
    }
}

void packed_store_free(packed_store *s)
{
    if (!s)
        return;
    for (int i = 0; i < s->list_count; i++)
        while (s->lists[i]) {
            packed *next = s->lists[i]->next;
            packed_free(s->lists[i]);
            s->lists[i] = next;
        }
    free_rooms(s);
    free(s->lists);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

parameter_source packed_store_source(const packed_store *s)
{
    return s->source;
}

size_t packed_store_bytes(const packed_store *s)
{
    if (!s)
        return 0;
    /* Another thread may be packing. */
    pthread_mutex_t *lock = (pthread_mutex_t *)(uintptr_t)&s->lock;
    pthread_mutex_lock(lock);
    size_t total = s->total;
    pthread_mutex_unlock(lock);
    return total;
}

static kiln_status reserve_lists(packed_store *s, int count, kiln_error *err)
{
    if (count <= s->list_count)
        return KILN_OK;
    packed **lists = realloc(s->lists, (size_t)count * sizeof *lists);
    if (!lists)
        return fail(err, KILN_NO_MEMORY, "out of memory for the list of weights");
    for (int i = s->list_count; i < count; i++)
        lists[i] = NULL;
    s->lists = lists;
    s->list_count = count;
    return KILN_OK;
}

static bool all_finite(const float *x, int64_t n)
{
    uint32_t bad = 0;
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        bad |= (uint32_t)((bits & 0x7F800000u) == 0x7F800000u);
    }
    return bad == 0;
}

static kiln_status refuse_not_finite(const packed_store *s, const parameter *declared, int index,
                                     kiln_error *err)
{
    char place[512] = "";
    if (s->source.describe)
        s->source.describe(s->source.self, declared, index, place, sizeof place);
    return fail(err, KILN_BAD_FORMAT, "%s%sthe weights '%s' hold NaN or infinity", place,
                place[0] ? ": " : "", declared->canonical);
}

/* Where parameters are read to before they are packed. Kept from one to the next: pages that are fresh from the system
 * have to be zeroed first, which costs more than everything else that loading does. */
static float *room_for(packed_store *s, int i, size_t bytes)
{
    if (s->rooms[i].bytes < bytes) {
        pages_free(s->rooms[i].data, s->rooms[i].bytes);
        s->rooms[i].data = pages_new(bytes);
        s->rooms[i].bytes = s->rooms[i].data ? bytes : 0;
    }
    return s->rooms[i].data;
}

float *packed_store_spare(packed_store *s, size_t bytes)
{
    return room_for(s, 1, bytes);
}

void packed_store_trim(packed_store *s)
{
    pthread_mutex_lock(&s->lock);
    free_rooms(s);
    pthread_mutex_unlock(&s->lock);
}

static kiln_status read_and_pack(packed_store *s, const graph *g, packed *p, pack_function pack,
                                 const void *arguments, kiln_error *err)
{
    const parameter *declared = &g->parameters[p->parameter];
    int64_t count = shape_count(declared->shape);
    size_t plain_bytes = (size_t)count * sizeof(float);
    float *plain = pack ? room_for(s, 0, plain_bytes) : p->data;
    if (!plain)
        return fail(err, KILN_NO_MEMORY, "out of memory: %zu MB to read '%s'", plain_bytes >> 20,
                    declared->canonical);
    kiln_status status = s->source.read(s->source.self, declared, p->parameter, plain, err);
    if (status == KILN_OK && !all_finite(plain, count))
        status = refuse_not_finite(s, declared, p->parameter, err);
    if (status == KILN_OK && pack)
        status = pack(arguments, plain, count, p->data, err);
    return status;
}

static packed *find(const packed_store *s, int index, const void *key, size_t key_bytes, size_t bytes)
{
    for (packed *p = s->lists[index]; p; p = p->next)
        if (p->key_bytes == key_bytes && p->bytes == bytes &&
            (key_bytes == 0 || memcmp(p->key, key, key_bytes) == 0))
            return p;
    return NULL;
}

static kiln_status make(packed_store *s, const graph *g, int index, const void *key, size_t key_bytes,
                        size_t bytes, pack_function pack, const void *arguments, packed **out,
                        kiln_error *err)
{
    packed *p = calloc(1, sizeof *p);
    if (p) {
        p->parameter = index;
        p->key_bytes = key_bytes;
        p->bytes = bytes;
        p->key = malloc(key_bytes + 1);
        p->data = pages_new(bytes);
    }
    if (!p || !p->key || !p->data) {
        packed_free(p);
        return fail(err, KILN_NO_MEMORY, "out of memory: %zu MB for '%s'", bytes >> 20,
                    g->parameters[index].canonical);
    }
    if (key_bytes)
        memcpy(p->key, key, key_bytes);
    kiln_status status = s->source.read ? read_and_pack(s, g, p, pack, arguments, err) : KILN_OK;
    if (status != KILN_OK) {
        packed_free(p);
        return status;
    }
    p->next = s->lists[index];
    s->lists[index] = p;
    s->total += bytes;
    *out = p;
    return KILN_OK;
}

kiln_status packed_take(packed_store *s, const graph *g, int index, const void *key, size_t key_bytes,
                        size_t bytes, pack_function pack, const void *arguments, packed **out,
                        const void **data, kiln_error *err)
{
    *out = NULL;
    *data = NULL;
    pthread_mutex_lock(&s->lock);
    kiln_status status = reserve_lists(s, g->parameter_count, err);
    if (status == KILN_OK && !(*out = find(s, index, key, key_bytes, bytes)))
        status = make(s, g, index, key, key_bytes, bytes, pack, arguments, out, err);
    if (status == KILN_OK) {
        (*out)->users++;
        *data = (*out)->data;
    }
    pthread_mutex_unlock(&s->lock);
    return status;
}

void packed_release(packed_store *s, packed *p)
{
    if (!s || !p)
        return;
    pthread_mutex_lock(&s->lock);
    if (--p->users == 0) {
        packed **link = &s->lists[p->parameter];
        while (*link != p)
            link = &(*link)->next;
        *link = p->next;
        s->total -= p->bytes;
        packed_free(p);
    }
    pthread_mutex_unlock(&s->lock);
}
