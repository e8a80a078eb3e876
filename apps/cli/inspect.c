/* inspect.c - `kiln inspect`: what a file is, told from its header; hashes; tensors. */
#include "cache.h"
#include "commands.h"
#include "help.h"
#include "interrupt.h"
#include "message.h"
#include "progress.h"

#include <string.h>
#include <sys/stat.h>

typedef struct inspect_values {
    bool json, tensors, metadata, hash, check;
} inspect_values;

static const option inspect_options[] = {
    {"tensors", 't', OPTION_FLAG, offsetof(inspect_values, tensors), NULL, NULL, 0, 0, NULL,
     "list every tensor, not only the first"},
    {"metadata", 0, OPTION_FLAG, offsetof(inspect_values, metadata), NULL, NULL, 0, 0, NULL,
     "list all metadata, not only the first"},
    {"hash", 0, OPTION_FLAG, offsetof(inspect_values, hash), NULL, NULL, 0, 0, NULL,
     "read the whole file for its hashes, however large it is"},
    {"check", 'c', OPTION_FLAG, offsetof(inspect_values, check), NULL, NULL, 0, 0, NULL,
     "read every number: weights that hold NaN or infinity are named, and the exit status is 1"},
    {"json", 'j', OPTION_FLAG, offsetof(inspect_values, json), NULL, NULL, 0, 0, NULL,
     "print JSON, with all tensors and metadata"},
    {0},
};

enum { FIRST_TENSORS = 12, FIRST_METADATA = 16, VALUE_COLUMNS = 300 };
/* Up to this size the hashes are quick enough to be printed without being asked for. */
static const int64_t hash_limit = 256000000;

typedef struct hash_result {
    kiln_hashes hashes;
    bool known, large;
} hash_result;

static int hash_file(const char *path, const inspect_values *v, hash_result *out)
{
    kiln_error err = {0};
    struct stat info;
    char cache_path[4096];
    const char *cache = cache_hashes(cache_path, sizeof cache_path);
    *out = (hash_result){0};
    if (stat(path, &info) != 0 || !S_ISREG(info.st_mode))
        return EXIT_OK;
    out->large = info.st_size > hash_limit;
    if (out->large && !v->hash) {
        out->known = kiln_hash_known(cache, path, &out->hashes);
        return EXIT_OK;
    }
    kiln_status status = kiln_hash_file(path, &out->hashes, progress_show, NULL, &err);
    progress_clear();
    out->known = status == KILN_OK;
    if (out->known && out->large)
        (void)kiln_hash_remember(cache, path, &out->hashes); /* only a convenience */
    return out->known ? EXIT_OK : complain_error(&err);
}

static void print_shape(int rank, const int64_t *shape)
{
    printf("[");
    for (int i = 0; i < rank; i++)
        printf("%s%lld", i ? ", " : "", (long long)shape[i]);
    printf("]");
}

/* A value from the file, shortened: some carry whole training logs. Bytes that are no text are shown as '?'. */
static void print_value(const char *text)
{
    int columns = 0;
    for (; *text && columns < VALUE_COLUMNS; text++, columns++)
        putchar((unsigned char)*text < 0x20 || *text == 0x7F ? ' ' : *text);
    while (((unsigned char)*text & 0xC0) == 0x80)
        putchar(*text++);
    printf("%s\n", *text ? " ..." : "");
}

static void print_hashes(const hash_result *h)
{
    if (h->known) {
        printf("%-14s %s\n", "sha256", h->hashes.sha256);
        printf("%-14s %s\n", "short hash", h->hashes.short_hash);
        if (h->hashes.data_hash[0])
            printf("%-14s %s\n", "data hash", h->hashes.data_hash);
    } else if (h->large) {
        printf("%-14s not known: 'kiln inspect --hash' or a drawing computes it, once\n", "sha256");
    }
}

static void print_tensors(const kiln_inspection *inspection, bool all)
{
    const char *name, *type;
    const int64_t *shape;
    int rank, i = 0;
    for (; (name = kiln_inspection_tensor(inspection, i, &type, &rank, &shape)) != NULL; i++) {
        if (!all && i >= FIRST_TENSORS)
            continue;
        if (i == 0)
            printf("\ntensors\n");
        printf("  %-8s %s ", type, name);
        print_shape(rank, shape);
        printf("\n");
    }
    if (!all && i > FIRST_TENSORS)
        printf("  ... and %d more; --tensors lists all\n", i - FIRST_TENSORS);
}

static void print_metadata(const kiln_inspection *inspection, bool all)
{
    const char *key, *text;
    int i = 0;
    for (; (text = kiln_inspection_metadata(inspection, i, &key)) != NULL; i++) {
        if (!all && i >= FIRST_METADATA)
            continue;
        printf(i ? "  " : "\nmetadata\n  ");
        printf("%s: ", key);
        print_value(text);
    }
    if (!all && i > FIRST_METADATA)
        printf("  ... and %d more; --metadata lists all\n", i - FIRST_METADATA);
}

static void print_text(const kiln_inspection *inspection, const hash_result *h, const inspect_values *v)
{
    const char *name, *text;
    for (int i = 0; (text = kiln_inspection_fact(inspection, i, &name)) != NULL; i++) {
        printf("%-14s ", name);
        print_value(text);
    }
    print_hashes(h);
    print_metadata(inspection, v->metadata);
    print_tensors(inspection, v->tensors);
}

static void print_json_pairs(const kiln_inspection *inspection,
                             const char *(*pair)(const kiln_inspection *, int, const char **))
{
    const char *name, *text;
    for (int i = 0; (text = pair(inspection, i, &name)) != NULL; i++) {
        printf(i ? ", " : "");
        print_json_string(stdout, name);
        printf(": ");
        print_json_string(stdout, text);
    }
}

static void print_json(const char *path, const kiln_inspection *inspection, const hash_result *h)
{
    const char *name, *type;
    const int64_t *shape;
    int rank;
    printf("{\"file\": ");
    print_json_string(stdout, path);
    printf(", \"facts\": {");
    print_json_pairs(inspection, kiln_inspection_fact);
    printf("}, \"metadata\": {");
    print_json_pairs(inspection, kiln_inspection_metadata);
    printf("}");
    if (h->known)
        printf(", \"sha256\": \"%s\", \"short_hash\": \"%s\", \"old_hash\": \"%s\", \"data_hash\": \"%s\"",
               h->hashes.sha256, h->hashes.short_hash, h->hashes.old_hash, h->hashes.data_hash);
    printf(", \"tensors\": [");
    for (int i = 0; (name = kiln_inspection_tensor(inspection, i, &type, &rank, &shape)) != NULL; i++) {
        printf("%s{\"name\": ", i ? ",\n " : "\n ");
        print_json_string(stdout, name);
        printf(", \"type\": \"%s\", \"shape\": ", type);
        print_shape(rank, shape);
        printf("}");
    }
    printf("]}\n");
}

static int inspect(const char *path, const inspect_values *v)
{
    kiln_error err = {0};
    kiln_inspection *inspection = NULL;
    hash_result hashes;
    if (kiln_inspect(path, &inspection, &err) != KILN_OK)
        return complain_error(&err);
    int status = hash_file(path, v, &hashes);
    if (status == EXIT_OK && v->json)
        print_json(path, inspection, &hashes);
    else if (status == EXIT_OK)
        print_text(inspection, &hashes, v);
    if (status == EXIT_OK && v->check) {
        if (kiln_inspection_check(inspection, progress_show, NULL, &err) != KILN_OK)
            status = complain_error(&err);
        progress_clear();
        if (status == EXIT_OK && !v->json)
            printf("\nchecked: no weight holds NaN or infinity\n");
    }
    kiln_inspection_free(inspection);
    return status;
}

static int run(const command *c, int argc, char **argv)
{
    inspect_values values = {0};
    arguments found;
    int status = arguments_parse(c, argc, argv, &values, &found);
    if (status)
        return status;
    if (found.help) {
        help_command(c);
        return EXIT_OK;
    }
    interrupt_watch(NULL);
    for (int i = 0; i < found.count && status == EXIT_OK; i++) {
        if (found.count > 1 && !values.json)
            printf("%s%s\n", i ? "\n" : "", found.plain[i]);
        status = inspect(found.plain[i], &values);
    }
    return status;
}

const command inspect_command = {
    .name = "inspect",
    .summary = "what a model file is: kind, parts, hashes, tensors",
    .usage = "FILE... [options]",
    .about = "Told from the header alone. Hashes need the whole file: they are computed for files up to 256 "
             "MB and "
             "with --hash. Those of larger files are remembered, also when one is drawn from, and printed.",
    .plain_minimum = 1,
    .plain_maximum = ARGUMENTS_MAX,
    .plain_name = "a file",
    .options = inspect_options,
    .run = run,
};
