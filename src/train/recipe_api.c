/* recipe_api.c - recipes in the public interface. What was trained carries its recipe: a file of something taught beside
 * the weights in its metadata, a run's folder and a checkpoint as a text. */
#include "train/training.h"

#include "formats/tensor_file.h"
#include "train/model_folder.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static kiln_status read_from_tensors(recipe *r, const char *path, kiln_error *err)
{
    tensor_file *file;
    kiln_status status = tensor_file_open(path, &file, err);
    if (status)
        return status;
    const char *text = tensor_file_metadata(file, "kiln.recipe");
    if (!text)
        text = tensor_file_value(file, "kiln.recipe"); /* in a .pt */
    status =
        text ? recipe_read_text(r, path, text, strlen(text), err)
             : fail(err, KILN_BAD_FORMAT,
                    "%s: this file does not tell the recipe that it came of (kiln.recipe is missing); files "
                    "that kiln train saves do",
                    path);
    tensor_file_close(file);
    if (!status && !(r->name = arena_text(&r->memory, path)))
        status = fail(err, KILN_NO_MEMORY, "out of memory for a recipe");
    return status;
}

/* A checkpoint, or a run's folder. */
static kiln_status read_from_folder(recipe *r, const char *folder, kiln_error *err)
{
    char path[FOLDER_PATH];
    kiln_status status = folder_path(path, folder, "training_state/recipe.txt", err);
    if (!status && access(path, F_OK) != 0)
        status = folder_path(path, folder, "recipe.txt", err);
    if (status || access(path, F_OK) == 0)
        return status ? status : recipe_read_file(r, path, err);
    return fail(err, KILN_NOT_FOUND,
                "%s: neither a checkpoint nor the folder of a run: it holds no recipe.txt", folder);
}

static kiln_status read_from(recipe *r, const char *path, kiln_error *err)
{
    static const char *const endings[] = {".safetensors", ".pt"};
    struct stat about;
    size_t length = strlen(path);
    if (stat(path, &about) == 0 && S_ISDIR(about.st_mode))
        return read_from_folder(r, path, err);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (length > strlen(endings[i]) && strcmp(path + length - strlen(endings[i]), endings[i]) == 0)
            return read_from_tensors(r, path, err);
    return recipe_read_file(r, path, err);
}

kiln_status kiln_training_recipe_read(const char *path, kiln_training_recipe **out, kiln_error *err)
{
    kiln_training_recipe *r = *out = calloc(1, sizeof *r);
    if (!r)
        return fail(err, KILN_NO_MEMORY, "out of memory for a recipe");
    kiln_status status = recipe_init(&r->recipe, err);
    if (!status && path)
        status = read_from(&r->recipe, path, err);
    if (status) {
        kiln_training_recipe_free(r);
        *out = NULL;
    }
    return status;
}

void kiln_training_recipe_free(kiln_training_recipe *r)
{
    if (r)
        recipe_fini(&r->recipe);
    free(r);
}

kiln_status kiln_training_recipe_set(kiln_training_recipe *r, const char *key, const char *text,
                                     kiln_error *err)
{
    const char *file = r->recipe.name; /* which has nothing to do with this value */
    r->recipe.name = NULL;
    kiln_status status = recipe_set(&r->recipe, key, text, err);
    r->recipe.name = file;
    return status;
}

kiln_status kiln_training_recipe_text(const kiln_training_recipe *r, char **text, kiln_error *err)
{
    *text = recipe_text_of(&r->recipe);
    return *text ? KILN_OK : fail(err, KILN_NO_MEMORY, "out of memory for a recipe");
}

bool kiln_training_key_at(int i, kiln_training_key *out)
{
    const recipe_key *key = recipe_key_at(i);
    if (key)
        *out = (kiln_training_key){key->name, key->standard, key->choices, key->heading, key->help};
    return key != NULL;
}
