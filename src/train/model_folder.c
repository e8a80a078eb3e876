/* model_folder.c - see model_folder.h. */
#include "train/model_folder.h"

#include "weights/config_text.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

kiln_status folder_path(char path[FOLDER_PATH], const char *folder, const char *name, kiln_error *err)
{
    int length = snprintf(path, FOLDER_PATH, "%s/%s", folder, name);
    return length < FOLDER_PATH ? KILN_OK : fail(err, KILN_BAD_ARGUMENT, "%s: the name is too long", folder);
}

kiln_status folder_make(const char *path, kiln_error *err)
{
    struct stat about;
    if (mkdir(path, 0777) == 0 || (errno == EEXIST && stat(path, &about) == 0 && S_ISDIR(about.st_mode)))
        return KILN_OK;
    return fail_system(err, "%s: the folder cannot be made", path);
}

kiln_status folder_sync(const char *path, kiln_error *err)
{
    int folder = open(path, O_RDONLY | O_DIRECTORY);
    if (folder < 0 || fsync(folder) != 0) {
        if (folder >= 0)
            close(folder);
        return fail_system(err, "%s: cannot be written", path);
    }
    close(folder);
    return KILN_OK;
}

static int remove_one(const char *path, const struct stat *about, int kind, struct FTW *where)
{
    (void)about;
    (void)kind;
    (void)where;
    return remove(path);
}

void folder_remove(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static kiln_status make_inside(char path[FOLDER_PATH], const char *folder, const char *name, kiln_error *err)
{
    kiln_status status = folder_path(path, folder, name, err);
    return status ? status : folder_make(path, err);
}

/* Takes `text`, NULL when memory was short. */
static kiln_status write_taken(const char *folder, const char *name, char *text, kiln_error *err)
{
    char path[FOLDER_PATH];
    kiln_status status = text
                             ? folder_path(path, folder, name, err)
                             : fail(err, KILN_NO_MEMORY, "%s: not enough memory to write '%s'", folder, name);
    if (!status)
        status = write_text_file(path, text, strlen(text), err);
    free(text);
    return status;
}

static kiln_status write_tensors(const model_folder *m, part_kind part, safetensors_writer *writer,
                                 kiln_error *err)
{
    kiln_status status = safetensors_writer_metadata(writer, "format", "pt", err);
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < m->count && !status; i++) {
            const folder_network *n = &m->network[i];
            weights_output output = {.graph = n->graph,
                                     .source = n->source,
                                     .prefix = "",
                                     .dialect = DIALECT_CANONICAL,
                                     .type = n->type,
                                     .as = n->as};
            if (n->part == part)
                status = pass == 0 ? weights_declare(writer, &output, err)
                                   : weights_write(writer, &output, NULL, err);
        }
    return status;
}

static kiln_status write_part(const model_folder *m, part_kind part, const char *folder, kiln_error *err)
{
    char inner[FOLDER_PATH], path[FOLDER_PATH];
    bool text = part == PART_TEXT || part == PART_TEXT_2;
    safetensors_writer *writer = NULL;
    kiln_status status = make_inside(inner, folder, part_name(part), err);
    if (!status)
        status = write_taken(inner, "config.json", part_config_text(m->parts, part), err);
    if (!status)
        status =
            folder_path(path, inner, text ? "model.safetensors" : "diffusion_pytorch_model.safetensors", err);
    if (!status)
        status = safetensors_writer_open(path, &writer, err);
    if (!status)
        status = write_tensors(m, part, writer, err);
    if (!status)
        status = safetensors_writer_finish(writer, err);
    else
        safetensors_writer_abort(writer);
    return status ? status : folder_sync(inner, err);
}

static kiln_status write_tokenizer(const model_folder *m, int i, const char *folder, kiln_error *err)
{
    char inner[FOLDER_PATH];
    bool written,
        zero_pad = i == 1 || m->parts->family == FAMILY_SD2 || m->parts->family == FAMILY_X4_UPSCALER;
    int words = i ? m->parts->text_2.vocabulary : m->parts->text.vocabulary;
    kiln_status status = make_inside(inner, folder, i ? "tokenizer_2" : "tokenizer", err);
    if (!status)
        status = convert_tokenizer(m->tokenizer[i], NULL, words, zero_pad ? "!" : "<|endoftext|>", inner,
                                   &written, err);
    if (!status && !written && m->tokenizer[i])
        status = fail(err, KILN_NOT_FOUND, "%s: the tokenizer's files are gone", m->tokenizer[i]);
    else if (!status && !written)
        rmdir(inner);
    return status;
}

kiln_status model_folder_write(const model_folder *m, const char *folder, kiln_error *err)
{
    char inner[FOLDER_PATH];
    kiln_status status = KILN_OK;
    for (int k = 0; k < PART_COUNT && !status; k++)
        if (m->parts->part[k].present)
            status = write_part(m, (part_kind)k, folder, err);
    for (int i = 0; i < 2 && !status; i++)
        if (m->parts->part[i ? PART_TEXT_2 : PART_TEXT].present)
            status = write_tokenizer(m, i, folder, err);
    if (!status)
        status = make_inside(inner, folder, "scheduler", err);
    if (!status)
        status = write_taken(inner, "scheduler_config.json", strdup(m->parts->scheduler), err);
    if (!status)
        status = write_taken(folder, "model_index.json", model_index_text(m->parts, NULL), err);
    return status ? status : folder_sync(folder, err);
}
