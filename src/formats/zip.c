/* zip.c - see zip.h. */
#include "formats/zip.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum {
    END_BYTES = 22,
    END64_BYTES = 56,
    LOCATOR_BYTES = 20,
    CENTRAL_BYTES = 46,
    LOCAL_BYTES = 30,
    COMMENT_MAX = 65535,
    DEFLATE_MAX_RATIO = 1032,
    DIRECTORY_MAX = 256 << 20
};

typedef struct directory {
    uint64_t offset, size, count;
} directory;

/* The ZIP64 end record, when the locator before the end record points to one. */
static kiln_status find_directory64(const byte_source *source, uint64_t end_at, directory *out,
                                    kiln_error *err)
{
    uint8_t locator[LOCATOR_BYTES], end[END64_BYTES];
    if (end_at < LOCATOR_BYTES)
        return KILN_OK;
    kiln_status status = byte_source_read(source, end_at - LOCATOR_BYTES, locator, sizeof locator, err);
    if (status || memcmp(locator, "PK\6\7", 4) != 0)
        return status;
    status = byte_source_read(source, little_u64(locator + 8), end, sizeof end, err);
    if (status)
        return status;
    if (memcmp(end, "PK\6\6", 4) != 0)
        return fail(err, KILN_BAD_FORMAT, "%s: the zip64 end record is missing", source->path);
    *out = (directory){
        .count = little_u64(end + 32), .size = little_u64(end + 40), .offset = little_u64(end + 48)};
    return KILN_OK;
}

static kiln_status find_directory(const byte_source *source, directory *out, kiln_error *err)
{
    uint64_t tail_size = source->size < END_BYTES + COMMENT_MAX ? source->size : END_BYTES + COMMENT_MAX;
    uint64_t tail_at = source->size - tail_size;
    uint8_t *tail = malloc(tail_size ? tail_size : 1);
    if (!tail)
        return fail(err, KILN_NO_MEMORY, "%s: not enough memory", source->path);
    kiln_status status = byte_source_read(source, tail_at, tail, tail_size, err);
    if (status) {
        free(tail);
        return status;
    }
    int64_t at = (int64_t)tail_size - END_BYTES;
    while (at >= 0 && (memcmp(tail + at, "PK\5\6", 4) != 0 ||
                       (uint64_t)at + END_BYTES + little_u16(tail + at + 20) > tail_size))
        at--;
    if (at < 0) {
        free(tail);
        return fail(err, KILN_BAD_FORMAT,
                    "%s: the zip archive has no end record: the file is probably truncated", source->path);
    }
    const uint8_t *end = tail + at;
    bool one_disk = little_u16(end + 4) == little_u16(end + 6);
    *out = (directory){
        .count = little_u16(end + 10), .size = little_u32(end + 12), .offset = little_u32(end + 16)};
    free(tail);
    status = find_directory64(source, tail_at + (uint64_t)at, out, err);
    if (status)
        return status;
    if (!one_disk)
        return fail(err, KILN_UNSUPPORTED, "%s: the zip archive is split over several disks", source->path);
    if (out->offset > source->size || out->size > source->size - out->offset || out->size > DIRECTORY_MAX ||
        out->count > out->size / CENTRAL_BYTES)
        return fail(err, KILN_BAD_FORMAT,
                    "%s: the zip directory (%" PRIu64 " members, %" PRIu64 " bytes at %" PRIu64
                    ") does not fit into the file",
                    source->path, out->count, out->size, out->offset);
    return KILN_OK;
}

/* Sizes and offset of 4 GiB and more stand in the extra field with id 1, in this order, if they are needed. */
static bool read_zip64_extra(const uint8_t *extra, size_t length, zip_member *member)
{
    uint64_t *fields[] = {&member->size, &member->compressed, &member->header};
    while (length >= 4) {
        size_t size = little_u16(extra + 2);
        if (size > length - 4)
            return false;
        if (little_u16(extra) == 1) {
            const uint8_t *p = extra + 4, *end = p + size;
            for (int i = 0; i < 3; i++)
                if (*fields[i] == UINT32_MAX) {
                    if (end - p < 8)
                        return false;
                    *fields[i] = little_u64(p);
                    p += 8;
                }
            return true;
        }
        extra += 4 + size;
        length -= 4 + size;
    }
    return true;
}

/* One central header at p; *used is its length, 0 when it is malformed. */
static kiln_status read_member(const byte_source *source, arena *memory, const uint8_t *p, size_t left,
                               zip_member *member, size_t *used, kiln_error *err)
{
    *used = 0;
    if (left < CENTRAL_BYTES || memcmp(p, "PK\1\2", 4) != 0)
        return fail(err, KILN_BAD_FORMAT, "%s: the zip directory is malformed", source->path);
    size_t name = little_u16(p + 28), extra = little_u16(p + 30), comment = little_u16(p + 32);
    if (name + extra + comment > left - CENTRAL_BYTES)
        return fail(err, KILN_BAD_FORMAT, "%s: the zip directory ends within a member", source->path);
    *member = (zip_member){.flags = little_u16(p + 8),
                           .method = little_u16(p + 10),
                           .crc = little_u32(p + 16),
                           .compressed = little_u32(p + 20),
                           .size = little_u32(p + 24),
                           .header = little_u32(p + 42)};
    if (memchr(p + CENTRAL_BYTES, 0, name))
        return fail(err, KILN_BAD_FORMAT, "%s: a zip member's name has a zero byte", source->path);
    member->name = arena_text_part(memory, (const char *)p + CENTRAL_BYTES, name);
    if (!member->name)
        return fail(err, KILN_NO_MEMORY, "%s: not enough memory", source->path);
    if (!read_zip64_extra(p + CENTRAL_BYTES + name, extra, member))
        return fail(err, KILN_BAD_FORMAT, "%s: zip member '%s' has a malformed zip64 field", source->path,
                    member->name);
    *used = CENTRAL_BYTES + name + extra + comment;
    return KILN_OK;
}

static kiln_status read_members(const byte_source *source, arena *memory, const uint8_t *bytes, size_t size,
                                zip_archive *out, size_t count, kiln_error *err)
{
    for (size_t i = 0, at = 0; i < count; i++) {
        size_t used;
        kiln_status status = read_member(source, memory, bytes + at, size - at, &out->members[i], &used, err);
        if (status)
            return status;
        at += used;
        out->count = i + 1;
        if (name_index_find(&out->names, out->members[i].name) != NAME_MISSING)
            return fail(err, KILN_BAD_FORMAT, "%s: the zip archive has two members named '%s'", source->path,
                        out->members[i].name);
        if (!name_index_put(&out->names, out->members[i].name, (uint32_t)i))
            return fail(err, KILN_NO_MEMORY, "%s: not enough memory", source->path);
    }
    return KILN_OK;
}

kiln_status zip_open(const byte_source *source, arena *memory, zip_archive *out, kiln_error *err)
{
    *out = (zip_archive){0};
    directory where = {0};
    kiln_status status = find_directory(source, &where, err);
    if (status)
        return status;
    uint8_t *bytes = malloc(where.size + 1);
    out->members = arena_alloc(memory, ((size_t)where.count + 1) * sizeof *out->members);
    if (!bytes || !out->members)
        status = fail(err, KILN_NO_MEMORY, "%s: not enough memory", source->path);
    if (!status)
        status = byte_source_read(source, where.offset, bytes, (size_t)where.size, err);
    if (!status)
        status = read_members(source, memory, bytes, (size_t)where.size, out, (size_t)where.count, err);
    free(bytes);
    if (status)
        zip_fini(out);
    return status;
}

void zip_fini(zip_archive *archive)
{
    name_index_fini(&archive->names);
    *archive = (zip_archive){0};
}

const zip_member *zip_find(const zip_archive *archive, const char *name)
{
    int64_t number = name_index_find(&archive->names, name);
    return number == NAME_MISSING ? NULL : &archive->members[number];
}

kiln_status zip_locate(const byte_source *source, const zip_member *member, uint64_t *offset, kiln_error *err)
{
    uint8_t local[LOCAL_BYTES];
    *offset = 0;
    if (member->flags & 1)
        return fail(err, KILN_UNSUPPORTED, "%s: zip member '%s' is encrypted", source->path, member->name);
    if (member->method != 0 && member->method != Z_DEFLATED)
        return fail(err, KILN_UNSUPPORTED,
                    "%s: zip member '%s' is compressed by method %d; only deflate is read", source->path,
                    member->name, member->method);
    if (member->method == 0 && member->compressed != member->size)
        return fail(err, KILN_BAD_FORMAT, "%s: stored zip member '%s' has two sizes", source->path,
                    member->name);
    if (member->method != 0 && member->size / DEFLATE_MAX_RATIO > member->compressed)
        return fail(err, KILN_BAD_FORMAT,
                    "%s: zip member '%s' claims %" PRIu64 " bytes, more than its %" PRIu64
                    " compressed bytes can hold",
                    source->path, member->name, member->size, member->compressed);
    kiln_status status = byte_source_read(source, member->header, local, sizeof local, err);
    if (status)
        return status;
    if (memcmp(local, "PK\3\4", 4) != 0)
        return fail(err, KILN_BAD_FORMAT, "%s: zip member '%s' is not where the directory says", source->path,
                    member->name);
    uint64_t at = member->header + LOCAL_BYTES + little_u16(local + 26) + little_u16(local + 28);
    if (at > source->size || member->compressed > source->size - at)
        return fail(err, KILN_BAD_FORMAT,
                    "%s: zip member '%s' ends after the file: %" PRIu64 " bytes at %" PRIu64
                    ", the file has %" PRIu64,
                    source->path, member->name, member->compressed, at, source->size);
    *offset = at;
    return KILN_OK;
}

/* Feed the stream from the file until `size` bytes came out and the stream says that it is at its end. */
static kiln_status inflate_member(const byte_source *source, const zip_member *member, uint64_t at,
                                  uint8_t *to, size_t size, kiln_error *err)
{
    enum { INPUT = 64 << 10, OUTPUT = 1 << 30 };
    uint8_t extra, *input = malloc(INPUT);
    z_stream stream = {0};
    if (!input || inflateInit2(&stream, -MAX_WBITS) != Z_OK) {
        free(input);
        return fail(err, KILN_NO_MEMORY, "%s: not enough memory", source->path);
    }
    uint64_t left = member->compressed;
    size_t done = 0;
    int code = Z_OK;
    kiln_status status = KILN_OK;
    while (code == Z_OK && !status) {
        if (stream.avail_in == 0 && left) {
            stream.avail_in = (uInt)(left < INPUT ? left : INPUT);
            status = byte_source_read(source, at, input, stream.avail_in, err);
            if (status)
                break;
            stream.next_in = input;
            at += stream.avail_in;
            left -= stream.avail_in;
        }
        /* One byte of room after the last: a stream that goes on is a bomb. */
        uInt room = size - done > OUTPUT ? OUTPUT : size > done ? (uInt)(size - done) : 1;
        stream.next_out = size > done ? to + done : &extra;
        stream.avail_out = room;
        code = inflate(&stream, Z_NO_FLUSH);
        done += room - stream.avail_out;
        if (done > size)
            break;
    }
    inflateEnd(&stream);
    free(input);
    if (status)
        return status;
    if (done > size)
        return fail(err, KILN_BAD_FORMAT, "%s: zip member '%s' inflates to more than its %zu bytes",
                    source->path, member->name, size);
    if (code != Z_STREAM_END || done != size)
        return fail(err, KILN_BAD_FORMAT,
                    "%s: zip member '%s' is damaged: %zu of %zu bytes could be inflated", source->path,
                    member->name, done, size);
    return KILN_OK;
}

kiln_status zip_read(const byte_source *source, const zip_member *member, void *to, size_t size,
                     kiln_error *err)
{
    uint64_t at;
    kiln_status status = zip_locate(source, member, &at, err);
    if (status)
        return status;
    if (member->size != size)
        return fail(err, KILN_BAD_FORMAT, "%s: zip member '%s' has %" PRIu64 " bytes, expected %zu",
                    source->path, member->name, member->size, size);
    if (member->method == 0)
        status = byte_source_read(source, at, to, size, err);
    else
        status = inflate_member(source, member, at, to, size, err);
    if (!status && crc32_z(crc32_z(0, NULL, 0), to, size) != member->crc)
        return fail(err, KILN_BAD_FORMAT, "%s: zip member '%s' is damaged: its checksum is wrong",
                    source->path, member->name);
    return status;
}
