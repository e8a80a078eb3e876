/* recipe.c - see recipe.h. */
#include "recipe.h"

#include "message.h"

#include <string.h>

int recipe_read(const char *path, kiln_recipe **out, kiln_image **picture)
{
    kiln_error err = {0};
    kiln_image *image = NULL;
    *out = NULL;
    if (picture)
        *picture = NULL;
    if (kiln_image_read(path, &image, &err) != KILN_OK)
        return complain_error(&err);
    const char *text = kiln_image_text(image, "parameters");
    if (!text) {
        complain("%s: carries no recipe (no \"parameters\" text)", path);
        kiln_image_free(image);
        return EXIT_FAILED;
    }
    if (kiln_recipe_read(text, out, &err) != KILN_OK) {
        complain("%s: %s", path, err.text);
        kiln_image_free(image);
        return EXIT_FAILED;
    }
    if (picture)
        *picture = image;
    else
        kiln_image_free(image);
    return EXIT_OK;
}

void recipe_compare_models(const kiln_recipe *recipe, const char *recipe_path, const kiln_image *drawn)
{
    const char *text = kiln_image_text(drawn, "parameters");
    kiln_recipe *own = NULL;
    if (!text || kiln_recipe_read(text, &own, NULL) != KILN_OK)
        return;
    const char *before = kiln_recipe_field(recipe, "Model hash"), *now = kiln_recipe_field(own, "Model hash");
    if (before && now && strcmp(before, now) != 0)
        warn("%s was drawn with the model of hash %s, and this one has %s: another picture comes of it",
             recipe_path, before, now);
    kiln_recipe_free(own);
}

const char *recipe_precision(const kiln_recipe *recipe)
{
    const char *written = kiln_recipe_field(recipe, "Precision");
    return written && (strcmp(written, "f32") == 0 || strcmp(written, "bf16") == 0) ? written : NULL;
}

/* A1111's second, larger pass is recorded by any of these; it has a strength as well. */
static bool has_second_pass(const kiln_recipe *recipe)
{
    static const char *const fields[] = {"Hires upscale", "Hires resize", "Hires upscaler",
                                         "First pass size"};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (kiln_recipe_field(recipe, fields[i]))
            return true;
    return false;
}

bool recipe_needs_picture(const kiln_recipe *recipe)
{
    return kiln_recipe_field(recipe, "Denoising strength") && !has_second_pass(recipe);
}

bool recipe_is_steered(const kiln_recipe *recipe)
{
    return kiln_recipe_field(recipe, "ControlNet 0") || kiln_recipe_field(recipe, "Image prompt 0") ||
           kiln_recipe_field(recipe, "Image variation");
}

const char *recipe_command(const kiln_recipe *recipe)
{
    if (kiln_recipe_field(recipe, "Outpaint fill"))
        return "outpaint";
    if (kiln_recipe_field(recipe, "SD upscale size"))
        return "redraw";
    bool masked = kiln_recipe_field(recipe, "Inpaint area") || kiln_recipe_field(recipe, "Mask blur");
    return masked ? "inpaint" : NULL;
}

int recipe_check_command(const kiln_recipe *recipe, const char *path, const char *command)
{
    const char *own = recipe_command(recipe);
    if (!own || strcmp(own, command) == 0)
        return EXIT_OK;
    return complain_usage(
        "%s was made by 'kiln %s' from another picture: 'kiln %s PICTURE --like %s' repeats it", path, own,
        own, path);
}

void recipe_warn_of_rest(const kiln_recipe *recipe, const char *path)
{
    if (kiln_recipe_field(recipe, "First pass size"))
        warn("%s had a second pass as old versions recorded it, which is not drawn", path);
    if (kiln_recipe_field(recipe, "Face restoration"))
        warn("%s had its faces restored afterwards, which is not done in this version", path);
}
