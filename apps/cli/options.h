/* options.h - what a subcommand accepts, declared once.
 *
 * A subcommand is a `command`: a name, a line about it, a table of options, and a function. From that one table
 * come the parser (strict: a value that is not wholly what the option expects is refused, with a sentence that
 * names the option, what was expected and what was found), the suggestion for a mistyped name, and the help page.
 *
 * Values are stored in a struct of the subcommand's own, by offset. The parser can be run twice over the same
 * struct: `draw --like` fills the recipe in between, so that what the user wrote wins. */
#ifndef KILN_CLI_OPTIONS_H
#define KILN_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum option_kind {
    OPTION_FLAG,    /* bool; takes no value */
    OPTION_TEXT,    /* const char *, any text */
    OPTION_LIST,    /* option_list, any text; may be given several times */
    OPTION_CHOICE,  /* const char *, one of `choices` */
    OPTION_INTEGER, /* int, minimum..maximum */
    OPTION_NUMBER,  /* double, finite, minimum..maximum */
    OPTION_SEED,    /* uint64_t; -1 leaves it unset (see `random`) */
    OPTION_SIZE,    /* picture_size, WxH, each side minimum..maximum */
    OPTION_BYTES    /* int64_t, a number with K, M, G or T */
} option_kind;

typedef struct picture_size {
    int width, height;
} picture_size;

enum { OPTION_LIST_MAX = 8 };

/* The values of an option in the order they were given. */
typedef struct option_list {
    const char *items[OPTION_LIST_MAX];
    int count;
} option_list;

typedef struct seed_choice {
    uint64_t value;
    bool random; /* -1 was asked for */
} seed_choice;

typedef struct option {
    const char *name; /* long name, without the dashes */
    char letter;      /* short name, or 0 */
    option_kind kind;
    size_t offset;     /* of the value in the subcommand's struct */
    const char *value; /* how the help page calls the value; NULL for a flag */
    const char *shown; /* the default, as the help page says it; NULL: none */
    double minimum, maximum;
    const char *choices; /* OPTION_CHOICE: words separated by '|' */
    const char *help;    /* NULL: accepted, but not on the help page */
} option;

typedef struct command command;

enum { ARGUMENTS_MAX = 8, OPTIONS_MAX = 128 };

/* What the parser found beside the values: plain arguments, and which options were written. */
typedef struct arguments {
    const command *command;
    const char *plain[ARGUMENTS_MAX];
    int count;
    bool help;
    bool given[OPTIONS_MAX];
} arguments;

struct command {
    const char *name, *summary;
    const char *usage; /* after "kiln NAME": "PROMPT [options]" */
    const char *about; /* paragraphs of the help page, '\n' between them */
    int plain_minimum, plain_maximum;
    const char *plain_name; /* what the first plain argument is, for messages */
    const option *options;  /* ends with a NULL name */
    /* A second table over the same struct, which several subcommands share (their structs begin alike); NULL: none. */
    const option *shared;
    const option *also; /* a third; NULL: none */
    const char *more;   /* printed after the options as it is; NULL: none */
    void (*more_print)(void);
    int (*run)(const command *, int argc, char **argv);
};

/* Parse argv[0..argc-1] (after the subcommand's name) into `values` and *out. Complains and returns an exit
 * status (2) when something is wrong; 0 otherwise. With --help it returns 0 at once with out->help set. */
int arguments_parse(const command *, int argc, char **argv, void *values, arguments *out);

/* Option i of all tables, the shared one first; NULL past the end. An option of the command's own stands in the place of one
 * of the same name in the other tables, */
const option *command_option(const command *, int i);
/* which this tells. */
bool command_replaces(const command *, const option *table, const option *o);

/* Whether the option of that long name was written on the command line. */
bool arguments_given(const arguments *, const char *name);

/* The candidate nearest to `word` by edit distance when that is near enough to be meant; else NULL.
 * next(state, i) gives candidate i, NULL past the end. */
const char *nearest_word(const char *word, const char *(*next)(const void *state, int i), const void *state);

#endif
