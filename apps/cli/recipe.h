/* recipe.h - the recipe that a picture carries, for `draw --like` and `verify`. */
#ifndef KILN_CLI_RECIPE_H
#define KILN_CLI_RECIPE_H

#include <kiln/kiln.h>

/* Read the picture and its recipe; the picture is given too when `picture` is not NULL. Complains and returns an exit
 * status when the file cannot be read or carries no recipe. */
int recipe_read(const char *path, kiln_recipe **out, kiln_image **picture);

/* Warn when the drawn picture says that it came from another model than the recipe. */
void recipe_compare_models(const kiln_recipe *, const char *recipe_path, const kiln_image *drawn);

/* "f32" or "bf16" when the recipe says which arithmetic it was drawn in, else NULL. */
const char *recipe_precision(const kiln_recipe *);

/* Whether the recipe began from a picture (img2img), which it does not carry. */
bool recipe_needs_picture(const kiln_recipe *);

/* Whether ControlNets or image prompts took part, whose pictures it does not carry. */
bool recipe_is_steered(const kiln_recipe *);

/* "inpaint", "outpaint" or "redraw" when the picture was made so; NULL: it was drawn. */
const char *recipe_command(const kiln_recipe *);
/* Complain and give an exit status when the recipe is that of another subcommand than `command`; 0 when it is not. */
int recipe_check_command(const kiln_recipe *, const char *path, const char *command);

/* Warn of what the recipe asks for beyond what this version does. */
void recipe_warn_of_rest(const kiln_recipe *, const char *path);

#endif
