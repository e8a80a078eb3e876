/* reference_tensors.h - what a test compares with: tensors of a file, and how far results are from them. */
#ifndef KILN_TEST_REFERENCE_TENSORS_H
#define KILN_TEST_REFERENCE_TENSORS_H

#include "formats/tensor_file.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The tensor as f32; free(). Fails the test when it is not there. */
static inline float *reference_floats(const tensor_file *file, const char *name, shape *size)
{
    const tensor_entry *e = tensor_file_find(file, name);
    if (!e)
        fail_msg("the reference has no tensor '%s'", name);
    int64_t count = e ? shape_count(e->shape) : 0;
    float *values = malloc((size_t)count * sizeof *values + 1);
    assert_non_null(values);
    kiln_error err = {0};
    if (tensor_file_read_f32(file, e, 0, count, values, &err) != KILN_OK)
        fail_msg("%s", err.text);
    if (size)
        *size = e->shape;
    return values;
}

/* [N,C,H,W] to [N,H,W,C], in place of the first. */
static inline void reference_channels_last(float **values, shape s)
{
    int64_t n = s.dim[0], c = s.dim[1], positions = shape_count(s) / (n * c);
    float *to = malloc((size_t)shape_count(s) * sizeof *to);
    assert_non_null(to);
    for (int64_t b = 0; b < n; b++)
        for (int64_t k = 0; k < c; k++)
            for (int64_t p = 0; p < positions; p++)
                to[(b * positions + p) * c + k] = (*values)[(b * c + k) * positions + p];
    free(*values);
    *values = to;
}

/* The largest difference, over the largest number of the reference. */
static inline double reference_error(const float *found, const float *expected, int64_t count)
{
    double worst = 0, largest = 0;
    for (int64_t i = 0; i < count; i++) {
        double difference = fabs((double)found[i] - (double)expected[i]);
        if (!(difference <= worst))
            worst = difference;
        if (fabs((double)expected[i]) > largest)
            largest = fabs((double)expected[i]);
    }
    return largest > 0 ? worst / largest : worst;
}

#define ASSERT_NEAR(found, expected, count, tolerance, what)                                                 \
    do {                                                                                                     \
        double error_ = reference_error((found), (expected), (count));                                       \
        if (!(error_ <= (tolerance)))                                                                        \
            fail_msg("%s: relative error %.2e, at most %.0e", (what), error_, (double)(tolerance));          \
    } while (0)

#endif
