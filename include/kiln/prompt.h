/* prompt.h - prompts as templates: styles, wildcards and variants, which become one text for each picture.
 *
 *     kiln_templates t = {.wildcards = "wildcards"};
 *     options.templates = &t;                         every picture of the batch has its own choice, by its seed
 *     options.prompt = "a __colour__ fox";
 *
 * What is drawn, and recorded as the prompt in the picture, is the text that the template became; the template is recorded
 * beside it ("Wildcard prompt"). kiln_fill_templates gives the same text without a drawing. */
#ifndef KILN_PROMPT_H
#define KILN_PROMPT_H

#include <kiln/kiln.h>

#ifdef __cplusplus
extern "C" {
#endif

/* In this order: styles are put around or behind the prompts, then wildcards and variants are replaced. Zeros: prompts are
 * what they are. */
typedef struct kiln_templates {
    /* Names of styles, in the order in which they are applied ("None" is none), and the files that have them (styles.csv of
     * AUTOMATIC1111's web UI: name, prompt, negative_prompt); of two styles of one name that of the later file counts. */
    const char *const *styles;
    const char *const *style_files;
    int style_count, style_file_count;
    /* The folder in which __name__ is name.txt, one text a line; NULL: __name__ is text like any other. */
    const char *wildcards;
    bool variants; /* {a|b} is one of the two (sd-dynamic-prompts); false: braces are characters */
    /* The prompt, or the negative one, was filled already (a recipe's): only styles are applied to it. */
    bool prompt_is_filled, negative_is_filled;
} kiln_templates;

/* What the prompts become for a picture of this seed. The prompt's choices and the negative prompt's begin alike: with the same
 * template both have the same text. `negative` may be NULL, and *negative_out then is, where no style has a negative prompt.
 * Both: free(). KILN_NOT_FOUND names a style, a wildcard or a file that is not there. */
KILN_API KILN_CHECKED kiln_status kiln_fill_templates(const kiln_templates *, uint64_t seed,
                                                      const char *prompt, const char *negative,
                                                      char **prompt_out, char **negative_out, kiln_error *);

/* Where wildcards and styles lie by custom: the folder "wildcards" and the file "styles.csv" beside the model, or beside the
 * folder that it is in. free(); NULL where there is none. */
KILN_API char *kiln_wildcards_beside(const char *model_path);
KILN_API char *kiln_styles_beside(const char *model_path);

#ifdef __cplusplus
}
#endif
#endif
