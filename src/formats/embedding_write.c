/* embedding_write.c - writing embeddings; see embedding.h. */
#include "formats/embedding.h"
#include "formats/safetensors.h"
#include "formats/torch_write.h"

#include <string.h>

static bool is_pair(const embedding *e)
{
    return e->width[1] > 0;
}

static const char *word_of(const embedding *e, const char *word)
{
    return word && *word ? word : e->token ? e->token : e->name ? e->name : "*";
}

/* The tensor's name for encoder k. */
static const char *tensor_name(const embedding *e, embedding_layout layout, const char *word, int k)
{
    if (is_pair(e))
        return k == 0 ? "clip_l" : "clip_g";
    return layout == EMBEDDING_DIFFUSERS ? word_of(e, word) : "emb_params";
}

static kiln_status write_safetensors(const embedding *e, embedding_layout layout, const char *word,
                                     const embedding_note *notes, int note_count, const char *path,
                                     kiln_error *err)
{
    safetensors_writer *w;
    kiln_status status = safetensors_writer_open(path, &w, err);
    if (status)
        return status;
    status = safetensors_writer_metadata(w, "format", "pt", err);
    for (int i = 0; i < note_count && !status; i++)
        status = safetensors_writer_metadata(w, notes[i].key, notes[i].text, err);
    for (int k = 0; k < EMBEDDING_ENCODERS && !status; k++)
        if (e->width[k])
            status = safetensors_writer_declare(w, tensor_name(e, layout, word, k), DTYPE_F32,
                                                SHAPE2(e->vectors, e->width[k]), err);
    for (int k = 0; k < EMBEDDING_ENCODERS && !status; k++)
        if (e->width[k])
            status = safetensors_writer_write(w, tensor_name(e, layout, word, k), e->values[k],
                                              (size_t)e->vectors * (size_t)e->width[k] * sizeof(float), err);
    if (!status)
        return safetensors_writer_finish(w, err);
    safetensors_writer_abort(w);
    return status;
}

static void text_or_none(torch_writer *w, const char *key, const char *text)
{
    torch_text(w, key);
    if (text)
        torch_text(w, text);
    else
        torch_none(w);
}

static void write_dict(torch_writer *w, const embedding *e, const char *word, const embedding_note *notes,
                       int note_count)
{
    torch_dict(w);
    if (is_pair(e)) {
        for (int k = 0; k < EMBEDDING_ENCODERS; k++) {
            torch_text(w, tensor_name(e, EMBEDDING_A1111, NULL, k));
            torch_tensor(w, e->values[k], SHAPE2(e->vectors, e->width[k]));
        }
    } else {
        torch_text(w, "string_to_token");
        torch_dict(w);
        torch_text(w, "*");
        torch_integer(w, 265); /* the id of "*" in CLIP's vocabulary */
        torch_end(w);
        torch_text(w, "string_to_param");
        torch_dict(w);
        torch_text(w, "*");
        torch_tensor(w, e->values[0], SHAPE2(e->vectors, e->width[0]));
        torch_end(w);
    }
    if (!is_pair(e)) {
        text_or_none(w, "name", word_of(e, word));
        torch_text(w, "step");
        if (e->step >= 0)
            torch_integer(w, e->step);
        else
            torch_none(w);
        text_or_none(w, "sd_checkpoint", e->checkpoint);
        text_or_none(w, "sd_checkpoint_name", e->checkpoint_name);
    }
    for (int i = 0; i < note_count; i++)
        text_or_none(w, notes[i].key, notes[i].text);
    torch_end(w);
}

kiln_status embedding_write(const embedding *e, embedding_layout layout, const char *word,
                            const embedding_note *notes, int note_count, const char *path, kiln_error *err)
{
    if (layout != EMBEDDING_A1111)
        return write_safetensors(e, layout, word, notes, note_count, path, err);
    torch_writer *w;
    kiln_status status = torch_writer_open(path, &w, err);
    if (status)
        return status;
    write_dict(w, e, word, notes, note_count);
    return torch_writer_finish(w, err);
}
