/* template_options.h - styles and wildcards of a prompt, shared by the subcommands that take one. */
#ifndef KILN_CLI_TEMPLATE_OPTIONS_H
#define KILN_CLI_TEMPLATE_OPTIONS_H

#include "options.h"

#include <kiln/prompt.h>

typedef struct template_values {
    option_list styles, style_files;
    const char *wildcards;
    bool variants;
} template_values;

/* Rows of an option table; `s` is the subcommand's struct, with a template_values in its member `templates`. */
#define TEMPLATE_OPTIONS(s)                                                                                  \
    {"style",                                                                                                \
     0,                                                                                                      \
     OPTION_LIST,                                                                                            \
     offsetof(s, templates.styles),                                                                          \
     "NAME",                                                                                                 \
     NULL,                                                                                                   \
     0,                                                                                                      \
     0,                                                                                                      \
     NULL,                                                                                                   \
     "put this style of a styles.csv around the prompts, or behind them; may be given several times"},       \
        {"styles",    0,                                                                                     \
         OPTION_LIST, offsetof(s, templates.style_files),                                                    \
         "FILE",      "styles.csv beside the model",                                                         \
         0,           0,                                                                                     \
         NULL,        "where the styles are, as A1111 keeps them; may be given several times"},              \
        {"wildcard-dir",                                                                                     \
         0,                                                                                                  \
         OPTION_TEXT,                                                                                        \
         offsetof(s, templates.wildcards),                                                                   \
         "FOLDER",                                                                                           \
         "wildcards beside the model",                                                                       \
         0,                                                                                                  \
         0,                                                                                                  \
         NULL,                                                                                               \
         "__NAME__ in a prompt becomes a line of NAME.txt in it, chosen by the picture's seed"},             \
    {                                                                                                        \
        "dynamic-prompts", 0, OPTION_FLAG, offsetof(s, templates.variants), NULL, NULL, 0, 0, NULL,          \
            "in a prompt {a|b} becomes one of the two, {2$$a|b|c} two of the three (sd-dynamic-prompts)"     \
    }

/* The values as the library takes them, with what lies beside the model where they name nothing. Starts as {0}. */
typedef struct template_inputs {
    kiln_templates templates;
    char *wildcards, *style_file; /* found beside the model */
    const char *style_files[1];
} template_inputs;

/* `model` may be NULL. What was there before is closed. */
void template_inputs_open(template_inputs *, const template_values *, const char *model);
void template_inputs_close(template_inputs *);

/* The prompt that a picture of the seed has (free()); printed where it is another one. Complains and gives an exit status when
 * it cannot be. */
int template_prompt(const template_values *, const char *model, const char *prompt, const seed_choice *seed,
                    char **out);

#endif
