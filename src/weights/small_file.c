/* small_file.c - see small_file.h. */
#include "weights/small_file.h"

#include "formats/byte_source.h"

#include <sys/stat.h>

kiln_status small_file_read(const char *path, arena *memory, const char **text, size_t *length,
                            kiln_error *err)
{
    byte_source source;
    *text = NULL;
    *length = 0;
    kiln_status status = byte_source_open(path, &source, err);
    if (status)
        return status;
    char *bytes = NULL;
    if (source.size > SMALL_FILE_MAX)
        status = fail(err, KILN_BAD_FORMAT,
                      "%s: %" PRIu64 " bytes are too many for a file of this kind (at most %d)", path,
                      source.size, (int)SMALL_FILE_MAX);
    else if (!(bytes = arena_alloc(memory, (size_t)source.size + 1)))
        status = fail(err, KILN_NO_MEMORY, "%s: not enough memory to read it", path);
    else
        status = byte_source_read(&source, 0, bytes, (size_t)source.size, err);
    if (!status) {
        *text = bytes;
        *length = (size_t)source.size;
    }
    byte_source_close(&source);
    return status;
}

bool path_is_file(const char *path)
{
    struct stat about;
    return stat(path, &about) == 0 && S_ISREG(about.st_mode);
}

bool path_is_folder(const char *path)
{
    struct stat about;
    return stat(path, &about) == 0 && S_ISDIR(about.st_mode);
}
