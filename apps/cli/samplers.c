/* samplers.c - `kiln samplers`: the samplers and noise schedules, and what each is good for. */
#include "commands.h"
#include "help.h"
#include "message.h"

#include <kiln/kiln.h>

#include <string.h>

typedef struct samplers_values {
    bool json, names;
} samplers_values;

static const option samplers_options[] = {
    {"names", 'n', OPTION_FLAG, offsetof(samplers_values, names), NULL, NULL, 0, 0, NULL,
     "print the other names that each is known by too"},
    {"json", 'j', OPTION_FLAG, offsetof(samplers_values, json), NULL, NULL, 0, 0, NULL, "print JSON"},
    {0},
};

typedef struct list {
    const char *title;
    const char *(*name)(int), *(*advice)(int), *(*alias)(int, int);
} list;

static const list lists[] = {
    {"samplers", kiln_sampler_name, kiln_sampler_advice, kiln_sampler_alias},
    {"schedules", kiln_schedule_name, kiln_schedule_advice, kiln_schedule_alias},
};
enum { LISTS = sizeof lists / sizeof *lists };

static void print_json(const list *l)
{
    printf("  \"%s\": [", l->title);
    for (int i = 0; l->name(i); i++) {
        printf("%s\n    {\"name\": ", i ? "," : "");
        print_json_string(stdout, l->name(i));
        printf(", \"aliases\": [");
        for (int k = 0; l->alias(i, k); k++) {
            printf("%s", k ? ", " : "");
            print_json_string(stdout, l->alias(i, k));
        }
        printf("], \"good_for\": ");
        print_json_string(stdout, l->advice(i));
        printf("}");
    }
    printf("\n  ]");
}

static void print_text(const list *l, bool names)
{
    printf("%s:\n", l->title);
    for (int i = 0; l->name(i); i++) {
        printf("  %-25s %s\n", l->name(i), l->advice(i));
        for (int k = 0; names && l->alias(i, k); k++)
            printf("%s%s", k ? ", " : "                            also: ", l->alias(i, k));
        if (names && l->alias(i, 0))
            printf("\n");
    }
}

static int run(const command *c, int argc, char **argv)
{
    samplers_values values = {0};
    arguments found;
    int status = arguments_parse(c, argc, argv, &values, &found);
    if (status)
        return status;
    if (found.help) {
        help_command(c);
        return EXIT_OK;
    }
    if (values.json)
        printf("{\n");
    for (int i = 0; i < LISTS; i++) {
        if (values.json)
            print_json(&lists[i]);
        else
            print_text(&lists[i], values.names);
        if (i + 1 < LISTS)
            printf("%s\n", values.json ? "," : "");
    }
    printf("%s", values.json ? "\n}\n" : "");
    return EXIT_OK;
}

const command samplers_command = {
    .name = "samplers",
    .summary = "the samplers and noise schedules, and what each is good for",
    .usage = "[options]",
    .run = run,
    .options = samplers_options,
};
