/* main.c - golden DIR: run every case of a folder of references.
 *
 *     golden [--reference] [--threads N] [--no-bf16] [--quiet] [--vocabulary PATH] DIR...
 *
 * DIR may hold: models/, single_file/, tokens.json, schedulers/, kdiffusion/, grads/, and taesd/ with refs/
 * (real preview files); or be one of these itself.
 * A line per case with its largest error; ends with "N passed, N failed, N skipped"; exit 0 when none failed. */
#include "golden/grads.h"
#include "golden/models.h"
#include "golden/pipelines.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct options {
    bool reference, bf16, quiet;
    int threads;
    const char *vocabulary;
} options;

/* True, with the full path, when DIR has it, or is it: golden/models is as good as golden. */
static bool has(const char *folder, const char *name, char path[4096])
{
    size_t end = strlen(folder), length = strlen(name);
    snprintf(path, 4096, "%s/%s", folder, name);
    if (access(path, F_OK) == 0)
        return true;
    while (end > 1 && folder[end - 1] == '/')
        end--;
    if (end < length || strncmp(folder + end - length, name, length) != 0 ||
        (end > length && folder[end - length - 1] != '/'))
        return false;
    snprintf(path, 4096, "%.*s", (int)end, folder);
    return access(path, F_OK) == 0;
}

static pass_options pass_of(const options *o, bool taps)
{
    return (pass_options){.plan = {.backend = o->reference ? &backend_reference : &backend_cpu,
                                   .compute = DTYPE_F32,
                                   .threads = o->threads,
                                   .fuse = !taps,
                                   .taps = taps},
                          .limit = 2e-5};
}

static void run_folder(const char *given, const options *o, golden_report *report)
{
    char path[4096], *whole = realpath(given, NULL); /* "." is known by the name it has */
    const char *folder = whole ? whole : given;
    int before = report->passed + report->failed + report->skipped;
    pipeline_options p = {.reference = o->reference, .threads = o->threads, .bf16 = o->bf16 && !o->reference};
    if (has(folder, "models", path)) {
        pass_options plain = pass_of(o, true), fused = pass_of(o, false);
        golden_models(path, &plain, report);
        golden_models(path, &fused, report);
        golden_pipelines(path, &p, report);
    }
    if (has(folder, "single_file", path)) {
        pass_options fused = pass_of(o, false);
        golden_single_files(path, &fused, report);
    }
    if (has(folder, "tokens.json", path))
        golden_tokens(path, o->vocabulary, report);
    if (has(folder, "schedulers", path))
        golden_schedulers(path, report);
    if (has(folder, "kdiffusion", path))
        golden_kdiffusion(path, report);
    if (has(folder, "grads", path)) {
        char model[sizeof path + 32];
        pass_options fused = pass_of(o, false);
        if (!has(folder, "models/sd1-tiny", model))
            snprintf(model, sizeof model, "%s/../models/sd1-tiny", path);
        golden_gradients(path, model, &fused, report);
    }
    if (has(folder, "taesd", path) && has(folder, "refs", path)) {
        pass_options previews = pass_of(o, false);
        previews.limit = 2e-3;
        golden_previews(folder, &previews, report);
    }
    if (report->passed + report->failed + report->skipped == before)
        golden_failure(report, "golden", given, "it holds no cases");
    free(whole);
}

int main(int argc, char **argv)
{
    options o = {
        .bf16 = true, .threads = 2, .vocabulary = TEST_ROOT "/data/clip/bpe_simple_vocab_16e6.txt.gz"};
    golden_report report = {.out = stdout};
    int folders = 0;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--reference") == 0)
            o.reference = true;
        else if (strcmp(argv[i], "--no-bf16") == 0)
            o.bf16 = false;
        else if (strcmp(argv[i], "--quiet") == 0)
            report.quiet = true;
        else if (strcmp(argv[i], "--threads") == 0 && i + 1 < argc)
            o.threads = atoi(argv[++i]) > 0 ? atoi(argv[i]) : 1;
        else if (strcmp(argv[i], "--vocabulary") == 0 && i + 1 < argc)
            o.vocabulary = argv[++i];
        else if (argv[i][0] == '-') {
            fprintf(stderr, "usage: golden [--reference] [--threads N] [--no-bf16] [--quiet] [--vocabulary "
                            "PATH] DIR...\n");
            return 2;
        } else {
            run_folder(argv[i], &o, &report);
            folders++;
        }
    }
    if (!folders) {
        fprintf(
            stderr,
            "usage: golden [--reference] [--threads N] [--no-bf16] [--quiet] [--vocabulary PATH] DIR...\n");
        return 2;
    }
    printf("%d passed, %d failed, %d skipped\n", report.passed, report.failed, report.skipped);
    return report.failed > 0;
}
