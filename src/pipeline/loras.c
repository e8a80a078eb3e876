/* loras.c - see loras.h. */
#include "pipeline/loras.h"

#include "formats/hash_cache.h"
#include "pipeline/hypernetworks.h"
#include "pipeline/lora_find.h"
#include "pipeline/model_words.h"
#include "text/extra_networks.h"
#include "weights/lora.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LORA_PATH = 4096, LORAS_MAX = 2 * EXTRA_NETWORKS_MAX };

typedef struct applied {
    lora *file;
    char *path, *name; /* the name that the infotext gives it */
    char hash[13];
    double strength[LORA_NETWORKS];
    int rank; /* 0: all */
    lora_binding *binding[LORA_NETWORKS];
} applied;

/* One network as they change it; store NULL: they do not. */
typedef struct changed_network {
    lora_layer layers[LORAS_MAX];
    lora_stack stack;
    packed_store *store;
} changed_network;

struct session_loras {
    byte_buffer key; /* what was asked for, of which files */
    applied list[LORAS_MAX];
    int count;
    changed_network network[LORA_NETWORKS];
    model_words *words; /* NULL: the files carry none */
};

static const network_kind kind_of[LORA_NETWORKS] = {NETWORK_TEXT_1, NETWORK_TEXT_2, NETWORK_UNET};
static const part_kind part_of[LORA_NETWORKS] = {PART_TEXT, PART_TEXT_2, PART_UNET};

void session_loras_free(session_loras *all)
{
    if (!all)
        return;
    for (int k = 0; k < LORA_NETWORKS; k++)
        packed_store_free(all->network[k].store);
    for (int i = 0; i < all->count; i++) {
        for (int k = 0; k < LORA_NETWORKS; k++)
            lora_binding_free(all->list[i].binding[k]);
        lora_close(all->list[i].file);
        free(all->list[i].path);
        free(all->list[i].name);
    }
    model_words_free(all->words);
    byte_buffer_fini(&all->key);
    free(all);
}

/* ------------------------------------------------------------------------------------ what is asked for */

static kiln_status no_memory(kiln_error *err)
{
    return fail(err, KILN_NO_MEMORY, "out of memory for LoRAs");
}

static kiln_status add(session_loras *all, const char *path, const char *name, double text, double unet,
                       int rank, kiln_error *err)
{
    if (all->count == LORAS_MAX)
        return fail(err, KILN_BAD_ARGUMENT, "more than %d LoRAs at once", LORAS_MAX);
    applied *a = &all->list[all->count++];
    *a = (applied){.path = strdup(path), .name = strdup(name), .strength = {text, text, unet}, .rank = rank};
    if (!a->path || !a->name)
        return no_memory(err);
    file_stamp stamp = {0};
    char numbers[160];
    (void)!file_stamp_of(path, &stamp);
    snprintf(numbers, sizeof numbers, "|%" PRId64 "|%" PRId64 "|%.17g|%.17g|%d\n", stamp.size, stamp.modified,
             text, unet, rank);
    byte_buffer_add_text(&all->key, path);
    byte_buffer_add_text(&all->key, numbers);
    return KILN_OK;
}

/* The name of a file without folders and extension. */
static void stem_of(const char *path, char *out, size_t size)
{
    const char *slash = strrchr(path, '/'), *file = slash ? slash + 1 : path, *dot = strrchr(file, '.');
    snprintf(out, size, "%.*s", dot && dot != file ? (int)(dot - file) : (int)strlen(file), file);
}

static kiln_status add_given(session_loras *all, const kiln_draw_options *o, kiln_error *err)
{
    kiln_status status = KILN_OK;
    for (int i = 0; status == KILN_OK && i < o->lora_count; i++) {
        const kiln_lora *l = &o->loras[i];
        char name[LORA_PATH];
        if (!l->path || !(fabs(l->text_strength) <= 1000) || !(fabs(l->unet_strength) <= 1000))
            return fail(err, KILN_BAD_ARGUMENT, "a LoRA has a file and strengths from -1000 to 1000");
        stem_of(l->path, name, sizeof name);
        status = add(all, l->path, name, l->text_strength, l->unet_strength, 0, err);
    }
    return status;
}

static kiln_status add_tag(session_loras *all, const extra_network *n, const char *folder, const char *model,
                           kiln_error *err)
{
    double text = 1, unet, rank = 0;
    char path[LORA_PATH];
    kiln_status status = extra_network_number(n, 1, "te", &text, err);
    unet = text;
    if (status == KILN_OK)
        status = extra_network_number(n, 2, "unet", &unet, err);
    if (status == KILN_OK)
        status = extra_network_number(n, 3, "dyn", &rank, err);
    if (status == KILN_OK && (rank < 0 || rank != floor(rank)))
        status = fail(err, KILN_BAD_ARGUMENT, "%s in the prompt: dyn is a number of ranks", n->text);
    if (status == KILN_OK)
        status = lora_find(folder, model, n->item[0].value, path, sizeof path, err);
    return status == KILN_OK ? add(all, path, n->item[0].value, text, unet, (int)rank, err) : status;
}

static kiln_status add_tags(session_loras *all, const kiln_draw_options *o, const char *model,
                            kiln_error *err)
{
    extra_networks tags;
    if (o->negative && (strstr(o->negative, "<lora:") || strstr(o->negative, "<lyco:")))
        return fail(err, KILN_BAD_ARGUMENT,
                    "a LoRA in the negative prompt would change nothing: name it in the prompt, with a "
                    "negative strength if it is to be turned around");
    kiln_status status = extra_networks_of(o->prompt ? o->prompt : "", &tags, err);
    for (int i = 0; status == KILN_OK && i < tags.count; i++) {
        if (extra_network_is(&tags.network[i], "lora"))
            status = add_tag(all, &tags.network[i], o->lora_folder, model, err);
    }
    extra_networks_free(&tags);
    return status;
}

/* ------------------------------------------------------------------------------------ opening */

/* The first 12 digits of sha256 without the header, which the file may know itself; of the whole file where it has none. */
static kiln_status find_hash(applied *a, kiln_error *err)
{
    file_hashes hashes;
    const char *known = tensor_file_metadata(a->file->file, "sshs_model_hash");
    if (known && strlen(known) >= 12) {
        snprintf(a->hash, sizeof a->hash, "%.12s", known);
        return KILN_OK;
    }
    bool plain = strcmp(tensor_file_format(a->file->file), "safetensors") != 0;
    kiln_status status =
        hash_file_some(a->path, plain ? HASH_SHA256 : HASH_WITHOUT_HEADER, &hashes, NULL, NULL, err);
    if (status == KILN_OK)
        snprintf(a->hash, sizeof a->hash, "%.12s", plain ? hashes.sha256 : hashes.addnet);
    return status;
}

static kiln_status open_files(session_loras *all, kiln_error *err)
{
    kiln_status status = KILN_OK;
    for (int i = 0; status == KILN_OK && i < all->count; i++) {
        status = lora_open(all->list[i].path, &all->list[i].file, err);
        if (status == KILN_OK)
            status = find_hash(&all->list[i], err);
    }
    return status;
}

static bool changes(const applied *a, lora_network which)
{
    return a->strength[which] != 0 && lora_count(a->file, which) > 0;
}

static kiln_status bind_network(session_loras *all, const kiln_model *m, lora_network which, kiln_error *err)
{
    graph *g = NULL;
    kiln_status status = KILN_OK;
    changed_network *c = &all->network[which];
    for (int i = 0; status == KILN_OK && i < all->count; i++) {
        applied *a = &all->list[i];
        if (!changes(a, which))
            continue;
        if (!g && !(g = probe_draw(m->parts, part_of[which], false, err)))
            return err->status;
        status = lora_bind(a->file, which, g, &a->binding[which], err);
        c->layers[c->stack.count++] = (lora_layer){a->binding[which], a->strength[which], a->rank};
    }
    graph_free(g);
    if (status != KILN_OK || !c->stack.count)
        return status;
    c->stack.base = packed_store_source(m->networks[kind_of[which]].store);
    c->stack.layers = c->layers;
    c->store = packed_store_new(lora_source(&c->stack));
    return c->store ? KILN_OK : no_memory(err);
}

/* A model without text encoders draws from given conditioning, which a LoRA's share for them cannot change. */
static kiln_status bind_all(session_loras *all, const kiln_model *m, kiln_error *err)
{
    kiln_status status = KILN_OK;
    for (lora_network k = 0; status == KILN_OK && k < LORA_NETWORKS; k++)
        if (model_has(m, kind_of[k]))
            status = bind_network(all, m, k, err);
    bool one_encoder = model_has(m, NETWORK_TEXT_1) && !model_has(m, NETWORK_TEXT_2);
    for (int i = 0; status == KILN_OK && one_encoder && i < all->count; i++)
        if (changes(&all->list[i], LORA_TEXT_2))
            status = fail(err, KILN_MISMATCH,
                          "%s changes a second text encoder, which %s does not have: it was made for Stable "
                          "Diffusion XL",
                          all->list[i].path, m->path);
    return status;
}

static kiln_status join_words(session_loras *all, const kiln_model *m, kiln_error *err)
{
    const tensor_file *files[LORAS_MAX];
    int count = 0;
    for (int i = 0; i < all->count; i++)
        if (all->list[i].file->words)
            files[count++] = all->list[i].file->file;
    return count ? model_words_extend(m, files, count, &all->words, err) : KILN_OK;
}

const model_words *session_words(const kiln_session *s)
{
    return s->loras && s->loras->words ? s->loras->words : s->model->words;
}

/* ------------------------------------------------------------------------------------ the interface */

/* Put them in the place of what the session had; plans that either changes go first. */
static void replace(kiln_session *s, session_loras *fresh)
{
    session_loras *old = s->loras;
    for (int k = 0; k < LORA_NETWORKS; k++)
        if ((old && old->network[k].store) || (fresh && fresh->network[k].store))
            session_drop(s, kind_of[k]);
    const int unet = LORA_NETWORKS - 1;
    if ((old && old->network[unet].store) || (fresh && fresh->network[unet].store))
        session_drop_hypernetworks(s); /* they lie on the weights that change */
    s->loras = fresh;
    session_loras_free(old);
}

static bool same_key(const session_loras *a, const session_loras *b)
{
    return a && b->key.size == a->key.size &&
           (!a->key.size || memcmp(a->key.bytes, b->key.bytes, a->key.size) == 0);
}

kiln_status session_use_loras(kiln_session *s, const kiln_draw_options *o, kiln_error *err)
{
    kiln_error own;
    err = err ? err : &own;
    session_loras *fresh = o ? calloc(1, sizeof *fresh) : NULL;
    if (o && !fresh)
        return no_memory(err);
    kiln_status status = o ? add_given(fresh, o, err) : KILN_OK;
    if (status == KILN_OK && o)
        status = add_tags(fresh, o, s->model->path, err);
    if (status == KILN_OK && fresh && same_key(s->loras, fresh)) {
        session_loras_free(fresh);
        return KILN_OK;
    }
    if (status == KILN_OK && fresh)
        status = open_files(fresh, err);
    if (status == KILN_OK && fresh)
        status = bind_all(fresh, s->model, err);
    if (status == KILN_OK && fresh)
        status = join_words(fresh, s->model, err);
    if (status != KILN_OK || (fresh && !fresh->count)) {
        session_loras_free(fresh);
        fresh = NULL;
    }
    replace(s, fresh);
    return status;
}

packed_store *session_store(const kiln_session *s, network_kind kind)
{
    for (int k = 0; s->loras && k < LORA_NETWORKS; k++)
        if (kind_of[k] == kind && s->loras->network[k].store)
            return s->loras->network[k].store;
    return s->model->networks[kind].store;
}

const void *session_loras_key(const kiln_session *s, size_t *size)
{
    *size = s->loras ? s->loras->key.size : 0;
    return s->loras ? s->loras->key.bytes : NULL;
}

size_t session_loras_bytes(const kiln_session *s)
{
    size_t bytes = 0;
    for (int k = 0; s->loras && k < LORA_NETWORKS; k++)
        bytes += packed_store_bytes(s->loras->network[k].store);
    return bytes;
}

char *loras_prompt(const kiln_draw_options *o)
{
    byte_buffer text = {0};
    byte_buffer_add_text(&text, o->prompt ? o->prompt : "");
    for (int i = 0; i < o->lora_count; i++) {
        const kiln_lora *l = &o->loras[i];
        char name[LORA_PATH], numbers[80];
        stem_of(l->path, name, sizeof name);
        if (l->text_strength == l->unet_strength)
            snprintf(numbers, sizeof numbers, ":%g>", l->unet_strength);
        else
            snprintf(numbers, sizeof numbers, ":%g:%g>", l->text_strength, l->unet_strength);
        byte_buffer_add_text(&text, text.size ? " <lora:" : "<lora:");
        byte_buffer_add_text(&text, name);
        byte_buffer_add_text(&text, numbers);
    }
    return byte_buffer_take_text(&text);
}

void loras_add_fields(const kiln_session *s, infotext *t)
{
    byte_buffer text = {0};
    for (int i = 0; s->loras && i < s->loras->count; i++) {
        byte_buffer_add_text(&text, i ? ", " : "");
        /* The list is cut at its colons and commas. */
        for (const char *c = s->loras->list[i].name; *c; c++)
            if (*c != ':' && *c != ',')
                byte_buffer_add(&text, c, 1);
        byte_buffer_add_text(&text, ": ");
        byte_buffer_add_text(&text, s->loras->list[i].hash);
    }
    char *hashes = text.size ? byte_buffer_take_text(&text) : NULL;
    if (hashes)
        (void)!infotext_set(t, "Lora hashes", hashes, NULL);
    free(hashes);
}
