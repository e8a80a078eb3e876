/* hypernetworks.c - see hypernetworks.h. */
#include "pipeline/hypernetworks.h"

#include "base/arena.h"
#include "formats/name_index.h"
#include "pipeline/lora_find.h"
#include "pipeline/loras.h"
#include "text/extra_networks.h"
#include "weights/hypernetwork_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { HYPERNETWORK_PATH = 4096, HYPERNETWORKS_MAX = 32 };

typedef struct asked {
    char path[HYPERNETWORK_PATH];
    int64_t size, modified; /* of the file, in ns */
    double strength;
} asked;

struct session_hypernetworks {
    asked list[HYPERNETWORKS_MAX];
    int count;
    hypernetwork networks[HYPERNETWORKS_MAX];
    hypernetwork_file *files[HYPERNETWORKS_MAX];
    hypernetwork_chain chain;
    graph_hooks hooks;
    /* The UNet's own parameters by name, in the order of their indices. */
    name_index names;
    arena memory;
    parameter_source base;
    packed_store *store;
};

static void free_all(session_hypernetworks *all)
{
    if (!all)
        return;
    packed_store_free(all->store);
    for (int i = 0; i < all->count; i++)
        hypernetwork_file_close(all->files[i]);
    name_index_fini(&all->names);
    arena_fini(&all->memory);
    free(all);
}

void session_drop_hypernetworks(kiln_session *s)
{
    if (!s->hypernetworks)
        return;
    session_drop(s, NETWORK_UNET);
    free_all(s->hypernetworks);
    s->hypernetworks = NULL;
}

/* ------------------------------------------------------------------------------------ what is asked for */

static void stamp(asked *a)
{
    struct stat about;
    if (stat(a->path, &about) != 0)
        return;
    a->size = about.st_size;
    a->modified = (int64_t)about.st_mtim.tv_sec * 1000000000 + about.st_mtim.tv_nsec;
}

static kiln_status add_tag(session_hypernetworks *all, const extra_network *n, const kiln_draw_options *o,
                           const char *model, kiln_error *err)
{
    double strength = 1;
    kiln_status status = extra_network_number(n, 1, "multiplier", &strength, err);
    if (status == KILN_OK && all->count == HYPERNETWORKS_MAX)
        status =
            fail(err, KILN_BAD_ARGUMENT, "the prompt names more than %d hypernetworks", HYPERNETWORKS_MAX);
    asked *a = &all->list[all->count];
    if (status == KILN_OK)
        status =
            hypernetwork_find(o->hypernetwork_folder, model, n->item[0].value, a->path, sizeof a->path, err);
    if (status != KILN_OK || strength == 0)
        return status;
    a->strength = strength;
    stamp(a);
    all->count++;
    return KILN_OK;
}

static kiln_status add_tags(session_hypernetworks *all, const kiln_draw_options *o, const char *model,
                            kiln_error *err)
{
    extra_networks tags;
    if (o->negative && strstr(o->negative, "<hypernet:"))
        return fail(err, KILN_BAD_ARGUMENT,
                    "a hypernetwork in the negative prompt would change nothing: name it in the prompt");
    kiln_status status = extra_networks_of(o->prompt ? o->prompt : "", &tags, err);
    for (int i = 0; status == KILN_OK && i < tags.count; i++)
        if (extra_network_is(&tags.network[i], "hypernet"))
            status = add_tag(all, &tags.network[i], o, model, err);
    extra_networks_free(&tags);
    return status;
}

static bool same_list(const session_hypernetworks *a, const session_hypernetworks *b)
{
    if (!a || a->count != b->count)
        return false;
    for (int i = 0; i < a->count; i++)
        if (strcmp(a->list[i].path, b->list[i].path) != 0 || a->list[i].size != b->list[i].size ||
            a->list[i].modified != b->list[i].modified || a->list[i].strength != b->list[i].strength)
            return false;
    return true;
}

/* ------------------------------------------------------------------------------------ opening */

/* A network whose width no layer sees would do nothing, without a word. That of the text must be there, or be another
 * family's. */
static kiln_status check_widths(const hypernetwork_config *c, const char *path, const kiln_model *m,
                                kiln_error *err)
{
    const unet_config *u = &m->parts->unet;
    for (int i = 0; i < c->width_count; i++) {
        bool seen = c->widths[i] == u->context_channels;
        for (int k = 0; k < u->levels; k++)
            seen |= c->widths[i] == u->channels[k];
        if (!seen)
            return fail(err, KILN_MISMATCH,
                        "%s: it bends contexts of width %d, which %s (%s; its text is %d wide) does not have",
                        path, c->widths[i], m->path, kiln_model_family(m), u->context_channels);
    }
    return KILN_OK;
}

static kiln_status open_files(session_hypernetworks *all, const kiln_model *m, kiln_error *err)
{
    kiln_status status = KILN_OK;
    for (int i = 0; status == KILN_OK && i < all->count; i++) {
        status = hypernetwork_file_open(all->list[i].path, &all->files[i], err);
        if (status == KILN_OK)
            status = check_widths(&all->files[i]->config, all->list[i].path, m, err);
        if (status != KILN_OK)
            break;
        all->networks[i] =
            (hypernetwork){.config = all->files[i]->config, .strength = (float)all->list[i].strength};
        snprintf(all->networks[i].place, sizeof all->networks[i].place, "hypernetwork_%d", i);
    }
    return status;
}

/* Parameters of theirs from their files, the UNet's by the indices that they have without them. */
static kiln_status read_parameter(void *self, const parameter *p, int index, float *to, kiln_error *err)
{
    session_hypernetworks *all = self;
    int64_t own = name_index_find(&all->names, p->canonical), count;
    (void)index;
    if (own != NAME_MISSING)
        return all->base.read(all->base.self, p, (int)own, to, err);
    for (int i = 0; i < all->count; i++) {
        size_t length = strlen(all->networks[i].place);
        if (strncmp(p->canonical, all->networks[i].place, length) != 0 || p->canonical[length] != '.')
            continue;
        const float *from = hypernetwork_file_find(all->files[i], p->canonical + length + 1, &count);
        if (!from || count != shape_count(p->shape))
            break;
        memcpy(to, from, (size_t)count * sizeof *to);
        return KILN_OK;
    }
    return fail(err, KILN_INTERNAL, "nothing gives the parameter '%s'", p->canonical);
}

static void describe_parameter(void *self, const parameter *p, int index, char *text, size_t size)
{
    session_hypernetworks *all = self;
    int64_t own = name_index_find(&all->names, p->canonical);
    (void)index;
    if (own != NAME_MISSING && all->base.describe)
        all->base.describe(all->base.self, p, (int)own, text, size);
    else
        snprintf(text, size, "parameter '%s'", p->canonical);
}

static kiln_status open_store(session_hypernetworks *all, const kiln_session *s, kiln_error *err)
{
    graph *g = probe_draw(s->model->parts, PART_UNET, false, err);
    kiln_status status = g ? KILN_OK : err->status;
    for (int i = 0; g && status == KILN_OK && i < g->parameter_count; i++) {
        const char *name = arena_text(&all->memory, g->parameters[i].canonical);
        if (!name || !name_index_put(&all->names, name, (uint32_t)i))
            status = fail(err, KILN_NO_MEMORY, "out of memory for hypernetworks");
    }
    graph_free(g);
    all->base = packed_store_source(session_store(s, NETWORK_UNET));
    all->chain = (hypernetwork_chain){.networks = all->networks, .count = all->count};
    all->hooks = (graph_hooks){.self = &all->chain, .context = hypernetwork_bend};
    all->store = packed_store_new((parameter_source){read_parameter, all, describe_parameter});
    return status == KILN_OK && !all->store ? fail(err, KILN_NO_MEMORY, "out of memory for hypernetworks")
                                            : status;
}

kiln_status session_use_hypernetworks(kiln_session *s, const kiln_draw_options *o, kiln_error *err)
{
    kiln_error own;
    err = err ? err : &own;
    session_hypernetworks *fresh = calloc(1, sizeof *fresh);
    if (!fresh)
        return fail(err, KILN_NO_MEMORY, "out of memory for hypernetworks");
    kiln_status status = o ? add_tags(fresh, o, s->model->path, err) : KILN_OK;
    if (status == KILN_OK && fresh->count && s->hooks[NETWORK_UNET])
        status = fail(err, KILN_UNSUPPORTED, "samples of a training are drawn without <hypernet> tags");
    if (status == KILN_OK && same_list(s->hypernetworks, fresh)) {
        free_all(fresh);
        return KILN_OK;
    }
    session_drop_hypernetworks(s);
    if (status == KILN_OK && fresh->count)
        status = open_files(fresh, s->model, err);
    if (status == KILN_OK && fresh->count)
        status = open_store(fresh, s, err);
    if (status != KILN_OK || !fresh->count) {
        free_all(fresh);
        return status;
    }
    session_drop(s, NETWORK_UNET);
    s->hypernetworks = fresh;
    return KILN_OK;
}

/* ------------------------------------------------------------------------------------ for plans */

const graph_hooks *session_hooks(const kiln_session *s, network_kind kind)
{
    return s->hypernetworks && kind == NETWORK_UNET ? &s->hypernetworks->hooks : s->hooks[kind];
}

packed_store *session_bent_store(const kiln_session *s, network_kind kind)
{
    return s->hypernetworks && kind == NETWORK_UNET ? s->hypernetworks->store : session_store(s, kind);
}

size_t session_hypernetworks_bytes(const kiln_session *s)
{
    return s->hypernetworks ? packed_store_bytes(s->hypernetworks->store) : 0;
}
