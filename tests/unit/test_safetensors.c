/* test_safetensors.c - reading and writing safetensors; every way in which a header can be wrong.
 * floors: base tensor formats */
#include "formats/safetensors.h"
#include "weights_files.h"

static void refuse_header(const char *json, size_t data_size, const char *word)
{
    size_t length = strlen(json);
    uint8_t *bytes = calloc(1, 8 + length + data_size + 1);
    assert_non_null(bytes);
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(length >> (8 * i));
    memcpy(bytes + 8, json, length);
    must_refuse(bytes, 8 + length + data_size, word);
    free(bytes);
}

static void test_wrong_json(void **state)
{
    (void)state;
    refuse_header("{\"a\":", 0, "not valid JSON");
    refuse_header("{\"a\":1}", 0, "object");
    refuse_header("{\"a\":null}", 0, "object");
    refuse_header("{\"a\":[]}", 0, "object");
    refuse_header("{\"a\":{}}", 0, "'dtype'");
    refuse_header("{\"a\":{\"dtype\":7,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "'dtype'");
    refuse_header("{\"a\":{\"dtype\":\"Q9\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "unknown type 'Q9'");
    refuse_header("{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, "'shape'");
    refuse_header("{\"a\":{\"dtype\":\"F32\",\"shape\":4,\"data_offsets\":[0,4]}}", 4, "'shape'");
    refuse_header("{\"a\":{\"dtype\":\"F32\",\"shape\":{},\"data_offsets\":[0,4]}}", 4, "'shape'");
    refuse_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[\"1\"],\"data_offsets\":[0,4]}}", 4, "'shape'");
    refuse_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,4]}}", 4, "'shape'");
    refuse_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, "'shape'");
    refuse_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[true],\"data_offsets\":[0,4]}}", 4, "'shape'");
    refuse_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4,
                  "dimensions");
    refuse_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,4]}}", 4,
                  "too large");
    refuse_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[99999999999999999999],\"data_offsets\":[0,4]}}", 4,
                  "JSON");
    refuse_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "'data_offsets'");
    refuse_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":4}}", 4, "'data_offsets'");
    refuse_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, "'data_offsets'");
    refuse_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}", 4, "'data_offsets'");
    refuse_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[\"0\",4]}}", 4,
                  "'data_offsets'");
    refuse_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4.0]}}", 4, "'data_offsets'");
    refuse_header("{\"__metadata__\":[]}", 0, "'__metadata__'");
    refuse_header("{\"__metadata__\":{\"k\":1}}", 0, "'k'");
    refuse_header("{\"__metadata__\":{\"k\":{\"deep\":\"x\"}}}", 0, "'k'");
    refuse_header("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
                  "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
                  4, "duplicate");
}

static void test_wrong_offsets(void **state)
{
    (void)state;
#define TENSOR(name, from, to)                                                                               \
    "\"" name "\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[" from "," to "]}"
    refuse_header("{" TENSOR("a", "4", "0") "}", 4, "from byte 4 to byte 0");
    refuse_header("{" TENSOR("a", "-4", "0") "}", 4, "from byte -4");
    refuse_header("{" TENSOR("a", "0", "8") "}", 8, "takes 4 bytes");
    refuse_header("{" TENSOR("a", "4", "8") "}", 4, "truncated");
    refuse_header("{" TENSOR("a", "9223372036854775803", "9223372036854775807") "}", 4, "truncated");
    refuse_header("{" TENSOR("a", "0", "4") "," TENSOR("b", "2", "6") "}", 6, "overlap");
    refuse_header("{" TENSOR("a", "0", "4") "," TENSOR("b", "0", "4") "}", 4, "overlap");
    refuse_header("{" TENSOR("a", "0", "4") "," TENSOR("b", "6", "10") "}", 10, "belong to no tensor");
    refuse_header("{" TENSOR("a", "0", "4") "}", 9, "last 5 bytes");
#undef TENSOR
}

static void test_wrong_header_size(void **state)
{
    (void)state;
    uint8_t huge[64] = {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F, '{', '}'};
    must_refuse(huge, sizeof huge, "header");
    uint8_t cut[64] = {200, 0, 0, 0, 0, 0, 0, 0, '{', '"', 'a'};
    must_refuse(cut, sizeof cut, "header");
    must_refuse(NULL, 0, "empty");
    uint8_t zeros[100] = {0};
    must_refuse(zeros, sizeof zeros, "zeros");
    must_refuse("\3\0\0", 3, "neither");
    must_refuse("<!DOCTYPE html><html>sign in</html>", 35, "web page");
    must_refuse("version https://git-lfs.github.com/spec/v1\noid", 46, "git lfs pull");
    must_refuse("GGUF\3\0\0\0\0\0\0\0\0\0\0\0", 16, "GGUF");
}

/* Every prefix of a valid file is refused, and no byte flipped crashes. */
static void test_truncated_and_flipped(void **state)
{
    (void)state;
    static const char json[] =
        "{\"__metadata__\":{\"k\":\"v\"},\"a\":{\"dtype\":\"F16\",\"shape\":[3],"
        "\"data_offsets\":[0,6]},\"b\":{\"dtype\":\"I8\",\"shape\":[2],\"data_offsets\":[6,8]}}";
    enum { LENGTH = sizeof json - 1, SIZE = 8 + LENGTH + 8 };
    uint8_t file[SIZE] = {LENGTH};
    memcpy(file + 8, json, LENGTH);
    tensor_file *open;
    kiln_error err = {0};
    assert_int_equal(tensor_file_open_memory(file, SIZE, "whole", &open, &err), KILN_OK);
    assert_int_equal(tensor_file_count(open), 2);
    assert_string_equal(tensor_file_metadata(open, "k"), "v");
    assert_null(tensor_file_metadata(open, "none"));
    tensor_file_close(open);
    for (size_t size = 0; size < SIZE; size++)
        must_refuse(file, size, "");
    for (size_t bit = 0; bit < SIZE * 8; bit++) {
        file[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (tensor_file_open_memory(file, SIZE, "flipped", &open, NULL) == KILN_OK)
            tensor_file_close(open);
        file[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void write_sample(const char *path, bool reversed)
{
    safetensors_writer *writer;
    kiln_error err = {0};
    float wide[6], narrow[5];
    uint16_t halves[5];
    int8_t small[3] = {-1, 0, 1};
    for (int i = 0; i < 6; i++)
        wide[i] = sample(i);
    for (int i = 0; i < 5; i++)
        narrow[i] = sample(i);
    convert_from_f32(narrow, halves, DTYPE_F16, 5);
    assert_int_equal(safetensors_writer_open(path, &writer, &err), KILN_OK);
    for (int i = 0; i < 4; i++)
        switch (reversed ? 3 - i : i) {
        case 0:
            assert_int_equal(safetensors_writer_declare(writer, "wide", DTYPE_F32, SHAPE2(2, 3), &err), 0);
            break;
        case 1:
            assert_int_equal(safetensors_writer_declare(writer, "b \"half\"", DTYPE_F16, SHAPE1(5), &err), 0);
            break;
        case 2:
            assert_int_equal(safetensors_writer_declare(writer, "a", DTYPE_I8, SHAPE1(3), &err), 0);
            break;
        default:
            assert_int_equal(safetensors_writer_declare(writer, "empty", DTYPE_F32, SHAPE2(0, 7), &err), 0);
        }
    assert_int_equal(
        safetensors_writer_metadata(writer, reversed ? "two" : "one", reversed ? "2" : "1", &err), 0);
    assert_int_equal(
        safetensors_writer_metadata(writer, reversed ? "one" : "two", reversed ? "1" : "2", &err), 0);
    assert_int_equal(safetensors_writer_declare(writer, "wide", DTYPE_F32, SHAPE1(1), &err),
                     KILN_BAD_ARGUMENT);
    assert_int_equal(safetensors_writer_declare(writer, "\xFF", DTYPE_F32, SHAPE1(1), &err),
                     KILN_BAD_ARGUMENT);
    assert_int_equal(safetensors_writer_write(writer, "a", small, 3, &err), 0);
    assert_int_equal(safetensors_writer_write(writer, "wide", wide, 8, &err), 0);
    assert_int_equal(safetensors_writer_write(writer, "b \"half\"", halves, 10, &err), 0);
    assert_int_equal(safetensors_writer_write(writer, "a", small, 1, &err), KILN_BAD_ARGUMENT);
    assert_int_equal(safetensors_writer_write(writer, "none", small, 1, &err), KILN_BAD_ARGUMENT);
    assert_int_equal(safetensors_writer_write(writer, "wide", (char *)wide + 8, 16, &err), 0);
    assert_int_equal(safetensors_writer_finish(writer, &err), KILN_OK);
}

static void test_write_and_read(void **state)
{
    (void)state;
    char folder[] = "test-safetensors-XXXXXX", first[64], second[64];
    assert_non_null(mkdtemp(folder));
    snprintf(first, sizeof first, "%s/1.safetensors", folder);
    snprintf(second, sizeof second, "%s/2.safetensors", folder);
    write_sample(first, false);
    write_sample(second, true);
    size_t first_size = 0, second_size = 0;
    uint8_t *first_bytes = file_bytes(first, &first_size), *second_bytes = file_bytes(second, &second_size);
    assert_int_equal(first_size, second_size);
    assert_memory_equal(first_bytes, second_bytes, first_size);
    free(first_bytes);
    free(second_bytes);
    tensor_file *file = must_open(first);
    assert_string_equal(tensor_file_format(file), "safetensors");
    assert_int_equal(tensor_file_count(file), 4);
    assert_string_equal(tensor_file_metadata(file, "two"), "2");
    float *wide = must_read(file, "wide"), *half = must_read(file, "b \"half\""),
          *small = must_read(file, "a");
    for (int i = 0; i < 6; i++)
        assert_true(wide[i] == sample(i));
    for (int i = 0; i < 5; i++)
        assert_true(half[i] == sample(i));
    assert_true(small[0] == -1.0f && small[2] == 1.0f);
    float part[2];
    assert_int_equal(tensor_file_read_f32(file, tensor_file_find(file, "b \"half\""), 3, 2, part, NULL),
                     KILN_OK);
    assert_true(part[0] == sample(3) && part[1] == sample(4));
    assert_int_equal(tensor_file_read_f32(file, tensor_file_find(file, "wide"), 5, 2, part, NULL),
                     KILN_BAD_ARGUMENT);
    free(wide);
    free(half);
    free(small);
    tensor_file_close(file);
    unlink(first);
    unlink(second);
    assert_int_equal(rmdir(folder), 0);
}

/* An incomplete or impossible file leaves nothing behind. */
static void test_unfinished(void **state)
{
    (void)state;
    char folder[] = "test-safetensors-XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/x.safetensors", folder);
    safetensors_writer *writer;
    kiln_error err = {0};
    assert_int_equal(safetensors_writer_open(path, &writer, &err), KILN_OK);
    assert_int_equal(safetensors_writer_declare(writer, "a", DTYPE_F32, SHAPE1(2), &err), KILN_OK);
    assert_int_equal(safetensors_writer_write(writer, "a", "1234", 4, &err), KILN_OK);
    assert_int_equal(safetensors_writer_finish(writer, &err), KILN_BAD_ARGUMENT);
    assert_non_null(strstr(err.text, "4 of its 8 bytes"));
    assert_int_equal(safetensors_writer_open(path, &writer, &err), KILN_OK);
    safetensors_writer_abort(writer);
    assert_int_equal(rmdir(folder), 0);
    assert_int_not_equal(safetensors_writer_open("no-such-folder/x.safetensors", &writer, &err), KILN_OK);
    assert_null(writer);
    assert_non_null(strstr(err.text, "cannot be written"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong_json),        cmocka_unit_test(test_wrong_offsets),
        cmocka_unit_test(test_wrong_header_size), cmocka_unit_test(test_truncated_and_flipped),
        cmocka_unit_test(test_write_and_read),    cmocka_unit_test(test_unfinished),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
