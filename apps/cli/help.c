/* help.c - see help.h. Everything fits in 80 columns. */
#include "help.h"

#include <kiln/kiln.h>

#include <stdio.h>
#include <string.h>

enum { PAGE_COLUMNS = 79, TEXT_COLUMN = 28 };

/* Print `text` in words, from column `at` on, every further line from column `indent`; '\n' ends a line. */
static void print_wrapped(const char *text, int at, int indent)
{
    int column = at;
    while (*text) {
        if (*text == '\n') {
            printf("\n");
            column = 0;
            text++;
            continue;
        }
        size_t word = strcspn(text, " \n");
        bool first = column <= indent;
        if (!first && column + 1 + (int)word > PAGE_COLUMNS) {
            printf("\n");
            column = 0;
            first = true;
        }
        if (first && column < indent) {
            printf("%*s", indent - column, "");
            column = indent;
        }
        printf("%s%.*s", first ? "" : " ", (int)word, text);
        column += (int)word + !first;
        text += word;
        text += strspn(text, " ");
    }
    printf("\n");
}

/* "a whole number" is what the name N says already: the page adds only the range. */
static void range_text(const option *o, char *text, size_t size)
{
    text[0] = '\0';
    if (o->kind == OPTION_INTEGER || o->kind == OPTION_NUMBER)
        snprintf(text, size, "%g to %g", o->minimum, o->maximum);
    else if (o->kind == OPTION_CHOICE)
        snprintf(text, size, "%s", o->choices);
}

static void print_option(const option *o)
{
    char left[80], range[80], text[640];
    char letter[6] = "    ";
    if (o->letter)
        snprintf(letter, sizeof letter, "-%c, ", o->letter);
    snprintf(left, sizeof left, "  %s--%s%s%s", letter, o->name, o->value ? " " : "",
             o->value ? o->value : "");
    range_text(o, range, sizeof range);
    const char *comma = range[0] && o->shown ? "; " : "";
    const char *open = range[0] || o->shown ? " (" : "", *close = range[0] || o->shown ? ")" : "";
    snprintf(text, sizeof text, "%s%s%s%s%s%s%s", o->help, open, range, comma, o->shown ? "default " : "",
             o->shown ? o->shown : "", close);
    printf("%s", left);
    int at = (int)strlen(left);
    if (at >= TEXT_COLUMN - 1) {
        printf("\n");
        at = 0;
    }
    print_wrapped(text, at < TEXT_COLUMN ? at : 0, TEXT_COLUMN);
}

void help_command(const command *c)
{
    printf("kiln %s - %s\n\nusage: kiln %s %s\n\n", c->name, c->summary, c->name, c->usage);
    if (c->about) {
        print_wrapped(c->about, 0, 0);
        printf("\n");
    }
    printf("options:\n");
    const option *const tables[] = {c->options, c->also, c->shared};
    for (size_t k = 0; k < sizeof tables / sizeof *tables; k++)
        for (const option *o = tables[k]; o && o->name; o++)
            if (o->help && !command_replaces(c, tables[k], o))
                print_option(o);
    printf("  -h, --help");
    print_wrapped("this page", 12, TEXT_COLUMN);
    if (c->more)
        printf("\n%s\n", c->more);
    if (c->more_print)
        c->more_print();
}

void help_all(const command *const *commands)
{
    printf("kiln %s - draw pictures with latent diffusion models\n\n"
           "usage: kiln COMMAND [arguments] [options]\n\n"
           "commands:\n",
           kiln_version());
    for (int i = 0; commands[i]; i++)
        printf("  %-14s %s\n", commands[i]->name, commands[i]->summary);
    printf("  %-14s %s\n", "help", "this page, or the page of a command: kiln help draw");
    printf("  %-14s %s\n", "version", "the version, as --version does");
    printf("\n"
           "a first picture:\n"
           "  kiln pull stable-diffusion-v1-5/stable-diffusion-v1-5 models/sd15\n"
           "  kiln draw \"a lighthouse at dusk\" --model models/sd15 -o lighthouse.png\n"
           "\n"
           "KILN_MODEL names the model to use when --model is not given.\n"
           "Exit status: 0 done, 1 failed, 2 wrong use, 130 stopped by Ctrl-C.\n");
}
