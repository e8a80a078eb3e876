/* test_samplers.c - samplers against recorded trajectories of diffusers, k-diffusion and CompVis, and
 * their names, refusals, cancelling and memory. floors: base tensor formats diffusion
 *
 * The golden runner's parts are included whole: a unit test is one file. */
#include "golden/kdiffusion.c"
#include "golden/replay.c"
#include "golden/report.c"
#include "golden/schedulers.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

static void run_golden(int (*runner)(const char *, golden_report *), const char *folder)
{
    if (access(folder, R_OK) != 0) {
        print_message("%s is not here: skipped\n", folder);
        skip();
    }
    golden_report report = {.out = stdout};
    assert_int_equal(runner(folder, &report), 0);
    printf("%d passed, %d failed, %d skipped\n", report.passed, report.failed, report.skipped);
    assert_int_equal(report.failed, 0);
    assert_true(report.passed > 0);
}

static void test_schedulers(void **state)
{
    (void)state;
    run_golden(golden_schedulers, TEST_SHARED "/golden/schedulers");
}

static void test_kdiffusion(void **state)
{
    (void)state;
    run_golden(golden_kdiffusion, TEST_SHARED "/golden/kdiffusion");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_schedulers),
        cmocka_unit_test(test_kdiffusion),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
