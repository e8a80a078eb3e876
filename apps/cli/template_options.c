/* template_options.c - see template_options.h. */
#include "template_options.h"

#include "message.h"

#include <stdlib.h>
#include <string.h>

void template_inputs_open(template_inputs *t, const template_values *v, const char *model)
{
    template_inputs_close(t);
    if (!v->wildcards)
        t->wildcards = kiln_wildcards_beside(model);
    if (v->styles.count && !v->style_files.count)
        t->style_file = kiln_styles_beside(model);
    t->style_files[0] = t->style_file;
    t->templates = (kiln_templates){
        .styles = v->styles.items,
        .style_count = v->styles.count,
        .style_files = t->style_file ? t->style_files : v->style_files.items,
        .style_file_count = t->style_file ? 1 : v->style_files.count,
        .wildcards = v->wildcards ? v->wildcards : t->wildcards,
        .variants = v->variants,
    };
}

void template_inputs_close(template_inputs *t)
{
    free(t->wildcards);
    free(t->style_file);
    *t = (template_inputs){0};
}

int template_prompt(const template_values *v, const char *model, const char *prompt, const seed_choice *seed,
                    char **out)
{
    kiln_error err = {0};
    template_inputs inputs = {0};
    char *negative = NULL;
    uint64_t number = seed->random ? kiln_seed_random() : seed->value;
    template_inputs_open(&inputs, v, model);
    kiln_status status = kiln_fill_templates(&inputs.templates, number, prompt, NULL, out, &negative, &err);
    template_inputs_close(&inputs);
    free(negative);
    if (status != KILN_OK)
        return complain_error(&err);
    if (strcmp(*out, prompt) != 0)
        printf("seed %llu: %s\n", (unsigned long long)number, *out);
    return EXIT_OK;
}
