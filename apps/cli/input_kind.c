/* input_kind.c - see input_kind.h. */
#include "input_kind.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

input_kind input_kind_of(const char *argument)
{
    static const char *const pictures[] = {".png", ".jpg", ".jpeg", ".webp"};
    struct stat info;
    bool exists = stat(argument, &info) == 0 && S_ISREG(info.st_mode);
    const char *dot = strrchr(argument, '.');
    if (dot && strcasecmp(dot, ".safetensors") == 0)
        return exists ? INPUT_LATENTS : INPUT_MISSING;
    for (size_t i = 0; dot && i < sizeof pictures / sizeof *pictures; i++)
        if (strcasecmp(dot, pictures[i]) == 0)
            return exists ? INPUT_PICTURE : INPUT_MISSING;
    return exists ? INPUT_PICTURE : INPUT_TEXT;
}
