/* probe_hints.c - the hints file: what shapes do not tell. See probe.h for the fields. */
#include "weights/probe_parts.h"

#include "model/config.h"
#include "weights/small_file.h"

#include <string.h>

/* "models/sd1-single.ckpt" -> "sd1-single". */
static const char *stem_of(const char *path, arena *memory)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *dot = strrchr(name, '.');
    return arena_text_part(memory, name, dot && dot > name ? (size_t)(dot - name) : strlen(name));
}

/* A text that is one of `words`, or NULL: hints may hold remarks, too. */
static const char *one_of(config_reader *r, const char *field, const char *const *words)
{
    const json_t *found = config_get(r, field);
    const char *text = found ? json_string_value(found) : NULL;
    for (; text && *words; words++)
        if (strcmp(text, *words) == 0)
            return *words;
    return NULL;
}

static void read_fields(config_reader *r, model_hints *h)
{
    static const char *const activations[] = {"quick_gelu", "gelu", NULL};
    static const char *const predictions[] = {"epsilon", "v_prediction", "sample", NULL};
    static const char *const short_prediction[] = {"v", NULL};
    h->unet.heads = config_int(r, "heads", 0, 0, 1024);
    h->unet.head_channels = config_int(r, "head_channels", 0, 0, 4096);
    h->unet.groups = config_int(r, "groups", 0, 0, 4096);
    h->unet.added_time_channels = config_int(r, "time_ids_embed_dim", 0, 0, 65536);
    h->text_heads = config_int(r, "text_heads", config_int(r, "text1_heads", 0, 0, 1024), 0, 1024);
    h->text_2_heads = config_int(r, "text2_heads", 0, 0, 1024);
    h->vae_groups = config_int(r, "vae_groups", 0, 0, 4096);
    h->vae_scaling = (float)config_real(r, "vae_scaling", 0.0, 0.0, 1e6);
    h->vision_heads = config_int(r, "vision_heads", 0, 0, 1024);
    h->activation = one_of(r, "text_activation", activations);
    h->vision_activation = one_of(r, "vision_activation", activations);
    h->prediction = one_of(r, "prediction", predictions);
    if (!h->prediction && one_of(r, "prediction", short_prediction))
        h->prediction = "v_prediction";
}

kiln_status hints_read(const char *path, const char *model_path, arena *memory, model_hints *out,
                       kiln_error *err)
{
    *out = (model_hints){0};
    if (!path)
        return KILN_OK;
    const char *text, *stem = stem_of(model_path, memory);
    size_t length;
    kiln_status status = small_file_read(path, memory, &text, &length, err);
    if (status)
        return status;
    if (!stem)
        return fail(err, KILN_NO_MEMORY, "%s: not enough memory to read it", path);
    kiln_error own;
    config_reader reader;
    config_open(&reader, text, length, path, err ? err : &own);
    if (!reader.status) {
        json_t *nested = json_object_get(reader.root, stem);
        if (json_is_object(nested))
            reader.root = nested;
        read_fields(&reader, out);
    }
    return config_close(&reader);
}
