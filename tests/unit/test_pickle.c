/* test_pickle.c - the pickle machine: programs that are wrong, hostile or endless.
 * floors: base tensor formats */
#include "formats/pickle.h"
#include "weights_files.h"

#define PROGRAM(text) (const uint8_t *)(text), sizeof(text) - 1

static pickle_value *run(const uint8_t *bytes, size_t size, arena *memory)
{
    pickle_value *root;
    size_t used;
    kiln_error err = {0};
    if (pickle_run(bytes, size, "program", memory, &root, &used, &err) != KILN_OK)
        fail_msg("%s", err.text);
    assert_int_equal(used, size);
    return root;
}

static void test_values(void **state)
{
    (void)state;
    arena memory = {0};
    assert_int_equal(run(PROGRAM("\x80\2J\xFE\xFF\xFF\xFF."), &memory)->integer, -2);
    assert_int_equal(run(PROGRAM("\x80\2\x8A\2\0\x80."), &memory)->integer, -32768);
    assert_int_equal(run(PROGRAM("\x80\2\x8A\0."), &memory)->integer, 0);
    assert_int_equal(run(PROGRAM("I42\n."), &memory)->integer, 42);
    assert_true(run(PROGRAM("I01\n."), &memory)->truth);
    assert_true(run(PROGRAM("F0.5\n."), &memory)->number == 0.5);
    assert_true(run(PROGRAM("G?\xE0\0\0\0\0\0\0."), &memory)->number == 0.5);
    assert_int_equal(run(PROGRAM("(lp0\nI1\naI2\na."), &memory)->list.count, 2);
    pickle_value *dict = run(PROGRAM("\x80\4}(\x8C\1aK\1\x8C\1bK\2\x8C\1aK\3u."), &memory);
    assert_int_equal(pickle_get(dict, "a")->integer, 3);
    assert_int_equal(pickle_get(dict, "b")->integer, 2);
    assert_null(pickle_get(dict, "c"));
    arena_fini(&memory);
}

/* The classic exploit: os.system("...") by REDUCE. Nothing runs: the call becomes a record. */
static void test_calls_are_inert(void **state)
{
    (void)state;
    arena memory = {0};
    pickle_value *call = run(PROGRAM("cos\nsystem\n(S'touch pickle-was-run'\ntR."), &memory);
    assert_int_equal(call->kind, PICKLE_OBJECT);
    assert_true(pickle_text_is(call->object.class_name, "os.system"));
    assert_int_not_equal(access("pickle-was-run", F_OK), 0);
    call = run(PROGRAM("(S'touch pickle-was-run'\nios\nsystem\n."), &memory);
    assert_int_equal(call->kind, PICKLE_OBJECT);
    arena_fini(&memory);
    must_refuse(PROGRAM("\x80\2cos\nsystem\nU\4true\x85R."), "os.system");
}

static void refuse_program(const uint8_t *bytes, size_t size, const char *word)
{
    arena memory = {0};
    pickle_value *root = NULL;
    size_t used;
    kiln_error err = {0};
    assert_int_not_equal(pickle_run(bytes, size, "program", &memory, &root, &used, &err), KILN_OK);
    assert_null(root);
    assert_true(used <= size);
    if (!strstr(err.text, word))
        fail_msg("expected '%s', got: %s", word, err.text);
    arena_fini(&memory);
}

static void test_wrong_programs(void **state)
{
    (void)state;
    refuse_program(PROGRAM(""), "ends");
    refuse_program(PROGRAM("\x80\2"), "ends");
    refuse_program(PROGRAM("\x80\x09."), "protocol 9");
    refuse_program(PROGRAM("."), "too little");
    refuse_program(PROGRAM("R."), "too little");
    refuse_program(PROGRAM("t."), "no mark");
    refuse_program(PROGRAM("(."), "too little");
    refuse_program(PROGRAM("N(b."), "too little");
    refuse_program(PROGRAM("h\5."), "memo");
    refuse_program(PROGRAM("Nr\xFF\xFF\xFF\xFF."), "memo");
    refuse_program(PROGRAM("}(N u."), "instruction");
    refuse_program(PROGRAM("}(Nu."), "key without a value");
    refuse_program(PROGRAM("NNNs."), "no container");
    refuse_program(PROGRAM("X\xFF\xFF\xFF\xFF"
                           "abc"),
                   "ends");
    refuse_program(PROGRAM("\x8E\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF"
                           "abc"),
                   "ends");
    refuse_program(PROGRAM("\x97."), "unknown pickle instruction");
    refuse_program(PROGRAM("(U\7storageU\1aQ."), "persistent id");
    refuse_program(PROGRAM("ctorch._utils\n_rebuild_tensor_v2\n)R."), "_rebuild_tensor_v2");
    refuse_program(PROGRAM("c_codecs\nencode\n(K\1tR."), "_codecs.encode");
}

/* A tensor of shape, stride and offset over a storage of 4 elements. */
static void refuse_view(const char *offset, const char *sizes, const char *stride, const char *word)
{
    char program[512];
    int length = snprintf(program, sizeof program,
                          "ctorch._utils\n_rebuild_tensor_v2\n((U\7storagectorch\nFloatStorage\n"
                          "U\1%sU\3cpuI4\ntQI%s\n(%st(%stI00\nNtR.",
                          "0", offset, sizes, stride);
    refuse_program((const uint8_t *)program, (size_t)length, word);
}

static void test_views_outside_their_storage(void **state)
{
    (void)state;
    refuse_view("0", "I5\n", "I1\n", "does not fit");
    refuse_view("1", "I4\n", "I1\n", "does not fit");
    refuse_view("5", "I0\n", "I1\n", "does not fit");
    refuse_view("-1", "I1\n", "I1\n", "does not fit");
    refuse_view("0", "I2\n", "I9223372036854775807\n", "does not fit");
    refuse_view("9223372036854775807", "I2\n", "I1\n", "does not fit");
    refuse_view("0", "I4294967296\nI4294967296\n", "I0\nI0\n", "does not fit");
    refuse_view("0", "I1000000000\n", "I0\n", "does not fit");
    refuse_view("0", "I2\n", "I-1\n", "_rebuild_tensor_v2");
    refuse_view("0", "I-2\n", "I1\n", "_rebuild_tensor_v2");
    refuse_view("0", "I2\nI2\n", "I1\n", "_rebuild_tensor_v2");
}

/* Containers in themselves, deep nesting, and sharing that doubles at every level must end, and end in words. */
static void test_endless(void **state)
{
    (void)state;
    must_refuse(PROGRAM("\x80\2]q\0h\0a."), "contains itself");
    must_refuse(PROGRAM("\x80\2}q\0X\1\0\0\0ah\0s."), "contains itself");
    enum { DEEP = 100000 };
    uint8_t *deep = malloc(2 * DEEP + 8);
    assert_non_null(deep);
    size_t at = 0;
    deep[at++] = 0x80;
    deep[at++] = 2;
    for (int i = 0; i < DEEP; i++)
        deep[at++] = ']';
    for (int i = 1; i < DEEP; i++)
        deep[at++] = 'a';
    deep[at++] = '.';
    must_refuse(deep, at, "nested more than");
    at = 2;
    deep[at++] = 'N';
    for (int i = 0; i < 45; i++) {
        deep[at++] = '2';
        deep[at++] = 0x86;
    }
    deep[at++] = '.';
    must_refuse(deep, at, "expands to more than");
    at = 2;
    while (at < 2 * DEEP)
        deep[at++] = '(';
    must_refuse(deep, at, "ends");
    free(deep);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),         cmocka_unit_test(test_calls_are_inert),
        cmocka_unit_test(test_wrong_programs), cmocka_unit_test(test_views_outside_their_storage),
        cmocka_unit_test(test_endless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
