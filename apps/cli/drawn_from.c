/* drawn_from.c - see drawn_from.h. */
#include "drawn_from.h"

#include "message.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { FOLDERS_DEEP = 3 };

/* What tells a file from one of the same name before: sizes and times, of a folder those of the files in it. */
static unsigned long long identity(const char *path, int deep)
{
    struct stat s;
    if (stat(path, &s) != 0)
        return 0;
    unsigned long long sum = 1469598103934665603ull;
    if (!S_ISDIR(s.st_mode))
        return (sum ^ (unsigned long long)s.st_size) * 1099511628211ull +
               (unsigned long long)s.st_mtim.tv_sec * 31 + (unsigned long long)s.st_mtim.tv_nsec;
    DIR *folder = deep > 0 ? opendir(path) : NULL;
    for (struct dirent *e; folder && (e = readdir(folder));) {
        char inside[4096];
        if (e->d_name[0] != '.' &&
            snprintf(inside, sizeof inside, "%s/%s", path, e->d_name) < (int)sizeof inside)
            sum += identity(inside, deep - 1);
    }
    if (folder)
        closedir(folder);
    return sum;
}

static void print_text(FILE *to, const char *name, const char *value)
{
    fprintf(to, "%s=", name);
    print_json_string(to, value);
    struct stat s;
    if (strlen(value) < 1024 && stat(value, &s) == 0)
        fprintf(to, " %016llx", identity(value, FOLDERS_DEEP));
    fputc('\n', to);
}

static void print_value(FILE *to, const option *o, const draw_values *v)
{
    const void *place = (const char *)v + o->offset;
    const char *text;
    switch (o->kind) {
    case OPTION_TEXT:
    case OPTION_CHOICE:
        text = *(const char *const *)place;
        if (text)
            print_text(to, o->name, text);
        break;
    case OPTION_LIST:
        for (int i = 0; i < ((const option_list *)place)->count; i++)
            print_text(to, o->name, ((const option_list *)place)->items[i]);
        break;
    case OPTION_FLAG:
        fprintf(to, "%s=%d\n", o->name, *(const bool *)place);
        break;
    case OPTION_INTEGER:
        fprintf(to, "%s=%d\n", o->name, *(const int *)place);
        break;
    case OPTION_NUMBER:
        fprintf(to, "%s=%.17g\n", o->name, *(const double *)place);
        break;
    case OPTION_SEED:
        fprintf(to, "%s=%llu\n", o->name, (unsigned long long)((const seed_choice *)place)->value);
        break;
    case OPTION_SIZE:
        fprintf(to, "%s=%dx%d\n", o->name, ((const picture_size *)place)->width,
                ((const picture_size *)place)->height);
        break;
    case OPTION_BYTES:
        break;
    }
}

/* Of these the picture does not depend. */
static bool matters(const option *o)
{
    static const char *const not [] = {"output",  "like",  "preview", "preview-every", "preview-decoder",
                                       "profile", "trace", "quiet",   "threads",       "batch"};
    for (size_t i = 0; i < sizeof not / sizeof *not ; i++)
        if (strcmp(o->name, not [i]) == 0)
            return false;
    return o->offset < sizeof(draw_values);
}

/* What the prompts come from without that an option names it. */
static void print_beside(FILE *to, const draw_values *v, const char *model)
{
    template_inputs found = {0};
    template_inputs_open(&found, &v->templates, model);
    if (found.wildcards)
        print_text(to, "wildcard-dir", found.wildcards);
    if (found.style_file)
        print_text(to, "styles", found.style_file);
    template_inputs_close(&found);
}

char *drawn_from_text(const command *c, const draw_values *v)
{
    char *text = NULL;
    size_t size;
    FILE *to = open_memstream(&text, &size);
    if (!to)
        return NULL;
    const char *model = model_path(&v->model);
    fprintf(to, "kiln %s\n", kiln_version());
    for (int i = 0; command_option(c, i); i++) {
        const option *o = command_option(c, i);
        if (strcmp(o->name, "model") == 0)
            print_text(to, o->name, model ? model : "");
        else if (matters(o))
            print_value(to, o, v);
    }
    print_beside(to, v, model);
    if (fclose(to) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

unsigned long long drawn_from_digest(const char *text)
{
    unsigned long long sum = 14695981039346656037ull; /* FNV-1a */
    for (; *text; text++)
        sum = (sum ^ (unsigned char)*text) * 1099511628211ull;
    return sum;
}
