/* drawing.h - what all subcommands that draw do alike: read the command line over a recipe, check where to write, open the
 * model, trace, write the pictures.
 *
 * In this order, so that nothing is found wrong after the long work that could have been found before it: the command
 * line, the recipe of --like, the places to write to, the files to read, the model, the plan of memory. */
#ifndef KILN_CLI_DRAWING_H
#define KILN_CLI_DRAWING_H

#include "draw_options.h"
#include "lora_options.h"
#include "progress.h"

#include <stdio.h>

/* One run of such a subcommand. */
typedef struct drawing {
    arguments arguments;
    void *all;           /* the subcommand's struct; */
    draw_values *values; /* its first member */
    kiln_draw_options *options;
    kiln_recipe *recipe; /* of --like */
    kiln_map *condition, *negative_condition;
    steering_inputs steering;
    lora_inputs loras;
    template_inputs templates;
    open_model open;
    FILE *trace;
    progress_view view;
    kiln_image **pictures;
} drawing;

/* What differs. */
typedef struct drawing_kind {
    /* The subcommand's struct from its library options, and with a recipe (NULL: from the defaults) put into these before. */
    void (*begin)(void *self, const kiln_recipe *);
    const char *
        expects_picture; /* "name it with --init": said when the recipe needs a picture and there is none; NULL: nothing */
    int prompt_at; /* which plain argument is the prompt */
    /* The steps that are the subcommand's own; each gives an exit status. */
    int (*check)(const drawing *, const void *self); /* the command line */
    int (*read)(drawing *, void *self);              /* pictures */
    int (*paint)(drawing *, void *self);             /* with the model open: plan, draw, write */
    void *self;
} drawing_kind;

/* All of a subcommand, from the command line to the pictures; what `self` holds is the caller's. */
int drawing_command(drawing *, const drawing_kind *, const command *, int argc, char **argv);

/* Read the command line; with --like once more, over the recipe. With --help only out->arguments.help is set. */
int drawing_read_command_line(drawing *, const drawing_kind *, const command *, int argc, char **argv);
/* The model has to be named; and what else is wrong with the options that all of them have. */
int drawing_check_model(const drawing *);
int drawing_check(const drawing *);
int drawing_check_outputs(const drawing *);
/* Maps of conditioning, control pictures and image prompts with their networks. */
int drawing_read_maps(drawing *);
/* Open the model and put everything into the library's options. */
int drawing_open(drawing *);
/* The latter alone: once more after the values have changed. */
void drawing_apply(drawing *);
/* Say what it takes, begin the trace, make room for the batch's pictures in `pictures`. Only once everything else is known
 * to be right: a trace that was begun stays, since it tells how a drawing failed. */
int drawing_begin(drawing *, const kiln_memory_plan *);
/* Write the pictures, warn of a recipe that could not be followed, print the profile. */
int drawing_finish(const drawing *);
void drawing_release(drawing *);

#endif
