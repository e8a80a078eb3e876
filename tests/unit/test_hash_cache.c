/* floors: base tensor formats
 *
 * test_hash_cache.c - remembered hashes: found while the file is the same, bounded, whole; a damaged cache knows
 * nothing and is mended by the next entry. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "formats/hash_cache.h"

#include <cmocka.h>

static char folder[64], file[128], cache[160];
static const file_hashes known = {
    .sha256 = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff", .addnet = "0123456789ab"};

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/kiln-hash-cache-XXXXXX");
    if (!mkdtemp(folder))
        return 1;
    snprintf(file, sizeof file, "%s/model file.ckpt", folder);
    snprintf(cache, sizeof cache, "%s/a/b/hashes", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static void write_text(const char *path, const char *text, size_t size)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

static char *read_text(const char *path)
{
    char *text = calloc(1, 1 << 20);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    assert_non_null(text);
    text[fread(text, 1, (1 << 20) - 1, f)] = '\0';
    fclose(f);
    return text;
}

static bool remember(const char *path, const file_hashes *h)
{
    file_stamp stamp;
    assert_true(file_stamp_of(path, &stamp));
    return hash_cache_add(cache, path, &stamp, h);
}

static int lines_of(const char *text)
{
    int lines = 0;
    for (; *text; text++)
        lines += *text == '\n';
    return lines;
}

static void what_is_remembered_is_found(void **state)
{
    (void)state;
    file_hashes h;
    write_text(file, "weights", 7);
    assert_false(hash_cache_find(cache, file, &h));
    assert_true(remember(file, &known));
    assert_true(hash_cache_find(cache, file, &h));
    assert_string_equal(h.sha256, known.sha256);
    assert_string_equal(h.shorthash, "0011223344");
    assert_string_equal(h.addnet, known.addnet);
    assert_string_equal(h.old, "e3b0c442");
    /* By another name of the same file. */
    char other[256];
    snprintf(other, sizeof other, "%s/a/../model file.ckpt", folder);
    assert_true(hash_cache_find(cache, other, &h));
    /* Only the sha256 computed again: the data hash stays. Another sha256: it goes. */
    file_hashes plain = known;
    plain.addnet[0] = '\0';
    assert_true(remember(file, &plain));
    assert_true(hash_cache_find(cache, file, &h));
    assert_string_equal(h.addnet, known.addnet);
    plain.sha256[0] = 'f';
    assert_true(remember(file, &plain));
    assert_true(hash_cache_find(cache, file, &h));
    assert_string_equal(h.addnet, "");
    assert_string_equal(h.sha256, plain.sha256);
    char *text = read_text(cache);
    assert_int_equal(lines_of(text), 1);
    free(text);
}

static void a_changed_file_is_unknown(void **state)
{
    (void)state;
    file_hashes h;
    file_stamp stamp;
    write_text(file, "weights", 7);
    assert_true(remember(file, &known));
    write_text(file, "weights and more", 16);
    assert_false(hash_cache_find(cache, file, &h));
    assert_string_equal(h.sha256, "");
    /* The same size at another time. */
    assert_true(remember(file, &known));
    assert_true(file_stamp_of(file, &stamp));
    const struct timespec times[2] = {{.tv_sec = 1000000000, .tv_nsec = 5},
                                      {.tv_sec = 1000000000, .tv_nsec = 5}};
    assert_int_equal(utimensat(0, file, times, 0), 0);
    assert_false(hash_cache_find(cache, file, &h));
    /* What changed while it was hashed is not remembered. */
    assert_false(hash_cache_add(cache, file, &stamp, &known));
    assert_false(hash_cache_find(cache, file, &h));
    assert_int_equal(unlink(file), 0);
    assert_false(hash_cache_find(cache, file, &h));
    assert_false(hash_cache_find(cache, folder, &h));
}

/* Every form of damage: nothing is known, nothing breaks, and the next entry leaves a good cache. */
static void damaged_caches_know_nothing(void **state)
{
    (void)state;
    write_text(file, "weights", 7);
    assert_true(remember(file, &known));
    char *good = read_text(cache);
    size_t size = strlen(good);
    file_hashes h;
    for (size_t cut = 0; cut < size; cut++) {
        write_text(cache, good, cut);
        assert_false(hash_cache_find(cache, file, &h));
    }
    for (size_t i = 0; i < size; i++) {
        char *bad = malloc(size);
        assert_non_null(bad);
        memcpy(bad, good, size);
        bad[i] = '\0';
        write_text(cache, bad, size);
        assert_false(hash_cache_find(cache, file, &h));
        bad[i] = good[i] == 'Z' ? 'Y' : 'Z'; /* the folder's name is random */
        write_text(cache, bad, size);
        assert_false(hash_cache_find(cache, file, &h));
        free(bad);
    }
    static const char *const texts[] = {
        "\n\n\n",
        "0011 - 7 1 /x\n",
        "00112233445566778899AABBCCDDEEFF00112233445566778899aabbccddeeff - 7 1 /x\n",
        "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff - 99999999999999999999 1 /x\n",
        "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff - 7 -9223372036854775808 /x\n",
        "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff - 7 1 relative\n",
        "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff - 7 1 \n",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        write_text(cache, texts[i], strlen(texts[i]));
        assert_false(hash_cache_find(cache, file, &h));
        assert_true(remember(file, &known));
        char *mended = read_text(cache);
        assert_string_equal(mended, good);
        free(mended);
    }
    free(good);
}

static void the_newest_thousand_stay(void **state)
{
    (void)state;
    char *text = malloc(1 << 20);
    assert_non_null(text);
    size_t at = 0;
    for (int i = 0; i < HASH_CACHE_LINES + 500; i++)
        at += (size_t)sprintf(text + at, "%s - %d -5 /models/%d\n", known.sha256, i, i);
    write_text(cache, text, at);
    free(text);
    write_text(file, "weights", 7);
    assert_true(remember(file, &known));
    text = read_text(cache);
    assert_int_equal(lines_of(text), HASH_CACHE_LINES);
    assert_null(strstr(text, "/models/500\n"));
    assert_non_null(strstr(text, "/models/501\n"));
    assert_non_null(strstr(text, "/models/1499\n"));
    free(text);
    file_hashes h;
    assert_true(hash_cache_find(cache, file, &h));
}

static void what_cannot_be_written_is_said(void **state)
{
    (void)state;
    file_hashes h = known;
    file_stamp stamp;
    write_text(file, "weights", 7);
    assert_true(file_stamp_of(file, &stamp));
    char below_a_file[256];
    snprintf(below_a_file, sizeof below_a_file, "%s/hashes", file);
    assert_false(hash_cache_add(below_a_file, file, &stamp, &known));
    assert_false(hash_cache_find(below_a_file, file, &h));
    assert_false(hash_cache_add("", file, &stamp, &known));
    assert_false(hash_cache_add(folder, file, &stamp, &known)); /* a folder is there */
    h = known;
    h.sha256[5] = 'x';
    assert_false(remember(file, &h));
    h = known;
    h.addnet[3] = '\0';
    assert_false(remember(file, &h));
    /* A line break in a name would make two lines. */
    char broken[256];
    snprintf(broken, sizeof broken, "%s/two\nlines", folder);
    write_text(broken, "weights", 7);
    assert_false(remember(broken, &known));
    /* A pipe is not waited for. */
    char pipe_path[256];
    snprintf(pipe_path, sizeof pipe_path, "%s/pipe", folder);
    assert_int_equal(mkfifo(pipe_path, 0600), 0);
    assert_false(hash_cache_find(pipe_path, file, &h));
}

static void only_what_is_wanted_is_computed(void **state)
{
    (void)state;
    file_hashes h;
    write_text(file, "\2\0\0\0\0\0\0\0{}abc", 13);
    assert_int_equal(hash_file_some(file, HASH_SHA256, &h, NULL, NULL, NULL), KILN_OK);
    assert_string_equal(h.shorthash, "6c89478bb1");
    assert_string_equal(h.without_header, "");
    assert_string_equal(h.addnet, "");
    assert_string_equal(h.old, "");
    assert_int_equal(hash_file_some(file, HASH_WITHOUT_HEADER, &h, NULL, NULL, NULL), KILN_OK);
    assert_string_equal(h.sha256, "");
    assert_string_equal(h.addnet, "ba7816bf8f01");
    assert_int_equal(hash_file_some(file, HASH_OLD, &h, NULL, NULL, NULL), KILN_OK);
    assert_string_equal(h.sha256, "");
    assert_string_equal(h.old, "e3b0c442");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_remembered_is_found),    cmocka_unit_test(a_changed_file_is_unknown),
        cmocka_unit_test(damaged_caches_know_nothing),    cmocka_unit_test(the_newest_thousand_stay),
        cmocka_unit_test(what_cannot_be_written_is_said), cmocka_unit_test(only_what_is_wanted_is_computed),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
