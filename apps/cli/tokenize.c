/* tokenize.c - `kiln tokenize`: the numbers that a text becomes. */
#include "commands.h"
#include "help.h"
#include "message.h"
#include "model_options.h"
#include "template_options.h"

#include <kiln/kiln.h>

#include <stdlib.h>
#include <string.h>

typedef struct tokenize_values {
    model_choice model;
    bool json, explain;
    int steps;
    template_values templates;
    seed_choice seed;
} tokenize_values;

static const option tokenize_options[] = {
    {"model", 'm', OPTION_TEXT, offsetof(tokenize_values, model.model), "PATH", "$KILN_MODEL", 0, 0, NULL,
     "the model whose tokenizer to use"},
    {"tokenizer", 0, OPTION_TEXT, offsetof(tokenize_values, model.tokenizer), "PATH", NULL, 0, 0, NULL,
     "folder with vocab.json and merges.txt, or a vocabulary file, instead"},
    {"json", 'j', OPTION_FLAG, offsetof(tokenize_values, json), NULL, NULL, 0, 0, NULL, "print JSON"},
    {"explain", 'e', OPTION_FLAG, offsetof(tokenize_values, explain), NULL, NULL, 0, 0, NULL,
     "show how the text is understood as a prompt: parts, schedule over the steps, windows, weights"},
    {"steps", 's', OPTION_INTEGER, offsetof(tokenize_values, steps), "N", "20", 1, 1000, NULL,
     "... in a drawing of so many steps"},
    {"seed", 'S', OPTION_SEED, offsetof(tokenize_values, seed), "N", "random", 0, 0, NULL,
     "... and of this seed, which chooses what wildcards become"},
    TEMPLATE_OPTIONS(tokenize_values),
    WORDS_OPTIONS(tokenize_values),
    {0},
};

static void print_json(const char *text, const int32_t *ids, const char *pieces, size_t count)
{
    printf("{\"text\": ");
    print_json_string(stdout, text);
    printf(", \"ids\": [");
    for (size_t i = 0; i < count; i++)
        printf("%s%d", i ? ", " : "", (int)ids[i]);
    printf("], \"pieces\": [");
    for (size_t i = 0; i < count; i++, pieces += strlen(pieces) + 1) {
        printf("%s", i ? ", " : "");
        print_json_string(stdout, pieces);
    }
    printf("]}\n");
}

static void print_table(const int32_t *ids, const char *pieces, size_t count)
{
    printf("%5s  %6s  %s\n", "place", "id", "piece");
    for (size_t i = 0; i < count; i++, pieces += strlen(pieces) + 1)
        printf("%5zu  %6d  %s\n", i, (int)ids[i], pieces);
}

static int explain(const char *path, const char *prompt, const tokenize_values *v)
{
    kiln_error err = {0};
    kiln_words words = model_words_of(&v->model);
    char *filled = NULL, *text = NULL;
    const char *model = v->model.model ? v->model.model : getenv("KILN_MODEL");
    int status = template_prompt(&v->templates, model, prompt, &v->seed, &filled);
    if (status)
        return status;
    if (kiln_explain_prompt(path, filled, v->steps, &words, &text, &err) == KILN_OK)
        printf("%s", text);
    else
        status = complain_error(&err);
    free(filled);
    free(text);
    return status;
}

static int run(const command *c, int argc, char **argv)
{
    tokenize_values values = {.steps = 20, .seed.random = true};
    arguments found;
    int status = arguments_parse(c, argc, argv, &values, &found);
    if (status)
        return status;
    if (found.help) {
        help_command(c);
        return EXIT_OK;
    }
    const char *path = values.model.tokenizer ? values.model.tokenizer
                       : values.model.model   ? values.model.model
                                              : getenv("KILN_MODEL");
    if (!path || !path[0])
        return complain_usage(
            "no tokenizer: name a model with --model PATH or KILN_MODEL, or a folder with --tokenizer");
    if (values.explain)
        return explain(path, found.plain[0], &values);
    if (arguments_given(&found, "seed") || values.templates.styles.count || values.templates.wildcards ||
        values.templates.variants)
        return complain_usage("--seed, --style, --wildcard-dir and --dynamic-prompts are for --explain");
    kiln_error err = {0};
    int32_t *ids = NULL;
    char *pieces = NULL;
    size_t count = 0;
    if (kiln_tokenize(path, found.plain[0], &ids, &pieces, &count, &err) != KILN_OK)
        return complain_error(&err);
    if (values.json)
        print_json(found.plain[0], ids, pieces, count);
    else
        print_table(ids, pieces, count);
    free(ids);
    free(pieces);
    return EXIT_OK;
}

const command tokenize_command = {
    .name = "tokenize",
    .summary = "the tokens of a text",
    .usage = "TEXT [options]",
    .plain_minimum = 1,
    .plain_maximum = 1,
    .plain_name = "a text",
    .options = tokenize_options,
    .run = run,
};
