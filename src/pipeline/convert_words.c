/* convert_words.c - embeddings (textual inversion) from any of their layouts to another; see formats/embedding.h. */
#include "formats/identify.h"
#include "image/embedding_picture.h"
#include "image/picture_file.h"
#include "pipeline/convert.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { CARD_SIDE = 256 };

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcasecmp(text + n - m, end) == 0;
}

bool convert_takes_words(const char *from, const char *to)
{
    identity what = {.kind = WEIGHTS_UNKNOWN};
    tensor_file *file = NULL;
    if (ends_with(to, ".png") || ends_with(from, ".png") || ends_with(from, ".webp"))
        return true;
    if (!ends_with(to, ".pt") && !ends_with(to, ".safetensors"))
        return false;
    if (tensor_file_open(from, &file, NULL) == KILN_OK)
        identify(file, &what);
    tensor_file_close(file);
    return what.kind == WEIGHTS_TEXTUAL_INVERSION;
}

/* A card of soft colours, where no picture is given. */
static kiln_status make_card(image **out, kiln_error *err)
{
    kiln_status status = image_new(CARD_SIDE, CARD_SIDE, 3, 8, out, err);
    for (int i = 0; !status && i < CARD_SIDE * CARD_SIDE; i++) {
        unsigned char *p = (unsigned char *)(*out)->pixels + (size_t)i * 3;
        p[0] = (unsigned char)(100 + i % CARD_SIDE / 2);
        p[1] = (unsigned char)(110 + i / CARD_SIDE / 3);
        p[2] = (unsigned char)(200 - i % CARD_SIDE / 4);
    }
    return status;
}

static kiln_status write_picture(const embedding *e, const char *word, const char *front_path, const char *to,
                                 kiln_error *err)
{
    image *front = NULL, *made = NULL;
    picture_text *texts = picture_text_new();
    kiln_status status = texts ? KILN_OK : fail(err, KILN_NO_MEMORY, "out of memory for a picture");
    if (!status)
        status = front_path ? image_read(front_path, &front, NULL, err) : make_card(&front, err);
    if (!status)
        status = embedding_to_picture(e, word, front, &made, texts, err);
    if (!status)
        status = image_write(to, made, texts, NULL, err);
    image_free(front);
    image_free(made);
    picture_text_free(texts);
    return status;
}

static kiln_status layout_of(const kiln_convert_options *o, const char *to, embedding_layout *out,
                             kiln_error *err)
{
    bool diffusers = o->layout && strcmp(o->layout, "diffusers") == 0;
    *out = ends_with(to, ".pt") ? EMBEDDING_A1111 : diffusers ? EMBEDDING_DIFFUSERS : EMBEDDING_KOHYA;
    if (o->layout && !diffusers && strcmp(o->layout, "kohya") != 0)
        return fail(err, KILN_BAD_ARGUMENT, "the layout is kohya or diffusers, not '%s'", o->layout);
    if (o->type && strcmp(o->type, "f32") != 0)
        return fail(err, KILN_BAD_ARGUMENT, "embeddings are written as f32, not %s", o->type);
    return KILN_OK;
}

/* What it is called: what the user says, or the new file's name. */
static char *word_for(const kiln_convert_options *o, const embedding *e, const char *to)
{
    const char *slash = strrchr(to, '/'), *name = slash ? slash + 1 : to, *dot = strrchr(name, '.');
    if (o->word || e->token)
        return strdup(o->word ? o->word : e->token);
    return strndup(name, dot ? (size_t)(dot - name) : strlen(name));
}

kiln_status convert_words(const char *from, const char *to, const kiln_convert_options *o, kiln_error *err)
{
    embedding_list list;
    embedding_layout layout;
    kiln_status status = embedding_open(from, &list, err);
    if (!status)
        status = layout_of(o, to, &layout, err);
    if (!status && list.count != 1)
        status = fail(err, KILN_UNSUPPORTED, "%s: holds %d embeddings, and a file is made of one", from,
                      list.count);
    char *word = status ? NULL : word_for(o, list.items, to);
    if (!status && !word)
        status = fail(err, KILN_NO_MEMORY, "out of memory for a word");
    if (!status && ends_with(to, ".png"))
        status = write_picture(list.items, word, o->picture, to, err);
    else if (!status && (ends_with(to, ".pt") || ends_with(to, ".safetensors")))
        status = embedding_write(list.items, layout, word, NULL, 0, to, err);
    else if (!status)
        status = fail(err, KILN_BAD_ARGUMENT, "%s: embeddings are written as .safetensors, .pt or .png", to);
    free(word);
    embedding_list_fini(&list);
    return status;
}
