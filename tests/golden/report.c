/* report.c - the lines and counts of golden.h, and reading of reference folders. */
#include "golden/golden.h"

#include "diffusion/plain_json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_JSON_BYTES = 64 * 1024 * 1024 };

void golden_result(golden_report *report, const char *group, const char *id, const char *what, double error,
                   double limit)
{
    bool good = error <= limit;
    if (good)
        report->passed++;
    else
        report->failed++;
    if (report->out && (!good || !report->quiet))
        fprintf(report->out, "%-12s %-6s %-50s error %.2e (limit %.0e) %s\n", group, id, what, error, limit,
                good ? "ok" : "FAILED");
}

void golden_failure(golden_report *report, const char *group, const char *id, const char *why)
{
    report->failed++;
    if (report->out)
        fprintf(report->out, "%-12s %-6s FAILED: %s\n", group, id, why);
}

void golden_skip(golden_report *report, const char *group, const char *id, const char *why)
{
    report->skipped++;
    if (report->out && !report->quiet)
        fprintf(report->out, "%-12s %-6s skipped: %s\n", group, id, why);
}

double golden_error(const float *got, const float *expected, size_t n)
{
    double scale = 1, error = 0;
    for (size_t i = 0; i < n; i++) {
        scale = fmax(scale, fabs((double)expected[i]));
        double difference = fabs((double)got[i] - (double)expected[i]);
        if (!(difference <= error))
            error = difference;
        if (isnan(error))
            return NAN;
    }
    return error / scale;
}

static char *read_text(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    char *text = NULL;
    if (fseek(file, 0, SEEK_END) == 0) {
        long end = ftell(file);
        if (end >= 0 && end < MOST_JSON_BYTES && fseek(file, 0, SEEK_SET) == 0)
            text = malloc((size_t)end + 1);
        if (text)
            *size = fread(text, 1, (size_t)end, file);
    }
    fclose(file);
    return text;
}

json_t *golden_json(golden_report *report, const char *folder, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    size_t size = 0, plain_size = 0;
    char *text = read_text(path, &size);
    char *plain = text ? plain_json(text, size, &plain_size) : NULL;
    json_error_t at = {.text = "cannot be read"};
    json_t *root = plain ? json_loadb(plain, plain_size, 0, &at) : NULL;
    if (!root)
        golden_failure(report, "golden", path, at.text);
    free(text);
    free(plain);
    return root;
}

tensor_file *golden_tensors(golden_report *report, const char *folder, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    tensor_file *file;
    kiln_error err;
    if (tensor_file_open(path, &file, &err) && report->out)
        fprintf(report->out, "%s: %s\n", path, err.text);
    return file;
}

float *golden_tensor(const tensor_file *file, const char *name, size_t *count)
{
    const tensor_entry *entry = tensor_file_find(file, name);
    if (!entry)
        return NULL;
    int64_t n = shape_count(entry->shape);
    float *values = malloc((size_t)n * sizeof *values + 1);
    if (values && tensor_file_read_f32(file, entry, 0, n, values, NULL)) {
        free(values);
        return NULL;
    }
    if (count)
        *count = (size_t)n;
    return values;
}
