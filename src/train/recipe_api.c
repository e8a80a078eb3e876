/* recipe_api.c - recipes in the public interface. */
#include "train/training.h"

#include <stdlib.h>

kiln_status kiln_training_recipe_read(const char *path, kiln_training_recipe **out, kiln_error *err)
{
    kiln_training_recipe *r = *out = calloc(1, sizeof *r);
    if (!r)
        return fail(err, KILN_NO_MEMORY, "out of memory for a recipe");
    kiln_status status = recipe_init(&r->recipe, err);
    if (!status && path)
        status = recipe_read_file(&r->recipe, path, err);
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
