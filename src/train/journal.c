/* journal.c - see journal.h. The rows are kept in memory too, for the plot. */
#include "train/journal.h"

#include "train/loss_plot.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIRST_LINE                                                                                           \
    "step,epoch,loss,validation_loss,learning_rate,gradient_norm,images_per_second,seconds,validation_"      \
    "psnr,class_validation_loss\n"
enum { FIELDS = 10, FIELDS_BEFORE = 8 /* without the PSNR, and what came after it */, ROW_TEXT = 352 };

struct journal {
    char *folder, *path;
    FILE *file;
    journal_row *rows;
    size_t count, capacity;
};

static char *path_in(const char *folder, const char *name)
{
    size_t size = strlen(folder) + strlen(name) + 2;
    char *path = malloc(size);
    if (path)
        snprintf(path, size, "%s/%s", folder, name);
    return path;
}

static kiln_status keep_row(journal *j, const journal_row *row, kiln_error *err)
{
    if (j->count == j->capacity) {
        size_t capacity = j->capacity ? j->capacity * 2 : 256;
        journal_row *grown = realloc(j->rows, capacity * sizeof *grown);
        if (!grown)
            return fail(err, KILN_NO_MEMORY, "%s: no memory for its rows", j->path);
        j->rows = grown;
        j->capacity = capacity;
    }
    j->rows[j->count++] = *row;
    return KILN_OK;
}

static void row_text(const journal_row *row, char text[ROW_TEXT])
{
    char validation[32] = "", psnr[32] = "", of_class[32] = "";
    if (!isnan(row->validation_loss))
        snprintf(validation, sizeof validation, "%.9g", row->validation_loss);
    if (!isnan(row->validation_psnr))
        snprintf(psnr, sizeof psnr, "%.4f", row->validation_psnr);
    if (!isnan(row->class_validation_loss))
        snprintf(of_class, sizeof of_class, "%.9g", row->class_validation_loss);
    snprintf(text, ROW_TEXT, "%" PRId64 ",%.6g,%.9g,%s,%.9g,%.6g,%.5g,%.3f,%s,%s\n", row->step, row->epoch,
             row->loss, validation, row->learning_rate, row->gradient_norm, row->images_per_second,
             row->seconds, psnr, of_class);
}

/* False for a line that is not a whole row. */
static bool parse_row(const char *line, journal_row *row)
{
    double values[FIELDS];
    for (int i = FIELDS_BEFORE; i < FIELDS; i++)
        values[i] = NAN;
    for (int i = 0; i < FIELDS; i++) {
        char *end;
        values[i] = strtod(line, &end);
        if (end == line)
            values[i] = NAN;
        if (i + 1 >= FIELDS_BEFORE && *end == '\n')
            break;
        if (*end != (i + 1 < FIELDS ? ',' : '\n'))
            return false;
        line = end + 1;
    }
    if (!(values[0] >= 0 && values[0] < 1e15))
        return false;
    *row = (journal_row){(int64_t)values[0], values[1], values[2], values[3], values[4],
                         values[5],          values[6], values[7], values[8], values[9]};
    return true;
}

/* Rows of an earlier sitting up to `last_step`; a torn line at the end is left out. */
static kiln_status read_rows(journal *j, int64_t last_step, kiln_error *err)
{
    FILE *file = last_step > 0 ? fopen(j->path, "r") : NULL;
    if (!file)
        return last_step > 0 && errno != ENOENT ? fail_system(err, "%s: cannot be read", j->path) : KILN_OK;
    char line[ROW_TEXT];
    kiln_status status = KILN_OK;
    while (status == KILN_OK && fgets(line, sizeof line, file)) {
        journal_row row;
        if (parse_row(line, &row) && row.step <= last_step)
            status = keep_row(j, &row, err);
    }
    fclose(file);
    return status;
}

/* The file with the rows that stay, in place of the old one. */
static kiln_status rewrite(const journal *j, kiln_error *err)
{
    char *temporary = path_in(j->folder, "loss.csv.tmp"), text[ROW_TEXT];
    if (!temporary)
        return fail(err, KILN_NO_MEMORY, "%s: no memory", j->path);
    FILE *file = fopen(temporary, "w");
    bool good = file && fputs(FIRST_LINE, file) >= 0;
    for (size_t i = 0; good && i < j->count; i++) {
        row_text(&j->rows[i], text);
        good = fputs(text, file) >= 0;
    }
    good = good && fflush(file) == 0 && fsync(fileno(file)) == 0;
    int reason = errno;
    if (file && fclose(file) && good) {
        reason = errno;
        good = false;
    }
    if (good && rename(temporary, j->path)) {
        reason = errno;
        good = false;
    }
    errno = reason;
    kiln_status status = good ? KILN_OK : fail_system(err, "%s: cannot be written", j->path);
    if (!good)
        unlink(temporary);
    free(temporary);
    return status;
}

static kiln_status prepare(journal *j, int64_t last_step, kiln_error *err)
{
    struct stat about;
    if (mkdir(j->folder, 0777) && (stat(j->folder, &about) || !S_ISDIR(about.st_mode)))
        return fail_system(err, "%s: the run's folder cannot be made", j->folder);
    kiln_status status = read_rows(j, last_step, err);
    if (status == KILN_OK)
        status = rewrite(j, err);
    if (status != KILN_OK)
        return status;
    j->file = fopen(j->path, "a");
    return j->file ? KILN_OK : fail_system(err, "%s: cannot be written", j->path);
}

kiln_status journal_open(const char *folder, int64_t last_step, journal **out, kiln_error *err)
{
    *out = NULL;
    journal *j = calloc(1, sizeof *j);
    if (j) {
        j->folder = strdup(folder);
        j->path = path_in(folder, "loss.csv");
    }
    kiln_status status;
    if (!j || !j->folder || !j->path)
        status = fail(err, KILN_NO_MEMORY, "%s: no memory for the journal", folder);
    else
        status = prepare(j, last_step, err);
    if (status != KILN_OK) {
        journal_close(j);
        return status;
    }
    *out = j;
    return KILN_OK;
}

void journal_close(journal *j)
{
    if (!j)
        return;
    if (j->file)
        fclose(j->file);
    free(j->rows);
    free(j->path);
    free(j->folder);
    free(j);
}

kiln_status journal_add(journal *j, const journal_row *row, kiln_error *err)
{
    char text[ROW_TEXT];
    kiln_status status = keep_row(j, row, err);
    if (status != KILN_OK)
        return status;
    row_text(row, text);
    clearerr(j->file);
    if (fputs(text, j->file) < 0 || fflush(j->file))
        return fail_system(err, "%s: cannot be written", j->path);
    return KILN_OK;
}

kiln_status journal_plot(const journal *j, kiln_error *err)
{
    if (j->count < 2)
        return KILN_OK;
    char *path = path_in(j->folder, "loss.png");
    if (!path)
        return fail(err, KILN_NO_MEMORY, "%s: no memory for the plot", j->folder);
    kiln_status status = loss_plot_write(path, j->rows, j->count, err);
    free(path);
    return status;
}

size_t journal_rows(const journal *j)
{
    return j->count;
}

const journal_row *journal_row_at(const journal *j, size_t index)
{
    return &j->rows[index];
}

double journal_seconds(const journal *j)
{
    return j->count ? j->rows[j->count - 1].seconds : 0;
}

static void time_text(double seconds, char *text, size_t size)
{
    if (!(seconds >= 0) || seconds > 1e9)
        snprintf(text, size, "?");
    else if (seconds >= 86400)
        snprintf(text, size, "%d d %02d h", (int)(seconds / 86400), (int)(seconds / 3600) % 24);
    else if (seconds >= 3600)
        snprintf(text, size, "%d h %02d min", (int)(seconds / 3600), (int)(seconds / 60) % 60);
    else if (seconds >= 60)
        snprintf(text, size, "%d min %02d s", (int)(seconds / 60), (int)seconds % 60);
    else
        snprintf(text, size, "%d s", (int)seconds);
}

const char *journal_progress_line(const journal_progress *p, char text[JOURNAL_LINE])
{
    char left[32];
    time_text(p->seconds_left, left, sizeof left);
    snprintf(text, JOURNAL_LINE,
             "epoch %.2f/%.0f  step %" PRId64 "/%" PRId64 "  loss %.4f  lr %.2e  %.1f images/s  %s left",
             p->epoch, ceil(p->epochs), p->step, p->steps, p->loss, p->learning_rate, p->images_per_second,
             left);
    return text;
}
