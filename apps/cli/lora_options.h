/* lora_options.h - LoRAs on a command line: --lora FILE, FILE:0.8, FILE:0.5:1. */
#ifndef KILN_CLI_LORA_OPTIONS_H
#define KILN_CLI_LORA_OPTIONS_H

#include "options.h"

#include <kiln/kiln.h>

/* What --lora named. Starts as {0}. */
typedef struct lora_inputs {
    kiln_lora loras[OPTION_LIST_MAX];
    char *paths[OPTION_LIST_MAX];
    int count;
} lora_inputs;

/* Gives an exit status; the files are not opened. Close also after a failure. */
int lora_inputs_read(const option_list *, lora_inputs *out);
void lora_inputs_close(lora_inputs *);
/* Borrowed: the options are not to be used after lora_inputs_close. */
void lora_inputs_give(const lora_inputs *, kiln_draw_options *);

#endif
