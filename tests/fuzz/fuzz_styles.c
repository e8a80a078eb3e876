/* fuzz_styles.c - files of styles of arbitrary bytes: the table, the styles in it, their names and their texts put around a prompt.
 * floors: base tensor formats text */
#include "text/styles.h"

#include <stdlib.h>
#include <string.h>

static void use_style(const styles *all, const style *s)
{
    char like[100], *merged = NULL;
    if (styles_find(all, s->name) != s)
        abort();
    styles_like(all, s->prompt, like, sizeof like);
    bool good = style_merge(s->prompt, s->negative, &merged, NULL) == KILN_OK;
    if (good != (merged != NULL))
        abort();
    if (good && !strstr(s->prompt, "{prompt}") &&
        strlen(merged) > strlen(s->prompt) + strlen(s->negative) + 2)
        abort();
    free(merged);
}

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    styles all = {0};
    kiln_error err = {0};
    kiln_status status = styles_add(&all, (const char *)data, size, "styles.csv", &err);
    if (status != KILN_OK && (status != err.status || !strstr(err.text, "styles.csv")))
        abort();
    for (int i = 0; i < all.count && i < 100; i++)
        use_style(&all, &all.list[i]);
    /* The same once more changes nothing. */
    int count = all.count;
    if (status == KILN_OK &&
        (styles_add(&all, (const char *)data, size, "styles.csv", NULL) != KILN_OK || all.count != count))
        abort();
    styles_free(&all);
    return 0;
}
