/* picture_write.c - encode, then put the bytes in place whole. See picture_file.h. */
#include "image/codec.h"
#include "image/picture_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { JPEG_QUALITY = 95, WEBP_QUALITY = 90, TEMPORARY_TRIES = 100, TEMPORARY_NAME = 64 };

static const struct {
    const char *extension;
    image_format format;
} extensions[] = {
    {"png", IMAGE_FORMAT_PNG},
    {"jpg", IMAGE_FORMAT_JPEG},
    {"jpeg", IMAGE_FORMAT_JPEG},
    {"webp", IMAGE_FORMAT_WEBP},
};

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

image_format image_format_of_path(const char *path)
{
    const char *base = base_name(path), *dot = strrchr(base, '.');
    for (size_t i = 0; dot && dot > base && i < sizeof extensions / sizeof *extensions; i++)
        if (strcasecmp(dot + 1, extensions[i].extension) == 0)
            return extensions[i].format;
    return IMAGE_FORMAT_NONE;
}

static kiln_status check_options(const char *path, const picture_text *text,
                                 const image_write_options *options, kiln_error *err)
{
    if (options && (options->quality < 0 || options->quality > 100))
        return fail(err, KILN_BAD_ARGUMENT, "%s: a quality of %d: expected 1 to 100", path, options->quality);
    for (size_t i = 0; text && i < text->count; i++)
        if (!text_is_utf8(text->entries[i].text, strlen(text->entries[i].text)))
            return fail(err, KILN_BAD_ARGUMENT, "%s: the text '%s' is not valid UTF-8", path,
                        text->entries[i].keyword);
    return KILN_OK;
}

static kiln_status encode(const char *path, image_format format, const image *picture,
                          const picture_text *text, const image_write_options *options, byte_buffer *to,
                          kiln_error *err)
{
    kiln_status status = check_options(path, text, options, err);
    if (status != KILN_OK)
        return status;
    encoding how = {
        .name = path, .quality = options ? options->quality : 0, .lossless = options && options->lossless};
    if (how.quality == 0)
        how.quality = format == IMAGE_FORMAT_JPEG ? JPEG_QUALITY : WEBP_QUALITY;
    switch (format) {
    case IMAGE_FORMAT_PNG:
        status = codec_png_write(picture, text, &how, to, err);
        break;
    case IMAGE_FORMAT_JPEG:
        status = codec_jpeg_write(picture, text, &how, to, err);
        break;
    case IMAGE_FORMAT_WEBP:
        status = codec_webp_write(picture, text, &how, to, err);
        break;
    case IMAGE_FORMAT_NONE:
    default:
        return fail(err, KILN_BAD_ARGUMENT, "%s: unknown extension: expected .png, .jpg, .jpeg or .webp",
                    path);
    }
    if (status == KILN_OK && to->short_of_memory)
        status = fail(err, KILN_NO_MEMORY, "%s: not enough memory to write it", path);
    return status;
}

kiln_status image_write_memory(image_format format, const image *picture, const picture_text *text,
                               const image_write_options *options, unsigned char **bytes, size_t *size,
                               kiln_error *err)
{
    byte_buffer to = {0};
    *bytes = NULL;
    *size = 0;
    kiln_status status = encode("picture", format, picture, text, options, &to, err);
    if (status != KILN_OK) {
        byte_buffer_fini(&to);
        return status;
    }
    *bytes = to.bytes;
    *size = to.size;
    return KILN_OK;
}

/* A file being written beside its destination. */
typedef struct replacement {
    char *target; /* where it goes: the path, or what a link there points to */
    char *path;   /* the temporary */
    char *folder;
    int file;
} replacement;

static void replacement_drop(replacement *r)
{
    if (r->file >= 0)
        close(r->file);
    if (r->path)
        unlink(r->path);
    free(r->path);
    free(r->folder);
    free(r->target);
    *r = (replacement){.file = -1};
}

/* Fill target and folder, and refuse what can be refused by looking. */
static kiln_status look_at_target(const char *path, replacement *r, kiln_error *err)
{
    struct stat about;
    if (*path == '\0')
        return fail(err, KILN_BAD_ARGUMENT, "the output has no name");
    if (image_format_of_path(path) == IMAGE_FORMAT_NONE)
        return fail(err, KILN_BAD_ARGUMENT, "%s: unknown extension: expected .png, .jpg, .jpeg or .webp",
                    path);
    bool exists = stat(path, &about) == 0;
    if (!exists && errno != ENOENT)
        return fail_system(err, "%s: cannot be written", path);
    if (exists && !S_ISREG(about.st_mode))
        return fail(err, KILN_BAD_ARGUMENT, "%s: %s, where a picture should go", path,
                    S_ISDIR(about.st_mode) ? "a folder" : "not an ordinary file");
    r->target = exists ? realpath(path, NULL) : strdup(path);
    r->folder = r->target ? strdup(r->target) : NULL;
    if (!r->folder)
        return fail(err, KILN_NO_MEMORY, "%s: not enough memory to write it", path);
    char *base = r->folder + (base_name(r->folder) - r->folder);
    if (base == r->folder)
        strcpy(r->folder, ".");
    else if (base == r->folder + 1)
        *base = '\0';
    else
        base[-1] = '\0';
    if (stat(r->folder, &about) != 0)
        return fail_system(err, "%s: cannot be written: the folder %s", path, r->folder);
    if (!S_ISDIR(about.st_mode))
        return fail(err, KILN_BAD_ARGUMENT, "%s: cannot be written: %s is not a folder", path, r->folder);
    return KILN_OK;
}

/* Make an empty file of a new name in the target's folder. O_EXCL keeps apart writers who pick the same
 * name. */
static kiln_status replacement_open(const char *path, replacement *r, kiln_error *err)
{
    *r = (replacement){.file = -1};
    kiln_status status = look_at_target(path, r, err);
    size_t room = status == KILN_OK ? strlen(r->folder) + TEMPORARY_NAME : 0;
    char *name = status == KILN_OK ? malloc(room) : NULL;
    if (status == KILN_OK && !name)
        status = fail(err, KILN_NO_MEMORY, "%s: not enough memory to write it", path);
    for (int i = 0; status == KILN_OK && r->file < 0; i++) {
        snprintf(name, room, "%s/.kiln-%ld-%d.part", r->folder, (long)getpid(), i);
        r->file = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (r->file < 0 && (errno != EEXIST || i >= TEMPORARY_TRIES))
            status = fail_system(err, "%s: cannot be written: no file can be made in %s", path, r->folder);
    }
    if (status == KILN_OK) {
        r->path = name;
        return KILN_OK;
    }
    free(name);
    replacement_drop(r);
    return status;
}

static bool write_all(int file, const unsigned char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t put = write(file, bytes, size);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return false;
        bytes += put;
        size -= (size_t)put;
    }
    return true;
}

/* A rename lasts only once the folder is on disk too. Not every file system can do that: no error then. */
static void sync_folder(const char *folder)
{
    int file = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (file >= 0) {
        (void)fsync(file);
        close(file);
    }
}

static kiln_status replacement_commit(replacement *r, const char *path, const byte_buffer *content,
                                      kiln_error *err)
{
    if (!write_all(r->file, content->bytes, content->size) || fsync(r->file) != 0)
        return fail_system(err, "%s: cannot be written", path);
    int closed = close(r->file);
    r->file = -1;
    if (closed != 0 || rename(r->path, r->target) != 0)
        return fail_system(err, "%s: cannot be written", path);
    free(r->path);
    r->path = NULL;
    sync_folder(r->folder);
    return KILN_OK;
}

kiln_status image_write(const char *path, const image *picture, const picture_text *text,
                        const image_write_options *options, kiln_error *err)
{
    replacement place;
    byte_buffer content = {0};
    kiln_status status = replacement_open(path, &place, err);
    if (status != KILN_OK)
        return status;
    status = encode(path, image_format_of_path(path), picture, text, options, &content, err);
    if (status == KILN_OK)
        status = replacement_commit(&place, path, &content, err);
    byte_buffer_fini(&content);
    replacement_drop(&place);
    return status;
}

kiln_status image_write_check(const char *path, kiln_error *err)
{
    replacement place;
    kiln_status status = replacement_open(path, &place, err);
    if (status == KILN_OK)
        replacement_drop(&place);
    return status;
}
