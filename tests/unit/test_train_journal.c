/* floors: base tensor formats image train */
/* test_train_journal.c - what a run leaves behind; and its curves: learning rates, moving averages. */
#include "train_folder.h"

#include "train/ema.h"
#include "train/journal.h"
#include "train/learning_rate.h"
#include "train/loss_plot.h"

#include <math.h>

/* ------------------------------------------------------------------------------------ learning rates */

static double rate_at(const char *rates, const char *scheduler, double warmup, double least, int64_t step)
{
    learning_rate_options o = learning_rate_defaults();
    learning_rate rate;
    o.learning_rate = rates;
    o.lr_scheduler = scheduler;
    o.lr_warmup_steps = warmup;
    o.lr_scheduler_min_lr_ratio = least;
    o.lr_scheduler_num_cycles = 2;
    o.lr_scheduler_power = 2;
    o.train_steps = 1000;
    ok(learning_rate_init(&rate, &o, err));
    return learning_rate_at(&rate, step);
}

/* Expected values are the formulas of diffusers' get_scheduler worked out by hand, for a rate of 1. */
static void rates_follow_their_schedules(void **state)
{
    (void)state;
    static const struct {
        const char *scheduler;
        double warmup, least;
        int64_t step;
        double expected;
    } cases[] = {
        {"constant", 100, 0, 0, 1},
        {"constant_with_warmup", 100, 0, 25, 0.25},
        {"constant_with_warmup", 100, 0, 900, 1},
        {"constant_with_warmup", 0.2, 0, 100, 0.5},
        {"linear", 100, 0, 100, 1},
        {"linear", 100, 0, 550, 0.5},
        {"linear", 100, 0.1, 1000, 0.1},
        {"cosine", 100, 0, 50, 0.5},
        {"cosine", 100, 0, 325, 0.853553391},
        {"cosine", 0, 0, 1000, 0},
        {"cosine", 0, 0.1, 500, 0.55},
        {"cosine_with_restarts", 0, 0, 250, 0.5},
        {"cosine_with_restarts", 0, 0, 500, 1},
        {"cosine_with_restarts", 0, 0, 1000, 0},
        {"polynomial", 0, 0, 500, 0.250000075},
        {"polynomial", 0, 0, 5000, 1e-7},
        {"inverse_sqrt", 100, 0, 100, 1},
        {"inverse_sqrt", 100, 0, 400, 0.5},
        {"warmup_stable_decay", 100, 0, 50, 0.5},
        {"warmup_stable_decay", 100, 0, 900, 1},
        {"warmup_stable_decay", 100, 0.2, 950, 0.6},
        {"warmup_stable_decay", 100, 0.2, 1000, 0.2},
        {"REX", 0, 0, 500, 2.0 / 3},
        {"rex", 0, 0, 1000, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double got = rate_at("1", cases[i].scheduler, cases[i].warmup, cases[i].least, cases[i].step);
        if (fabs(got - cases[i].expected) > 1e-8)
            fail_msg("%s at %d: %.10g, not %.10g", cases[i].scheduler, (int)cases[i].step, got,
                     cases[i].expected);
    }
}

static void rates_may_be_lists(void **state)
{
    (void)state;
    const char *list = " 0.001:100, 1e-5 : 1000,2e-6 ";
    assert_true(rate_at(list, NULL, 0, 0, 0) == 0.001);
    assert_true(rate_at(list, NULL, 0, 0, 99) == 0.001);
    assert_true(rate_at(list, NULL, 0, 0, 100) == 1e-5);
    assert_true(rate_at(list, NULL, 0, 0, 5000) == 2e-6);
    learning_rate rate;
    learning_rate_options o = learning_rate_defaults();
    o.learning_rate = "1:5, 2:10";
    ok(learning_rate_init(&rate, &o, err));
    assert_int_equal(learning_rate_last_step(&rate), 10);
    static const char *const bad[] = {"",      "x",  "1:",  "1:0",   "1:5,2:5", "1,2",
                                      "1:5;2", "-1", "nan", "1e400", "1 2"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        o.learning_rate = bad[i];
        fails(learning_rate_init(&rate, &o, err), KILN_BAD_ARGUMENT, "learning_rate '");
    }
    o.learning_rate = "1:5, 2";
    o.lr_scheduler = "cosine";
    fails(learning_rate_init(&rate, &o, err), KILN_BAD_ARGUMENT, "lr_scheduler constant");
    o.lr_scheduler = "cosin";
    fails(learning_rate_init(&rate, &o, err), KILN_BAD_ARGUMENT, "cosine_with_restarts");
}

/* ------------------------------------------------------------------------------------ averages */

static void averages_grow_as_in_diffusers(void **state)
{
    (void)state;
    static const struct {
        ema_kind kind;
        int64_t step;
        double expected;
    } cases[] = {{EMA_GROWING, 1, 0},
                 {EMA_GROWING, 2, 0.18181818181818182},
                 {EMA_GROWING, 11, 0.55},
                 {EMA_GROWING, 101, 0.9181818181818182},
                 {EMA_GROWING, 100000000, 0.9999},
                 {EMA_WARMUP, 1, 0},
                 {EMA_WARMUP, 2, 0.3700394750525634},
                 {EMA_WARMUP, 11, 0.7978199917664258},
                 {EMA_WARMUP, 101, 0.9538909949722393},
                 {EMA_CONSTANT, 1, 0.9999},
                 {EMA_OFF, 5, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ema_options o = ema_defaults();
        o.kind = cases[i].kind;
        assert_true(fabs(ema_decay(&o, cases[i].step) - cases[i].expected) < 1e-12);
    }
    ema_options o = ema_defaults();
    o.kind = EMA_CONSTANT;
    o.update_every = 5;
    assert_true(ema_decay(&o, 4) == 1 && ema_decay(&o, 5) == 0.9999);
    o.decay = 1;
    fails(ema_options_check(&o, err), KILN_BAD_ARGUMENT, "ema_decay");
    float average[3] = {0, 1, 2}, values[3] = {1, 1, 1};
    ema_update(average, values, 3, 0.75);
    assert_true(average[0] == 0.25f && average[1] == 1 && average[2] == 1.75f);
    ema_update(average, values, 3, 0);
    assert_true(average[0] == 1 && average[2] == 1);
}

/* ------------------------------------------------------------------------------------ the journal */

static journal_row row_of(int64_t step)
{
    double t = (double)step;
    return (journal_row){.step = step,
                         .epoch = t / 50,
                         .loss = 0.2 + exp(-t / 150) + 0.15 * sin(t * 12.9) * sin(t * 3.1),
                         .validation_loss = step % 50 ? NAN : 0.25 + exp(-t / 170),
                         .learning_rate = 1e-4,
                         .gradient_norm = 1,
                         .images_per_second = 12.5,
                         .seconds = t * 2};
}

static char *read_text(const char *name)
{
    static char text[1 << 18];
    FILE *file = fopen(in_folder(name), "rb");
    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    return text;
}

static void goes_on_where_the_checkpoint_was(void **state)
{
    (void)state;
    char folder[300];
    strcpy(folder, in_folder("run"));
    journal *j;
    ok(journal_open(folder, 0, &j, err));
    for (int64_t step = 1; step <= 120; step++) {
        journal_row row = row_of(step);
        ok(journal_add(j, &row, err));
    }
    char all[1 << 16];
    strcpy(all, read_text("run/loss.csv")); /* before it is closed */
    assert_int_equal(strncmp(all, "step,epoch,loss,validation_loss,", 32), 0);
    assert_non_null(strstr(all, "\n50,1,"));
    journal_close(j);
    FILE *torn = fopen(in_folder("run/loss.csv"), "a");
    assert_non_null(torn);
    fputs("121,2.4,0.3", torn);
    fclose(torn);
    ok(journal_open(folder, 100, &j, err));
    assert_int_equal(journal_rows(j), 100);
    assert_true(journal_seconds(j) == 200);
    assert_true(isnan(journal_row_at(j, 48)->validation_loss) &&
                !isnan(journal_row_at(j, 49)->validation_loss));
    for (int64_t step = 101; step <= 120; step++) {
        journal_row row = row_of(step);
        ok(journal_add(j, &row, err));
    }
    assert_string_equal(read_text("run/loss.csv"), all);
    journal_close(j);
    ok(journal_open(folder, 0, &j, err)); /* anew */
    assert_int_equal(journal_rows(j), 0);
    journal_close(j);
    journal_close(NULL);
    put_text("file", "");
    fails(journal_open(in_folder("file"), 0, &j, err), KILN_IO, "file");
}

static void plots_its_losses(void **state)
{
    (void)state;
    char folder[300];
    strcpy(folder, in_folder("run"));
    journal *j;
    ok(journal_open(folder, 0, &j, err));
    ok(journal_plot(j, err)); /* nothing yet */
    for (int64_t step = 1; step <= 2000; step++) {
        journal_row row = row_of(step);
        if (step == 700)
            row.loss = NAN;
        if (step == 800)
            row.loss = 1e9;
        ok(journal_add(j, &row, err));
    }
    ok(journal_plot(j, err));
    image *plot;
    ok(image_read(in_folder("run/loss.png"), &plot, NULL, err));
    assert_int_equal(plot->width, LOSS_PLOT_WIDTH);
    assert_int_equal(plot->height, LOSS_PLOT_HEIGHT);
    size_t blue = 0, orange = 0;
    for (int i = 0; i < plot->width * plot->height; i++) {
        const unsigned char *p = (const unsigned char *)plot->pixels + (size_t)i * 3;
        blue += p[2] > 150 && p[0] < 60;
        orange += p[0] > 200 && p[2] < 60;
    }
    assert_true(blue > 1000 && orange > 500);
    image_free(plot);
    journal_close(j);
}

static void plots_whatever_the_losses(void **state)
{
    (void)state;
    const double losses[][3] = {{1, 1, 1},           {0, 0, 0},        {NAN, NAN, NAN},   {1e-30, 1, 1e30},
                                {-5, -5.000001, -5}, {INFINITY, 1, 2}, {1e300, -1e300, 0}};
    for (size_t i = 0; i < sizeof losses / sizeof *losses; i++) {
        journal_row rows[3];
        for (int k = 0; k < 3; k++)
            rows[k] = (journal_row){
                .step = k * 1000000007LL, .loss = losses[i][k], .validation_loss = losses[i][2 - k]};
        image *plot;
        ok(loss_plot_new(rows, 3, &plot, err));
        image_free(plot);
    }
    journal_row rows[2] = {{.step = 5, .loss = 1}, {.step = 5, .loss = 2}};
    image *plot;
    ok(loss_plot_new(rows, 2, &plot, err));
    image_free(plot);
    fails(loss_plot_new(rows, 1, &plot, err), KILN_BAD_ARGUMENT, "two steps");
}

static void writes_its_line(void **state)
{
    (void)state;
    char text[JOURNAL_LINE];
    journal_progress p = {120, 4000, 0.3, 10, 0.12345, 1e-4, 12.34, 3725};
    assert_string_equal(
        journal_progress_line(&p, text),
        "epoch 0.30/10  step 120/4000  loss 0.1235  lr 1.00e-04  12.3 images/s  1 h 02 min left");
    p.seconds_left = NAN;
    assert_non_null(strstr(journal_progress_line(&p, text), "? left"));
    p = (journal_progress){INT64_MAX, INT64_MAX, 1e300, 1e300, 1e300, 1e300, 1e300, 1e300};
    assert_true(strlen(journal_progress_line(&p, text)) < JOURNAL_LINE);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, folder_setup, folder_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rates_follow_their_schedules),
        cmocka_unit_test(rates_may_be_lists),
        cmocka_unit_test(averages_grow_as_in_diffusers),
        TEST(goes_on_where_the_checkpoint_was),
        TEST(plots_its_losses),
        cmocka_unit_test(plots_whatever_the_losses),
        cmocka_unit_test(writes_its_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
