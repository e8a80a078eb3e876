/* assemble.c - a model put together from the parts of two folders: see pipeline_case.h. */
#include "golden/pipeline_case.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const parts[] = {"model_index.json", "scheduler",      "unet",      "vae",
                                    "text_encoder",     "text_encoder_2", "tokenizer", "tokenizer_2"};
enum { PARTS = sizeof parts / sizeof *parts };

/* Links need whole paths. */
static bool link_part(const char *from, const char *part, const char *to)
{
    char target[4200], name[4200], *whole = realpath(from, NULL);
    if (!whole)
        return false;
    snprintf(target, sizeof target, "%.4000s/%s", whole, part);
    snprintf(name, sizeof name, "%.4000s/%s", to, part);
    free(whole);
    return access(target, R_OK) == 0 && symlink(target, name) == 0;
}

bool assemble(assembled *m, const char *folder, const char *other)
{
    *m = (assembled){0};
    if (!other) {
        snprintf(m->path, sizeof m->path, "%s", folder);
        return true;
    }
    strcpy(m->path, "/tmp/kiln-golden-XXXXXX");
    m->temporary = mkdtemp(m->path) != NULL;
    for (int i = 0; m->temporary && i < PARTS; i++)
        if (!link_part(folder, parts[i], m->path))
            (void)link_part(other, parts[i], m->path);
    return m->temporary;
}

void assembled_remove(assembled *m)
{
    char name[4200];
    for (int i = 0; m->temporary && i < PARTS; i++) {
        snprintf(name, sizeof name, "%.4000s/%s", m->path, parts[i]);
        unlink(name);
    }
    if (m->temporary)
        rmdir(m->path);
}
