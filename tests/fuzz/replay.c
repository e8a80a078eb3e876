/* replay.c - runs a fuzz target over every file of the folders and files given, in the order of their names:
 * what a fuzzer once found stays found, without a fuzzer. A missing folder is an empty one. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static int run_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        return 1;
    }
    uint8_t *bytes = NULL;
    size_t size = 0, got;
    do {
        uint8_t *bigger = realloc(bytes, size + 65536);
        if (!bigger) {
            free(bytes);
            fclose(file);
            return 1;
        }
        bytes = bigger;
        got = fread(bytes + size, 1, 65536, file);
        size += got;
    } while (got);
    fclose(file);
    /* A copy of the exact size, so that a sanitizer sees a read past the end. */
    uint8_t *exact = realloc(bytes, size ? size : 1);
    LLVMFuzzerTestOneInput(exact ? exact : bytes, size);
    free(exact ? exact : bytes);
    return 0;
}

static int run_folder(const char *folder, int *count)
{
    struct dirent **names;
    int found = scandir(folder, &names, NULL, alphasort), failures = 0;
    for (int i = 0; i < found; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", folder, names[i]->d_name);
        struct stat about;
        if (stat(path, &about) == 0 && S_ISREG(about.st_mode)) {
            failures += run_file(path);
            ++*count;
        }
        free(names[i]);
    }
    if (found >= 0)
        free(names);
    return failures;
}

int main(int count, char **arguments)
{
    int failures = 0, files = 0;
    for (int i = 1; i < count; i++) {
        struct stat about;
        if (stat(arguments[i], &about) != 0)
            continue;
        if (S_ISDIR(about.st_mode)) {
            failures += run_folder(arguments[i], &files);
        } else {
            failures += run_file(arguments[i]);
            files++;
        }
    }
    printf("%d inputs replayed\n", files);
    return failures != 0;
}
