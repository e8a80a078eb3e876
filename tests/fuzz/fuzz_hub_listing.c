/* fuzz_hub_listing.c - a hub's list of files: any bytes, and what is chosen of them.
 *
 * floors: base
 *
 * The source is included, not linked: the rest of its floor needs all the others. */
#include "pipeline/pull_listing.c"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    hub_listing listing = {0};
    kiln_error err;
    if (hub_listing_add(&listing, (const char *)bytes, size, &err) == KILN_OK) {
        if (hub_listing_choose(&listing, NULL, size % 2 ? "fp16" : NULL, &err) != KILN_OK && !err.text[0])
            __builtin_trap();
        for (size_t i = 0; i < listing.count; i++)
            if (!hub_path_is_safe(listing.files[i].path))
                __builtin_trap();
        if (listing.count && hub_listing_choose(&listing, listing.files[0].path, NULL, &err) != KILN_OK &&
            !err.text[0])
            __builtin_trap();
    }
    hub_listing_fini(&listing);
    return 0;
}
