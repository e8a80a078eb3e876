/* tensor_folder.c - see tensor_folder.h. */
#include "formats/tensor_folder.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* The names that diffusers and transformers write; %s is "" or ".<variant>". Index names hold the variant
 * before or after "index", depending on the version that wrote them. */
static const char *const patterns[] = {
    "diffusion_pytorch_model%s.safetensors",
    "model%s.safetensors",
    "diffusion_pytorch_model.safetensors.index%s.json",
    "diffusion_pytorch_model%s.safetensors.index.json",
    "model.safetensors.index%s.json",
    "model%s.safetensors.index.json",
    "diffusion_pytorch_model%s.bin",
    "pytorch_model%s.bin",
    "diffusion_pytorch_model.bin.index%s.json",
    "pytorch_model.bin.index%s.json",
    "pytorch_model%s.bin.index.json",
};

static bool exists(const char *path)
{
    struct stat about;
    return stat(path, &about) == 0 && S_ISREG(about.st_mode);
}

static bool find_variant(const char *folder, const char *variant, size_t from, size_t to, char *path,
                         size_t size)
{
    char infix[80] = "", name[256];
    if (variant && *variant)
        snprintf(infix, sizeof infix, ".%.70s", variant);
    for (size_t i = from; i < to; i++) {
        const char *gap = strstr(patterns[i], "%s");
        snprintf(name, sizeof name, "%.*s%s%s", (int)(gap - patterns[i]), patterns[i], infix, gap + 2);
        int length = snprintf(path, size, "%s/%s", folder, name);
        if (length > 0 && (size_t)length < size && exists(path))
            return true;
    }
    return false;
}

kiln_status tensor_folder_find(const char *folder, const char *variant, char *path, size_t size,
                               kiln_error *err)
{
    enum { SAFE = 6, ALL = sizeof patterns / sizeof *patterns };
    const char *const order[] = {variant, "", "fp16", "bf16", "fp32", "non_ema"};
    static const size_t range[][2] = {{0, SAFE}, {SAFE, ALL}};
    for (int kind = 0; kind < 2; kind++)
        for (size_t i = variant ? 0 : 1; i < sizeof order / sizeof *order; i++)
            if (find_variant(folder, order[i], range[kind][0], range[kind][1], path, size))
                return KILN_OK;
    if (size)
        path[0] = '\0';
    DIR *open_folder = opendir(folder);
    if (!open_folder)
        return fail_system(err, "%s", folder);
    closedir(open_folder);
    return fail(
        err, KILN_NOT_FOUND,
        "%s: the folder holds no weights (diffusion_pytorch_model.safetensors, model.safetensors, or their "
        ".bin and index forms)",
        folder);
}
