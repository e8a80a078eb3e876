/* leftovers.c - see leftovers.h. Everything in a run's folder is written under another name and then renamed; these are
 * the other names:
 *
 *     initial.unfinished, checkpoints/.unfinished      a model folder being filled
 *     checkpoints/step-00001000.replaced               a checkpoint that gives way to a new one of its step
 *     checkpoints/.removed                             one that is being deleted
 *     checkpoints/.latest, .best                       links
 *     loss.csv.tmp, picture-sizes.tmp, picture-hashes.tmp
 *     ink.safetensors.Ab12Cd, ink.pt.Ab12Cd            what is taught beside the weights
 *     .kiln-4711-0.part, samples/.kiln-4711-0.part     pictures */
#include "train/leftovers.h"

#include "train/model_folder.h"

#include <dirent.h>
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *const in_run[] = {"initial.unfinished", "loss.csv.tmp", "picture-sizes.tmp",
                                     "picture-hashes.tmp", ".kiln-*.part",
                                     /* of what is taught */
                                     "*.safetensors.??????", "*.pt.??????", NULL};
static const char *const in_samples[] = {".kiln-*.part", NULL};
static const char *const in_checkpoints[] = {".unfinished", ".removed",        ".latest",
                                             ".best",       "step-*.replaced", NULL};

/* Back to its name when nothing came in its place: it is as good as it was. */
static bool put_back(const char *path)
{
    static const char ending[] = ".replaced";
    char name[FOLDER_PATH];
    size_t length = strlen(path), without = length - strlen(ending);
    if (length <= strlen(ending) || strcmp(path + without, ending) != 0)
        return false;
    snprintf(name, sizeof name, "%.*s", (int)without, path);
    return access(name, F_OK) != 0 && rename(path, name) == 0;
}

static void remove_fitting(const char *folder, const char *const *patterns)
{
    char path[FOLDER_PATH];
    kiln_error err;
    DIR *d = opendir(folder);
    for (const struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d))
        for (int i = 0; patterns[i]; i++)
            if (fnmatch(patterns[i], e->d_name, 0) == 0 && !folder_path(path, folder, e->d_name, &err) &&
                !put_back(path))
                folder_remove(path);
    if (d)
        closedir(d);
}

void leftovers_remove(const char *folder)
{
    char path[FOLDER_PATH];
    kiln_error err;
    remove_fitting(folder, in_run);
    if (!folder_path(path, folder, "samples", &err))
        remove_fitting(path, in_samples);
    if (!folder_path(path, folder, "checkpoints", &err))
        remove_fitting(path, in_checkpoints);
}
