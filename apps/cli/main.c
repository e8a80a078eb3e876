/* main.c - the command `kiln`: finds the subcommand in a table and hands over. Each subcommand is one file. */
#include "commands.h"
#include "help.h"
#include "message.h"

#include <kiln/kiln.h>

#include <string.h>

static const command *const commands[] = {
    &draw_command,     &inpaint_command,        &outpaint_command,
    &redraw_command,   &upscale_command,        &encode_command,
    &tokenize_command, &inspect_command,        &convert_command,
    &pull_command,     &verify_command,         &train_command,
    &similar_command,  &preprocess_command,     &samplers_command,
    &grid_command,     &bench_samplers_command, NULL,
};

static const command *find(const char *name)
{
    for (int i = 0; commands[i]; i++)
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

static const char *command_name_at(const void *state, int i)
{
    (void)state;
    return commands[i] ? commands[i]->name : NULL;
}

static int unknown_command(const char *name)
{
    const char *near = nearest_word(name, command_name_at, NULL);
    if (near)
        return complain_usage("unknown command '%s' (did you mean %s?); 'kiln help' lists the commands", name,
                              near);
    return complain_usage("unknown command '%s'; 'kiln help' lists the commands", name);
}

static int help(int argc, char **argv)
{
    if (argc < 1) {
        help_all(commands);
        return EXIT_OK;
    }
    const command *c = find(argv[0]);
    if (!c)
        return unknown_command(argv[0]);
    help_command(c);
    return EXIT_OK;
}

static int dispatch(int argc, char **argv)
{
    if (argc < 2)
        return complain_usage("which command? 'kiln help' lists them; 'kiln draw \"a lighthouse\"' draws");
    const char *name = argv[1];
    if (strcmp(name, "help") == 0 || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        return help(argc - 2, argv + 2);
    if (strcmp(name, "version") == 0 || strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
        printf("kiln %s\n", kiln_version());
        return EXIT_OK;
    }
    const command *c = find(name);
    return c ? c->run(c, argc - 2, argv + 2) : unknown_command(name);
}

int main(int argc, char **argv)
{
    int status = dispatch(argc, argv);
    if ((fflush(stdout) != 0 || ferror(stdout)) && status == EXIT_OK) {
        complain("standard output cannot be written");
        return EXIT_FAILED;
    }
    return status;
}
