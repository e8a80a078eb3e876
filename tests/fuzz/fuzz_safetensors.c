/* fuzz_safetensors.c - headers of safetensors files. The input is the whole file, or, when its first byte is no
 * length, the JSON of a header in front of 64 bytes of data.
 * floors: base tensor formats */
#include "open_and_read.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    open_and_read(bytes, size);
    if (size == 0 || bytes[0] != '{' || size > 1 << 20)
        return 0;
    enum { DATA = 64 };
    uint8_t *file = calloc(1, 8 + size + DATA);
    if (!file)
        return 0;
    for (int i = 0; i < 8; i++)
        file[i] = (uint8_t)(size >> (8 * i));
    memcpy(file + 8, bytes, size);
    open_and_read(file, 8 + size + DATA);
    free(file);
    return 0;
}
