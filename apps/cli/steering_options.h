/* steering_options.h - the options that name pictures to steer a drawing by (ControlNet) and pictures as prompts
 * (IP-Adapter), shared by the subcommands that draw. */
#ifndef KILN_CLI_STEERING_OPTIONS_H
#define KILN_CLI_STEERING_OPTIONS_H

#include "model_options.h"

#include <kiln/vision.h>

typedef struct steering_values {
    option_list control, canny, image_prompts;
    const char *adapter, *encoder, *vary;
    bool guess;
} steering_values;

/* Rows of an option table; `s` is the subcommand's struct, whose member `steering` is a steering_values. */
#define STEERING_OPTIONS(s)                                                                                  \
    {"control",                                                                                              \
     0,                                                                                                      \
     OPTION_LIST,                                                                                            \
     offsetof(s, steering.control),                                                                          \
     "C",                                                                                                    \
     NULL,                                                                                                   \
     0,                                                                                                      \
     0,                                                                                                      \
     NULL,                                                                                                   \
     "steer by a picture: FILE:PICTURE[:STRENGTH[:START[:END]]] with a ControlNet's file or folder; 1:0:1 "  \
     "when left "                                                                                            \
     "out; several times for several"},                                                                      \
        {"control-canny",                                                                                    \
         0,                                                                                                  \
         OPTION_LIST,                                                                                        \
         offsetof(s, steering.canny),                                                                        \
         "C",                                                                                                \
         NULL,                                                                                               \
         0,                                                                                                  \
         0,                                                                                                  \
         NULL,                                                                                               \
         "the same, by the edges of the picture (see 'kiln preprocess canny')"},                             \
        {"control-guess",                                                                                    \
         0,                                                                                                  \
         OPTION_FLAG,                                                                                        \
         offsetof(s, steering.guess),                                                                        \
         NULL,                                                                                               \
         NULL,                                                                                               \
         0,                                                                                                  \
         0,                                                                                                  \
         NULL,                                                                                               \
         "guess mode: the controls matter more than the prompt"},                                            \
        {"image-prompt",                                                                                     \
         0,                                                                                                  \
         OPTION_LIST,                                                                                        \
         offsetof(s, steering.image_prompts),                                                                \
         "P",                                                                                                \
         NULL,                                                                                               \
         0,                                                                                                  \
         0,                                                                                                  \
         NULL,                                                                                               \
         "a picture as a prompt: PICTURE[:STRENGTH[:START[:END]]]; 0.6:0:1 when left out; several times "    \
         "for "                                                                                              \
         "several"},                                                                                         \
        {"image-prompt-model",                                                                               \
         0,                                                                                                  \
         OPTION_TEXT,                                                                                        \
         offsetof(s, steering.adapter),                                                                      \
         "FILE",                                                                                             \
         NULL,                                                                                               \
         0,                                                                                                  \
         0,                                                                                                  \
         NULL,                                                                                               \
         "the IP-Adapter for --image-prompt"},                                                               \
        {"vary",                                                                                             \
         0,                                                                                                  \
         OPTION_TEXT,                                                                                        \
         offsetof(s, steering.vary),                                                                         \
         "P",                                                                                                \
         NULL,                                                                                               \
         0,                                                                                                  \
         0,                                                                                                  \
         NULL,                                                                                               \
         "with an unCLIP model, draw variations of a picture: PICTURE[:LEVEL], noise level 0 to 999, 0 "     \
         "when left out"},                                                                                   \
    {                                                                                                        \
        "image-encoder", 0, OPTION_TEXT, offsetof(s, steering.encoder), "PATH", "the model's own", 0, 0,     \
            NULL, "CLIP's vision encoder for --image-prompt and --vary, a folder or a file"                  \
    }

/* What the options name, open. */
typedef struct steering_inputs {
    kiln_control controls[KILN_MAX_CONTROLS];
    kiln_image_prompt image_prompts[KILN_MAX_IMAGE_PROMPTS];
    kiln_controlnet *nets[KILN_MAX_CONTROLS];
    kiln_image *pictures[KILN_MAX_CONTROLS + KILN_MAX_IMAGE_PROMPTS + 1];
    kiln_clip *encoder;
    kiln_image_adapter *adapter;
    kiln_variation variation; /* its picture is NULL when there is none */
    int control_count, image_prompt_count, picture_count;
} steering_inputs;

/* Whether any picture is named. */
bool steering_given(const steering_values *);
/* Read the pictures and open the networks, or complain and return an exit status. `out` starts as {0}; close it also after
 * a failure. */
int steering_open(const steering_values *, const model_choice *, steering_inputs *out);
void steering_give(const steering_inputs *, kiln_draw_options *);
void steering_close(steering_inputs *);

#endif
