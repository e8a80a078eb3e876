/* train_folder.h - a folder of small pictures for the tests of training, and a log that is kept. */
#ifndef TESTS_TRAIN_FOLDER_H
#define TESTS_TRAIN_FOLDER_H

#include "image/picture_file.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define ok(call)                                                                                             \
    do {                                                                                                     \
        kiln_error err_ = {KILN_OK, ""}, *err = &err_;                                                       \
        if ((call) != KILN_OK)                                                                               \
            fail_msg("%s: %s", #call, err_.text);                                                            \
    } while (0)

#define fails(call, expected, word)                                                                          \
    do {                                                                                                     \
        kiln_error err_ = {KILN_OK, ""}, *err = &err_;                                                       \
        kiln_status got_ = (call);                                                                           \
        if (got_ != (expected) || !strstr(err_.text, word))                                                  \
            fail_msg("%s: gave %d '%s', not %d with '%s'", #call, (int)got_, err_.text, (int)(expected),     \
                     word);                                                                                  \
    } while (0)

static char test_folder[64];
static char told[16384];

static inline void keep_told(void *self, const char *sentence)
{
    (void)self;
    if (strlen(told) + strlen(sentence) + 2 < sizeof told) {
        strcat(told, sentence);
        strcat(told, "\n");
    }
}

static inline int times_told(const char *word)
{
    int times = 0;
    for (const char *at = told; (at = strstr(at, word)); at++)
        times++;
    return times;
}

static inline int folder_setup(void **state)
{
    (void)state;
    told[0] = 0;
    snprintf(test_folder, sizeof test_folder, "%s", "kiln-train-XXXXXX");
    return mkdtemp(test_folder) ? 0 : -1;
}

static inline int folder_remove_one(const char *path, const struct stat *about, int kind, struct FTW *where)
{
    (void)about;
    (void)kind;
    (void)where;
    return remove(path);
}

static inline int folder_teardown(void **state)
{
    (void)state;
    return nftw(test_folder, folder_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* A path in the folder; a few may be in use at once. The folders in it are made. */
static inline const char *in_folder(const char *name)
{
    static char paths[8][300];
    static int turn;
    char *path = paths[turn = (turn + 1) % 8];
    snprintf(path, sizeof paths[0], "%s/%s", test_folder, name);
    for (char *at = strchr(path + strlen(test_folder) + 1, '/'); at; at = strchr(at + 1, '/')) {
        *at = 0;
        mkdir(path, 0777);
        *at = '/';
    }
    return path;
}

static inline void put_text(const char *name, const char *text)
{
    FILE *file = fopen(in_folder(name), "wb");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* The value of a pixel of picture `number`. */
static inline unsigned char pixel_of(int number, int x, int y, int channel)
{
    return (unsigned char)(number * 29 + x * 3 + y * 5 + channel * 50);
}

static inline void put_picture(const char *name, int number, int width, int height)
{
    image *picture;
    ok(image_new(width, height, 3, 8, &picture, err));
    unsigned char *to = picture->pixels;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            for (int c = 0; c < 3; c++)
                *to++ = pixel_of(number, x, y, c);
    ok(image_write(in_folder(name), picture, NULL, NULL, err));
    image_free(picture);
}

#endif
