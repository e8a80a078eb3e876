/* commands.h - the subcommands, one file each. */
#ifndef KILN_CLI_COMMANDS_H
#define KILN_CLI_COMMANDS_H

#include "options.h"

extern const command samplers_command;
extern const command draw_command, encode_command, tokenize_command, inspect_command, convert_command,
    pull_command, verify_command, train_command, similar_command, preprocess_command, inpaint_command,
    outpaint_command, redraw_command, upscale_command, grid_command, bench_samplers_command;

#endif
