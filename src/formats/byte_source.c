/* byte_source.c - see byte_source.h. */
#include "formats/byte_source.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

kiln_status byte_source_open(const char *path, byte_source *out, kiln_error *err)
{
    *out = (byte_source){.fd = -1, .path = path};
    /* O_NONBLOCK: opening a named pipe must not wait for a writer. It has no effect on regular files. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return fail_system(err, "%s", path);
    struct stat status;
    if (fstat(fd, &status) != 0) {
        kiln_status code = fail_system(err, "%s", path);
        close(fd);
        return code;
    }
    if (!S_ISREG(status.st_mode)) {
        close(fd);
        return fail(err, KILN_BAD_ARGUMENT, "%s: not a regular file", path);
    }
    out->fd = fd;
    out->size = (uint64_t)status.st_size;
    return KILN_OK;
}

byte_source byte_source_of_memory(const void *bytes, size_t size, const char *path)
{
    return (byte_source){.fd = -1, .bytes = bytes, .size = size, .path = path};
}

void byte_source_close(byte_source *source)
{
    if (source->fd >= 0)
        close(source->fd);
    source->fd = -1;
}

kiln_status byte_source_read(const byte_source *source, uint64_t at, void *to, size_t size, kiln_error *err)
{
    if (at > source->size || size > source->size - at)
        return fail(err, KILN_BAD_FORMAT, "%s: needs %zu bytes at %" PRIu64 ", the file has only %" PRIu64,
                    source->path, size, at, source->size);
    if (source->bytes) {
        if (size)
            memcpy(to, source->bytes + at, size);
        return KILN_OK;
    }
    for (size_t done = 0; done < size;) {
        ssize_t got = pread(source->fd, (char *)to + done, size - done, (off_t)(at + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail_system(err, "%s: reading %zu bytes at %" PRIu64, source->path, size, at);
        if (got == 0)
            return fail(err, KILN_BAD_FORMAT, "%s: was cut short while it was being read", source->path);
        done += (size_t)got;
    }
    return KILN_OK;
}
