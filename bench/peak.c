/* peak.c - see peak.h. */
#include "bench/measure.h"

#include "peak.h"

#include "backend/cpu/onednn.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static void *block(size_t bytes)
{
    size_t whole = (bytes + 127) / 64 * 64;
    void *p = aligned_alloc(64, whole);
    if (p)
        memset(p, 0, whole);
    return p;
}

/* Operands are set to a pattern of ordinary numbers: zeros would be kind to the power budget. */
static void fill(void *to, dtype type, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        float v = (float)(i * 2654435761u % 1021u) / 1021.0f - 0.5f;
        convert_from_f32(&v, (char *)to + (size_t)i * dtype_size(type), type, 1);
    }
}

static kiln_status time_product(product *p, dtype type, int64_t m, int64_t k, int64_t n, int repeats,
                                double *gflops, kiln_error *err)
{
    float *plain = block((size_t)(k * n) * sizeof(float));
    void *weights = block(product_weight_bytes(p)), *input = block((size_t)(m * k) * dtype_size(type));
    void *output = block((size_t)(m * n) * dtype_size(type)), *scratch = block(product_scratch_bytes(p));
    kiln_status status = KILN_OK;
    if (!plain || !weights || !input || !output || !scratch)
        status = fail(err, KILN_NO_MEMORY, "not enough memory to measure the peak");
    if (status == KILN_OK) {
        fill(plain, DTYPE_F32, k * n);
        fill(input, type, m * k);
        status = product_pack(p, plain, k * n, weights, err);
    }
    product_arguments arguments = {.input = input, .weights = weights, .output = output, .scratch = scratch};
    for (int i = 0; i <= repeats && status == KILN_OK; i++) {
        double start = bench_now();
        status = product_run(p, &arguments, err);
        double speed = 2e-9 * (double)m * (double)k * (double)n / (bench_now() - start);
        if (i > 0 && speed > *gflops)
            *gflops = speed;
    }
    free(plain), free(weights), free(input), free(output), free(scratch);
    return status;
}

kiln_status peak_measure(dtype type, int threads, int repeats, double *gflops, kiln_error *err)
{
    static const int64_t shapes[][3] = {
        {2048, 2048, 2048}, {4096, 1024, 1024}, {8192, 1024, 1024}, {2048, 640, 640}, {8192, 320, 320}};
    *gflops = 0;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        int64_t m = shapes[i][0], k = shapes[i][1], n = shapes[i][2];
        const product_request request = {.rows = m,
                                         .in_channels = k,
                                         .out_channels = n,
                                         .input_type = type,
                                         .weight_type = type,
                                         .output_type = type,
                                         .threads = threads};
        product *p;
        kiln_status status = product_new(&request, &p, err);
        if (status == KILN_OK && p)
            status = time_product(p, type, m, k, n, repeats, gflops, err);
        product_free(p);
        if (status != KILN_OK)
            return status;
    }
    return KILN_OK;
}
