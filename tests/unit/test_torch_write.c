/* test_torch_write.c - files as torch.save writes them, read back by Kiln and by torch.
 * floors: base tensor formats */
#include "formats/tensor_file.h"
#include "formats/torch_write.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const float numbers[6] = {1.5f, -2.25f, 3e-30f, 0.1f, -0.0f, 7};

static void write_example(const char *path)
{
    kiln_error err = {0};
    torch_writer *w;
    assert_int_equal(torch_writer_open(path, &w, &err), KILN_OK);
    torch_dict(w);
    torch_text(w, "matrix");
    torch_tensor(w, numbers, SHAPE2(2, 3));
    torch_integer(w, 768);
    torch_tuple(w);
    torch_dict(w);
    torch_text(w, "linear.0.weight");
    torch_tensor(w, numbers + 1, SHAPE1(2));
    torch_end(w);
    torch_number(w, 0.1);
    torch_end(w);
    torch_text(w, "list");
    torch_list(w);
    torch_integer(w, -1);
    torch_integer(w, (int64_t)1 << 40);
    torch_bool(w, true);
    torch_none(w);
    torch_end(w);
    torch_text(w, "name");
    torch_text(w, "caf\xc3\xa9");
    torch_end(w);
    if (torch_writer_finish(w, &err))
        fail_msg("%s", err.text);
}

static void temporary(char path[64])
{
    strcpy(path, "/tmp/kiln-torch-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
}

static void test_kiln_reads(void **state)
{
    (void)state;
    char path[64], dims[SHAPE_TEXT];
    kiln_error err = {0};
    float back[6];
    tensor_file *file;
    temporary(path);
    write_example(path);
    if (tensor_file_open(path, &file, &err))
        fail_msg("%s", err.text);
    const tensor_entry *matrix = tensor_file_find(file, "matrix"),
                       *inner = tensor_file_find(file, "768.0.linear.0.weight");
    assert_non_null(matrix);
    assert_non_null(inner);
    assert_string_equal(shape_text(matrix->shape, dims), "[2,3]");
    assert_int_equal(tensor_file_read_f32(file, matrix, 0, 6, back, &err), KILN_OK);
    assert_memory_equal(back, numbers, sizeof numbers);
    assert_int_equal(tensor_file_read_f32(file, inner, 0, 2, back, &err), KILN_OK);
    assert_memory_equal(back, numbers + 1, 2 * sizeof *numbers);
    assert_string_equal(tensor_file_value(file, "768.1"), "0.1");
    assert_string_equal(tensor_file_value(file, "list.0"), "-1");
    assert_string_equal(tensor_file_value(file, "list.1"), "1099511627776");
    assert_string_equal(tensor_file_value(file, "list.2"), "true");
    assert_string_equal(tensor_file_value(file, "name"), "caf\xc3\xa9");
    tensor_file_close(file);
    unlink(path);
}

static void test_torch_reads(void **state)
{
    (void)state;
    static const char program[] =
        "/usr/bin/python3 -c '\n"
        "import sys\n"
        "try:\n"
        "    import torch\n"
        "except ImportError:\n"
        "    sys.exit(77)\n"
        "d = torch.load(sys.argv[1])\n"
        "m = torch.tensor([[1.5, -2.25, 3e-30], [0.1, -0.0, 7]])\n"
        "assert d[\"matrix\"].dtype == torch.float32 and torch.equal(d[\"matrix\"], m)\n"
        "assert torch.equal(d[768][0][\"linear.0.weight\"], m.flatten()[1:3]) and d[768][1] == 0.1\n"
        "assert d[\"list\"] == [-1, 1 << 40, True, None] and d[\"name\"] == \"caf\\u00e9\"\n"
        "' ";
    char path[64], command[sizeof program + 96];
    temporary(path);
    write_example(path);
    snprintf(command, sizeof command, "%s%s", program, path);
    int status = system(command);
    unlink(path);
    if (access("/usr/bin/python3", X_OK) != 0 || status == 77 << 8) {
        print_message("no torch here: skipped\n");
        skip();
    }
    assert_int_equal(status, 0);
}

static void test_refusals(void **state)
{
    (void)state;
    kiln_error err = {0};
    torch_writer *w;
    char path[64];
    assert_int_equal(torch_writer_open("/nowhere/at/all.pt", &w, &err), KILN_NOT_FOUND);
    assert_null(w);
    temporary(path);
    assert_int_equal(torch_writer_open(path, &w, &err), KILN_OK);
    torch_dict(w);
    assert_int_equal(torch_writer_finish(w, &err), KILN_INTERNAL);
    assert_non_null(strstr(err.text, "left open"));
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fgetc(file), EOF); /* as it was */
    fclose(file);
    assert_int_equal(torch_writer_open(path, &w, &err), KILN_OK);
    torch_end(w);
    assert_int_equal(torch_writer_finish(w, &err), KILN_INTERNAL);
    torch_writer_abort(NULL);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kiln_reads),
        cmocka_unit_test(test_torch_reads),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
