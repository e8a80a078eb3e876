/* test_tensor_file.c - every form of weights file: names, types, layouts and bytes; damage; many threads.
 * floors: base tensor formats */
#include "formats/hash.h"
#include "formats/safetensors.h"
#include "formats/tensor_folder.h"
#include "weights_files.h"

#include <dirent.h>
#include <math.h>
#include <pthread.h>
#include <sys/stat.h>

static const char *in_folder(char path[512], const char *folder, const char *name)
{
    snprintf(path, 512, "%s/%s", folder, name);
    return path;
}

/* ------------------------------------------------------------------------------- our own samples */

static void check_types(const char *name)
{
    char path[512];
    tensor_file *file = must_open(in_folder(path, TEST_DATA "/weights", name));
    assert_int_equal(tensor_file_count(file), 10);
    static const char *const floats[] = {"float32", "float16", "bfloat16", "float64"};
    static const char *const integers[] = {"int64", "int32", "int16", "int8"};
    for (int t = 0; t < 4; t++) {
        float *a = must_read(file, floats[t]), *b = must_read(file, integers[t]);
        for (int i = 0; i < 15; i++) {
            assert_true(a[i] == sample(i));
            assert_true(b[i] == sample(i) * 8);
        }
        free(a);
        free(b);
    }
    float *bytes = must_read(file, "uint8"), *truth = must_read(file, "bool");
    for (int i = 0; i < 15; i++) {
        assert_true(bytes[i] == sample(i) * 8 + 32);
        assert_true(truth[i] == (sample(i) > 0 ? 1.0f : 0.0f));
    }
    free(bytes);
    free(truth);
    assert_int_equal(tensor_file_find(file, "bfloat16")->type, DTYPE_BF16);
    assert_int_equal(tensor_file_find(file, "bool")->type, DTYPE_BOOL);
    tensor_file_close(file);
}

static void test_types(void **state)
{
    (void)state;
    check_types("types.pt");
    check_types("types.legacy.pt");
}

/* Element (i, j) of the view must be element offset + i * down + j * right of the base. */
static void check_view(const tensor_file *file, const char *name, shape dims, int64_t offset, int64_t down,
                       int64_t right)
{
    const tensor_entry *entry = tensor_file_find(file, name);
    assert_non_null(entry);
    assert_true(shape_equal(entry->shape, dims));
    float *numbers = must_read(file, name);
    int64_t columns = dims.rank == 2 ? dims.dim[1] : 1;
    for (int64_t i = 0; i < shape_count(dims); i++)
        assert_true(numbers[i] == sample(offset + i / columns * down + i % columns * right));
    /* A part of it, as elements of its own type. */
    float part[2];
    if (shape_count(dims) >= 3) {
        kiln_error err = {0};
        assert_int_equal(tensor_file_read_part(file, entry, 1, 2, part, &err), KILN_OK);
        assert_true(part[0] == numbers[1] && part[1] == numbers[2]);
    }
    free(numbers);
}

static void check_layouts(const char *name)
{
    char path[512];
    tensor_file *file = must_open(in_folder(path, TEST_DATA "/weights", name));
    assert_int_equal(tensor_file_count(file), 9);
    check_view(file, "base", SHAPE2(6, 4), 0, 4, 1);
    check_view(file, "transposed", SHAPE2(4, 6), 0, 1, 4);
    check_view(file, "column", SHAPE1(6), 1, 4, 0);
    check_view(file, "block", SHAPE2(3, 2), 9, 4, 1);
    check_view(file, "row", SHAPE1(4), 12, 1, 0);
    check_view(file, "expanded", SHAPE2(3, 4), 0, 0, 1);
    check_view(file, "parameter", SHAPE1(4), 16, 1, 0);
    check_view(file, "empty", SHAPE2(0, 4), 0, 0, 0);
    float *scalar = must_read(file, "scalar");
    assert_true(*scalar == 2.5f);
    free(scalar);
    tensor_file_close(file);
}

static void test_layouts(void **state)
{
    (void)state;
    check_layouts("layouts.pt");
    check_layouts("layouts.legacy.pt");
    check_layouts("layouts.deflated.pt");
}

static void test_checkpoints(void **state)
{
    (void)state;
    static const char *const names[] = {"checkpoint.pt", "checkpoint.legacy.pt", "checkpoint.protocol3.pt",
                                        "checkpoint.protocol4.pt"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[512];
        tensor_file *file = must_open(in_folder(path, TEST_DATA "/weights", names[i]));
        assert_string_equal(tensor_file_wrapper(file), "state_dict");
        assert_int_equal(tensor_file_count(file), 2);
        assert_int_equal(tensor_file_outside_count(file), 2);
        check_view(file, "a", SHAPE1(4), 0, 1, 0);
        check_view(file, "b", SHAPE2(2, 2), 0, 2, 1);
        assert_null(tensor_file_find(file, "state_dict.a"));
        assert_string_equal(tensor_file_value(file, "epoch"), "3");
        assert_string_equal(tensor_file_value(file, "global_step"), "12345678901");
        assert_string_equal(tensor_file_value(file, "learning_rate"), "1e-05");
        assert_string_equal(tensor_file_value(file, "name"), "caf\xC3\xA9");
        assert_string_equal(tensor_file_value(file, "done"), "true");
        assert_string_equal(tensor_file_value(file, "numpy_step"), "77");
        assert_null(tensor_file_value(file, "callbacks.c.best"));
        tensor_file_close(file);
    }
}

static void test_numpy_pickle(void **state)
{
    (void)state;
    tensor_file *file = must_open(TEST_DATA "/weights/arrays.pkl");
    float *a = must_read(file, "a"), *c = must_read(file, "b.c");
    for (int i = 0; i < 12; i++)
        assert_true(a[i] == (float)i);
    assert_true(c[2] == 2.0f);
    free(a);
    free(c);
    tensor_file_close(file);
}

/* --------------------------------------------------------------------------------------- damage */

/* No prefix of a torch file opens, and no flipped bit crashes an opening or a reading. */
static void damage(const char *name, bool prefixes_refused)
{
    char path[512];
    size_t size = 0;
    uint8_t *bytes = file_bytes(in_folder(path, TEST_DATA "/weights", name), &size);
    assert_non_null(bytes);
    tensor_file *file;
    for (size_t cut = 0; prefixes_refused && cut < size; cut += 1 + cut % 3) {
        /* A copy of the exact size, so that a sanitizer sees a read past its end. */
        uint8_t *part = malloc(cut + 1);
        assert_non_null(part);
        memcpy(part, bytes, cut);
        must_refuse(part, cut, "");
        free(part);
    }
    for (size_t bit = 0; bit < size * 8; bit += 3) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (tensor_file_open_memory(bytes, size, "flipped", &file, NULL) == KILN_OK) {
            for (size_t i = 0; i < tensor_file_count(file); i++) {
                const tensor_entry *entry = tensor_file_entry(file, i);
                float numbers[64];
                if (shape_count(entry->shape) <= 64)
                    (void)!tensor_file_read_f32(file, entry, 0, shape_count(entry->shape), numbers, NULL);
            }
            tensor_file_close(file);
        }
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    free(bytes);
}

static void test_damage(void **state)
{
    (void)state;
    damage("layouts.pt", true);
    damage("layouts.deflated.pt", true);
    damage("checkpoint.legacy.pt", true);
    damage("arrays.pkl", true);
}

static void put_u16(uint8_t **p, uint32_t v)
{
    *(*p)++ = (uint8_t)v;
    *(*p)++ = (uint8_t)(v >> 8);
}

static void put_u32(uint8_t **p, uint32_t v)
{
    put_u16(p, v & 0xFFFF);
    put_u16(p, v >> 16);
}

/* A zip with one member "a/data.pkl" of these (compressed) bytes and the claimed sizes. */
static size_t one_member_zip(uint8_t *to, const void *bytes, uint32_t length, uint32_t claimed, int method,
                             uint32_t flags)
{
    static const char name[] = "a/data.pkl";
    uint8_t *p = to;
    for (int central = 0; central < 2; central++) {
        uint8_t *directory = p;
        memcpy(p, central ? "PK\1\2" : "PK\3\4", 4);
        p += 4;
        if (central)
            put_u16(&p, 20);
        put_u16(&p, 20);
        put_u16(&p, flags);
        put_u16(&p, (uint32_t)method);
        put_u32(&p, 0);
        put_u32(&p, 0);
        put_u32(&p, length);
        put_u32(&p, claimed);
        put_u16(&p, sizeof name - 1);
        put_u16(&p, 0);
        if (central) {
            put_u16(&p, 0);
            put_u16(&p, 0);
            put_u16(&p, 0);
            put_u32(&p, 0);
            put_u32(&p, 0);
        }
        memcpy(p, name, sizeof name - 1);
        p += sizeof name - 1;
        if (!central) {
            memcpy(p, bytes, length);
            p += length;
            continue;
        }
        uint32_t size = (uint32_t)(p - directory), at = (uint32_t)(directory - to);
        memcpy(p, "PK\5\6\0\0\0\0\1\0\1\0", 12);
        p += 12;
        put_u32(&p, size);
        put_u32(&p, at);
        put_u16(&p, 0);
    }
    return (size_t)(p - to);
}

static void test_zip_lies(void **state)
{
    (void)state;
    uint8_t zip[512];
    /* An empty stored block of deflate: it says it is 4 GB. */
    static const uint8_t empty[] = {1, 0, 0, 0xFF, 0xFF};
    size_t size = one_member_zip(zip, empty, sizeof empty, 0xFFFFFFF0u, 8, 0);
    must_refuse(zip, size, "at most");
    size = one_member_zip(zip, empty, sizeof empty, 100000000, 8, 0);
    must_refuse(zip, size, "more than its 5 compressed bytes can hold");
    size = one_member_zip(zip, empty, sizeof empty, 100, 8, 0);
    must_refuse(zip, size, "damaged");
    /* A block of 4 literal bytes, in a member that claims 2: inflating must stop. */
    static const uint8_t four[] = {1, 4, 0, 0xFB, 0xFF, 'a', 'b', 'c', 'd'};
    size = one_member_zip(zip, four, sizeof four, 2, 8, 0);
    must_refuse(zip, size, "inflates to more than");
    size = one_member_zip(zip, "N.", 2, 2, 0, 0);
    must_refuse(zip, size, "checksum");
    size = one_member_zip(zip, "N.", 2, 2, 0, 1);
    must_refuse(zip, size, "encrypted");
    size = one_member_zip(zip, "N.", 2, 2, 12, 0);
    must_refuse(zip, size, "method 12");
    size = one_member_zip(zip, "N.", 2, 3, 0, 0);
    must_refuse(zip, size, "two sizes");
    must_refuse("PK\5\6\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 22, "without data.pkl");
}

/* ------------------------------------------------------------------------------ folders and shards */

static void write_tensor(const char *path, const char *name, float value)
{
    safetensors_writer *writer;
    kiln_error err = {0};
    assert_int_equal(safetensors_writer_open(path, &writer, &err), KILN_OK);
    assert_int_equal(safetensors_writer_declare(writer, name, DTYPE_F32, SHAPE1(1), &err), KILN_OK);
    assert_int_equal(safetensors_writer_write(writer, name, &value, 4, &err), KILN_OK);
    assert_int_equal(safetensors_writer_finish(writer, &err), KILN_OK);
}

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void refuse_index(const char *path, const char *json, const char *word)
{
    tensor_file *file;
    kiln_error err = {0};
    write_text(path, json);
    assert_int_not_equal(tensor_file_open(path, &file, &err), KILN_OK);
    assert_null(file);
    if (!strstr(err.text, word))
        fail_msg("expected '%s', got: %s", word, err.text);
}

static void test_shards(void **state)
{
    (void)state;
    char folder[] = "test-shards-XXXXXX", index[512], one[512], two[512];
    assert_non_null(mkdtemp(folder));
    in_folder(index, folder, "model.safetensors.index.json");
    write_tensor(in_folder(one, folder, "one.safetensors"), "a", 1.0f);
    write_tensor(in_folder(two, folder, "two.safetensors"), "b", 2.0f);
    write_text(index,
               "{\"metadata\":{},\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"two.safetensors\"}}");
    tensor_file *file = must_open(folder);
    assert_string_equal(tensor_file_format(file), "sharded index");
    assert_int_equal(tensor_file_count(file), 2);
    float *a = must_read(file, "a"), *b = must_read(file, "b");
    assert_true(*a == 1.0f && *b == 2.0f);
    free(a);
    free(b);
    tensor_file_close(file);
    refuse_index(index, "{\"weight_map\":{\"c\":\"one.safetensors\"}}", "no such tensor");
    refuse_index(index, "{\"weight_map\":{\"a\":\"three.safetensors\"}}", "three.safetensors");
    refuse_index(index, "{\"weight_map\":{\"a\":\"../one.safetensors\"}}", "no name of a file");
    refuse_index(index, "{\"weight_map\":{\"a\":\"model.safetensors.index.json\"}}", "neither");
    refuse_index(index, "{\"weight_map\":{\"a\":7}}", "no file name");
    refuse_index(index, "{\"weight_map\":[]}", "without a weight_map");
    refuse_index(index, "{", "not valid JSON");
    unlink(index);
    unlink(one);
    unlink(two);
    kiln_error err = {0};
    assert_int_equal(tensor_file_open(folder, &file, &err), KILN_NOT_FOUND);
    assert_non_null(strstr(err.text, "no weights"));
    assert_int_equal(rmdir(folder), 0);
    assert_int_equal(tensor_file_open("no-such-file", &file, &err), KILN_NOT_FOUND);
    assert_null(file);
    assert_int_not_equal(tensor_file_open("/dev/null", &file, &err), KILN_OK);
}

/* A variant is preferred when it is asked for, and found when it is the only one. */
static void test_folder_variants(void **state)
{
    (void)state;
    char folder[] = "test-folder-XXXXXX", plain[512], half[512], found[512];
    assert_non_null(mkdtemp(folder));
    write_tensor(in_folder(half, folder, "model.fp16.safetensors"), "a", 1.0f);
    assert_int_equal(tensor_folder_find(folder, NULL, found, sizeof found, NULL), KILN_OK);
    assert_string_equal(found, half);
    write_tensor(in_folder(plain, folder, "model.safetensors"), "a", 1.0f);
    assert_int_equal(tensor_folder_find(folder, NULL, found, sizeof found, NULL), KILN_OK);
    assert_string_equal(found, plain);
    assert_int_equal(tensor_folder_find(folder, "fp16", found, sizeof found, NULL), KILN_OK);
    assert_string_equal(found, half);
    unlink(plain);
    unlink(half);
    assert_int_equal(rmdir(folder), 0);
}

/* --------------------------------------------------------------------------------- threads, hashes */

static void *read_many(void *self)
{
    const tensor_file *file = self;
    for (int round = 0; round < 50; round++)
        for (size_t i = 0; i < tensor_file_count(file); i++) {
            const tensor_entry *entry = tensor_file_entry(file, i);
            float numbers[32];
            if (tensor_file_read_f32(file, entry, 0, shape_count(entry->shape), numbers, NULL) != KILN_OK)
                return self;
            if (strcmp(entry->name, "base") == 0 && numbers[23] != sample(23))
                return self;
            if (strcmp(entry->name, "scalar") == 0 && numbers[0] != 2.5f)
                return self;
        }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    static const char *const names[] = {"layouts.pt", "layouts.deflated.pt"};
    for (int n = 0; n < 2; n++) {
        char path[512];
        tensor_file *file = must_open(in_folder(path, TEST_DATA "/weights", names[n]));
        pthread_t threads[4];
        for (int i = 0; i < 4; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, read_many, file), 0);
        for (int i = 0; i < 4; i++) {
            void *failed;
            assert_int_equal(pthread_join(threads[i], &failed), 0);
            assert_null(failed);
        }
        tensor_file_close(file);
    }
}

static void test_hashes(void **state)
{
    (void)state;
    char digits[SHA256_DIGITS + 1];
    assert_int_equal(hash_memory("abc", 3, digits, NULL), KILN_OK);
    assert_string_equal(digits, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    file_hashes hashes;
    kiln_error err = {0};
    assert_int_not_equal(hash_file("no-such-file", &hashes, NULL, NULL, &err), KILN_OK);
    const char *path = TEST_SHARED "/real/lora/lora_disney.safetensors";
    SKIP_WITHOUT(path);
    assert_int_equal(hash_file(path, &hashes, NULL, NULL, &err), KILN_OK);
    assert_string_equal(hashes.sha256, "cea222b3653ff7eb4ee8b89f70b995bf81d4cbf01111605128c2c9704ae66c19");
    assert_string_equal(hashes.shorthash, "cea222b365");
    assert_int_equal(strlen(hashes.addnet), 12);
    char old[9];
    assert_int_equal(hash_file_old(path, old, &err), KILN_OK);
    assert_string_equal(old, hashes.old);
    /* 0x10000 bytes at 0x100000 and the bytes after the header, hashed once more by hand. */
    size_t size;
    uint8_t *bytes = file_bytes(path, &size);
    assert_non_null(bytes);
    assert_int_equal(hash_memory(bytes + 0x100000, 0x10000, digits, NULL), KILN_OK);
    assert_memory_equal(digits, old, 8);
    size_t header = 8 + (size_t)bytes[0] + ((size_t)bytes[1] << 8) + ((size_t)bytes[2] << 16);
    assert_int_equal(hash_memory(bytes + header, size - header, digits, NULL), KILN_OK);
    assert_string_equal(digits, hashes.without_header);
    free(bytes);
}

/* ------------------------------------------------------------------------------------ real files */

/* Each file of the folder opens and reads wholly, without a NaN, or is refused in words. */
static int open_all(const char *folder, int *refused)
{
    DIR *open_folder = opendir(folder);
    int opened = 0;
    for (struct dirent *item; open_folder && (item = readdir(open_folder));) {
        char path[1024];
        struct stat about;
        snprintf(path, sizeof path, "%s/%s", folder, item->d_name);
        if (stat(path, &about) != 0 || !S_ISREG(about.st_mode))
            continue;
        tensor_file *file;
        kiln_error err = {0};
        if (tensor_file_open(path, &file, &err) != KILN_OK) {
            assert_true(strlen(err.text) > 20);
            ++*refused;
            continue;
        }
        for (size_t i = 0; i < tensor_file_count(file); i++) {
            const tensor_entry *entry = tensor_file_entry(file, i);
            float *numbers = must_read(file, entry->name);
            for (int64_t k = 0; k < shape_count(entry->shape); k++)
                assert_false(isnan(numbers[k]));
            free(numbers);
        }
        tensor_file_close(file);
        opened++;
    }
    if (open_folder)
        closedir(open_folder);
    return opened;
}

static void test_real_files(void **state)
{
    (void)state;
    SKIP_WITHOUT(TEST_SHARED "/real/INDEX.md");
    static const char *const folders[] = {"real/embeddings", "real/lora",       "real/torch_misc",
                                          "real/taesd",      "real/vae_approx", "real/upscaler_pth",
                                          "real/sd_misc"};
    int opened = 0, refused = 0;
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char path[512];
        opened += open_all(in_folder(path, TEST_SHARED, folders[i]), &refused);
    }
    print_message("%d real files opened and read, %d refused\n", opened, refused);
    assert_true(opened > 30);
    assert_int_equal(refused, 0);
    assert_int_equal(open_all(TEST_SHARED "/real/tokenizer", &refused), 0);
    assert_true(refused > 5);
}

/* Two files must hold the same tensors, byte for byte. */
static void compare(const char *left_path, const char *right_path)
{
    tensor_file *left = must_open(left_path), *right = must_open(right_path);
    assert_int_equal(tensor_file_count(left), tensor_file_count(right));
    for (size_t i = 0; i < tensor_file_count(left); i++) {
        const tensor_entry *a = tensor_file_entry(left, i), *b = tensor_file_find(right, a->name);
        assert_non_null(b);
        assert_true(a->type == b->type && shape_equal(a->shape, b->shape));
        size_t bytes = (size_t)tensor_entry_bytes(a);
        uint8_t *x = malloc(bytes + 1), *y = malloc(bytes + 1);
        assert_int_equal(tensor_file_read(left, a, x, NULL), KILN_OK);
        assert_int_equal(tensor_file_read(right, b, y, NULL), KILN_OK);
        assert_memory_equal(x, y, bytes);
        free(x);
        free(y);
    }
    tensor_file_close(left);
    tensor_file_close(right);
}

/* The same upscaler as stored zip, deflated zip and safetensors; the same embedding as .pt and safetensors. */
static void test_same_in_every_form(void **state)
{
    (void)state;
    SKIP_WITHOUT(TEST_SHARED "/real/upscaler_pth");
#define UPSCALER TEST_SHARED "/real/upscaler_pth/realesr-animevideov3."
    compare(UPSCALER "repacked-stored.pth", UPSCALER "safetensors");
    compare(UPSCALER "rezipped-deflate.pth", UPSCALER "safetensors");
#undef UPSCALER
    compare(TEST_SHARED "/real/embeddings/EasyNegative.pt",
            TEST_SHARED "/real/embeddings/EasyNegative.safetensors");
}

/* Every half there is, against the definition of binary16. */
static void test_half_conversion(void **state)
{
    (void)state;
    enum { HALVES = 65536 };
    uint16_t *halves = malloc(HALVES * sizeof *halves);
    float *numbers = malloc(HALVES * sizeof *numbers);
    assert_true(halves && numbers);
    for (int i = 0; i < HALVES; i++)
        halves[i] = (uint16_t)i;
    convert_to_f32(halves, DTYPE_F16, numbers, HALVES);
    for (int i = 0; i < HALVES; i++) {
        int exponent = i >> 10 & 31, mantissa = i & 1023;
        double magnitude = exponent == 31 ? (mantissa ? (double)NAN : (double)INFINITY)
                           : exponent     ? ldexp(1024 + mantissa, exponent - 25)
                                          : ldexp(mantissa, -24);
        double expected = i & 0x8000 ? -magnitude : magnitude;
        if (isnan(expected))
            assert_true(isnan(numbers[i]));
        else
            assert_true((double)numbers[i] == expected && !signbit(numbers[i]) == !(i & 0x8000));
    }
    free(halves);
    free(numbers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types),           cmocka_unit_test(test_layouts),
        cmocka_unit_test(test_checkpoints),     cmocka_unit_test(test_numpy_pickle),
        cmocka_unit_test(test_damage),          cmocka_unit_test(test_zip_lies),
        cmocka_unit_test(test_shards),          cmocka_unit_test(test_folder_variants),
        cmocka_unit_test(test_threads),         cmocka_unit_test(test_hashes),
        cmocka_unit_test(test_real_files),      cmocka_unit_test(test_same_in_every_form),
        cmocka_unit_test(test_half_conversion),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
