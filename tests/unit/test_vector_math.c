/* floors: base tensor formats graph ops backend */
/* test_vector_math.c - the errors of exp, sigmoid, tanh and erf against the C library in double, over floats of every size:
 * the figures that vector_math.h states. Built as the kernels are, so that each processor's own fused products count. */
#include "backend/cpu/vector_math.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Every 499th float of either sign, from 0 to infinity: 8.6 million, and never the same last bits twice in a row. */
enum { STRIDE = 499, CHUNK = 4096 };

#define MAP(function)                                                                                        \
    CLONES static void map_##function(const float *from, float *to, int n)                                   \
    {                                                                                                        \
        for (int i = 0; i < n; i++)                                                                          \
            to[i] = function(from[i]);                                                                       \
    }
MAP(exponential)
MAP(sigmoid)
MAP(tangent)
MAP(error_function)
MAP(soft_gate)

static float of_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

typedef struct sweep {
    double worst, at;
} sweep;

typedef double (*error_of)(double x, double got);

static sweep measure(void (*map)(const float *, float *, int), error_of error, double low, double high)
{
    static float from[CHUNK], to[CHUNK];
    sweep s = {0, 0};
    int n = 0;
    for (uint64_t bits = 0; bits <= 0x7F800000u; bits += STRIDE) {
        for (int sign = 0; sign < 2; sign++) {
            float x = of_bits((uint32_t)bits | (sign ? 0x80000000u : 0));
            if ((double)x >= low && (double)x <= high)
                from[n++] = x;
        }
        if (n < CHUNK - 1 && bits + STRIDE <= 0x7F800000u)
            continue;
        map(from, to, n);
        for (int i = 0; i < n; i++) {
            double e = error((double)from[i], (double)to[i]);
            if (!(e <= s.worst)) {
                s.worst = e;
                s.at = (double)from[i];
            }
        }
        n = 0;
    }
    return s;
}

/* In units of the last place of the true result, rounded to float. */
static double exponential_error(double x, double got)
{
    double expected = exp(x);
    int exponent;
    frexp(expected, &exponent);
    return fabs(got - expected) / ldexp(1, exponent - 24);
}

static double sigmoid_error(double x, double got)
{
    return fabs(got - 1 / (1 + exp(-x)));
}

static double tangent_error(double x, double got)
{
    return fabs(got - tanh(x));
}

static double error_function_error(double x, double got)
{
    return fabs(got - erf(x));
}

static double soft_gate_error(double x, double got)
{
    return fabs(got - tanh(x > 30 ? x : log1p(exp(x))));
}

static void check(const char *name, sweep s, double limit)
{
    print_message("%-15s %.3g at %.9g (at most %.3g)\n", name, s.worst, s.at, limit);
    if (!(s.worst <= limit))
        fail_msg("%s is off by %g at %g, more than %g", name, s.worst, s.at, limit);
}

static void errors_are_as_stated(void **state)
{
    (void)state;
    check("exponential", measure(map_exponential, exponential_error, -87, 88), 1.3);
    check("sigmoid", measure(map_sigmoid, sigmoid_error, -INFINITY, INFINITY), 1e-7);
    check("tangent", measure(map_tangent, tangent_error, -INFINITY, INFINITY), 1.4e-7);
    check("error_function", measure(map_error_function, error_function_error, -INFINITY, INFINITY), 6.5e-7);
    check("soft_gate", measure(map_soft_gate, soft_gate_error, -INFINITY, INFINITY), 2e-7);
}

static void ends_are_as_stated(void **state)
{
    (void)state;
    static const float from[] = {-1e30f, -INFINITY, 1e30f, INFINITY, NAN, 0, -88, 89};
    float to[8];
    map_exponential(from, to, 8);
    assert_true(to[0] > 0 && to[0] < 2e-38f && to[1] > 0 && to[1] < 2e-38f && to[6] < 2e-38f);
    assert_true(to[2] > 1e38f && isfinite(to[2]) && to[3] > 1e38f && isfinite(to[3]) && isfinite(to[7]));
    assert_true(isnan(to[4]) && to[5] == 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_are_as_stated),
        cmocka_unit_test(ends_are_as_stated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
