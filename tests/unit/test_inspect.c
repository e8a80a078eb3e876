/* test_inspect.c - what a file is, from its header: facts, tables, digests, and the time it takes for 7 GB.
 * floors: base tensor formats graph ops backend plan nn model text weights diffusion image pipeline */
#include "base/error.h"
#include "kiln/kiln.h"
#include "unit/sparse_checkpoint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SINGLE TEST_SHARED "/golden/single_file/"

static char path[] = "/tmp/kiln-inspect-XXXXXX";

static int make_file(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    if (fd < 0)
        return -1;
    close(fd);
    return 0;
}

static int remove_file(void **state)
{
    (void)state;
    return unlink(path);
}

static void skip_without(const char *name)
{
    if (access(name, R_OK) != 0) {
        print_message("%s is absent\n", name);
        skip();
    }
}

static void write_file(const void *bytes, size_t size)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    fclose(f);
}

static kiln_inspection *inspect(const char *name)
{
    kiln_inspection *found;
    kiln_error err;
    if (kiln_inspect(name, &found, &err))
        fail_msg("%s", err.text);
    return found;
}

static const char *fact(const kiln_inspection *found, const char *wanted)
{
    const char *name, *text;
    for (int i = 0; (text = kiln_inspection_fact(found, i, &name)); i++)
        if (strcmp(name, wanted) == 0)
            return text;
    return "";
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void check_real_header(const char *keys, const char *family, const char *parts, uint64_t at_least)
{
    int tensors, rank;
    skip_without(keys);
    uint64_t size = sparse_checkpoint(keys, "", path, &tensors);
    assert_true(size >= at_least);
    double start = now();
    kiln_inspection *found = inspect(path);
    double seconds = now() - start;
    print_message("%s: %.2f GB, %d tensors, %.1f ms\n", family, (double)size / 1e9, tensors, seconds * 1e3);
    assert_true(seconds < 1.0);
    assert_string_equal(fact(found, "kind"), "checkpoint");
    assert_string_equal(fact(found, "family"), family);
    assert_string_equal(fact(found, "parts"), parts);
    assert_string_equal(fact(found, "missing"), "");
    assert_int_equal(atoi(fact(found, "tensors")), tensors);
    const char *type;
    const int64_t *dims;
    assert_non_null(kiln_inspection_tensor(found, tensors - 1, &type, &rank, &dims));
    assert_string_equal(type, "F16");
    assert_null(kiln_inspection_tensor(found, tensors, &type, &rank, &dims));
    assert_null(kiln_inspection_tensor(found, -1, NULL, NULL, NULL));
    kiln_inspection_free(found);
}

static void large_files_take_no_time(void **state)
{
    (void)state;
    check_real_header(TEST_SHARED "/golden/keys/sdxl.txt", "Stable Diffusion XL",
                      "UNet, VAE, text encoder 1, text encoder 2", 6900000000u);
    check_real_header(TEST_SHARED "/golden/keys/sd15.txt", "Stable Diffusion 1.x", "UNet, VAE, text encoder",
                      2100000000u);
    check_real_header(TEST_SHARED "/golden/keys/sd21.txt", "Stable Diffusion 2.x", "UNet, VAE, text encoder",
                      2500000000u);
    write_file("", 0);
}

static void folders_are_told(void **state)
{
    (void)state;
    static const char folder[] = TEST_SHARED "/golden/models/inpaint-tiny";
    skip_without(folder);
    kiln_inspection *found = inspect(folder);
    assert_string_equal(fact(found, "kind"), "model folder");
    assert_string_equal(fact(found, "family"), "Stable Diffusion 1 inpainting");
    assert_string_equal(fact(found, "parts"), "unet");
    assert_string_equal(fact(found, "missing"), "vae, text_encoder");
    assert_int_equal(strncmp(kiln_inspection_tensor(found, 0, NULL, NULL, NULL), "unet/", 5), 0);
    kiln_inspection_free(found);
    found = inspect(TEST_SHARED "/golden/models/sd1-tiny/vae");
    assert_string_equal(fact(found, "kind"), "VAE");
    kiln_inspection_free(found);
}

static void pickles_show_their_numbers(void **state)
{
    (void)state;
    skip_without(SINGLE "sd1-single.ckpt");
    kiln_inspection *found = inspect(SINGLE "sd1-single.ckpt");
    assert_string_equal(fact(found, "format"), "torch (zip)");
    const char *key, *text;
    bool seen = false;
    for (int i = 0; (text = kiln_inspection_metadata(found, i, &key)); i++)
        seen = seen || strcmp(key, "global_step") == 0;
    assert_true(seen);
    assert_null(kiln_inspection_metadata(found, -1, &key));
    kiln_inspection_free(found);
}

static void what_is_wrong_is_said(void **state)
{
    (void)state;
    kiln_inspection *found = (kiln_inspection *)path;
    kiln_error err;
    assert_int_equal(kiln_inspect("/no/such/file", &found, &err), KILN_NOT_FOUND);
    assert_null(found);
    assert_int_equal(kiln_inspect("", &found, &err), KILN_BAD_ARGUMENT);
    write_file("", 0);
    assert_int_equal(kiln_inspect(path, &found, &err), KILN_BAD_FORMAT);
    write_file("garbage, garbage, garbage", 25);
    assert_int_not_equal(kiln_inspect(path, &found, &err), KILN_OK);
    assert_non_null(strstr(err.text, path));
}

static bool stop(void *user, const kiln_progress *p)
{
    assert_string_equal(p->stage, "hash");
    return ++*(int *)user < 2;
}

static void digests_are_those_of_others(void **state)
{
    (void)state;
    kiln_hashes h;
    kiln_error err;
    write_file("abc", 3);
    assert_int_equal(kiln_hash_file(path, &h, NULL, NULL, &err), KILN_OK);
    assert_string_equal(h.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_string_equal(h.short_hash, "ba7816bf8f");
    assert_string_equal(h.old_hash, "e3b0c442"); /* of no bytes: the file ends before them */
    assert_string_equal(h.data_hash, "");
    /* Data after a header: "abc" again. */
    write_file("\2\0\0\0\0\0\0\0{}abc", 13);
    assert_int_equal(kiln_hash_file(path, &h, NULL, NULL, &err), KILN_OK);
    assert_string_equal(h.data_hash, "ba7816bf8f01");
    /* The old digest is of bytes 0x100000 to 0x110000. */
    size_t size = 3 << 20;
    uint8_t *bytes = calloc(1, size);
    memset(bytes + 0x100000, 'a', 0x10000);
    write_file(bytes, size);
    assert_int_equal(kiln_hash_file(path, &h, NULL, NULL, &err), KILN_OK);
    assert_string_equal(h.old_hash, "bf718b6f"); /* sha256 of 65536 times 'a' */
    int calls = 0;
    assert_int_equal(kiln_hash_file(path, &h, stop, &calls, &err), KILN_CANCELLED);
    assert_string_equal(h.sha256, "");
    free(bytes);
    assert_int_equal(kiln_hash_file("/tmp", &h, NULL, NULL, &err), KILN_BAD_ARGUMENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(large_files_take_no_time),    cmocka_unit_test(folders_are_told),
        cmocka_unit_test(pickles_show_their_numbers),  cmocka_unit_test(what_is_wrong_is_said),
        cmocka_unit_test(digests_are_those_of_others),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
