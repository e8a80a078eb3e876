/* convert_folder.c - a model as a diffusers folder.
 *
 *     model_index.json
 *     unet/, vae/                 config.json, diffusion_pytorch_model.safetensors
 *     text_encoder/, ..._2/       config.json, model.safetensors
 *     tokenizer/, ..._2/          vocab.json, merges.txt, tokenizer_config.json, special_tokens_map.json
 *     scheduler/                  scheduler_config.json
 *
 * The folder is filled under another name beside its place, and renamed. */
#include "pipeline/convert.h"

#include "weights/config_text.h"
#include "weights/small_file.h"

#include <dirent.h>
#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_BYTES = 4096 };

static kiln_status path_in(char path[PATH_BYTES], const char *folder, const char *name, kiln_error *err)
{
    int length = snprintf(path, PATH_BYTES, "%s/%s", folder, name);
    return length < PATH_BYTES ? KILN_OK : fail(err, KILN_BAD_ARGUMENT, "%s: the name is too long", folder);
}

static kiln_status make_folder(char path[PATH_BYTES], const char *folder, const char *name, kiln_error *err)
{
    kiln_status status = path_in(path, folder, name, err);
    if (!status && mkdir(path, 0777) != 0)
        status = fail_system(err, "%s: cannot be made", path);
    return status;
}

/* Takes `text`, which may be NULL when memory was short. */
static kiln_status write_taken(const char *folder, const char *name, char *text, kiln_error *err)
{
    char path[PATH_BYTES];
    kiln_status status = text
                             ? path_in(path, folder, name, err)
                             : fail(err, KILN_NO_MEMORY, "%s: not enough memory to write '%s'", folder, name);
    if (!status)
        status = write_text_file(path, text, strlen(text), err);
    free(text);
    return status;
}

/* One part: a VAE's two graphs go into one file. */
static kiln_status write_part(const model_parts *parts, const bound_models *models, part_kind part,
                              const char *folder, conversion *c, kiln_error *err)
{
    char inner[PATH_BYTES], path[PATH_BYTES];
    bool text = part == PART_TEXT || part == PART_TEXT_2;
    const weights_progress progress = {conversion_step, c};
    safetensors_writer *writer = NULL;
    kiln_status status = make_folder(inner, folder, part_name(part), err);
    if (!status)
        status = write_taken(inner, "config.json", part_config_text(parts, part), err);
    if (!status)
        status =
            path_in(path, inner, text ? "model.safetensors" : "diffusion_pytorch_model.safetensors", err);
    if (!status)
        status = safetensors_writer_open(path, &writer, err);
    if (!status)
        status = safetensors_writer_metadata(writer, "format", "pt", err);
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < models->count && !status; i++) {
            const bound_model *m = &models->model[i];
            weights_output output = conversion_output(c, m, "", DIALECT_CANONICAL);
            if (m->part == part)
                status = pass == 0 ? weights_declare(writer, &output, err)
                                   : weights_write(writer, &output, &progress, err);
        }
    if (!status)
        return safetensors_writer_finish(writer, err);
    safetensors_writer_abort(writer);
    return status;
}

static kiln_status write_tokenizers(const model_parts *parts, const char *folder, bool *all, kiln_error *err)
{
    char path[PATH_BYTES];
    kiln_status status = KILN_OK;
    *all = true;
    for (int i = 0; i < 2 && !status; i++) {
        bool written;
        bool zero_pad = i == 1 || parts->family == FAMILY_SD2 || parts->family == FAMILY_X4_UPSCALER;
        if (!parts->part[i ? PART_TEXT_2 : PART_TEXT].present)
            continue;
        status = make_folder(path, folder, i ? "tokenizer_2" : "tokenizer", err);
        if (!status)
            status = convert_tokenizer(i ? parts->tokenizer_2 : parts->tokenizer, NULL,
                                       i ? parts->text_2.vocabulary : parts->text.vocabulary,
                                       zero_pad ? "!" : "<|endoftext|>", path, &written, err);
        if (!status && !written) {
            rmdir(path);
            *all = false;
        }
    }
    return status;
}

/* What whoever uses the folder should know; NULL for nothing. */
static const char *note_on(const model_parts *parts, bool all_tokenizers, char note[256])
{
    bool assumed = parts->prediction_assumed && parts->family == FAMILY_SD2;
    if (all_tokenizers && !assumed)
        return NULL;
    snprintf(note, 256, "%s%s%s",
             all_tokenizers
                 ? ""
                 : "no tokenizer was found: put vocab.json and merges.txt into tokenizer/ (and tokenizer_2/)",
             !all_tokenizers && assumed ? "; " : "",
             assumed ? "the checkpoint does not say its prediction_type: see scheduler/scheduler_config.json"
                     : "");
    return note;
}

static kiln_status fill(const model_parts *parts, const bound_models *models, const char *folder,
                        conversion *c, kiln_error *err)
{
    char inner[PATH_BYTES], note[256];
    bool all_tokenizers = true;
    kiln_status status = KILN_OK;
    for (int i = 0; i < models->count; i++) {
        weights_output output = conversion_output(c, &models->model[i], "", DIALECT_CANONICAL);
        c->total += weights_output_bytes(&output);
    }
    for (int k = 0; k < PART_COUNT && !status; k++)
        if (parts->part[k].present)
            status = write_part(parts, models, (part_kind)k, folder, c, err);
    if (!status)
        status = write_tokenizers(parts, folder, &all_tokenizers, err);
    if (!status)
        status = make_folder(inner, folder, "scheduler", err);
    if (!status)
        status = write_taken(inner, "scheduler_config.json", strdup(parts->scheduler), err);
    if (!status)
        status = write_taken(folder, "model_index.json",
                             model_index_text(parts, note_on(parts, all_tokenizers, note)), err);
    return status;
}

static int remove_one(const char *path, const struct stat *about, int kind, struct FTW *where)
{
    (void)about;
    (void)kind;
    (void)where;
    return remove(path);
}

static kiln_status check_free(const char *to, kiln_error *err)
{
    DIR *folder = opendir(to);
    if (!folder)
        return errno == ENOENT ? KILN_OK : fail_system(err, "%s: cannot be written", to);
    int entries = 0;
    for (const struct dirent *entry = readdir(folder); entry; entry = readdir(folder))
        entries += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(folder);
    return entries ? fail(err, KILN_BAD_ARGUMENT, "%s: the folder is there already and is not empty", to)
                   : KILN_OK;
}

/* The sentence speaks of the folder that was asked for, not of the one that is renamed to it. */
static void name_target(kiln_error *err, const char *temporary, const char *target)
{
    char *found = strstr(err->text, temporary);
    size_t longer = strlen(temporary), shorter = strlen(target);
    if (!found)
        return;
    memcpy(found, target, shorter);
    memmove(found + shorter, found + longer, strlen(found + longer) + 1);
}

kiln_status convert_to_folder(const model_parts *parts, const bound_models *models, const char *to,
                              conversion *c, kiln_error *err)
{
    char target[PATH_BYTES], temporary[PATH_BYTES];
    size_t length = strlen(to);
    while (length > 1 && to[length - 1] == '/')
        length--;
    if (length + 16 > sizeof target)
        return fail(err, KILN_BAD_ARGUMENT, "%s: the name is too long", to);
    snprintf(target, sizeof target, "%.*s", (int)length, to);
    snprintf(temporary, sizeof temporary, "%.*s.XXXXXX", (int)length, to);
    kiln_status status = check_free(target, err);
    if (status)
        return status;
    if (!mkdtemp(temporary))
        return fail_system(err, "%s: cannot be written", target);
    status = fill(parts, models, temporary, c, err);
    if (!status && chmod(temporary, 0755) != 0)
        status = fail_system(err, "%s: cannot be written", target);
    if (!status && rename(temporary, target) != 0)
        status = fail_system(err, "%s: cannot be written", target);
    if (status) {
        nftw(temporary, remove_one, 16, FTW_DEPTH | FTW_PHYS);
        name_target(err, temporary, target);
    }
    return status;
}
