/* floors: base image */
/* test_image_write.c - what is written is read back: pixels, text, and never half a file; and the numbers
 * that models see. */
#include "image/exif.h"
#include "image/image_tensor.h"
#include "image/picture_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <dirent.h>
#include <math.h>

static char folder[] = "/tmp/kiln_test_image_XXXXXX";

static const char *in_folder(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static size_t files_in_folder(void)
{
    DIR *open = opendir(folder);
    size_t count = 0;
    for (struct dirent *entry = readdir(open); entry; entry = readdir(open))
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(open);
    return count;
}

static image *sample(int width, int height, int channels, int bits)
{
    image *picture;
    assert_int_equal(image_new(width, height, channels, bits, &picture, NULL), KILN_OK);
    for (size_t i = 0; i < image_bytes(picture); i++)
        ((uint8_t *)picture->pixels)[i] = (uint8_t)(i * 7 + i / 13);
    return picture;
}

static image *through(image_format format, const image *picture, const picture_text *text, bool lossless,
                      picture_text **read)
{
    image_write_options options = {.lossless = lossless};
    unsigned char *bytes, *again;
    size_t size, size_again;
    image *made = NULL;
    kiln_error err = {0};
    if (image_write_memory(format, picture, text, &options, &bytes, &size, &err) != KILN_OK)
        fail_msg("%s", err.text);
    assert_int_equal(image_write_memory(format, picture, text, &options, &again, &size_again, NULL), KILN_OK);
    assert_int_equal(size, size_again);
    assert_memory_equal(bytes, again, size);
    if (image_read_memory(bytes, size, "it", 0, &made, read, &err) != KILN_OK)
        fail_msg("%s", err.text);
    free(bytes);
    free(again);
    return made;
}

static void png_keeps_every_pixel(void **state)
{
    (void)state;
    for (int channels = 1; channels <= 4; channels++) {
        for (int bits = 8; bits <= 16; bits += 8) {
            image *picture = sample(37, 11, channels, bits),
                  *made = through(IMAGE_FORMAT_PNG, picture, NULL, 0, NULL);
            assert_int_equal(made->width, 37);
            assert_int_equal(made->height, 11);
            assert_int_equal(made->channels, channels);
            assert_int_equal(made->bits, bits);
            assert_memory_equal(made->pixels, picture->pixels, image_bytes(picture));
            image_free(picture);
            image_free(made);
        }
    }
}

static void lossless_webp_keeps_every_pixel(void **state)
{
    (void)state;
    for (int channels = 3; channels <= 4; channels++) {
        image *picture = sample(37, 11, channels, 8),
              *made = through(IMAGE_FORMAT_WEBP, picture, NULL, true, NULL);
        assert_int_equal(made->channels, channels);
        assert_memory_equal(made->pixels, picture->pixels, image_bytes(picture));
        image_free(picture);
        image_free(made);
    }
}

static void lossy_formats_come_near(void **state)
{
    (void)state;
    for (int format = IMAGE_FORMAT_JPEG; format <= IMAGE_FORMAT_WEBP; format++) {
        for (int channels = 1; channels <= 3; channels += 2) {
            image *picture, *made;
            double sum = 0.0;
            assert_int_equal(image_new(64, 64, channels, 8, &picture, NULL), KILN_OK);
            for (int i = 0; i < 64 * 64 * channels; i++)
                ((uint8_t *)picture->pixels)[i] = (uint8_t)(i / channels % 64 * 3 + i / channels / 64);
            made = through((image_format)format, picture, NULL, false, NULL);
            size_t ratio = (size_t)(made->channels / channels), count = image_bytes(picture);
            for (size_t i = 0; i < count; i++)
                sum += fabs((double)((uint8_t *)picture->pixels)[i] - ((uint8_t *)made->pixels)[i * ratio]);
            assert_true(sum / (double)count < 2.0);
            image_free(picture);
            image_free(made);
        }
    }
}

static const char *const texts[] = {
    "a cat\nNegative prompt: dog\nSteps: 20, Sampler: Euler, Seed: 1",
    "caf\xC3\xA9 \xC3\x83\xC2\xA9", /* Latin-1 whose bytes look like UTF-8 in part */
    "\xC3\x83\xC2\xA9",             /* and in whole */
    "\xE7\x8C\xAB \xF0\x9F\x90\xB1 \xE4\x80\x80\xE6\x84\x80",
    "x",
};

static void text_comes_back_from_every_format(void **state)
{
    (void)state;
    for (int format = IMAGE_FORMAT_PNG; format <= IMAGE_FORMAT_WEBP; format++) {
        for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
            image *picture = sample(5, 4, 3, 8), *made;
            picture_text *text = picture_text_new(), *read;
            assert_int_equal(picture_text_add(text, "parameters", texts[i], NULL), KILN_OK);
            made = through((image_format)format, picture, text, false, &read);
            assert_string_equal(picture_text_get(read, "parameters"), texts[i]);
            assert_int_equal(read->count, 1);
            picture_text_free(read);
            picture_text_free(text);
            image_free(picture);
            image_free(made);
        }
    }
}

static void long_text_fits_or_is_refused(void **state)
{
    enum { WORDS = 5000 };
    char *words = malloc(WORDS * 8 + 1);
    (void)state;
    for (int i = 0; i < WORDS; i++)
        memcpy(words + i * 8, "prompts ", 9);
    image *picture = sample(5, 4, 3, 8), *made;
    picture_text *text = picture_text_new(), *read;
    assert_int_equal(picture_text_add(text, "parameters", words, NULL), KILN_OK);
    for (int format = IMAGE_FORMAT_PNG; format <= IMAGE_FORMAT_WEBP; format++) {
        made = through((image_format)format, picture, text, false, &read);
        assert_string_equal(picture_text_get(read, "parameters"), words);
        picture_text_free(read);
        image_free(made);
    }
    picture_text_free(text);
    text = picture_text_new();
    words[0] = '\xC3';
    words[1] = '\xA9';
    assert_int_equal(picture_text_add(text, "parameters", words, NULL), KILN_OK);
    unsigned char *bytes;
    size_t size;
    kiln_error err = {0};
    assert_int_equal(image_write_memory(IMAGE_FORMAT_JPEG, picture, text, NULL, &bytes, &size, &err),
                     KILN_UNSUPPORTED);
    assert_null(bytes);
    assert_non_null(strstr(err.text, "PNG"));
    picture_text_free(text);
    image_free(picture);
    free(words);
}

/* UserComment in UTF-16 little endian, in a little-endian TIFF and in a big-endian one. */
static void comments_in_either_byte_order_are_read(void **state)
{
    (void)state;
    byte_buffer block = {0};
    exif_put_user_comment(&block, "a caf\xC3\xA9", false);
    unsigned char *text = block.bytes + block.size - 12;
    for (int i = 0; i < 12; i += 2) {
        unsigned char first = text[i];
        text[i] = text[i + 1];
        text[i + 1] = first;
    }
    char *comment = exif_user_comment(block.bytes, block.size);
    assert_string_equal(comment, "a caf\xC3\xA9");
    free(comment);
    for (size_t cut = 0; cut < block.size; cut++)
        assert_null(exif_user_comment(block.bytes, cut));
    byte_buffer_fini(&block);
    static const unsigned char little[] =
        "Exif\0\0II*\0\10\0\0\0\2\0\x12\1\3\0\1\0\0\0\6\0\0\0\x69\x87\4\0\1\0\0\0\x26\0\0\0"
        "\0\0\0\0\1\0\x86\x92\7\0\14\0\0\0\x38\0\0\0\0\0\0\0UNICODE\0h\0i\0";
    assert_int_equal(exif_orientation(little, sizeof little - 1), 6);
    comment = exif_user_comment(little, sizeof little - 1);
    assert_string_equal(comment, "hi");
    free(comment);
}

static void files_are_written_whole(void **state)
{
    static const char *const names[] = {"a.png", "b.JPG", "c.jpeg", "d.webp", "a.png"};
    (void)state;
    image *picture = sample(20, 10, 3, 8), *made;
    kiln_error err = {0};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_int_equal(image_write_check(in_folder(names[i]), &err), KILN_OK);
        assert_int_equal(image_write(in_folder(names[i]), picture, NULL, NULL, &err), KILN_OK);
        assert_int_equal(image_read(in_folder(names[i]), &made, NULL, &err), KILN_OK);
        image_free(made);
        assert_int_equal(files_in_folder(), i < 4 ? i + 1 : 4);
    }
    image_free(picture);
}

static void places_that_cannot_be_written_are_refused(void **state)
{
    static const struct {
        const char *name;
        kiln_status status;
        const char *says;
    } cases[] = {
        {"x.gif", KILN_BAD_ARGUMENT, "unknown extension"}, {"png", KILN_BAD_ARGUMENT, "unknown extension"},
        {".png", KILN_BAD_ARGUMENT, "unknown extension"},  {"x.png/", KILN_BAD_ARGUMENT, "unknown extension"},
        {"missing/x.png", KILN_NOT_FOUND, "folder"},       {"file.png/x.png", KILN_IO, "directory"},
        {"folder.png", KILN_BAD_ARGUMENT, "a folder"},
    };
    char long_name[400];
    (void)state;
    image *picture = sample(2, 2, 3, 8);
    kiln_error err = {0};
    assert_int_equal(image_write(in_folder("file.png"), picture, NULL, NULL, &err), KILN_OK);
    assert_int_equal(mkdir(in_folder("folder.png"), 0777), 0);
    size_t before = files_in_folder();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *path = in_folder(cases[i].name);
        assert_int_equal(image_write_check(path, &err), cases[i].status);
        assert_non_null(strstr(err.text, cases[i].says));
        assert_int_equal(image_write(path, picture, NULL, NULL, &err), cases[i].status);
    }
    memset(long_name, 'x', sizeof long_name);
    memcpy(long_name + 300, ".png", 5);
    assert_int_equal(image_write_check(in_folder(long_name), &err), KILN_IO);
    assert_int_equal(image_write_check("", &err), KILN_BAD_ARGUMENT);
    if (geteuid() != 0) {
        assert_int_equal(chmod(folder, 0555), 0);
        assert_int_equal(image_write_check(in_folder("new.png"), &err), KILN_IO);
        assert_int_equal(chmod(folder, 0777), 0);
    }
    assert_int_equal(image_write_check("/proc/x.png", &err) == KILN_OK, 0);
    assert_int_equal(files_in_folder(), before);
    image_free(picture);
}

static void bad_requests_are_refused(void **state)
{
    (void)state;
    image *picture = sample(2, 2, 3, 8), *wide = sample(16384, 1, 1, 8);
    picture_text *text = picture_text_new();
    unsigned char *bytes;
    size_t size;
    kiln_error err = {0};
    image_write_options options = {.quality = 101};
    assert_int_equal(image_write_memory(IMAGE_FORMAT_JPEG, picture, NULL, &options, &bytes, &size, &err),
                     KILN_BAD_ARGUMENT);
    assert_int_equal(image_write_memory(IMAGE_FORMAT_WEBP, wide, NULL, NULL, &bytes, &size, &err),
                     KILN_UNSUPPORTED);
    assert_int_equal(picture_text_add(text, "parameters", "\xFF", NULL), KILN_OK);
    assert_int_equal(image_write_memory(IMAGE_FORMAT_PNG, picture, text, NULL, &bytes, &size, &err),
                     KILN_BAD_ARGUMENT);
    picture_text_free(text);
    text = picture_text_new();
    assert_int_equal(picture_text_add(text, "", "x", NULL), KILN_OK);
    assert_int_equal(image_write_memory(IMAGE_FORMAT_PNG, picture, text, NULL, &bytes, &size, &err),
                     KILN_BAD_ARGUMENT);
    assert_null(bytes);
    picture_text_free(text);
    image_free(picture);
    image_free(wide);
}

static void tensors_are_those_of_diffusers(void **state)
{
    (void)state;
    for (int bits = 8; bits <= 16; bits += 8) {
        image *picture = sample(64, 4, 3, bits), *made;
        float numbers[64 * 4 * 3];
        image_to_tensor(picture, numbers);
        assert_int_equal(image_from_tensor(numbers, 64, 4, 3, bits, &made, NULL), KILN_OK);
        assert_memory_equal(made->pixels, picture->pixels, image_bytes(picture));
        image_free(picture);
        image_free(made);
    }
    /* 255 * 0.5 = 127.5 goes to the even 128; beyond the range is clamped. */
    const float numbers[6] = {0.0f, -1.0f, 1.0f, -7.0f, 7.0f, 1.0f / 255.0f};
    image *made;
    assert_int_equal(image_from_tensor(numbers, 2, 1, 3, 8, &made, NULL), KILN_OK);
    assert_memory_equal(made->pixels, ((const uint8_t[]){128, 0, 255, 0, 255, 128}), 6);
    image_free(made);
    const float wrong[3] = {0.0f, NAN, INFINITY};
    for (int i = 1; i < 3; i++) {
        assert_int_equal(image_from_tensor(wrong + i, 1, 1, 1, 8, &made, NULL), KILN_BAD_FORMAT);
        assert_null(made);
    }
}

static void alpha_goes_over_white(void **state)
{
    (void)state;
    image *picture, *bytes;
    float numbers[6];
    assert_int_equal(image_new(2, 1, 4, 8, &picture, NULL), KILN_OK);
    memcpy(picture->pixels, ((const uint8_t[]){10, 20, 30, 0, 255, 0, 0, 51}), 8);
    image_to_tensor(picture, numbers);
    const float expected[6] = {1.0f, 1.0f, 1.0f, 1.0f, 0.6f, 0.6f};
    for (int i = 0; i < 6; i++)
        assert_true(fabsf(numbers[i] - expected[i]) < 1e-6f);
    assert_int_equal(image_to_bytes(picture, 3, &bytes, NULL), KILN_OK);
    assert_memory_equal(bytes->pixels, ((const uint8_t[]){255, 255, 255, 255, 204, 204}), 6);
    image_free(bytes);
    image_free(picture);
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int drop_folder(void **state)
{
    static const char *const names[] = {"a.png", "b.JPG", "c.jpeg", "d.webp", "file.png"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unlink(in_folder(names[i]));
    rmdir(in_folder("folder.png"));
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(png_keeps_every_pixel),
        cmocka_unit_test(lossless_webp_keeps_every_pixel),
        cmocka_unit_test(lossy_formats_come_near),
        cmocka_unit_test(text_comes_back_from_every_format),
        cmocka_unit_test(long_text_fits_or_is_refused),
        cmocka_unit_test(comments_in_either_byte_order_are_read),
        cmocka_unit_test(files_are_written_whole),
        cmocka_unit_test(places_that_cannot_be_written_are_refused),
        cmocka_unit_test(bad_requests_are_refused),
        cmocka_unit_test(tensors_are_those_of_diffusers),
        cmocka_unit_test(alpha_goes_over_white),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
