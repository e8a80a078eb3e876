/* floors: base tensor formats image */
/* fuzz_infotext.c - any text as generation parameters: what is built from it parses to the same, and
 * again. */
#include "image/infotext.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void expect(bool truth)
{
    if (!truth)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1), *built, *again;
    infotext *info, *second;
    kiln_error err = {0};
    if (!text)
        return 0;
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    if (infotext_parse(text, &info, &err) == KILN_OK) {
        built = infotext_build(info);
        expect(built && infotext_parse(built, &second, &err) == KILN_OK);
        again = infotext_build(second);
        expect(again != NULL);
        if (info->count >= 3) {
            expect(second->count == info->count);
            for (size_t i = 0; i < info->count; i++) {
                expect(strcmp(second->fields[i].key, info->fields[i].key) == 0);
                expect(strcmp(second->fields[i].value, info->fields[i].value) == 0);
            }
            expect(strcmp(again, built) == 0);
        }
        free(built);
        free(again);
        infotext_free(second);
        infotext_free(info);
    }
    free(text);
    return 0;
}
