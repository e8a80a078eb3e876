/* infotext.c - recipes in memory, and recipe to text. See infotext.h. */
#include "image/infotext.h"

#include <stdlib.h>
#include <string.h>

static char *copy_text(const char *text)
{
    byte_buffer copy = {0};
    byte_buffer_add_text(&copy, text ? text : "");
    return byte_buffer_take_text(&copy);
}

infotext *infotext_new(const char *prompt, const char *negative)
{
    infotext *info = calloc(1, sizeof *info);
    if (!info)
        return NULL;
    info->prompt = copy_text(prompt);
    info->negative = copy_text(negative);
    if (info->prompt && info->negative)
        return info;
    infotext_free(info);
    return NULL;
}

void infotext_free(infotext *info)
{
    if (!info)
        return;
    for (size_t i = 0; i < info->count; i++) {
        free(info->fields[i].key);
        free(info->fields[i].value);
    }
    free(info->fields);
    free(info->prompt);
    free(info->negative);
    free(info);
}

const char *infotext_get(const infotext *info, const char *key)
{
    for (size_t i = info->count; i-- > 0;)
        if (strcmp(info->fields[i].key, key) == 0)
            return info->fields[i].value;
    return NULL;
}

/* A1111's order. What is not named here stands between the two parts, in the order in which it was set. */
static const char *const first_keys[] = {
    "Steps",
    "Sampler",
    "Schedule type",
    "CFG scale",
    "Image CFG scale",
    "Seed",
    "Face restoration",
    "Size",
    "Model hash",
    "Model",
    "FP8 weight",
    "Cache FP16 weight for LoRA",
    "VAE hash",
    "VAE",
    "Variation seed",
    "Variation seed strength",
    "Seed resize from",
    "Denoising strength",
    "Conditional mask weight",
    "Clip skip",
    "ENSD",
    "Token merging ratio",
    "Token merging ratio hr",
    "Init image hash",
    "RNG",
    "Tiling",
};
static const char *const last_keys[] = {"Version", "User"};

static size_t rank_of(const char *key)
{
    size_t first = sizeof first_keys / sizeof *first_keys;
    for (size_t i = 0; i < first; i++)
        if (strcmp(key, first_keys[i]) == 0)
            return i;
    for (size_t i = 0; i < sizeof last_keys / sizeof *last_keys; i++)
        if (strcmp(key, last_keys[i]) == 0)
            return first + 1 + i;
    return first;
}

/* Insertion sort: stable, and the fields are few. */
void infotext_sort(infotext *info)
{
    for (size_t i = 1; i < info->count; i++) {
        infotext_field field = info->fields[i];
        size_t rank = rank_of(field.key), at = i;
        for (; at > 0 && rank_of(info->fields[at - 1].key) > rank; at--)
            info->fields[at] = info->fields[at - 1];
        info->fields[at] = field;
    }
}

static void start_line(byte_buffer *to)
{
    if (to->size > 0)
        byte_buffer_add_text(to, "\n");
}

char *infotext_build(const infotext *info)
{
    byte_buffer text = {0};
    byte_buffer_add_text(&text, info->prompt);
    if (*info->negative) {
        start_line(&text);
        byte_buffer_add_text(&text, "Negative prompt: ");
        byte_buffer_add_text(&text, info->negative);
    }
    for (size_t i = 0; i < info->count; i++) {
        if (i == 0)
            start_line(&text);
        else
            byte_buffer_add_text(&text, ", ");
        byte_buffer_add_text(&text, info->fields[i].key);
        byte_buffer_add_text(&text, ": ");
        infotext_quote(&text, info->fields[i].value);
    }
    return byte_buffer_take_text(&text);
}

char *infotext_full_prompt(const infotext *info)
{
    byte_buffer text = {0};
    const char *name = infotext_get(info, "Hypernet"), *strength = infotext_get(info, "Hypernet strength");
    byte_buffer_add_text(&text, info->prompt);
    if (name) {
        byte_buffer_add_text(&text, "<hypernet:");
        byte_buffer_add_text(&text, name);
        byte_buffer_add_text(&text, ":");
        byte_buffer_add_text(&text, strength ? strength : "1.0");
        byte_buffer_add_text(&text, ">");
    }
    return byte_buffer_take_text(&text);
}
