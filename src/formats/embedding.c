/* embedding.c - reading; see embedding.h. Every tensor is told by its name: which word it is of, and which encoder's. */
#include "formats/embedding.h"

#include "formats/identify.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What a tensor is to its file. */
typedef struct role {
    enum { ROLE_STRANGE, ROLE_IGNORED, ROLE_OWN, ROLE_BUNDLED, ROLE_TOKEN, ROLE_FOREIGN } kind;
    const char *word; /* what tells words of one file apart; not terminated */
    size_t length;
    int encoder;
    const char *dialect;
} role;

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static bool is(const char *text, const char *other)
{
    return strcmp(text, other) == 0;
}

/* Names that mean the same in a file of one word and behind bundle_emb.<name>. */
static bool vectors_named(const char *name, role *out)
{
    static const struct {
        const char *name, *dialect;
        int encoder;
    } names[] = {
        {"clip_l", "kohya SDXL", 0},        {"clip_g", "kohya SDXL", 1},         {"emb_params", "kohya", 0},
        {"emb", "XL-Textual-Inversion", 0}, {"emb2", "XL-Textual-Inversion", 1},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (is(name, names[i].name)) {
            out->encoder = names[i].encoder;
            out->dialect = names[i].dialect;
            return true;
        }
    out->dialect = "A1111";
    return begins(name, "string_to_param.");
}

/* "bundle_emb.<name>.clip_l": a name may have dots, so the end is looked for. */
static bool is_bundled(const char *name, role *out)
{
    static const char prefix[] = "bundle_emb.";
    if (!begins(name, prefix))
        return false;
    out->kind = ROLE_BUNDLED;
    out->word = name + strlen(prefix);
    for (const char *dot = strchr(out->word, '.'); dot; dot = strchr(dot + 1, '.'))
        if (vectors_named(dot + 1, out)) {
            out->length = (size_t)(dot - out->word);
            return out->length > 0;
        }
    out->kind = is(name + strlen(name) - 6, ".t5xxl") ? ROLE_FOREIGN : ROLE_STRANGE;
    return true;
}

static role role_of(const char *name)
{
    role r = {.kind = ROLE_STRANGE, .word = name};
    size_t digits = strspn(name, "0123456789"), length = strlen(name);
    if (is_bundled(name, &r))
        return r;
    if (is(name, "t5xxl"))
        r.kind = ROLE_FOREIGN;
    else if (begins(name, "string_to_token."))
        r.kind = ROLE_IGNORED;
    else if (vectors_named(name, &r)) {
        r.kind = ROLE_OWN;
        /* string_to_param has a word for each key; the others are all of one. */
        r.length = begins(name, "string_to_param.") ? length : 0;
    } else if (digits && name[digits] == '.' && begins(name + digits, ".emb") &&
               vectors_named(name + digits + 1, &r)) {
        r.kind = ROLE_OWN;
        r.length = digits;
    } else if (length > 2 && name[0] == '<' && name[length - 1] == '>') {
        r = (role){ROLE_TOKEN, name, length, 0, "diffusers"};
    }
    return r;
}

/* ------------------------------------------------------------------------------------ vectors */

kiln_status embedding_allocate(embedding *e, int vectors, const int width[EMBEDDING_ENCODERS],
                               kiln_error *err)
{
    e->vectors = vectors;
    for (int i = 0; i < EMBEDDING_ENCODERS; i++) {
        e->width[i] = width[i];
        if (width[i] && !(e->values[i] = calloc((size_t)vectors * (size_t)width[i], sizeof(float))))
            return fail(err, KILN_NO_MEMORY, "out of memory for an embedding");
    }
    return KILN_OK;
}

void embedding_fini(embedding *e)
{
    free(e->name);
    free(e->token);
    free(e->checkpoint);
    free(e->checkpoint_name);
    for (int i = 0; i < EMBEDDING_ENCODERS; i++)
        free(e->values[i]);
    *e = (embedding){0};
}

void embedding_list_fini(embedding_list *list)
{
    for (int i = 0; i < list->count; i++)
        embedding_fini(&list->items[i]);
    free(list->items);
    *list = (embedding_list){0};
}

kiln_status embedding_check(const embedding *e, const char *path, kiln_error *err)
{
    for (int k = 0; k < EMBEDDING_ENCODERS; k++)
        for (int i = 0; i < e->vectors * e->width[k]; i++)
            if (!isfinite(e->values[k][i]))
                return fail(err, KILN_BAD_FORMAT, "%s: the embedding's vector %d holds NaN or infinity", path,
                            i / e->width[k] + 1);
    return KILN_OK;
}

static kiln_status check_shape(const tensor_file *file, const tensor_entry *t, int *vectors, int *width,
                               kiln_error *err)
{
    const shape *s = &t->shape;
    char dims[SHAPE_TEXT];
    if ((s->rank != 1 && s->rank != 2) || !dtype_is_floating(t->type))
        return fail(err, KILN_BAD_FORMAT,
                    "%s: '%s' is %s of %s, where an embedding is [vectors,width] of floats",
                    tensor_file_path(file), t->name, shape_text(*s, dims), dtype_name(t->type));
    int64_t count = s->rank == 2 ? s->dim[0] : 1, wide = s->dim[s->rank - 1];
    if (count < 1 || wide < 1)
        return fail(err, KILN_BAD_FORMAT, "%s: the embedding '%s' is empty, %s", tensor_file_path(file),
                    t->name, shape_text(*s, dims));
    if (count > EMBEDDING_MAX_VECTORS || wide > EMBEDDING_MAX_WIDTH)
        return fail(
            err, KILN_BAD_FORMAT,
            "%s: the embedding '%s' is %s; at most %d vectors stand in a window of a prompt, and no text "
            "encoder is wider than %d",
            tensor_file_path(file), t->name, shape_text(*s, dims), EMBEDDING_MAX_VECTORS,
            EMBEDDING_MAX_WIDTH);
    *vectors = (int)count;
    *width = (int)wide;
    return KILN_OK;
}

static kiln_status read_vectors(const tensor_file *file, const tensor_entry *t, int encoder, embedding *e,
                                kiln_error *err)
{
    int vectors = 0, width = 0;
    kiln_status status = check_shape(file, t, &vectors, &width, err);
    if (status)
        return status;
    if (e->values[encoder])
        return fail(err, KILN_BAD_FORMAT, "%s: '%s' is a second tensor of the same embedding",
                    tensor_file_path(file), t->name);
    if (e->vectors && e->vectors != vectors)
        return fail(err, KILN_BAD_FORMAT, "%s: '%s' has %d vectors, the other text encoder's has %d",
                    tensor_file_path(file), t->name, vectors, e->vectors);
    int64_t count = (int64_t)vectors * width;
    e->values[encoder] = malloc((size_t)count * sizeof(float));
    if (!e->values[encoder])
        return fail(err, KILN_NO_MEMORY, "%s: out of memory for an embedding", tensor_file_path(file));
    e->vectors = vectors;
    e->width[encoder] = width;
    return tensor_file_read_f32(file, t, 0, count, e->values[encoder], err);
}

/* ------------------------------------------------------------------------------------ words */

/* A copy of a text that the file tells; NULL when it does not, or it is nothing. */
static char *told(const tensor_file *file, const char *key)
{
    const char *text = tensor_file_value(file, key);
    return text && *text ? strdup(text) : NULL;
}

static kiln_status name_word(const tensor_file *file, const role *r, embedding *e, kiln_error *err)
{
    bool named = r->kind == ROLE_TOKEN || r->kind == ROLE_BUNDLED;
    e->dialect = r->kind == ROLE_BUNDLED && is(r->dialect, "A1111") ? "A1111 in a LoRA" : r->dialect;
    e->step = -1;
    if (r->kind == ROLE_TOKEN)
        e->token = strndup(r->word, r->length);
    if (r->kind == ROLE_BUNDLED)
        e->name = strndup(r->word, r->length);
    if (named && !e->token && !e->name)
        return fail(err, KILN_NO_MEMORY, "%s: out of memory for an embedding", tensor_file_path(file));
    if (r->kind != ROLE_OWN)
        return KILN_OK;
    const char *step = tensor_file_value(file, "step");
    e->step = step ? strtoll(step, NULL, 10) : -1;
    e->name = told(file, "name");
    e->checkpoint = told(file, "sd_checkpoint");
    e->checkpoint_name = told(file, "sd_checkpoint_name");
    if (is(e->dialect, "A1111") && !e->name && !step)
        e->dialect = "original (textual_inversion)";
    return KILN_OK;
}

static bool same_word(const role *a, const role *b)
{
    return a->kind == b->kind && a->length == b->length && memcmp(a->word, b->word, a->length) == 0;
}

/* Tensor i joins the word that it is of, or begins one. */
static kiln_status add_tensor(const tensor_file *file, size_t i, const role *roles, embedding_list *list,
                              int *word_of, kiln_error *err)
{
    for (size_t k = 0; k < i && word_of[i] < 0; k++)
        if (word_of[k] >= 0 && same_word(&roles[k], &roles[i]))
            word_of[i] = word_of[k];
    kiln_status status = KILN_OK;
    if (word_of[i] < 0) {
        embedding *bigger = realloc(list->items, ((size_t)list->count + 1) * sizeof *bigger);
        if (!bigger)
            return fail(err, KILN_NO_MEMORY, "%s: out of memory for an embedding", tensor_file_path(file));
        list->items = bigger;
        list->items[list->count] = (embedding){0};
        word_of[i] = list->count++;
        status = name_word(file, &roles[i], &list->items[word_of[i]], err);
    }
    if (status)
        return status;
    return read_vectors(file, tensor_file_entry(file, i), roles[i].encoder, &list->items[word_of[i]], err);
}

static kiln_status check_words(const tensor_file *file, bool lora, const embedding_list *list,
                               kiln_error *err)
{
    kiln_status status = KILN_OK;
    const char *path = tensor_file_path(file);
    if (!lora && list->count != 1)
        return fail(err, KILN_BAD_FORMAT, "%s: holds %d embeddings, where a file holds one", path,
                    list->count);
    for (int i = 0; i < list->count && !status; i++) {
        status = list->items[i].width[0]
                     ? embedding_check(&list->items[i], path, err)
                     : fail(err, KILN_BAD_FORMAT, "%s: has vectors for the second text encoder (clip_g) only",
                            path);
    }
    return status;
}

/* ------------------------------------------------------------------------------------ files */

static kiln_status not_one(const tensor_file *file, kiln_error *err)
{
    identity what;
    const char *path = tensor_file_path(file);
    if (tensor_file_count(file) == 0)
        return fail(err, KILN_BAD_FORMAT, "%s: holds no embedding: it has no tensors at all", path);
    identify(file, &what);
    if (what.kind == WEIGHTS_UNKNOWN || what.kind == WEIGHTS_TEXTUAL_INVERSION)
        return fail(err, KILN_BAD_FORMAT,
                    "%s: holds no embedding: its tensors ('%s' is the first of %zu) have the names of none",
                    path, tensor_file_entry(file, 0)->name, tensor_file_count(file));
    return fail(err, KILN_BAD_FORMAT, "%s: holds no embedding: it is a file of kind %s", path,
                weights_kind_text(what.kind));
}

/* diffusers' word needs no brackets: then it is the only tensor, and its name is not one of a layer's. */
static bool is_plain_word(const tensor_file *file, const char *name)
{
    return tensor_file_count(file) == 1 && *name && !strchr(name, '.') && !is(name, "tensor");
}

static kiln_status check_roles(const tensor_file *file, role *roles, bool *lora, kiln_error *err)
{
    int count[ROLE_FOREIGN + 1] = {0};
    for (size_t i = 0; i < tensor_file_count(file); i++) {
        const char *name = tensor_file_entry(file, i)->name;
        roles[i] = role_of(name);
        if (roles[i].kind == ROLE_STRANGE && is_plain_word(file, name))
            roles[i] = (role){ROLE_TOKEN, name, strlen(name), 0, "diffusers"};
        count[roles[i].kind]++;
    }
    if (count[ROLE_FOREIGN])
        return fail(err, KILN_UNSUPPORTED,
                    "%s: is an embedding of Stable Diffusion 3 (t5xxl), which is not supported",
                    tensor_file_path(file));
    *lora = count[ROLE_STRANGE] > 0;
    bool beside = count[ROLE_BUNDLED] > 0 || count[ROLE_TOKEN] > 0;
    if (*lora && beside && !count[ROLE_BUNDLED]) {
        identity what;
        identify(file, &what);
        beside = what.kind == WEIGHTS_LORA;
    }
    *lora |= count[ROLE_BUNDLED] > 0;
    if (*lora ? !beside : !beside && !count[ROLE_OWN])
        return not_one(file, err);
    return KILN_OK;
}

kiln_status embedding_list_read(const tensor_file *file, embedding_list *out, kiln_error *err)
{
    size_t count = tensor_file_count(file);
    bool lora = false;
    *out = (embedding_list){0};
    role *roles = calloc(count + 1, sizeof *roles);
    int *word_of = malloc((count + 1) * sizeof *word_of);
    kiln_status status = roles && word_of ? check_roles(file, roles, &lora, err)
                                          : fail(err, KILN_NO_MEMORY, "%s: out of memory for an embedding",
                                                 tensor_file_path(file));
    for (size_t i = 0; i < count && !status; i++) {
        word_of[i] = -1;
        bool wanted = roles[i].kind == ROLE_BUNDLED || roles[i].kind == ROLE_TOKEN ||
                      (roles[i].kind == ROLE_OWN && !lora);
        if (wanted)
            status = add_tensor(file, i, roles, out, word_of, err);
    }
    if (!status)
        status = check_words(file, lora, out, err);
    free(roles);
    free(word_of);
    if (status)
        embedding_list_fini(out);
    return status;
}
