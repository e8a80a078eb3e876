/* prompts.c - see prompts.h. */
#include "emoji/prompts.h"

#include "emoji/describe.h"
#include "emoji/text_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t prompt_seed = 20240601;

void prompts_names(const glyph_set *set, int count, prompt *out)
{
    for (int i = 0; i < count; i++) {
        int g = (int)(((int64_t)2 * i + 1) * set->count / (2 * (int64_t)count));
        out[i].what =
            (scene){.kind = SCENE_PLAIN, .layout = LAYOUT_CENTRE, .background = NO_BACKGROUND, .count = 1};
        out[i].what.objects[0] = (scene_object){.glyph = g, .tint = NO_TINT, .size = SIZE_NORMAL};
        scene_arrange(&out[i].what);
        caption_write_plain(set, &out[i].what, out[i].text);
    }
}

void prompts_composed(const glyph_set *set, int count, prompt *out)
{
    scene_rules rules = scene_defaults();
    rules.split = SPLIT_COMPOSED;
    rules.jitter = 0;
    int64_t number = 0;
    for (int i = 0; i < count;) {
        random_source r = random_start(prompt_seed, (uint64_t)number);
        int main = scene_main_glyph(set, &rules, prompt_seed, number++);
        scene_compose(set, &rules, main, &r, &out[i].what);
        if (out[i].what.kind != SCENE_PAIR)
            continue;
        caption_write_plain(set, &out[i].what, out[i].text);
        i++;
    }
}

kiln_status prompts_write(const glyph_set *set, const prompt *list, int count, const char *path,
                          kiln_error *err)
{
    FILE *file = fopen(path, "wb");
    if (!file)
        return fail_system(err, "%s", path);
    bool ok = true;
    for (int i = 0; ok && i < count; i++) {
        char *line = describe_scene(set, &list[i].what, NULL, (const char *const[]){list[i].text}, 1);
        ok = line && fprintf(file, "%s\n", line) > 0;
        free(line);
    }
    if (fclose(file) != 0 || !ok)
        return fail(err, KILN_IO, "%s could not be written", path);
    return KILN_OK;
}
