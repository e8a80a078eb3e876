/* floors: base tensor formats graph ops backend plan nn model text weights diffusion image pipeline train */
/* test_trainer.c - trainings of every method begin, learn, and say what is wrong. */
#include "training_case.h"

#include <math.h>

typedef struct watched {
    int64_t steps;
    double first, last; /* means of the first and the last quarter's losses */
    double loss[4000], validation;
    int samples, saved;
    char note[1024];
} watched;

static bool watch(void *user, const kiln_training_event *e)
{
    watched *w = user;
    if (e->kind == KILN_TRAINING_STEP && w->steps < 4000)
        w->loss[w->steps++] = e->loss;
    if (e->kind == KILN_TRAINING_VALIDATION)
        w->validation = e->validation_loss;
    w->samples += e->kind == KILN_TRAINING_SAMPLED;
    w->saved += e->kind == KILN_TRAINING_SAVED;
    if (e->kind == KILN_TRAINING_NOTE)
        snprintf(w->note, sizeof w->note, "%s", e->text);
    return true;
}

static void summarise(watched *w)
{
    int64_t n = w->steps / 4;
    w->first = w->last = 0;
    for (int64_t i = 0; i < n; i++) {
        w->first += w->loss[i] / (double)n;
        w->last += w->loss[w->steps - 1 - i] / (double)n;
    }
}

/* Run to the end. */
static void run(kiln_training_recipe *r, watched *w)
{
    kiln_training_options o = kiln_training_defaults();
    kiln_training *t = NULL;
    memset(w, 0, sizeof *w);
    o.progress = watch;
    o.user = w;
    train_ok(kiln_training_open(r, &o, &t, err));
    train_ok(kiln_training_run(t, err));
    assert_int_equal(kiln_training_step(t), kiln_training_steps(t));
    kiln_training_close(t);
    kiln_training_recipe_free(r);
    summarise(w);
}

static watched w;

static void text_to_image_learns(void **state)
{
    (void)state;
    training_case c = case_begin(8, 16);
    run(case_recipe(&c, "run", TINY_TEXT_TO_IMAGE, "max_train_steps=120", "learning_rate=3e-3", NULL), &w);
    print_message("text_to_image from nothing: loss %.4f -> %.4f\n", w.first, w.last);
    assert_true(w.last < 0.8 * w.first);
    assert_int_equal(w.saved, 1);
    case_end(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_to_image_learns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
