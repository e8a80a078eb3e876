/* model_options.h - the options that say which model, shared by every subcommand that opens one. */
#ifndef KILN_CLI_MODEL_OPTIONS_H
#define KILN_CLI_MODEL_OPTIONS_H

#include "options.h"

#include <kiln/kiln.h>

typedef struct model_choice {
    const char *model, *vae, *tokenizer, *hints, *precision, *preview_decoder, *words_folder;
    option_list words;
    int threads;
} model_choice;

/* The rows of textual inversion; `s` is the subcommand's struct with these members in its member `model`. */
#define WORDS_OPTIONS(s)                                                                                     \
    {"embeddings-dir",                                                                                       \
     0,                                                                                                      \
     OPTION_TEXT,                                                                                            \
     offsetof(s, model.words_folder),                                                                        \
     "FOLDER",                                                                                               \
     NULL,                                                                                                   \
     0,                                                                                                      \
     0,                                                                                                      \
     NULL,                                                                                                   \
     "words with vectors of their own: every embedding in this folder, by its file's name in the prompt"},   \
    {                                                                                                        \
        "embedding", 0, OPTION_LIST, offsetof(s, model.words), "FILE", NULL, 0, 0, NULL,                     \
            "one such file; may be given several times"                                                      \
    }

/* Rows of an option table; `s` is the subcommand's struct, whose member `model` is a model_choice. */
#define MODEL_OPTIONS(s)                                                                                     \
    WORDS_OPTIONS(s),                                                                                        \
        {"model",     'm',                                                                                   \
         OPTION_TEXT, offsetof(s, model.model),                                                              \
         "PATH",      "$KILN_MODEL",                                                                         \
         0,           0,                                                                                     \
         NULL,        "the model: a diffusers folder, or a checkpoint file (.safetensors, .ckpt)"},          \
        {"vae",       0,                                                                                     \
         OPTION_TEXT, offsetof(s, model.vae),                                                                \
         "PATH",      "the model's own",                                                                     \
         0,           0,                                                                                     \
         NULL,        "take the VAE from this file or folder"},                                              \
        {"tokenizer", 0, OPTION_TEXT, offsetof(s, model.tokenizer),           "DIR", "the model's own",      \
         0,           0, NULL,        "folder with vocab.json and merges.txt"},                              \
        {"hints",     0,                                                                                     \
         OPTION_TEXT, offsetof(s, model.hints),                                                              \
         "FILE",      NULL,                                                                                  \
         0,           0,                                                                                     \
         NULL,        "JSON file with what an odd checkpoint file does not tell"},                           \
        {"precision",                                                                                        \
         0,                                                                                                  \
         OPTION_CHOICE,                                                                                      \
         offsetof(s, model.precision),                                                                       \
         "P",                                                                                                \
         "auto",                                                                                             \
         0,                                                                                                  \
         0,                                                                                                  \
         "auto|f32|bf16",                                                                                    \
         "arithmetic; auto takes bf16 where the processor has it"},                                          \
    {                                                                                                        \
        "threads", 0, OPTION_INTEGER, offsetof(s, model.threads), "N", "one per core", 0, 1024, NULL,        \
            "processor threads; the picture is the same with any number"                                     \
    }

/* A model and one session, with Ctrl-C tied to the session. */
typedef struct open_model {
    kiln_model *model;
    kiln_session *session;
} open_model;

/* The path of --model or KILN_MODEL; NULL after complaining how to get one. */
const char *model_path(const model_choice *);
/* The words of the choice, which borrow from it. */
kiln_words model_words_of(const model_choice *);
/* What the choice says to the library (it borrows from the choice), without the cache of hashes. */
kiln_model_options model_options_of(const model_choice *);
/* Open both, or complain and return an exit status. */
int model_open(const model_choice *, open_model *out);
void model_close(open_model *);

#endif
