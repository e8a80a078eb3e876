/* floors: base tensor formats graph ops backend plan nn model text weights diffusion image pipeline
 *
 * test_loading.c - what a drawing does besides drawing: it tells how far the weights are read and can be stopped there,
 * and it learns the model's hash, from the cache or beside its other work. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "unit/tiny_model.h"

#include <pthread.h>
#include <unistd.h>

static const char unet[] = TINY_PATH "/unet/diffusion_pytorch_model.safetensors";
static char folder[64], cache[96];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/kiln-loading-XXXXXX");
    return mkdtemp(folder) == NULL;
}

static int remove_folder(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static int fresh_cache(void **state)
{
    (void)state;
    static int number;
    snprintf(cache, sizeof cache, "%s/%d/hashes", folder, number++);
    return 0;
}

static kiln_model *open_with_cache(const char *path)
{
    kiln_model *m = NULL;
    kiln_model_options o = kiln_model_defaults();
    o.threads = 1;
    o.hash_cache = path;
    assert_ok(kiln_model_open(TINY_PATH, &o, &m, err));
    return m;
}

/* ------------------------------------------------------------------------------------ weights */

typedef struct watch {
    int64_t last, total;
    int calls, wholes, stop_at;
    bool by_session;
    kiln_session *session;
} watch;

static bool on_progress(void *user, const kiln_progress *p)
{
    watch *w = user;
    if (strcmp(p->stage, "loading") != 0)
        return true;
    assert_true(p->total > 0 && p->done >= 0 && p->done <= p->total);
    assert_true(p->done == 0 || (p->done > w->last && p->total == w->total));
    w->last = p->done;
    w->total = p->total;
    w->wholes += p->done == p->total;
    if (++w->calls != w->stop_at)
        return true;
    if (w->by_session)
        kiln_session_cancel(w->session);
    return w->by_session;
}

static void loading_is_told_from_nothing_to_all(void **state)
{
    (void)state;
    kiln_model *m = open_with_cache(NULL);
    kiln_session *s = tiny_session(m);
    watch w = {0};
    kiln_draw_options o = tiny_options("a fox", 1);
    o.progress = on_progress;
    o.user = &w;
    kiln_image_free(tiny_draw(s, &o));
    assert_int_equal(w.wholes, 3); /* text encoder, UNet, decoder */
    assert_true(w.calls > 3 * 8 && w.calls <= 3 * 52);
    kiln_session_free(s);
    assert_int_equal(kiln_model_close(m), KILN_OK);
}

static void loading_can_be_stopped_anywhere(void **state)
{
    (void)state;
    kiln_model *m = open_with_cache(NULL);
    kiln_session *alone = tiny_session(m);
    kiln_draw_options o = tiny_options("a fox", 1);
    kiln_image *whole = tiny_draw(alone, &o);
    kiln_session_free(alone);
    for (int by_session = 0; by_session < 2; by_session++)
        for (int at = 1;; at += 3) {
            kiln_session *s = tiny_session(m); /* without plans */
            watch w = {.stop_at = at, .by_session = by_session, .session = s};
            kiln_image *out[1] = {(kiln_image *)&w};
            kiln_draw_options stopped = o;
            stopped.progress = on_progress;
            stopped.user = &w;
            kiln_error e = {0};
            kiln_status status = kiln_draw(s, &stopped, out, &e);
            kiln_session_free(s);
            if (w.calls < at) {
                assert_int_equal(status, KILN_OK);
                assert_memory_equal(kiln_image_pixels(out[0]), kiln_image_pixels(whole),
                                    (size_t)kiln_image_width(whole) * (size_t)kiln_image_height(whole) * 3);
                kiln_image_free(out[0]);
                break;
            }
            assert_int_equal(status, KILN_CANCELLED);
            assert_string_equal(e.text, "cancelled");
            assert_null(out[0]);
            assert_int_equal(w.calls, at);
        }
    kiln_image_free(whole);
    assert_int_equal(kiln_model_close(m), KILN_OK);
}

/* ------------------------------------------------------------------------------------ hashes */

static void assert_names_hash(const kiln_image *picture, const char *hash)
{
    char wanted[64];
    const char *text = kiln_image_text(picture, "parameters");
    assert_non_null(text);
    snprintf(wanted, sizeof wanted, "Model hash: %s,", hash);
    if (!strstr(text, wanted))
        fail_msg("no '%s' in '%s'", wanted, text);
}

static void the_first_drawing_fills_the_cache(void **state)
{
    (void)state;
    kiln_hashes truth, known;
    assert_ok(kiln_hash_file(unet, &truth, NULL, NULL, err));
    assert_false(kiln_hash_known(cache, unet, &known));
    assert_string_equal(known.sha256, "");
    kiln_model *m = open_with_cache(cache);
    kiln_draw_options o = tiny_options("a fox", 1);
    kiln_image *picture = tiny_draw_alone(m, &o);
    assert_names_hash(picture, truth.short_hash);
    kiln_image_free(picture);
    assert_true(kiln_hash_known(cache, unet, &known));
    assert_string_equal(known.sha256, truth.sha256);
    assert_string_equal(known.short_hash, truth.short_hash);
    assert_string_equal(known.old_hash, truth.old_hash);
    assert_string_equal(known.data_hash, ""); /* not computed */
    assert_true(kiln_hash_remember(cache, unet, &truth));
    assert_true(kiln_hash_known(cache, unet, &known));
    assert_memory_equal(&known, &truth, sizeof known);
    assert_int_equal(kiln_model_close(m), KILN_OK);
}

static void a_known_hash_is_not_computed_again(void **state)
{
    (void)state;
    kiln_hashes other = {.sha256 = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"};
    assert_true(kiln_hash_remember(cache, unet, &other));
    kiln_model *m = open_with_cache(cache);
    kiln_draw_options o = tiny_options("a fox", 1);
    kiln_image *picture = tiny_draw_alone(m, &o);
    assert_names_hash(picture, "0011223344");
    kiln_image_free(picture);
    assert_int_equal(kiln_model_close(m), KILN_OK);
    assert_false(kiln_hash_known(NULL, unet, &other));
    assert_false(kiln_hash_known(cache, NULL, &other));
    assert_false(kiln_hash_remember(NULL, unet, &other));
    assert_false(kiln_hash_remember(cache, unet, NULL));
    assert_false(kiln_hash_remember(cache, unet, &other)); /* all "" since it was asked for */
}

static void a_cache_that_cannot_be_written_changes_nothing(void **state)
{
    (void)state;
    kiln_hashes truth;
    assert_ok(kiln_hash_file(unet, &truth, NULL, NULL, err));
    static const char *const bad[] = {"", "/proc/no/such/hashes", "/", TINY_PATH "/model_index.json/hashes"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        kiln_model *m = open_with_cache(bad[i]);
        kiln_draw_options o = tiny_options("a fox", 1);
        kiln_image *picture = tiny_draw_alone(m, &o);
        assert_names_hash(picture, truth.short_hash);
        kiln_image_free(picture);
        assert_int_equal(kiln_model_close(m), KILN_OK);
    }
}

typedef struct painter {
    kiln_model *model;
    kiln_image *picture;
    kiln_status status;
    bool gives_up;
} painter;

static bool give_up(void *user, const kiln_progress *p)
{
    (void)user;
    return strcmp(p->stage, "draw") != 0;
}

static void *paint(void *self)
{
    painter *p = self;
    kiln_session *s = NULL;
    kiln_draw_options o = tiny_options("a fox", 1);
    o.steps = 1;
    o.progress = p->gives_up ? give_up : NULL;
    p->status = kiln_session_new(p->model, &s, NULL);
    if (p->status == KILN_OK)
        p->status = kiln_draw(s, &o, &p->picture, NULL);
    kiln_session_free(s);
    return NULL;
}

/* Sessions that want the hash together; those that give up must not take it from the others. */
static void sessions_share_one_hash(void **state)
{
    (void)state;
    enum { PAINTERS = 4, ROUNDS = 10 };
    kiln_hashes truth;
    assert_ok(kiln_hash_file(unet, &truth, NULL, NULL, err));
    for (int round = 0; round < ROUNDS; round++) {
        fresh_cache(NULL);
        painter p[PAINTERS];
        pthread_t threads[PAINTERS];
        kiln_model *m = open_with_cache(cache);
        for (int i = 0; i < PAINTERS; i++) {
            p[i] = (painter){.model = m, .gives_up = i % 2};
            assert_int_equal(pthread_create(&threads[i], NULL, paint, &p[i]), 0);
        }
        for (int i = 0; i < PAINTERS; i++)
            pthread_join(threads[i], NULL);
        for (int i = 0; i < PAINTERS; i++) {
            assert_int_equal(p[i].status, i % 2 ? KILN_CANCELLED : KILN_OK);
            if (p[i].picture)
                assert_names_hash(p[i].picture, truth.short_hash);
            kiln_image_free(p[i].picture);
        }
        assert_int_equal(kiln_model_close(m), KILN_OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loading_is_told_from_nothing_to_all),
        cmocka_unit_test(loading_can_be_stopped_anywhere),
        cmocka_unit_test_setup(the_first_drawing_fills_the_cache, fresh_cache),
        cmocka_unit_test_setup(a_known_hash_is_not_computed_again, fresh_cache),
        cmocka_unit_test(a_cache_that_cannot_be_written_changes_nothing),
        cmocka_unit_test(sessions_share_one_hash),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
