/* training_case.h - a folder with a few small pictures and captions, and recipes over the tiny model of the tests. */
#ifndef TESTS_TRAINING_CASE_H
#define TESTS_TRAINING_CASE_H

#include "image/picture_file.h"
#include "kiln/train.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define TINY_MODEL TEST_DATA "/sd1-tiny"

#define train_ok(call)                                                                                       \
    do {                                                                                                     \
        kiln_error *err = &(kiln_error){0};                                                                  \
        if ((call) != KILN_OK)                                                                               \
            fail_msg("%s: %s", #call, err->text);                                                            \
    } while (0)

#define train_fails(call, expected, word)                                                                    \
    do {                                                                                                     \
        kiln_error *err = &(kiln_error){0};                                                                  \
        kiln_status got = (call);                                                                            \
        if (got != (expected) || !strstr(err->text, word))                                                   \
            fail_msg("%s: gave %d '%s', expected %d with '%s'", #call, (int)got, err->text, (int)(expected), \
                     word);                                                                                  \
    } while (0)

enum { CASE_PATH = 300 };

typedef struct training_case {
    char folder[64]; /* everything of the case */
} training_case;

static inline int case_remove_one(const char *path, const struct stat *about, int kind, struct FTW *where)
{
    (void)about;
    (void)kind;
    (void)where;
    return remove(path);
}

static inline void case_remove(const char *path)
{
    nftw(path, case_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* A disc of one colour on a ground of another, with a caption that says so. */
static inline void case_picture(const char *folder, int i, int side)
{
    static const char *const colours[] = {"red", "green", "blue", "white"};
    static const unsigned char rgb[][3] = {{220, 30, 30}, {30, 200, 40}, {40, 60, 220}, {240, 240, 240}};
    char path[CASE_PATH + 40];
    image *p = NULL;
    train_ok(image_new(side, side, 3, 8, &p, err));
    unsigned char *to = p->pixels;
    for (int y = 0; y < side; y++)
        for (int x = 0; x < side; x++) {
            int dx = 2 * x - side, dy = 2 * y - side;
            const unsigned char *c = rgb[dx * dx + dy * dy < side * side / 2 ? i % 4 : (i / 4 + i + 1) % 4];
            memcpy(to + 3 * (y * side + x), c, 3);
        }
    snprintf(path, sizeof path, "%s/%02d.png", folder, i);
    train_ok(image_write(path, p, NULL, NULL, err));
    image_free(p);
    snprintf(path, sizeof path, "%s/%02d.txt", folder, i);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f, "a %s disc on a %s ground\n", colours[i % 4], colours[(i / 4 + i + 1) % 4]);
    fclose(f);
}

/* `count` pictures of side x side px in FOLDER/data. */
static inline training_case case_begin(int count, int side)
{
    training_case c;
    char data[CASE_PATH];
    snprintf(c.folder, sizeof c.folder, "training-case-XXXXXX");
    assert_non_null(mkdtemp(c.folder));
    snprintf(data, sizeof data, "%s/data", c.folder);
    assert_int_equal(mkdir(data, 0777), 0);
    for (int i = 0; i < count; i++)
        case_picture(data, i, side);
    return c;
}

static inline void case_end(const training_case *c)
{
    case_remove(c->folder);
}

/* A recipe over the case's pictures, its run in FOLDER/run; then "key=value" pairs, ended by NULL. */
static inline kiln_training_recipe *case_recipe(const training_case *c, const char *name, ...)
{
    kiln_training_recipe *r = NULL;
    char path[CASE_PATH], key[100];
    va_list pairs;
    train_ok(kiln_training_recipe_read(NULL, &r, err));
    snprintf(path, sizeof path, "%s/data", c->folder);
    train_ok(kiln_training_recipe_set(r, "train_data_dir", path, err));
    snprintf(path, sizeof path, "%s/%s", c->folder, name);
    train_ok(kiln_training_recipe_set(r, "output_dir", path, err));
    train_ok(kiln_training_recipe_set(r, "threads", "1", err));
    train_ok(kiln_training_recipe_set(r, "mixed_precision", "no", err));
    va_start(pairs, name);
    for (const char *pair = va_arg(pairs, const char *); pair; pair = va_arg(pairs, const char *)) {
        snprintf(key, sizeof key, "%.*s", (int)strcspn(pair, "="), pair);
        train_ok(kiln_training_recipe_set(r, key, strchr(pair, '=') + 1, err));
    }
    va_end(pairs);
    return r;
}

/* A text-to-image model from nothing that is as small as it can be: latents of 8x8, width 16. */
#define TINY_TEXT_TO_IMAGE                                                                                   \
    "resolution=16", "vae.base=" TINY_MODEL, "text_encoder.tokenizer=" TINY_MODEL "/tokenizer",              \
        "text_encoder.hidden_size=16", "text_encoder.num_hidden_layers=1",                                   \
        "text_encoder.num_attention_heads=2", "unet.block_out_channels=16, 16", "unet.attention=0, 1",       \
        "unet.attention_head_dim=2", "unet.layers_per_block=1", "unet.norm_num_groups=4",                    \
        "train_batch_size=4", "validate_every_n_epochs=0", "save_every_n_steps=0", "plot_every_n_steps=0"

#define TINY_PIXEL                                                                                           \
    "method=pixel", "conditional=false", "resolution=8", "unet.block_out_channels=16, 16",                   \
        "unet.attention=0, 1", "unet.attention_head_dim=2", "unet.layers_per_block=1",                       \
        "unet.norm_num_groups=4", "train_batch_size=4", "validate_every_n_epochs=0", "save_every_n_steps=0", \
        "plot_every_n_steps=0"

#endif
