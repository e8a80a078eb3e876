/* recipe_prior.c - whether the keys of dreambooth fit together (Ruiz et al. 2023).
 *
 * Dreambooth is no objective of its own: captions with a rare word, class pictures beside the few of the subject, and a
 * measure. Its keys therefore work with whatever trains a denoiser from words, and method = dreambooth is text_to_image
 * that insists on instance_prompt. */
#include "train/recipe.h"

#include <string.h>

static kiln_status conflict(const recipe *r, kiln_error *err, const char *sentence)
{
    return fail(err, KILN_BAD_ARGUMENT, "%s: %s", r->name ? r->name : "the recipe", sentence);
}

bool recipe_pairs(const recipe *r)
{
    return r->with_prior_preservation && r->prior_loss_weight > 0;
}

static kiln_status check_class(const recipe *r, kiln_error *err)
{
    if (strcmp(r->method, "vae") == 0 || strcmp(r->method, "upscaler") == 0 ||
        (strcmp(r->method, "pixel") == 0 && !r->conditional))
        return conflict(r, err, "with_prior_preservation is for methods that learn from words");
    if (!r->class_prompt[0] && !r->class_data_dir[0] && !r->reg_data_dir[0])
        return conflict(
            r, err,
            "with_prior_preservation needs class_prompt (the class in words, such as 'a photo of a "
            "dog'), or class_data_dir with pictures that have captions");
    if (r->class_data_dir[0] && r->reg_data_dir[0])
        return conflict(r, err, "class_data_dir and reg_data_dir are both given: one of them is enough");
    const char *folder = r->class_data_dir[0] ? r->class_data_dir : r->reg_data_dir;
    if (strcmp(folder, r->train_data_dir) == 0)
        return conflict(r, err,
                        "class_data_dir is train_data_dir: class pictures need a folder of their own");
    if (folder[0] && strcmp(folder, r->class_validation_data_dir) == 0)
        return conflict(
            r, err, "class_data_dir is class_validation_data_dir: what is trained on tells nothing there");
    return KILN_OK;
}

kiln_status recipe_check_prior(recipe *r, kiln_error *err)
{
    if (strcmp(r->method, "dreambooth") == 0) {
        if (!r->instance_prompt[0])
            return conflict(r, err,
                            "method dreambooth needs instance_prompt: a rare word and the class, such as 'a "
                            "photo of sks dog'");
        r->method = "text_to_image";
    }
    if (r->instance_prompt[0] && strcmp(r->instance_prompt, r->class_prompt) == 0)
        return conflict(
            r, err,
            "instance_prompt and class_prompt are the same: a rare word in instance_prompt ('a photo "
            "of sks dog') is what tells the subject from its class");
    return r->with_prior_preservation ? check_class(r, err) : KILN_OK;
}
