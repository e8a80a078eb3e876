/* pull_listing.c - see pull_listing.h. */
#include "pipeline/pull_listing.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FILES = 100000, MAX_PATH = 1000, MAX_PART = 200 };

/* ------------------------------------------------------------------------------ reading */

bool hub_path_is_safe(const char *path)
{
    size_t length = strlen(path);
    if (length == 0 || length > MAX_PATH)
        return false;
    for (const char *p = path; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7F || *p == '\\')
            return false;
    for (const char *part = path;;) {
        size_t n = strcspn(part, "/");
        bool dots = (n == 1 && part[0] == '.') || (n == 2 && part[0] == '.' && part[1] == '.');
        if (n == 0 || n > MAX_PART || dots)
            return false;
        if (!part[n])
            return true;
        part += n + 1;
    }
}

static bool is_hex(const char *text, size_t digits)
{
    return text && strlen(text) == digits && strspn(text, "0123456789abcdef") == digits;
}

static kiln_status read_entry(const json_t *entry, hub_file *file, kiln_error *err)
{
    const char *path = json_string_value(json_object_get(entry, "path"));
    const json_t *lfs = json_object_get(entry, "lfs"), *size = json_object_get(lfs, "size");
    if (!json_is_integer(size))
        size = json_object_get(entry, "size");
    if (!path || !json_is_integer(size) || json_integer_value(size) < 0)
        return fail(err, KILN_BAD_FORMAT, "the hub's list of files has an entry without a path or a size");
    if (!hub_path_is_safe(path))
        return fail(err, KILN_BAD_FORMAT, "the hub's list names the file '%s', which is not a safe name",
                    path);
    const char *sha256 = json_string_value(json_object_get(lfs, "oid"));
    const char *sha1 = json_string_value(json_object_get(entry, "oid"));
    file->size = json_integer_value(size);
    if (sha256 && strncmp(sha256, "sha256:", 7) == 0)
        sha256 += 7;
    if (lfs && !json_is_null(lfs)) {
        if (!is_hex(sha256, 64))
            return fail(err, KILN_BAD_FORMAT, "the hub's list gives no sha256 for '%s'", path);
        memcpy(file->sha256, sha256, 65);
    } else if (is_hex(sha1, 40)) {
        memcpy(file->git_sha1, sha1, 41);
    }
    file->path = strdup(path);
    return file->path ? KILN_OK : fail(err, KILN_NO_MEMORY, "no memory for the hub's list of files");
}

static kiln_status add_entries(hub_listing *listing, const json_t *array, kiln_error *err)
{
    size_t more = json_array_size(array);
    if (more > MAX_FILES || listing->count > MAX_FILES - more)
        return fail(err, KILN_UNSUPPORTED, "the hub's list has more than %d files", MAX_FILES);
    hub_file *files = realloc(listing->files, (listing->count + more + 1) * sizeof *files);
    if (!files)
        return fail(err, KILN_NO_MEMORY, "no memory for the hub's list of %zu files", listing->count + more);
    listing->files = files;
    for (size_t i = 0; i < more; i++) {
        const json_t *entry = json_array_get(array, i);
        const char *type = json_string_value(json_object_get(entry, "type"));
        if (type && strcmp(type, "file") != 0)
            continue;
        hub_file file = {0};
        kiln_status status = read_entry(entry, &file, err);
        if (status != KILN_OK)
            return status;
        listing->files[listing->count++] = file;
    }
    return KILN_OK;
}

kiln_status hub_listing_add(hub_listing *listing, const char *json, size_t size, kiln_error *err)
{
    json_error_t where;
    json_t *root = json_loadb(json, size, 0, &where);
    if (!root)
        return fail(err, KILN_BAD_FORMAT, "the hub's list of files is not JSON: %s at line %d", where.text,
                    where.line);
    kiln_status status =
        json_is_array(root)
            ? add_entries(listing, root, err)
            : fail(err, KILN_BAD_FORMAT, "the hub's list of files is not a list: this may be no hub");
    json_decref(root);
    return status;
}

void hub_listing_fini(hub_listing *listing)
{
    for (size_t i = 0; i < listing->count; i++)
        free(listing->files[i].path);
    free(listing->files);
    *listing = (hub_listing){0};
}

/* ------------------------------------------------------------------------------ choosing */

/* The folders that a model is opened from. What else a repository holds (the safety checker, say) is not used. */
static const char *const components[] = {
    "unet",        "vae",       "text_encoder",  "text_encoder_2",    "transformer",      "tokenizer",
    "tokenizer_2", "scheduler", "image_encoder", "feature_extractor", "image_normalizer",
};
/* A repository that is one part (a ControlNet, a CLIP model) holds its files at the top. */
static const char top[] = "";

/* A weights file's name in its parts: "model.fp16-00001-of-00002.safetensors". */
typedef struct weights_name {
    char variant[64];
    bool safetensors, sharded, index;
} weights_name;

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* Skip "-00001-of-00002" at *p. */
static bool skip_shard(const char **p)
{
    const char *s = *p;
    for (int i = 0; i < 15; i++) {
        static const char form[] = "-#####-of-#####";
        bool digit = s[i] >= '0' && s[i] <= '9';
        if (form[i] == '#' ? !digit : s[i] != form[i])
            return false;
    }
    *p += 15;
    return true;
}

/* Take ".variant" at *p, unless what follows the dot is the kind of file. */
static void take_variant(const char **p, weights_name *out)
{
    if (**p != '.')
        return;
    const char *s = *p + 1;
    size_t n = strcspn(s, ".-");
    if (starts_with(s, "safetensors") || starts_with(s, "bin") || starts_with(s, "json") ||
        starts_with(s, "index") || n == 0 || n >= sizeof out->variant)
        return;
    memcpy(out->variant, s, n);
    out->variant[n] = '\0';
    *p = s + n;
}

/* Read a name in a component's folder as weights, or as the index of sharded weights. */
static bool weights_name_read(const char *name, weights_name *out)
{
    static const char *const stems[] = {"diffusion_pytorch_model", "pytorch_model", "model"};
    *out = (weights_name){0};
    const char *p = NULL;
    for (size_t i = 0; !p && i < sizeof stems / sizeof *stems; i++)
        if (starts_with(name, stems[i]))
            p = name + strlen(stems[i]);
    if (!p)
        return false;
    take_variant(&p, out);
    out->sharded = skip_shard(&p);
    take_variant(&p, out);
    out->safetensors = starts_with(p, ".safetensors");
    if (!out->safetensors && !starts_with(p, ".bin"))
        return false;
    p += out->safetensors ? strlen(".safetensors") : strlen(".bin");
    if (starts_with(p, ".index")) {
        out->index = true;
        p += strlen(".index");
        take_variant(&p, out);
        return strcmp(p, ".json") == 0;
    }
    return *p == '\0';
}

/* The name inside the component's folder when the file lies directly in it, else NULL. */
static const char *name_in(const hub_file *file, const char *component)
{
    size_t n = strlen(component);
    if (n == 0)
        return strchr(file->path, '/') ? NULL : file->path;
    if (strncmp(file->path, component, n) != 0 || file->path[n] != '/' || strchr(file->path + n + 1, '/'))
        return NULL;
    return file->path + n + 1;
}

/* Smaller is preferred. */
static int rank_of(const weights_name *w, const char *variant)
{
    int rank = w->safetensors ? 0 : 100;
    if (variant && strcmp(w->variant, variant) == 0)
        rank += 0;
    else if (!w->variant[0])
        rank += 10;
    else
        rank += strcmp(w->variant, "fp16") == 0 ? 20 : 30;
    return rank + (w->sharded ? 1 : 0);
}

static bool same_group(const weights_name *a, const weights_name *b)
{
    return strcmp(a->variant, b->variant) == 0 && a->safetensors == b->safetensors &&
           a->sharded == b->sharded;
}

static void choose_weights(hub_listing *listing, const char *component, const char *variant)
{
    weights_name best = {0}, w;
    int best_rank = 1000;
    for (size_t i = 0; i < listing->count; i++) {
        const char *name = name_in(&listing->files[i], component);
        if (name && weights_name_read(name, &w) && !w.index && rank_of(&w, variant) < best_rank) {
            best_rank = rank_of(&w, variant);
            best = w;
        }
    }
    for (size_t i = 0; best_rank < 1000 && i < listing->count; i++) {
        const char *name = name_in(&listing->files[i], component);
        if (!name || !weights_name_read(name, &w))
            continue;
        w.sharded = w.sharded || w.index;
        if (same_group(&w, &best))
            listing->files[i].chosen = true;
    }
}

/* Configurations and tokenizer data. */
static bool is_data(const char *name)
{
    weights_name w;
    if (weights_name_read(name, &w))
        return false;
    return ends_with(name, ".json") || ends_with(name, ".txt") || ends_with(name, ".model");
}

static kiln_status choose_only(hub_listing *listing, const char *only, kiln_error *err)
{
    for (size_t i = 0; i < listing->count; i++)
        listing->files[i].chosen = strcmp(listing->files[i].path, only) == 0;
    for (size_t i = 0; i < listing->count; i++)
        if (listing->files[i].chosen)
            return KILN_OK;
    return fail(err, KILN_NOT_FOUND, "there is no file '%s' in the repository", only);
}

static void choose_component(hub_listing *listing, const char *component, const char *variant)
{
    choose_weights(listing, component, variant);
    for (size_t i = 0; i < listing->count; i++) {
        const char *name = name_in(&listing->files[i], component);
        if (name && is_data(name))
            listing->files[i].chosen = true;
    }
}

/* The files at the top, if weights are among them. */
static bool choose_part(hub_listing *listing, const char *variant)
{
    weights_name w;
    bool weights = false;
    choose_component(listing, top, variant);
    for (size_t i = 0; i < listing->count; i++)
        weights = weights || (listing->files[i].chosen && weights_name_read(listing->files[i].path, &w));
    for (size_t i = 0; !weights && i < listing->count; i++)
        listing->files[i].chosen = false;
    return weights;
}

kiln_status hub_listing_choose(hub_listing *listing, const char *only, const char *variant, kiln_error *err)
{
    if (only)
        return choose_only(listing, only, err);
    bool pipeline = false, part = false;
    const char *checkpoint = NULL;
    for (size_t i = 0; i < listing->count; i++) {
        hub_file *file = &listing->files[i];
        file->chosen = strcmp(file->path, "model_index.json") == 0;
        pipeline = pipeline || file->chosen;
        part = part || strcmp(file->path, "config.json") == 0;
        if (!strchr(file->path, '/') &&
            (ends_with(file->path, ".safetensors") || ends_with(file->path, ".ckpt")))
            checkpoint = file->path;
    }
    if (!pipeline && part && choose_part(listing, variant))
        return KILN_OK;
    if (!pipeline && checkpoint)
        return fail(err, KILN_NOT_FOUND,
                    "the repository has no model_index.json, so it is no pipeline: ask for one file of it, "
                    "such as '%s'",
                    checkpoint);
    if (!pipeline)
        return fail(err, KILN_NOT_FOUND, "the repository has no model_index.json, so it is no pipeline");
    for (size_t c = 0; c < sizeof components / sizeof *components; c++)
        choose_component(listing, components[c], variant);
    return KILN_OK;
}
