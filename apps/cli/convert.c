/* convert.c - `kiln convert`: a checkpoint file to a folder and back, pickles to safetensors, element types. */
#include "commands.h"
#include "help.h"
#include "interrupt.h"
#include "message.h"
#include "progress.h"

typedef struct convert_values {
    const char *type, *hints;
    bool quiet;
} convert_values;

static const option convert_options[] = {
    {"type", 't', OPTION_CHOICE, offsetof(convert_values, type), "TYPE", "as it is", 0, 0, "f32|f16|bf16",
     "element type of the weights"},
    {"hints", 0, OPTION_TEXT, offsetof(convert_values, hints), "FILE", NULL, 0, 0, NULL,
     "JSON file with what an odd checkpoint file does not tell"},
    {"quiet", 'q', OPTION_FLAG, offsetof(convert_values, quiet), NULL, NULL, 0, 0, NULL, "no progress"},
    {0},
};

static int run(const command *c, int argc, char **argv)
{
    convert_values values = {0};
    arguments found;
    int status = arguments_parse(c, argc, argv, &values, &found);
    if (status)
        return status;
    if (found.help) {
        help_command(c);
        return EXIT_OK;
    }
    kiln_error err = {0};
    progress_view view = {.quiet = values.quiet};
    kiln_convert_options options = kiln_convert_defaults();
    options.type = values.type;
    options.hints = values.hints;
    options.progress = progress_show;
    options.user = &view;
    interrupt_watch(NULL);
    kiln_status done = kiln_convert(found.plain[0], found.plain[1], &options, &err);
    progress_clear();
    if (done != KILN_OK)
        return complain_error(&err);
    printf("%s\n", found.plain[1]);
    return EXIT_OK;
}

const command convert_command = {
    .name = "convert",
    .summary = "checkpoint file to folder and back, pickle to safetensors",
    .usage = "FROM TO [options]",
    .about = "TO is a folder when it ends in '/' or has no extension, and a single file when it ends in "
             ".safetensors. The "
             "result appears whole or not at all.",
    .plain_minimum = 2,
    .plain_maximum = 2,
    .plain_name = "two paths",
    .options = convert_options,
    .run = run,
};
