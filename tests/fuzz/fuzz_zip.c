/* fuzz_zip.c - zip archives: the directory, every member, and torch files in them.
 * floors: base tensor formats */
#include "formats/zip.h"
#include "open_and_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    byte_source source = byte_source_of_memory(bytes, size, "input");
    arena memory = {0};
    zip_archive archive;
    if (zip_open(&source, &memory, &archive, NULL) == KILN_OK) {
        for (size_t i = 0; i < archive.count && i < 64; i++) {
            uint64_t at, member_size = archive.members[i].size;
            kiln_status located = zip_locate(&source, &archive.members[i], &at, NULL);
            if (located == KILN_OK && at > size)
                abort();
            void *to = member_size <= 1 << 20 ? malloc((size_t)member_size + 1) : NULL;
            if (to && zip_read(&source, &archive.members[i], to, (size_t)member_size, NULL) == KILN_OK &&
                located != KILN_OK)
                abort();
            free(to);
        }
        zip_fini(&archive);
    }
    arena_fini(&memory);
    open_and_read(bytes, size);
    return 0;
}
