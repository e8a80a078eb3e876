/* inspect_folder.c - the facts of a diffusers folder, as weights/probe tells them. */
#include "pipeline/inspect.h"

#include "weights/probe.h"

#include <stdio.h>
#include <string.h>

static void list_parts(const model_parts *parts, bool present, char *text, size_t size)
{
    const unet_config *u = &parts->unet;
    bool pixel = parts->part[PART_UNET].present && !parts->part[PART_VAE].present && u->in_channels == 3 &&
                 u->out_channels == 3;
    /* A denoiser of pixels is whole without a VAE; with words only when it has a text encoder. */
    unsigned wanted = pixel ? 1u << PART_UNET : probe_drawing_parts(parts);
    text[0] = '\0';
    for (int k = 0; k < PART_COUNT; k++) {
        bool there = parts->part[k].present;
        size_t used = strlen(text);
        if (there == present && (there || wanted & 1u << k))
            snprintf(text + used, size - used, "%s%s", used ? ", " : "", part_name((part_kind)k));
    }
}

kiln_status inspect_folder(kiln_inspection *found, const char *path, kiln_error *err)
{
    char present[128], missing[128];
    kiln_status status = probe_open(path, NULL, &found->parts, err);
    if (status)
        return status;
    const model_parts *parts = found->parts;
    list_parts(parts, true, present, sizeof present);
    list_parts(parts, false, missing, sizeof missing);
    bool good = add_fact(found, "kind", "model folder") &&
                add_fact(found, "family", "%s", parts->family_text) &&
                add_fact(found, "prediction", "%s%s", parts->prediction,
                         parts->prediction_assumed ? " (assumed: no scheduler_config.json says)" : "") &&
                add_fact(found, "dialect", "diffusers") && add_fact(found, "parts", "%s", present) &&
                add_fact(found, "missing", "%s", missing) &&
                add_fact(found, "tokenizer", "%s", parts->tokenizer ? "in the folder" : "none in the folder");
    for (int k = 0; k < PART_COUNT && good; k++)
        if (parts->part[k].present) {
            inspected_file *file = &found->files[found->file_count++];
            file->file = parts->part[k].place.file;
            file->place = arena_format(&found->memory, "%s/", part_name((part_kind)k));
            good = file->place != NULL;
        }
    return good ? KILN_OK : fail(err, KILN_NO_MEMORY, "%s: not enough memory to inspect it", path);
}

void inspect_folder_close(kiln_inspection *found)
{
    probe_close(found->parts);
}
