/* floors: base tensor formats graph ops backend plan nn model text weights diffusion image pipeline
 *
 * test_hypernetwork_draw.c - <hypernet:name:strength> in a prompt: strength 0 is the untouched picture, others are not, several
 * act in their order, and what cannot be is said. */
#include "kiln/kiln.h"
#include "weights/hypernetwork_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define FOLDER "test-hypernetworks"
enum { SIDE = 16, BYTES = SIDE * SIDE * 3 };

static kiln_model *model;
static kiln_session *session;

static void write_file(const char *path, int width, float size)
{
    hypernetwork_config c = hypernetwork_defaults();
    hypernetwork_parameter p;
    int64_t count = 0;
    kiln_error err;
    c.width_count = 1;
    c.widths[0] = width;
    for (int i = 0; hypernetwork_parameter_at(&c, i, &p); i++)
        count += shape_count(p.shape);
    float *values = malloc((size_t)count * sizeof *values);
    assert_non_null(values);
    for (int64_t i = 0; i < count; i++)
        values[i] = size * (float)(i % 7 - 3);
    const hypernetwork_words words = {.name = "one"};
    const hypernetwork_content content = {.config = &c, .words = &words, .values = values};
    assert_int_equal(hypernetwork_file_write(path, &content, &err), KILN_OK);
    free(values);
}

static int open_all(void **state)
{
    (void)state;
    const kiln_model_options o = {.precision = KILN_PRECISION_F32, .threads = 1};
    mkdir(FOLDER, 0777);
    write_file(FOLDER "/ink.safetensors", 32, 0.1f);
    write_file(FOLDER "/wash.pt", 32, 0.25f);
    write_file(FOLDER "/foreign.pt", 768, 0.1f);
    return kiln_model_open(TEST_DATA "/sd1-tiny", &o, &model, NULL) ||
           kiln_session_new(model, &session, NULL);
}

static int close_all(void **state)
{
    (void)state;
    kiln_session_free(session);
    kiln_model_close(model);
    unlink(FOLDER "/ink.safetensors");
    unlink(FOLDER "/wash.pt");
    unlink(FOLDER "/foreign.pt");
    return rmdir(FOLDER);
}

static kiln_status draw(const char *prompt, unsigned char to[BYTES], kiln_error *err)
{
    kiln_draw_options o = kiln_draw_defaults();
    kiln_image *drawn = NULL;
    o.prompt = prompt;
    o.width = o.height = SIDE;
    o.steps = 2;
    o.hypernetwork_folder = FOLDER;
    kiln_status status = kiln_draw(session, &o, &drawn, err);
    if (status == KILN_OK)
        memcpy(to, kiln_image_pixels(drawn), BYTES);
    kiln_image_free(drawn);
    return status;
}

static void draws(const char *prompt, unsigned char to[BYTES])
{
    kiln_error err = {KILN_OK, ""};
    if (draw(prompt, to, &err) != KILN_OK)
        fail_msg("%s: %s", prompt, err.text);
}

static void strengths_act(void **state)
{
    (void)state;
    unsigned char plain[BYTES], other[BYTES], again[BYTES];
    draws("a cat", plain);
    draws("a cat<hypernet:ink:0>", other);
    assert_memory_equal(plain, other, BYTES);
    draws("a cat<hypernet:ink>", other);
    assert_memory_not_equal(plain, other, BYTES);
    draws("a cat<hypernet:ink:1>", again);
    assert_memory_equal(other, again, BYTES);
    draws("a cat<hypernet:ink:0.5>", again);
    assert_memory_not_equal(other, again, BYTES);
    draws("a cat", again); /* nothing stays behind */
    assert_memory_equal(plain, again, BYTES);
}

static void several_act_in_their_order(void **state)
{
    (void)state;
    unsigned char one[BYTES], both[BYTES], turned[BYTES];
    draws("a cat<hypernet:ink>", one);
    draws("a cat<hypernet:ink><hypernet:wash>", both);
    draws("a cat<hypernet:wash><hypernet:ink>", turned);
    assert_memory_not_equal(one, both, BYTES);
    assert_memory_not_equal(both, turned, BYTES);
}

static void refused(const char *prompt, kiln_status status, const char *word)
{
    unsigned char pixels[BYTES];
    kiln_error err = {KILN_OK, ""};
    assert_int_equal(draw(prompt, pixels, &err), status);
    if (!strstr(err.text, word))
        fail_msg("'%s' does not say '%s'", err.text, word);
}

static void what_cannot_be_is_said(void **state)
{
    (void)state;
    refused("a cat<hypernet:nothing>", KILN_NOT_FOUND, "no hypernetwork 'nothing'");
    refused("a cat<hypernet:foreign>", KILN_MISMATCH, "width 768");
    refused("a cat<hypernet:../ink>", KILN_BAD_ARGUMENT, "is no name of a hypernetwork");
    refused("a cat<hypernet:ink:much>", KILN_BAD_ARGUMENT, "is no strength");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strengths_act),
        cmocka_unit_test(several_act_in_their_order),
        cmocka_unit_test(what_cannot_be_is_said),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
