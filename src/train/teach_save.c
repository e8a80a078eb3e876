/* teach_save.c - the file of what was taught, with all that it takes to know where it came from and to repeat it. */
#include "train/training.h"

#include "train/model_folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Figures of at most so many steps, evenly chosen: a header is no log. */
enum { CURVE_POINTS = 1000 };

/* The last part of a path, without an ending that is a file's. */
static void name_of(const char *path, char *out, size_t size)
{
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/')
        end--;
    size_t start = end;
    while (start > 0 && path[start - 1] != '/')
        start--;
    snprintf(out, size, "%.*s", (int)(end - start), path + start);
}

/* "step,loss" lines. free(); NULL: no memory. */
static char *loss_curve(const kiln_training *t)
{
    char *text = NULL;
    size_t size = 0, rows = t->journal ? journal_rows(t->journal) : 0;
    FILE *to = open_memstream(&text, &size);
    if (!to)
        return NULL;
    fprintf(to, "step,loss\n");
    size_t stride = (rows + CURVE_POINTS - 1) / CURVE_POINTS;
    for (size_t i = 0; i < rows; i++)
        if (i % (stride ? stride : 1) == 0 || i + 1 == rows) {
            const journal_row *r = journal_row_at(t->journal, i);
            fprintf(to, "%lld,%.7g\n", (long long)r->step, r->loss);
        }
    if (fclose(to) == 0)
        return text;
    free(text);
    return NULL;
}

static kiln_status write_artefact(const kiln_training *t, const teach_artefact *plain, const char *folder,
                                  kiln_error *err)
{
    char step[32], file[300], path[FOLDER_PATH];
    char *text = recipe_text_of(&t->recipe), *curve = loss_curve(t);
    snprintf(step, sizeof step, "%lld", (long long)t->step);
    const char *const metadata[][2] = {{"kiln.version", kiln_version()},
                                       {"kiln.method", t->recipe.method},
                                       {"kiln.base", plain->base_name},
                                       {"kiln.base_hash", t->base_hash},
                                       {"kiln.data_hash", dataset_hash(t->data)},
                                       {"kiln.step", step},
                                       {"kiln.recipe", text},
                                       {"kiln.loss", curve}};
    teach_artefact a = *plain;
    a.metadata = metadata;
    a.metadata_count = (int)(sizeof metadata / sizeof *metadata);
    const char *ending = t->teach->kind->ending;
    bool pt = strcmp(t->recipe.save_model_as, "pt") == 0;
    kiln_status status = text && curve ? KILN_OK : fail(err, KILN_NO_MEMORY, "out of memory for a file");
    if (!status && snprintf(file, sizeof file, "%s%s", a.name,
                            ending ? ending
                            : pt   ? ".pt"
                                   : ".safetensors") >= (int)sizeof file)
        status = fail(err, KILN_BAD_ARGUMENT, "output_name is too long");
    if (!status)
        status = folder_path(path, folder, file, err);
    if (!status)
        status = t->teach->kind->save(t->teach->self, &a, path, err);
    free(text);
    free(curve);
    return status;
}

kiln_status training_save_taught(const kiln_training *t, const char *folder, kiln_error *err)
{
    char name[256], base[256];
    name_of(t->recipe.output_name[0] ? t->recipe.output_name : t->folder, name, sizeof name);
    name_of(t->recipe.base, base, sizeof base);
    const teach_artefact a = {.name = name,
                              .step = t->step,
                              .base_name = base,
                              .base_hash = t->base_hash,
                              .parameters = t->parameters,
                              .values = t->average ? t->average : t->parameters->values};
    return write_artefact(t, &a, folder, err);
}
