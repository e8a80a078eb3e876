/* model_words.h - words with vectors of their own (textual inversion), as a model's prompts know them. Internal.
 *
 * A word is found by its tokens (text/taught_words.h). It has a file's name without the extension, the word that the file
 * itself tells, or both. What is wrong with a file of the folder is kept with its word, and said when a prompt has it. */
#ifndef KILN_PIPELINE_MODEL_WORDS_H
#define KILN_PIPELINE_MODEL_WORDS_H

#include "formats/embedding.h"
#include "pipeline/model.h"
#include "text/chunks.h"

typedef struct model_word {
    char *name, *path;
    char *alias; /* the word that the file tells; NULL: none, or the name itself */
    embedding embedding;
    kiln_status status; /* KILN_OK, or why it cannot be used: */
    char *problem;
} model_word;

typedef struct model_words {
    model_word *words;
    int count;
    taught_words taught[2]; /* by text encoder */
} model_words;

/* Read the files; *out NULL: there are none. A listed file that is no embedding is refused, as is a folder that cannot be
 * read. */
kiln_status word_files_read(const kiln_words *, model_words **out, kiln_error *err);
/* What does not fit the model's text encoders is a problem of its word. */
kiln_status model_words_fit(const kiln_model *, model_words *, kiln_error *err);
/* Cut the words' names by the tokenizer of a text encoder. Two files of one word that hold different vectors are a problem of
 * that word. */
kiln_status model_words_cut(model_words *, int encoder, const tokenizer *, kiln_error *err);
/* Accepts NULL. */
void model_words_free(model_words *);

/* word_files.c: read all, fit them to the model's text encoders, and cut their names. Tokenizers are open already. */
kiln_status model_words_open(kiln_model *, const kiln_words *, kiln_error *err);
/* word_files.c: the model's own and those that travel in an open file (a LoRA), as model_words_open has them. */
kiln_status model_words_extend(const kiln_model *, const tensor_file *const *files, int count,
                               model_words **out, kiln_error *err);
/* The table for chunk_options; NULL: none. */
const taught_words *model_words_taught(const model_words *, network_kind encoder);

/* A sentence when one of the words in a cut prompt cannot be used. */
kiln_status model_words_check(const model_words *, const token_chunks *, kiln_error *err);
/* The inputs of a text encoder for one window: word_vectors [77,width], and NO_TOKEN among the ids [77] where one stands. */
void model_words_fill(const model_words *, network_kind encoder, const chunk_vector *window, int width,
                      int32_t *ids, float *vectors);
/* "name: 12 digits, ...": A1111's "TI hashes" of the words that are used; NULL: none, or a file is gone. free(). */
char *model_words_hashes(const model_words *, const bool *used);

#endif
