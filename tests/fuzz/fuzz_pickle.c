/* fuzz_pickle.c - the pickle machine, alone and in legacy torch files.
 * floors: base tensor formats */
#include "formats/pickle.h"
#include "open_and_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    arena memory = {0};
    pickle_value *root;
    size_t used;
    kiln_error err = {0};
    kiln_status status = pickle_run(bytes, size, "input", &memory, &root, &used, &err);
    if ((status == KILN_OK) != (root != NULL) || used > size || (status && !err.text[0]))
        abort();
    arena_fini(&memory);
    open_and_read(bytes, size);
    return 0;
}
