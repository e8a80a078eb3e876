/* torch_write.c - see torch_write.h. A zip archive of stored members: the storages as they come, then data.pkl. */
#include "formats/torch_write.h"

#include "base/arena.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

/* Sizes in a plain zip are 32 bits; files of this kind have some megabytes. */
enum { DEPTH_MAX = 16, ALIGNMENT = 64, LOCAL_HEADER = 30 };

typedef struct bytes {
    uint8_t *at;
    size_t size, capacity;
} bytes;

struct torch_writer {
    arena memory;
    const char *path, *temporary;
    FILE *file;
    bytes pickle, directory;
    char close[DEPTH_MAX]; /* the instruction that ends each open container */
    int depth, storages, members;
    uint64_t written;
    kiln_error error;
};

/* ------------------------------------------------------------------------------------ bytes */

static bool failed(const torch_writer *w)
{
    return w->error.status != KILN_OK;
}

static void put(torch_writer *w, bytes *to, const void *from, size_t size)
{
    if (failed(w))
        return;
    if (size > to->capacity - to->size) {
        size_t wanted = to->capacity * 2 + size + 1024;
        uint8_t *bigger = realloc(to->at, wanted);
        if (!bigger) {
            fail(&w->error, KILN_NO_MEMORY, "%s: not enough memory to write it", w->path);
            return;
        }
        to->at = bigger;
        to->capacity = wanted;
    }
    memcpy(to->at + to->size, from, size);
    to->size += size;
}

/* `size` bytes of a number, the lowest first. */
static void put_number(torch_writer *w, bytes *to, uint64_t number, int size)
{
    uint8_t b[8];
    for (int i = 0; i < size; i++)
        b[i] = (uint8_t)(number >> (8 * i));
    put(w, to, b, (size_t)size);
}

static void op(torch_writer *w, char instruction)
{
    put(w, &w->pickle, &instruction, 1);
}

static void op_text(torch_writer *w, const char *text)
{
    size_t length = strlen(text);
    op(w, 'X');
    put_number(w, &w->pickle, length, 4);
    put(w, &w->pickle, text, length);
}

static void op_integer(torch_writer *w, int64_t number)
{
    bool small = number >= INT32_MIN && number <= INT32_MAX;
    put(w, &w->pickle, small ? "J" : "\x8a\x08", small ? 1 : 2);
    put_number(w, &w->pickle, (uint64_t)number, small ? 4 : 8);
}

static void op_global(torch_writer *w, const char *module_and_name)
{
    op(w, 'c');
    put(w, &w->pickle, module_and_name, strlen(module_and_name));
}

/* ------------------------------------------------------------------------------------ the archive */

static void write_file(torch_writer *w, const void *from, size_t size)
{
    if (failed(w) || !size)
        return;
    if (fwrite(from, 1, size, w->file) != size)
        fail_system(&w->error, "%s: cannot be written", w->path);
    w->written += size;
}

/* What the local header and the central directory both say. */
static void put_facts(torch_writer *w, bytes *to, uint32_t crc, size_t size, size_t name, size_t extra)
{
    put_number(w, to, 0, 2);      /* flags */
    put_number(w, to, 0, 2);      /* stored */
    put_number(w, to, 0, 2);      /* time */
    put_number(w, to, 0x0021, 2); /* 1 January 1980 */
    put_number(w, to, crc, 4);
    put_number(w, to, size, 4);
    put_number(w, to, size, 4);
    put_number(w, to, name, 2);
    put_number(w, to, extra, 2);
}

/* Data begins at a multiple of 64, as torch has it, by a field of padding. */
static void add_member(torch_writer *w, const char *name, const void *from, size_t size)
{
    bytes header = {0};
    size_t length = strlen(name);
    uint64_t at = w->written, data = at + LOCAL_HEADER + length + 4;
    size_t padding = (size_t)((ALIGNMENT - data % ALIGNMENT) % ALIGNMENT);
    static const uint8_t zeros[ALIGNMENT];
    if (at + size + 1024 > UINT32_MAX && !failed(w))
        fail(&w->error, KILN_UNSUPPORTED, "%s: would be larger than 4 GB", w->path);
    if (failed(w))
        return;
    uint32_t crc = (uint32_t)crc32_z(0, from, size);
    put_number(w, &header, 0x04034b50, 4);
    put_number(w, &header, 20, 2);
    put_facts(w, &header, crc, size, length, padding + 4);
    put(w, &header, name, length);
    put(w, &header, "FB", 2);
    put_number(w, &header, padding, 2);
    put(w, &header, zeros, padding);
    write_file(w, header.at, header.size);
    write_file(w, from, size);
    free(header.at);
    bytes *d = &w->directory;
    put_number(w, d, 0x02014b50, 4);
    put_number(w, d, 20, 2);
    put_number(w, d, 20, 2);
    put_facts(w, d, crc, size, length, 0);
    put_number(w, d, 0, 6); /* comment, disk, inner attributes */
    put_number(w, d, 0, 4);
    put_number(w, d, at, 4);
    put(w, d, name, length);
    w->members++;
}

static void end_archive(torch_writer *w)
{
    bytes end = {0};
    size_t size = w->directory.size;
    uint64_t at = w->written;
    write_file(w, w->directory.at, size);
    put_number(w, &end, 0x06054b50, 4);
    put_number(w, &end, 0, 4); /* disks */
    put_number(w, &end, (uint64_t)w->members, 2);
    put_number(w, &end, (uint64_t)w->members, 2);
    put_number(w, &end, size, 4);
    put_number(w, &end, at, 4);
    put_number(w, &end, 0, 2);
    write_file(w, end.at, end.size);
    free(end.at);
}

/* ------------------------------------------------------------------------------------ values */

static void open_container(torch_writer *w, const char *begin, char end)
{
    if (w->depth == DEPTH_MAX && !failed(w))
        fail(&w->error, KILN_INTERNAL, "%s: containers are nested more than %d deep", w->path, DEPTH_MAX);
    if (failed(w))
        return;
    put(w, &w->pickle, begin, strlen(begin));
    w->close[w->depth++] = end;
}

void torch_dict(torch_writer *w)
{
    open_container(w, "}(", 'u');
}

void torch_list(torch_writer *w)
{
    open_container(w, "](", 'e');
}

void torch_tuple(torch_writer *w)
{
    open_container(w, "(", 't');
}

void torch_end(torch_writer *w)
{
    if (w->depth == 0 && !failed(w))
        fail(&w->error, KILN_INTERNAL, "%s: no container is open", w->path);
    if (!failed(w))
        op(w, w->close[--w->depth]);
}

void torch_none(torch_writer *w)
{
    op(w, 'N');
}

void torch_bool(torch_writer *w, bool truth)
{
    op(w, truth ? '\x88' : '\x89');
}

void torch_integer(torch_writer *w, int64_t number)
{
    op_integer(w, number);
}

void torch_number(torch_writer *w, double number)
{
    uint64_t bits;
    uint8_t b[8];
    memcpy(&bits, &number, sizeof bits);
    for (int i = 0; i < 8; i++)
        b[i] = (uint8_t)(bits >> (56 - 8 * i)); /* this one is the highest first */
    op(w, 'G');
    put(w, &w->pickle, b, sizeof b);
}

void torch_text(torch_writer *w, const char *text)
{
    if (strlen(text) > INT32_MAX && !failed(w))
        fail(&w->error, KILN_BAD_ARGUMENT, "%s: a text is too long", w->path);
    op_text(w, text);
}

/* The archive holds f32 as the machine has it: lowest byte first on all that Kiln runs on. */
void torch_tensor(torch_writer *w, const float *values, shape dims)
{
    char key[16], name[48];
    int64_t count = shape_count(dims), stride[SHAPE_MAX_RANK] = {0};
    snprintf(key, sizeof key, "%d", w->storages++);
    snprintf(name, sizeof name, "archive/data/%s", key);
    add_member(w, name, values, (size_t)count * sizeof *values);
    op_global(w, "torch._utils\n_rebuild_tensor_v2\n");
    put(w, &w->pickle, "((", 2);
    op_text(w, "storage");
    op_global(w, "torch\nFloatStorage\n");
    op_text(w, key);
    op_text(w, "cpu");
    op_integer(w, count);
    put(w, &w->pickle, "tQ", 2); /* the tuple is the name of a storage */
    op_integer(w, 0);
    op(w, '(');
    for (int i = 0; i < dims.rank; i++)
        op_integer(w, dims.dim[i]);
    put(w, &w->pickle, "t(", 2);
    for (int i = dims.rank - 1; i >= 0; i--)
        stride[i] = i == dims.rank - 1 ? 1 : stride[i + 1] * dims.dim[i + 1];
    for (int i = 0; i < dims.rank; i++)
        op_integer(w, stride[i]);
    put(w, &w->pickle, "t\x89", 2); /* needs no gradient */
    op_global(w, "collections\nOrderedDict\n");
    put(w, &w->pickle, ")RtR", 4);
}

/* ------------------------------------------------------------------------------------ open, finish */

static void writer_free(torch_writer *w)
{
    free(w->pickle.at);
    free(w->directory.at);
    arena_fini(&w->memory);
    free(w);
}

kiln_status torch_writer_open(const char *path, torch_writer **out, kiln_error *err)
{
    torch_writer *w = *out = calloc(1, sizeof *w);
    if (!w)
        return fail(err, KILN_NO_MEMORY, "%s: not enough memory to write it", path);
    w->path = arena_text(&w->memory, path);
    char *temporary = arena_format(&w->memory, "%s.XXXXXX", path);
    kiln_status status = KILN_OK;
    int fd = w->path && temporary ? mkstemp(temporary) : -1;
    w->temporary = temporary;
    if (!w->path || !temporary)
        status = fail(err, KILN_NO_MEMORY, "%s: not enough memory to write it", path);
    else if (fd < 0 || !(w->file = fdopen(fd, "wb")))
        status = fail_system(err, "%s: cannot be written", path);
    if (status == KILN_OK) {
        put(w, &w->pickle, "\x80\x02", 2); /* protocol 2 */
        return KILN_OK;
    }
    if (fd >= 0) {
        close(fd);
        unlink(temporary);
    }
    writer_free(w);
    *out = NULL;
    return status;
}

void torch_writer_abort(torch_writer *w)
{
    if (!w)
        return;
    if (w->file)
        (void)fclose(w->file);
    unlink(w->temporary);
    writer_free(w);
}

/* mkstemp makes files private; give the rights of the file before, or the usual ones. */
static void open_rights(const torch_writer *w)
{
    struct stat before;
    bool known = stat(w->path, &before) == 0;
    (void)!fchmod(fileno(w->file), known ? before.st_mode & 0777 : 0644);
}

kiln_status torch_writer_finish(torch_writer *w, kiln_error *err)
{
    if (w->depth && !failed(w))
        fail(&w->error, KILN_INTERNAL, "%s: a container was left open", w->path);
    op(w, '.');
    add_member(w, "archive/data.pkl", w->pickle.at, w->pickle.size);
    add_member(w, "archive/version", "3\n", 2);
    end_archive(w);
    open_rights(w);
    bool whole = fflush(w->file) == 0 && fsync(fileno(w->file)) == 0;
    whole = fclose(w->file) == 0 && whole;
    w->file = NULL;
    if (!failed(w) && (!whole || rename(w->temporary, w->path) != 0))
        fail_system(&w->error, "%s: cannot be written", w->path);
    if (failed(w)) {
        kiln_status status = w->error.status;
        if (err)
            *err = w->error;
        torch_writer_abort(w);
        return status;
    }
    writer_free(w);
    return KILN_OK;
}
