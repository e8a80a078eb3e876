/* bench_rows.c - see bench_rows.h. */
#include "bench_rows.h"

#include "message.h"
#include "values.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char head[] =
    "sampler,schedule,steps,evaluations,distance,spread,drawings,reference,accuracy,settings";
enum { FIELDS = 10, FIELD = 128, ROWS_MOST = 100000 };

/* ------------------------------------------------------------------------------------ reading */

/* Split a line at its commas; a field in quotes may hold some, and a quote doubled. False: not FIELDS of them, or too long. */
static bool split(const char *line, char field[FIELDS][FIELD])
{
    int k = 0, length = 0;
    bool quoted = false;
    for (const char *t = line;; t++) {
        if (quoted && *t == '"' && t[1] == '"') {
            t++;
        } else if (*t == '"') {
            quoted = !quoted;
            continue;
        }
        bool ends = !*t || (*t == ',' && !quoted);
        field[k][length++] = ends ? '\0' : *t;
        if (!*t)
            return k == FIELDS - 1 && !quoted;
        if (ends) {
            length = 0;
            k++;
        }
        if (k == FIELDS || length == FIELD)
            return false;
    }
}

static bool name_of(const char *field, char out[BENCH_NAME])
{
    size_t length = strlen(field);
    if (length >= BENCH_NAME)
        return false;
    memcpy(out, field, length + 1);
    return true;
}

static bool whole_of(const char *field, int *out)
{
    long long value;
    if (!value_integer(field, 0, 1000000, &value))
        return false;
    *out = (int)value;
    return true;
}

static bool digest_of(const char *field, unsigned long long *out)
{
    char *end;
    *out = strtoull(field, &end, 16);
    return strlen(field) == 16 && strspn(field, "0123456789abcdef") == 16 && !*end;
}

static bool row_of(const char *line, bench_row *r)
{
    char f[FIELDS][FIELD];
    return split(line, f) && name_of(f[0], r->sampler) && name_of(f[1], r->schedule) &&
           whole_of(f[2], &r->steps) && value_number(f[3], 0, 1e9, &r->evaluations) &&
           value_number(f[4], 0, 1e30, &r->distance) && value_number(f[5], 0, 1e30, &r->spread) &&
           whole_of(f[6], &r->drawings) && name_of(f[7], r->reference) &&
           value_number(f[8], 0, 1e30, &r->accuracy) && digest_of(f[9], &r->settings);
}

static int add(bench_rows *rows, const bench_row *r)
{
    bench_row *more = NULL;
    if (rows->count < ROWS_MOST)
        more = realloc(rows->row, ((size_t)rows->count + 1) * sizeof *more);
    if (!more) {
        complain("not enough memory for the table");
        return EXIT_FAILED;
    }
    rows->row = more;
    rows->row[rows->count++] = *r;
    return EXIT_OK;
}

static int read_lines(FILE *file, const char *path, bench_rows *rows)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t length;
    int status = EXIT_OK;
    for (int number = 1; status == EXIT_OK && (length = getline(&line, &room, file)) >= 0; number++) {
        bench_row r = {0};
        while (length > 0 && (line[length - 1] == '\n' || line[length - 1] == '\r'))
            line[--length] = '\0';
        if (number == 1 ? strcmp(line, head) != 0 : !row_of(line, &r)) {
            complain("%s, line %d: no table of 'kiln bench-samplers'; name another file with -o", path,
                     number);
            status = EXIT_FAILED;
        } else if (number > 1) {
            status = add(rows, &r);
        }
    }
    free(line);
    return status;
}

int bench_rows_read(const char *path, bench_rows *rows)
{
    FILE *file = fopen(path, "r");
    if (!file && errno == ENOENT)
        return EXIT_OK;
    if (!file) {
        complain("%s: cannot be read: %s", path, strerror(errno));
        return EXIT_FAILED;
    }
    int status = read_lines(file, path, rows);
    fclose(file);
    return status;
}

const bench_row *bench_rows_find(const bench_rows *rows, const bench_row *like)
{
    for (int i = 0; i < rows->count; i++) {
        const bench_row *r = &rows->row[i];
        if (r->settings == like->settings && r->steps == like->steps &&
            strcmp(r->sampler, like->sampler) == 0 && strcmp(r->schedule, like->schedule) == 0)
            return r;
    }
    return NULL;
}

/* ------------------------------------------------------------------------------------ writing */

static void print_name(FILE *to, const char *name)
{
    if (!strpbrk(name, ",\"")) {
        fputs(name, to);
        return;
    }
    fputc('"', to);
    for (; *name; name++)
        fprintf(to, *name == '"' ? "\"%c" : "%c", *name);
    fputc('"', to);
}

static void print_row(FILE *to, const bench_row *r)
{
    print_name(to, r->sampler);
    fputc(',', to);
    print_name(to, r->schedule);
    fprintf(to, ",%d,%g,%.5g,%.3g,%d,%s,%.3g,%016llx\n", r->steps, r->evaluations, r->distance, r->spread,
            r->drawings, r->reference, r->accuracy, r->settings);
}

/* The row with its numbers as the file has them, so that a table that was read gives the same plot. */
static bool as_written(const bench_row *r, bench_row *out)
{
    char *line = NULL;
    size_t size;
    FILE *to = open_memstream(&line, &size);
    *out = *r;
    if (!to)
        return false;
    print_row(to, r);
    bool good = fclose(to) == 0;
    if (good) {
        line[strcspn(line, "\n")] = '\0';
        good = row_of(line, out);
    }
    free(line);
    return good;
}

int bench_rows_keep(bench_rows *rows, const bench_row *r, const char *path)
{
    bench_row written;
    if (!as_written(r, &written)) {
        complain("%s: the row of %s cannot be written", path, r->sampler);
        return EXIT_FAILED;
    }
    int status = add(rows, &written);
    size_t size = strlen(path) + 16;
    char *beside = malloc(size);
    if (status || !beside) {
        free(beside);
        return EXIT_FAILED;
    }
    snprintf(beside, size, "%s.part", path);
    FILE *to = fopen(beside, "w");
    if (to) {
        fprintf(to, "%s\n", head);
        for (int i = 0; i < rows->count; i++)
            print_row(to, &rows->row[i]);
        bool good = !ferror(to);
        good = fclose(to) == 0 && good;
        if (!good || rename(beside, path) != 0)
            to = NULL;
    }
    if (!to) {
        complain("%s: cannot be written: %s", path, strerror(errno));
        unlink(beside);
        status = EXIT_FAILED;
    }
    free(beside);
    return status;
}

void bench_rows_free(bench_rows *rows)
{
    free(rows->row);
    *rows = (bench_rows){0};
}
