/* word_captions.c - see word_captions.h. */
#include "train/word_captions.h"

#include "train/mix.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The word stands between the two halves. */
typedef struct sentence {
    const char *before, *after;
} sentence;

static const sentence of_objects[] = {
    {"a picture of a ", ""},
    {"a photo of the ", ""},
    {"this is a ", ""},
    {"a close-up of a ", ""},
    {"a drawing of one ", ""},
    {"the ", ", seen from near"},
    {"a bright photo of a ", ""},
    {"a dark photo of the ", ""},
    {"a cropped picture of the ", ""},
    {"a clean photo of a ", ""},
    {"a good picture of one ", ""},
    {"an image of my ", ""},
    {"a small ", ""},
    {"a large ", ""},
    {"a plain rendering of a ", ""},
    {"a nice ", ""},
};

static const sentence of_styles[] = {
    {"a picture in the style of ", ""},
    {"a painting in the style of ", ""},
    {"a drawing by ", ""},
    {"a rendering in the style of ", ""},
    {"art by ", ""},
    {"a cropped work by ", ""},
    {"the picture, in the style of ", ""},
    {"a clean picture by ", ""},
    {"a dark painting by ", ""},
    {"a bright work in the style of ", ""},
    {"a close-up in the style of ", ""},
    {"an image by ", ""},
    {"a large painting in the style of ", ""},
    {"a small sketch by ", ""},
};

bool word_captions_own(const recipe *r)
{
    return strcmp(r->words.learnable_property, "caption") == 0;
}

static bool has_word(const char *text, const char *word)
{
    size_t length = strlen(word);
    for (; *text; text++)
        if (strncasecmp(text, word, length) == 0)
            return true;
    return false;
}

char *word_caption(const recipe *r, const char *own, uint64_t bits)
{
    const char *word = r->words.placeholder_token;
    bool style = strcmp(r->words.learnable_property, "style") == 0;
    if (word_captions_own(r) && (!*own || has_word(own, word)))
        return strdup(own);
    const sentence captioned = {"", ", "};
    const sentence *s = &captioned;
    if (!word_captions_own(r)) {
        uint32_t count = (uint32_t)((style ? sizeof of_styles : sizeof of_objects) / sizeof *s);
        s = (style ? of_styles : of_objects) + mix_below(bits, count);
        own = "";
    }
    size_t size = strlen(s->before) + strlen(word) + strlen(s->after) + strlen(own) + 1;
    char *text = malloc(size);
    if (text)
        snprintf(text, size, "%s%s%s%s", s->before, word, s->after, own);
    return text;
}
