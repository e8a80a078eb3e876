/* describe.c - see describe.h. */
#include "weights/describe.h"

#include "formats/identify.h"

#include <stdio.h>
#include <string.h>

void describe_file(const tensor_file *file, char text[DESCRIPTION_BYTES])
{
    identity is;
    identify(file, &is);
    text[0] = '\0';
    if (is.kind == WEIGHTS_UNKNOWN)
        return;
    const char *kind = weights_kind_text(is.kind);
    const char *article = strchr("aeiou", kind[0]) ? "an" : "a";
    if (is.kind == WEIGHTS_OTHER)
        snprintf(text, DESCRIPTION_BYTES, "%s", is.family_text[0] ? is.family_text : "another kind of model");
    else if (is.family_text[0])
        snprintf(text, DESCRIPTION_BYTES, "%s %s (%s)", article, kind, is.family_text);
    else
        snprintf(text, DESCRIPTION_BYTES, "%s %s", article, kind);
}
