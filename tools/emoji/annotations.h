/* annotations.h - the English names and keywords of emoji, from CLDR's annotation files.
 *
 * Source: Unicode LDML (UTS 35), annotations: <annotation cp="..." type="tts">short name</annotation> and, without a
 * type, keywords between '|'. The files leave out U+FE0F. */
#ifndef EMOJI_ANNOTATIONS_H
#define EMOJI_ANNOTATIONS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

typedef struct annotation {
    char *sequence;      /* the characters, UTF-8 */
    char *name;          /* the short name, or NULL */
    char *keywords;      /* as in the file: "face | grin", or NULL */
    bool has_skin_tones; /* the same emoji exists with skin tones: a person or a hand */
} annotation;

typedef struct annotations {
    annotation *items; /* sorted by the bytes of the sequence */
    size_t count, capacity;
} annotations;

/* Read `folder`/annotations/en.xml and `folder`/annotationsDerived/en.xml. Entries with a skin tone are left out.
 * The list starts as {0} and is the caller's, to be given back with annotations_fini either way. */
kiln_status annotations_read(annotations *, const char *folder, kiln_error *err);
/* The same from one XML text; to be followed by annotations_sort. `name` is for messages. */
kiln_status annotations_parse(annotations *, const char *name, const char *text, size_t size,
                              kiln_error *err);
void annotations_sort(annotations *);
void annotations_fini(annotations *);

#endif
