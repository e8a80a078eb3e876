/* floors: base tensor formats graph ops backend plan nn model text weights diffusion image pipeline
 *
 * test_draw.c - drawing through the public interface: the same bytes whatever the batch, the threads and the company;
 * cancellation; start pictures; latents and back; every sampler. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "unit/tiny_model.h"

#include <math.h>
#include <pthread.h>
#include <time.h>

static const char words[] = "a quiet harbour at dawn, oil on canvas";

/* ------------------------------------------------------------------------------------ the same bytes */

static void a_batch_is_its_pictures_drawn_alone(void **state)
{
    (void)state;
    kiln_model *m = tiny_open(2, KILN_PRECISION_AUTO);
    static const char *const samplers[] = {"DPM++ 2M", "Euler a"};
    for (int k = 0; k < 2; k++) {
        kiln_draw_options o = tiny_options(words, 4294967294u); /* the seeds cross 2^32 */
        kiln_image *batch[4] = {NULL};
        o.sampler = samplers[k];
        o.rng = "nv";
        o.width = o.height = 16;
        o.batch = 4;
        kiln_session *s = tiny_session(m);
        assert_ok(kiln_draw(s, &o, batch, err));
        kiln_session_free(s);
        o.batch = 1;
        for (int i = 0; i < 4; i++) {
            o.seed = 4294967294u + (uint64_t)i;
            kiln_image *alone = tiny_draw_alone(m, &o);
            assert_true(same_pixels(alone, batch[i]));
            assert_string_equal(kiln_image_text(alone, "parameters"),
                                kiln_image_text(batch[i], "parameters"));
            assert_true(i == 3 || !same_pixels(batch[i], batch[i + 1]));
            kiln_image_free(alone);
            kiln_image_free(batch[i]);
        }
    }
    assert_int_equal(kiln_model_close(m), KILN_OK);
}

static void a_batch_from_a_start_picture_too(void **state)
{
    (void)state;
    kiln_model *m = tiny_open(1, KILN_PRECISION_F32);
    kiln_image *init = tiny_picture(32, 32, 3), *batch[3] = {NULL};
    kiln_draw_options o = tiny_options(words, 5);
    o.init = init;
    o.batch = 3;
    kiln_session *s = tiny_session(m);
    assert_ok(kiln_draw(s, &o, batch, err));
    o.batch = 1;
    o.seed = 7;
    kiln_image *alone = tiny_draw(s, &o);
    assert_true(same_pixels(alone, batch[2]));
    assert_false(same_pixels(batch[0], batch[1]));
    for (int i = 0; i < 3; i++)
        kiln_image_free(batch[i]);
    kiln_image_free(alone);
    kiln_image_free(init);
    kiln_session_free(s);
    kiln_model_close(m);
}

static void the_number_of_threads_does_not_show(void **state)
{
    (void)state;
    static const kiln_precision precisions[] = {KILN_PRECISION_F32, KILN_PRECISION_AUTO};
    for (int k = 0; k < 2; k++) {
        kiln_draw_options o = tiny_options(words, 11);
        o.width = 64;
        kiln_image *first = NULL;
        for (int threads = 1; threads <= 3; threads++) {
            kiln_model *m = tiny_open(threads, precisions[k]);
            kiln_image *picture = tiny_draw_alone(m, &o);
            kiln_model_close(m);
            assert_true(!first || same_pixels(first, picture));
            if (first)
                kiln_image_free(picture);
            else
                first = picture;
        }
        kiln_image_free(first);
    }
}

/* ------------------------------------------------------------------------------------ company */

typedef struct painter {
    kiln_model *model;
    kiln_draw_options options;
    kiln_image *first, *last;
    bool failed;
} painter;

static void *paint(void *self)
{
    painter *p = self;
    kiln_session *s = NULL;
    p->failed = kiln_session_new(p->model, &s, NULL) != KILN_OK;
    for (int i = 0; !p->failed && i < 3; i++) {
        kiln_image_free(p->last);
        p->last = NULL;
        p->failed = kiln_draw(s, &p->options, &p->last, NULL) != KILN_OK ||
                    (p->first && !same_pixels(p->first, p->last));
    }
    kiln_session_free(s);
    return NULL;
}

/* Each of `count` drawings in a thread of its own gives the bytes that it gives alone. */
static void paint_together(painter *p, int count)
{
    pthread_t threads[8];
    for (int i = 0; i < count; i++)
        p[i].first = tiny_draw_alone(p[i].model, &p[i].options);
    for (int i = 0; i < count; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, paint, &p[i]), 0);
    for (int i = 0; i < count; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    for (int i = 0; i < count; i++) {
        assert_false(p[i].failed);
        assert_true(same_pixels(p[i].first, p[i].last));
        kiln_image_free(p[i].first);
        kiln_image_free(p[i].last);
    }
}

static void two_sessions_of_one_model_at_once(void **state)
{
    (void)state;
    kiln_model *m = tiny_open(1, KILN_PRECISION_AUTO);
    painter p[3] = {{.model = m, .options = tiny_options(words, 1)},
                    {.model = m, .options = tiny_options("a fox", 2)},
                    {.model = m, .options = tiny_options("a boat, a boat", 3)}};
    p[1].options.width = 48; /* another shape, another plan, the same weights */
    p[2].options.sampler = "Euler a";
    paint_together(p, 3);
    assert_int_equal(kiln_model_close(m), KILN_OK);
}

static void two_models_at_once(void **state)
{
    (void)state;
    kiln_model *a = tiny_open(1, KILN_PRECISION_F32), *b = tiny_open(1, KILN_PRECISION_AUTO);
    painter p[2] = {{.model = a, .options = tiny_options(words, 1)},
                    {.model = b, .options = tiny_options(words, 1)}};
    paint_together(p, 2);
    assert_int_equal(kiln_model_close(a), KILN_OK);
    assert_int_equal(kiln_model_close(b), KILN_OK);
}

static void a_model_in_use_is_not_closed(void **state)
{
    (void)state;
    kiln_model *m = tiny_open(1, KILN_PRECISION_AUTO);
    kiln_session *s = tiny_session(m);
    assert_int_equal(kiln_model_close(m), KILN_BUSY);
    kiln_draw_options o = tiny_options(words, 1);
    kiln_image_free(tiny_draw(s, &o));
    assert_int_equal(kiln_model_close(m), KILN_BUSY);
    kiln_session_free(s);
    assert_int_equal(kiln_model_close(m), KILN_OK);
    assert_int_equal(kiln_model_close(NULL), KILN_OK);
    kiln_session_free(NULL);
}

/* ------------------------------------------------------------------------------------ progress, cancelling */

typedef struct watch {
    int calls, stop_at, last_step, previews;
    kiln_session *cancel;
} watch;

static bool on_progress(void *user, const kiln_progress *p)
{
    watch *w = user;
    if (strcmp(p->stage, "draw") == 0) {
        if (p->done)
            assert_int_equal(p->done, w->last_step + 1);
        w->last_step = (int)p->done;
        assert_int_equal(p->total, 4);
    }
    if (p->preview) {
        w->previews++;
        assert_true(kiln_image_width(p->preview) > 0 && kiln_image_channels(p->preview) == 3);
    }
    if (++w->calls == w->stop_at && w->cancel)
        kiln_session_cancel(w->cancel);
    return w->cancel || w->calls != w->stop_at;
}

static void progress_tells_every_step(void **state)
{
    (void)state;
    kiln_model *m = tiny_open(1, KILN_PRECISION_AUTO);
    kiln_draw_options o = tiny_options(words, 1);
    kiln_image *silent = tiny_draw_alone(m, &o);
    watch w = {0};
    o.progress = on_progress;
    o.user = &w;
    o.preview_every = 1;
    kiln_image *told = tiny_draw_alone(m, &o);
    assert_int_equal(w.last_step, 4);
    assert_int_equal(w.previews, 3); /* the last step's is the picture itself */
    assert_true(same_pixels(silent, told));
    kiln_image_free(silent);
    kiln_image_free(told);
    kiln_model_close(m);
}

/* Stop at every call of progress in turn, by the return value or by kiln_session_cancel; then draw undisturbed. */
static void cancelling_anywhere_leaves_a_whole_session(void **state)
{
    (void)state;
    kiln_model *m = tiny_open(1, KILN_PRECISION_AUTO);
    kiln_session *s = tiny_session(m);
    kiln_draw_options o = tiny_options(words, 1);
    o.width = o.height = 16;
    kiln_image *whole = tiny_draw(s, &o), *init = tiny_picture(32, 32, 3);
    for (int by_call = 0; by_call < 2; by_call++)
        for (int at = 1; at < 100; at++) {
            watch w = {.stop_at = at, .cancel = by_call ? s : NULL};
            kiln_draw_options stopped = o;
            kiln_image *out[2] = {(kiln_image *)&w, (kiln_image *)&w};
            stopped.progress = on_progress;
            stopped.user = &w;
            stopped.batch = 2;
            kiln_error e = {0};
            kiln_status status = kiln_draw(s, &stopped, out, &e);
            if (status == KILN_OK) {
                assert_true(at > 8 && w.calls < at);
                kiln_image_free(out[0]);
                kiln_image_free(out[1]);
                break;
            }
            assert_int_equal(status, KILN_CANCELLED);
            assert_string_equal(e.text, "cancelled");
            assert_null(out[0]);
            assert_null(out[1]);
            kiln_image *again = tiny_draw(s, &o);
            assert_true(same_pixels(whole, again));
            kiln_image_free(again);
        }
    kiln_image_free(whole);
    kiln_image_free(init);
    kiln_session_free(s);
    kiln_model_close(m);
}

static void *cancel_soon(void *session)
{
    nanosleep(&(struct timespec){.tv_nsec = 30000000}, NULL);
    kiln_session_cancel(session);
    return NULL;
}

static void cancelling_from_another_thread(void **state)
{
    (void)state;
    kiln_model *m = tiny_open(1, KILN_PRECISION_AUTO);
    kiln_session *s = tiny_session(m);
    kiln_draw_options o = tiny_options(words, 1), endless = o;
    kiln_image *whole = tiny_draw(s, &o), *out[1] = {NULL};
    endless.steps = 1000;
    endless.width = endless.height = 128;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, cancel_soon, s), 0);
    kiln_status status = kiln_draw(s, &endless, out, NULL);
    pthread_join(thread, NULL);
    assert_int_equal(status, KILN_CANCELLED);
    assert_null(out[0]);
    kiln_image *again = tiny_draw(s, &o);
    assert_true(same_pixels(whole, again));
    kiln_image_free(whole);
    kiln_image_free(again);
    kiln_session_free(s);
    kiln_model_close(m);
}

/* ------------------------------------------------------------------------------------ pictures in, tiles */

static double mean_difference(const kiln_image *a, const kiln_image *b, int *largest)
{
    const unsigned char *x = kiln_image_pixels(a), *y = kiln_image_pixels(b);
    int n = kiln_image_width(a) * kiln_image_height(a) * 3;
    double sum = 0;
    *largest = 0;
    for (int i = 0; i < n; i++) {
        int d = abs(x[i] - y[i]);
        sum += d;
        *largest = d > *largest ? d : *largest;
    }
    return sum / n;
}

static void a_start_picture_shows_by_strength(void **state)
{
    (void)state;
    kiln_model *m = tiny_open(1, KILN_PRECISION_F32);
    kiln_session *s = tiny_session(m);
    for (int channels = 1; channels <= 4; channels++) {
        kiln_image *init = tiny_picture(40, 28, channels); /* is resized */
        kiln_draw_options o = tiny_options(words, 3);
        kiln_image *from_noise = tiny_draw(s, &o);
        o.init = init;
        o.steps = 10;
        o.strength = 0.3;
        kiln_image *weak = tiny_draw(s, &o), *again = tiny_draw(s, &o);
        o.strength = 1;
        kiln_image *strong = tiny_draw(s, &o);
        assert_true(same_pixels(weak, again));
        assert_false(same_pixels(weak, strong));
        assert_false(same_pixels(from_noise, weak));
        assert_int_equal(kiln_image_width(weak), 32);
        kiln_image_free(init);
        kiln_image_free(from_noise);
        kiln_image_free(weak);
        kiln_image_free(again);
        kiln_image_free(strong);
    }
    kiln_session_free(s);
    kiln_model_close(m);
}

static void latents_and_back(void **state)
{
    (void)state;
    kiln_model *m = tiny_open(1, KILN_PRECISION_F32);
    kiln_session *s = tiny_session(m);
    kiln_image *picture = tiny_picture(34, 20, 3), *back = NULL,
               *loaded_back = NULL; /* no multiple of the UNet's step */
    kiln_map *latents = NULL, *loaded = NULL;
    assert_ok(kiln_encode_image(s, picture, &latents, err));
    const char *name;
    int rank;
    const int64_t *shape;
    assert_non_null(kiln_map_tensor(latents, 0, &name, &rank, &shape));
    assert_string_equal(name, "latents");
    assert_string_equal(kiln_map_kind(latents), "latents");
    assert_true(rank == 4 && shape[0] == 1 && shape[1] == 4 && shape[2] == 10 && shape[3] == 17);
    assert_ok(kiln_decode_latents(s, latents, &back, err));
    assert_int_equal(kiln_image_width(back), 34);
    assert_int_equal(kiln_image_height(back), 20);
    assert_ok(kiln_map_save(latents, "test_draw_latents.safetensors", err));
    assert_ok(kiln_map_load("test_draw_latents.safetensors", &loaded, err));
    assert_ok(kiln_decode_latents(s, loaded, &loaded_back, err));
    assert_true(same_pixels(back, loaded_back));
    remove("test_draw_latents.safetensors");
    kiln_image *odd = tiny_picture(33, 20, 3), *none = NULL;
    kiln_map *map = (kiln_map *)odd;
    assert_refused(kiln_encode_image(s, odd, &map, err), KILN_BAD_ARGUMENT, "33x20");
    assert_null(map);
    assert_ok(kiln_encode_text(s, words, 1, NULL, &map, err));
    assert_refused(kiln_decode_latents(s, map, &none, err), KILN_MISMATCH, "latents");
    kiln_map_free(map);
    kiln_map_free(latents);
    kiln_map_free(loaded);
    kiln_image_free(picture);
    kiln_image_free(odd);
    kiln_image_free(back);
    kiln_image_free(loaded_back);
    kiln_session_free(s);
    kiln_model_close(m);
}

/* The attention and the norms of the decoder see a tile, not the whole: close, not equal. */
static void tiles_are_close_to_the_whole(void **state)
{
    (void)state;
    kiln_model *m = tiny_open(1, KILN_PRECISION_F32);
    kiln_session *s = tiny_session(m);
    kiln_draw_options o = tiny_options(words, 21);
    o.width = 128;
    o.height = 80;
    o.steps = 1;
    o.vae_tile = -1;
    kiln_image *whole = tiny_draw(s, &o);
    o.vae_tile = 64;
    kiln_image *tiled = tiny_draw(s, &o);
    int largest;
    double mean = mean_difference(whole, tiled, &largest);
    printf("tiles of 64 px against the whole of 128x80: %.3f of 255 in the mean, %d at most\n", mean,
           largest);
    assert_false(same_pixels(whole, tiled));
    assert_true(mean < 3 && largest < 64);
    assert_non_null(strstr(kiln_image_text(tiled, "parameters"), "VAE tile: 64"));
    assert_null(strstr(kiln_image_text(whole, "parameters"), "VAE tile"));
    o.vae_tile = 512; /* larger than the picture: the whole */
    kiln_image *one = tiny_draw(s, &o);
    assert_true(same_pixels(whole, one));
    kiln_image_free(one);
    kiln_image_free(whole);
    kiln_image_free(tiled);
    kiln_session_free(s);
    kiln_model_close(m);
}

/* ------------------------------------------------------------------------------------ samplers */

static bool has_detail(const kiln_image *k)
{
    const unsigned char *p = kiln_image_pixels(k);
    int n = kiln_image_width(k) * kiln_image_height(k) * 3, different = 0;
    for (int i = 3; i < n; i++)
        different += p[i] != p[i - 3];
    return different > n / 4;
}

static void every_sampler_draws(void **state)
{
    (void)state;
    kiln_model *m = tiny_open(1, KILN_PRECISION_F32);
    kiln_session *s = tiny_session(m);
    static const int counts[] = {4, 1, 2, 3, 9};
    for (int i = 0; kiln_sampler_name(i); i++)
        for (int k = 0; k < 5; k++) {
            kiln_draw_options o = tiny_options(words, 8);
            kiln_image *out = NULL;
            kiln_error e = {0};
            o.sampler = kiln_sampler_name(i);
            o.width = o.height = 16;
            o.steps = counts[k];
            if (kiln_draw(s, &o, &out, &e) != KILN_OK)
                fail_msg("%s, %d steps: %s", o.sampler, o.steps, e.text);
            if (o.steps >= 4 && !has_detail(out))
                fail_msg("%s, %d steps: a flat picture", o.sampler, o.steps);
            kiln_image_free(out);
        }
    kiln_session_free(s);
    kiln_model_close(m);
}

static void every_schedule_draws(void **state)
{
    (void)state;
    kiln_model *m = tiny_open(1, KILN_PRECISION_F32);
    kiln_session *s = tiny_session(m);
    for (int i = 0; kiln_schedule_name(i); i++) {
        kiln_draw_options o = tiny_options(words, 8);
        o.schedule = kiln_schedule_name(i);
        o.width = o.height = 16;
        o.sampler = "Euler";
        kiln_image *out = NULL;
        kiln_error e = {0};
        if (kiln_draw(s, &o, &out, &e) != KILN_OK)
            fail_msg("%s: %s", o.schedule, e.text);
        kiln_image_free(out);
    }
    assert_null(kiln_schedule_name(-1));
    assert_null(kiln_sampler_name(-1));
    kiln_session_free(s);
    kiln_model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_is_its_pictures_drawn_alone),
        cmocka_unit_test(a_batch_from_a_start_picture_too),
        cmocka_unit_test(the_number_of_threads_does_not_show),
        cmocka_unit_test(two_sessions_of_one_model_at_once),
        cmocka_unit_test(two_models_at_once),
        cmocka_unit_test(a_model_in_use_is_not_closed),
        cmocka_unit_test(progress_tells_every_step),
        cmocka_unit_test(cancelling_anywhere_leaves_a_whole_session),
        cmocka_unit_test(cancelling_from_another_thread),
        cmocka_unit_test(a_start_picture_shows_by_strength),
        cmocka_unit_test(latents_and_back),
        cmocka_unit_test(tiles_are_close_to_the_whole),
        cmocka_unit_test(every_sampler_draws),
        cmocka_unit_test(every_schedule_draws),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
