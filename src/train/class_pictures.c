/* class_pictures.c - pictures of the class that dreambooth preserves, drawn by the model that is tuned (Ruiz et al. 2023,
 * section 3.2).
 *
 * Two folders are filled in the same way: the pictures that are trained on, and those that only tell what became of the
 * class. Pictures that the user put there count; the base draws what is missing. A record beside them,
 *
 *     class-pictures.json     {"settings": {prompt, size, sampler, steps, guidance, seed, base's hash, ...},
 *                              "pictures": {"class-000000.png": {"seed": 0, "sha256": "..."}, ...}}
 *
 * names what was drawn and how. Under the same settings drawn pictures stay; under others they are drawn anew. A picture
 * is in the record, without a hash, before it is drawn, so that a killed run leaves none of unknown origin. A drawn
 * picture that was changed since is put aside, never overwritten. */
#include "train/training.h"

#include "formats/hash.h"
#include "image/image_tensor.h"
#include "image/picture_file.h"
#include "pipeline/convert.h"
#include "pipeline/image_api.h"
#include "train/dataset_parts.h"
#include "train/model_folder.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RECORD_NAME "class-pictures.json"
enum { RECORD_MAX = 1 << 26, NAME_BYTES = 24, NAMES = 1000000, VALIDATION_SEEDS = 1000000 };
static const double seconds_between = 10;

typedef struct class_folder {
    kiln_training *training;
    const char *path;
    int wanted;    /* at least so many pictures */
    uint64_t seed; /* of the first */
    json_t *settings, *pictures;
    bool changed; /* the record differs from its file */
    double told;  /* when progress was */
} class_folder;

static kiln_status no_memory(const class_folder *f, kiln_error *err)
{
    return fail(err, KILN_NO_MEMORY, "%s: out of memory for class pictures", f->path);
}

/* ------------------------------------------------------------------------------------ the record */

static void picture_name(int i, char name[NAME_BYTES])
{
    snprintf(name, NAME_BYTES, "class-%06d.png", i);
}

/* A record is only believed about files of such names. */
static bool is_drawn_name(const char *name)
{
    return strlen(name) == 16 && strncmp(name, "class-", 6) == 0 && strspn(name + 6, "0123456789") == 6 &&
           strcmp(name + 12, ".png") == 0;
}

static const char *hash_in(const json_t *picture)
{
    const char *hash = json_string_value(json_object_get(picture, "sha256"));
    return hash ? hash : "";
}

static json_t *settings_of(const class_folder *f)
{
    const recipe *r = &f->training->recipe;
    return json_pack("{s:s, s:i, s:i, s:s, s:i, s:f, s:I, s:i, s:s}", "prompt", r->class_prompt, "width",
                     r->resolution.number[0], "height", r->resolution.number[1], "sampler", r->class_sampler,
                     "steps", r->class_steps, "cfg", r->class_cfg, "seed", (json_int_t)f->seed, "clip_skip",
                     r->clip_skip, "base", f->training->base_hash);
}

static kiln_status write_record(class_folder *f, kiln_error *err)
{
    char path[FOLDER_PATH], temporary[FOLDER_PATH];
    json_t *record = json_pack("{s:I, s:O, s:O}", "count", (json_int_t)json_object_size(f->pictures),
                               "settings", f->settings, "pictures", f->pictures);
    char *text = record ? json_dumps(record, JSON_INDENT(2) | JSON_SORT_KEYS) : NULL;
    json_decref(record);
    kiln_status status = text ? folder_path(path, f->path, RECORD_NAME, err) : no_memory(f, err);
    if (!status)
        status = folder_path(temporary, f->path, RECORD_NAME ".tmp", err);
    if (!status)
        status = write_text_file(temporary, text, strlen(text), err);
    if (!status && rename(temporary, path) != 0)
        status = fail_system(err, "%s: cannot be written", path);
    free(text);
    f->changed = f->changed && status;
    return status;
}

/* What is there and of use: {"settings", "pictures"}, or NULL. */
static json_t *load_record(const class_folder *f)
{
    char path[FOLDER_PATH], *text;
    size_t size;
    if (folder_path(path, f->path, RECORD_NAME, NULL) || access(path, F_OK) != 0)
        return NULL;
    json_t *record = NULL;
    if (read_small_file(path, RECORD_MAX, &text, &size, NULL) == KILN_OK) {
        record = json_loadb(text, size, 0, NULL);
        free(text);
    }
    if (json_is_object(json_object_get(record, "settings")) &&
        json_is_object(json_object_get(record, "pictures")))
        return record;
    json_decref(record);
    training_tell(f->training, KILN_TRAINING_NOTE,
                  "%s: this record cannot be read; the pictures beside it are taken as they are", path);
    return NULL;
}

/* ------------------------------------------------------------------------------------ what is there */

/* Say which setting is another one now. */
static void tell_difference(const class_folder *f, const json_t *before)
{
    const char *key;
    json_t *now;
    json_object_foreach(f->settings, key, now)
    {
        const json_t *was = json_object_get(before, key);
        if (json_equal(was, now))
            continue;
        char *text = was ? json_dumps(was, JSON_ENCODE_ANY) : NULL;
        training_tell(f->training, KILN_TRAINING_INFORMATION,
                      "%s: its class pictures were drawn with another %s (%s) and are drawn anew", f->path,
                      key, text ? text : "none");
        free(text);
        return;
    }
}

/* Whether a recorded picture is as it was drawn; what is not is put aside or, when it was never finished, removed. */
static kiln_status check_picture(const class_folder *f, const char *name, const json_t *picture, bool *whole,
                                 kiln_error *err)
{
    char path[FOLDER_PATH], aside[FOLDER_PATH];
    file_hashes hashes;
    *whole = false;
    kiln_status status = folder_path(path, f->path, name, err);
    if (status || access(path, F_OK) != 0)
        return status;
    if (!hash_in(picture)[0])
        return unlink(path) == 0 ? KILN_OK : fail_system(err, "%s: cannot be removed", path);
    status = hash_file_some(path, HASH_SHA256, &hashes, NULL, NULL, err);
    if (status)
        return status;
    *whole = strcmp(hashes.sha256, hash_in(picture)) == 0;
    if (*whole)
        return KILN_OK;
    if (snprintf(aside, sizeof aside, "%s.changed", path) >= (int)sizeof aside || rename(path, aside) != 0)
        return fail_system(err, "%s: cannot be put aside", path);
    training_tell(f->training, KILN_TRAINING_NOTE,
                  "%s was changed since it was drawn; it is kept as %s.changed, and drawn anew", path, name);
    return KILN_OK;
}

/* Keep of the recorded pictures those that still count. */
static kiln_status take_record(class_folder *f, const json_t *record, kiln_error *err)
{
    const json_t *before = json_object_get(record, "settings");
    json_t *pictures = json_object_get(record, "pictures"), *picture;
    const char *name;
    bool same = json_equal(before, f->settings), told = false, whole;
    char path[FOLDER_PATH];
    kiln_status status = KILN_OK;
    json_object_foreach(pictures, name, picture)
    {
        if (status || !is_drawn_name(name))
            continue;
        status = check_picture(f, name, picture, &whole, err);
        f->changed |= !whole || !same;
        if (!status && whole && same)
            status = json_object_set(f->pictures, name, picture) ? no_memory(f, err) : KILN_OK;
        if (status || !whole || same)
            continue;
        if (!told)
            tell_difference(f, before);
        told = true;
        status = folder_path(path, f->path, name, err);
        if (!status && unlink(path) != 0)
            status = fail_system(err, "%s: cannot be removed", path);
    }
    return status;
}

/* Pictures in a folder and below it. */
static kiln_status count_pictures(const char *folder, size_t *count, kiln_error *err)
{
    arena memory = {0};
    const dataset_options silent = dataset_defaults();
    folder_scan scan = {.options = &silent, .memory = &memory, .folder = folder};
    kiln_status status = folder_scan_walk(&scan, err);
    *count = scan.count;
    folder_scan_fini(&scan);
    arena_fini(&memory);
    return status;
}

/* Of the class, drawn or not; none is no mistake yet. */
static kiln_status count_class(const class_folder *f, size_t *count, kiln_error *err)
{
    kiln_status status = count_pictures(f->path, count, err);
    return status == KILN_NOT_FOUND ? KILN_OK : status;
}

/* ------------------------------------------------------------------------------------ drawing */

static bool go_on(void *user, const kiln_progress *progress)
{
    (void)progress;
    return !atomic_load(&((kiln_training *)user)->stop);
}

static kiln_status draw_picture(const class_folder *f, const char *path, uint64_t seed, kiln_error *err)
{
    kiln_training *t = f->training;
    const recipe *r = &t->recipe;
    kiln_draw_options o = kiln_draw_defaults();
    kiln_image *drawn = NULL;
    image *picture = NULL;
    o.prompt = r->class_prompt;
    o.width = r->resolution.number[0];
    o.height = r->resolution.number[1];
    o.sampler = r->class_sampler;
    o.steps = r->class_steps;
    o.cfg = r->class_cfg;
    o.seed = seed;
    o.clip_skip = r->clip_skip;
    o.progress = go_on;
    o.user = t;
    kiln_status status = kiln_draw(t->session, &o, &drawn, err);
    if (!status)
        status = image_to_bytes(drawn->picture, 3, &picture, err);
    if (!status)
        status = image_write(path, picture, NULL, NULL, err);
    image_free(picture);
    kiln_image_free(drawn);
    return status;
}

static kiln_status draw_recorded(class_folder *f, const char *name, json_t *picture, kiln_error *err)
{
    char path[FOLDER_PATH];
    file_hashes hashes;
    kiln_status status = folder_path(path, f->path, name, err);
    if (!status)
        status = draw_picture(f, path, (uint64_t)json_integer_value(json_object_get(picture, "seed")), err);
    if (!status)
        status = hash_file_some(path, HASH_SHA256, &hashes, NULL, NULL, err);
    if (!status && json_object_set_new(picture, "sha256", json_string(hashes.sha256)))
        status = no_memory(f, err);
    return status ? status : write_record(f, err);
}

static void tell_progress(class_folder *f, int done, int all)
{
    double now = training_now();
    if (done < all && now - f->told < seconds_between)
        return;
    f->told = now;
    training_tell(f->training, KILN_TRAINING_INFORMATION, "class pictures: %d of %d drawn", done, all);
}

/* Draw all that the record names without a hash. */
static kiln_status draw_missing(class_folder *f, int missing, kiln_error *err)
{
    kiln_training *t = f->training;
    const recipe *r = &t->recipe;
    char name[NAME_BYTES];
    if (!r->base[0] && !r->unet.base[0])
        return fail(err, KILN_BAD_ARGUMENT,
                    "%s: %d class pictures are missing, and a model made from nothing cannot draw them: set "
                    "base, or put pictures there",
                    f->path, missing);
    size_t subject; /* what would end the training later is said before the long work */
    kiln_status status = count_pictures(r->train_data_dir, &subject, err);
    if (status)
        return status;
    training_tell(t, KILN_TRAINING_INFORMATION, "class pictures: drawing %d of '%s' into %s", missing,
                  r->class_prompt, f->path);
    f->told = training_now();
    status = t->model ? KILN_OK : training_open_model(t, NULL, err);
    int done = 0;
    for (int i = 0; i < NAMES && done < missing && !status; i++) {
        picture_name(i, name);
        json_t *picture = json_object_get(f->pictures, name);
        if (!picture || hash_in(picture)[0])
            continue;
        status = atomic_load(&t->stop) ? KILN_CANCELLED : draw_recorded(f, name, picture, err);
        if (!status)
            tell_progress(f, ++done, missing);
    }
    if (status == KILN_CANCELLED)
        return fail(err, status, "stopped after %d of %d class pictures, which are kept", done, missing);
    return status;
}

/* Record what has to be drawn: the first names that are free. */
static kiln_status plan_missing(class_folder *f, size_t own, int *missing, kiln_error *err)
{
    char name[NAME_BYTES], path[FOLDER_PATH];
    size_t wanted = (size_t)f->wanted > own ? (size_t)f->wanted - own : 0;
    kiln_status status = KILN_OK;
    *missing = 0;
    for (int i = 0; i < NAMES && json_object_size(f->pictures) < wanted && !status; i++) {
        picture_name(i, name);
        status = folder_path(path, f->path, name, err);
        if (status || json_object_get(f->pictures, name) || access(path, F_OK) == 0)
            continue;
        uint64_t seed = f->seed + (uint64_t)i;
        json_t *picture = json_pack("{s:I, s:s}", "seed", (json_int_t)seed, "sha256", "");
        if (json_object_set_new(f->pictures, name, picture))
            status = no_memory(f, err);
        ++*missing;
    }
    return status;
}

/* ------------------------------------------------------------------------------------ a folder */

/* Without class_prompt the folder is as it is. */
static kiln_status check_as_it_is(const class_folder *f, size_t count, kiln_error *err)
{
    bool worded = f->training->recipe.class_prompt[0];
    if (count == 0)
        return fail(err, KILN_NOT_FOUND,
                    worded
                        ? "%s: there is no class picture, and none is to be drawn (num_class_images is 0)"
                        : "%s: there is no class picture in this folder, and without class_prompt none can "
                          "be drawn",
                    f->path);
    if (count < (size_t)f->wanted && !worded)
        training_tell(f->training, KILN_TRAINING_NOTE,
                      "%s: %zu class pictures instead of %d; without class_prompt no others are drawn",
                      f->path, count, f->wanted);
    return KILN_OK;
}

static kiln_status fill_folder(class_folder *f, kiln_error *err)
{
    size_t count = 0;
    int missing = 0;
    if (!f->training->recipe.class_prompt[0]) {
        kiln_status status = count_class(f, &count, err);
        return status ? status : check_as_it_is(f, count, err);
    }
    kiln_status status = folder_make(f->path, err);
    json_t *record = status ? NULL : load_record(f);
    if (record)
        status = take_record(f, record, err);
    json_decref(record);
    if (!status)
        status = count_class(f, &count, err);
    if (!status)
        status = plan_missing(f, count - json_object_size(f->pictures), &missing, err);
    if (!status && (missing || f->changed))
        status = write_record(f, err);
    if (!status && missing)
        status = draw_missing(f, missing, err);
    return status ? status : check_as_it_is(f, count + (size_t)missing, err);
}

static kiln_status prepare(kiln_training *t, const char *path, int wanted, uint64_t seed, kiln_error *err)
{
    class_folder f = {.training = t, .path = path, .wanted = wanted, .seed = seed};
    f.settings = settings_of(&f);
    f.pictures = json_object();
    kiln_status status = f.settings && f.pictures ? fill_folder(&f, err) : no_memory(&f, err);
    json_decref(f.settings);
    json_decref(f.pictures);
    return status;
}

/* The folder that the recipe gives, or one in the run's folder. */
static kiln_status choose_folder(const kiln_training *t, const char *given, const char *own, char **out,
                                 kiln_error *err)
{
    char path[FOLDER_PATH];
    kiln_status status = given[0] ? KILN_OK : folder_path(path, t->folder, own, err);
    if (status)
        return status;
    *out = strdup(given[0] ? given : path);
    return *out ? KILN_OK : fail(err, KILN_NO_MEMORY, "out of memory for class pictures");
}

static bool is_measured(const recipe *r)
{
    bool worded = strcmp(r->method, "vae") != 0 && strcmp(r->method, "upscaler") != 0 &&
                  (strcmp(r->method, "pixel") != 0 || r->conditional);
    return worded && r->num_class_validation_images > 0 &&
           (r->class_prompt[0] || r->class_validation_data_dir[0]);
}

static kiln_status prepare_both(kiln_training *t, kiln_error *err)
{
    const recipe *r = &t->recipe;
    const char *given = r->class_data_dir[0] ? r->class_data_dir : r->reg_data_dir;
    kiln_status status = KILN_OK;
    if (recipe_pairs(r)) {
        status = choose_folder(t, given, "class", &t->class_folder, err);
        if (!status)
            status = prepare(t, t->class_folder, r->num_class_images, r->class_seed, err);
    }
    if (!is_measured(r) || status)
        return status;
    status =
        choose_folder(t, r->class_validation_data_dir, "class-validation", &t->class_validation_folder, err);
    return status ? status
                  : prepare(t, t->class_validation_folder, r->num_class_validation_images,
                            r->class_seed + VALIDATION_SEEDS, err);
}

kiln_status class_pictures_prepare(kiln_training *t, kiln_error *err)
{
    const recipe *r = &t->recipe;
    if (r->with_prior_preservation && !is_measured(r))
        training_tell(t, KILN_TRAINING_NOTE,
                      "what becomes of the class is not measured: that needs class_prompt or "
                      "class_validation_data_dir, and num_class_validation_images above 0");
    if (!r->with_prior_preservation && r->class_data_dir[0])
        training_tell(t, KILN_TRAINING_NOTE, "class_data_dir is not used: with_prior_preservation is off");
    kiln_status status = prepare_both(t, err);
    training_close_model(t); /* training may go on from another */
    return status;
}
