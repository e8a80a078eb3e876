/* embedding.h - words with vectors of their own, as files hold them (textual inversion: Gal et al. 2022, arXiv:2208.01618).
 *
 * A file is one word: some vectors for each text encoder of a model. Every layout that people exchange is read:
 *
 *   A1111                 {"string_to_token": {"*": 265}, "string_to_param": {"*": [n,d]}, "name", "step", ...}
 *   original              the same, with string_to_param a torch.nn.ParameterDict (rinongal/textual_inversion)
 *   kohya                 "emb_params" [n,d];  SDXL "clip_l" [n,768], "clip_g" [n,1280]
 *   diffusers             one tensor, [n,d] or [d], named as the word: "<cat-toy>"
 *   XL-Textual-Inversion  "emb" [768], "emb2" [1280]
 *   in a LoRA             several words beside it: bundle_emb.<name>.(any of the above), or tensors named "<s1>"
 *
 * Pictures that hold an embedding: image/embedding_picture.h. */
#ifndef KILN_FORMATS_EMBEDDING_H
#define KILN_FORMATS_EMBEDDING_H

#include "formats/tensor_file.h"

/* A window of a prompt has 75 places, and an embedding stands in one window. */
enum { EMBEDDING_ENCODERS = 2, EMBEDDING_MAX_VECTORS = 75, EMBEDDING_MAX_WIDTH = 16384 };

typedef struct embedding {
    char *name;          /* what the file says it is called; NULL: nothing */
    char *token;         /* the word as diffusers writes it ("<cat-toy>"); NULL: none */
    const char *dialect; /* "A1111", "kohya", ... */
    int vectors;
    int width[EMBEDDING_ENCODERS];      /* of the first (or only) text encoder and of the second; 0: none */
    float *values[EMBEDDING_ENCODERS];  /* [vectors,width] */
    int64_t step;                       /* of the training; -1: not said */
    char *checkpoint, *checkpoint_name; /* what it was trained on: short hash and name; NULL: not said */
} embedding;

/* Owned by the caller; starts as {0}. */
typedef struct embedding_list {
    embedding *items;
    int count;
} embedding_list;

/* The embeddings of an open file: one, or those that lie in a LoRA. At least one after success. KILN_BAD_FORMAT: none, more
 * than one, no vectors, too many, NaN; KILN_UNSUPPORTED: of a family that is not supported. */
kiln_status embedding_list_read(const tensor_file *, embedding_list *out, kiln_error *err);
void embedding_list_fini(embedding_list *);

/* Room for the vectors of an embedding that starts as {0}, all zero; width[1] may be 0. */
kiln_status embedding_allocate(embedding *, int vectors, const int width[EMBEDDING_ENCODERS],
                               kiln_error *err);
/* Whether its numbers are numbers; `path` names the file in the sentence. */
kiln_status embedding_check(const embedding *, const char *path, kiln_error *err);
void embedding_fini(embedding *);

typedef enum embedding_layout {
    EMBEDDING_A1111,    /* torch file; a pair as {"clip_l", "clip_g"} */
    EMBEDDING_KOHYA,    /* safetensors: emb_params, or clip_l and clip_g */
    EMBEDDING_DIFFUSERS /* safetensors: the word's name; a pair as clip_l and clip_g */
} embedding_layout;

/* Texts of a file's metadata, key after key; in a torch file further keys of the dict, which other readers pass over. */
typedef struct embedding_note {
    const char *key, *text;
} embedding_note;

/* `word` is what it is called where the embedding does not say. Whole or not at all; same embedding, same bytes. */
kiln_status embedding_write(const embedding *, embedding_layout, const char *word,
                            const embedding_note *notes, int note_count, const char *path, kiln_error *err);

#endif
