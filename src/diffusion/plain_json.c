/* plain_json.c - see plain_json.h. No replacement is longer than the word that it stands for, except that
 * NaN (3) becomes null (4): a buffer of 4/3 of the text is enough for any input. */
#include "diffusion/plain_json.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static bool starts(const char *text, size_t left, const char *word)
{
    size_t length = strlen(word);
    return left >= length && memcmp(text, word, length) == 0;
}

char *plain_json(const char *text, size_t size, size_t *out_size)
{
    *out_size = 0;
    if (size > SIZE_MAX / 2 - 16)
        return NULL;
    char *out = malloc(size + size / 3 + 16);
    if (!out)
        return NULL;
    size_t n = 0;
    bool quoted = false;
    for (size_t i = 0; i < size;) {
        char c = text[i];
        if (!quoted && c == 'I' && starts(text + i, size - i, "Infinity")) {
            memcpy(out + n, "1e308", 5);
            n += 5;
            i += 8;
            continue;
        }
        if (!quoted && c == 'N' && starts(text + i, size - i, "NaN")) {
            memcpy(out + n, "null", 4);
            n += 4;
            i += 3;
            continue;
        }
        if (quoted && c == '\\' && i + 1 < size) {
            out[n++] = c;
            c = text[++i];
        } else if (c == '"') {
            quoted = !quoted;
        }
        out[n++] = c;
        i++;
    }
    out[n] = '\0';
    *out_size = n;
    return out;
}
