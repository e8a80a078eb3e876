/* lora_options.c - see lora_options.h. */
#include "lora_options.h"

#include "message.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Take ":0.8" off the end of a text; false where its last part is no number. */
static bool take_number(char *text, double *out)
{
    char *colon = strrchr(text, ':'), *end = NULL;
    double v = colon ? strtod(colon + 1, &end) : 0;
    if (!colon || end == colon + 1 || *end || !isfinite(v))
        return false;
    *out = v;
    *colon = '\0';
    return true;
}

int lora_inputs_read(const option_list *list, lora_inputs *out)
{
    for (int i = 0; i < list->count; i++) {
        char *path = strdup(list->items[i]);
        if (!path) {
            complain("not enough memory");
            return EXIT_FAILED;
        }
        out->paths[out->count] = path;
        kiln_lora *l = &out->loras[out->count++];
        double last = 1, first;
        bool one = take_number(path, &last);
        first = last;
        if (one)
            (void)take_number(path, &first);
        *l = (kiln_lora){path, first, last};
        if (!*path)
            return complain_usage("--lora '%s' names no file", list->items[i]);
    }
    return EXIT_OK;
}

void lora_inputs_close(lora_inputs *l)
{
    for (int i = 0; i < l->count; i++)
        free(l->paths[i]);
    l->count = 0;
}

void lora_inputs_give(const lora_inputs *l, kiln_draw_options *o)
{
    o->loras = l->loras;
    o->lora_count = l->count;
}
