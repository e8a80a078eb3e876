/* pull_listing.h - what a hub says that a repository holds, and which of it makes a pipeline.
 *
 * The listing is the hub's answer to GET /api/models/{repository}/tree/{revision}?recursive=true: an array of
 * {"type": "file", "path", "size", "oid", "lfs": {"oid", "size"}}. `lfs.oid` is the sha256 of the file; for small
 * files without it `oid` is git's name of it, the sha1 of "blob {size}\0" and the bytes.
 *
 * A pipeline repository holds the same weights several times over: safetensors and pickles, with and without
 * variants (fp16, non_ema), other frameworks. One of them is taken for each part, by the same preference as when a
 * folder is opened (tensor_folder.h): safetensors before pickles, the variant asked for before the plain file. */
#ifndef KILN_PIPELINE_PULL_LISTING_H
#define KILN_PIPELINE_PULL_LISTING_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct hub_file {
    char *path;
    int64_t size;
    char sha256[65];   /* "" when the hub does not say */
    char git_sha1[41]; /* same; only for files without sha256 */
    bool chosen;
} hub_file;

typedef struct hub_listing {
    hub_file *files;
    size_t count;
} hub_listing;

/* Add the files of one page (JSON text). A name that would lie outside the folder, or is not fit to be a file's name,
 * refuses the whole listing. A listing starts as {0}. */
kiln_status hub_listing_add(hub_listing *, const char *json, size_t size, kiln_error *err) KILN_CHECKED;
void hub_listing_fini(hub_listing *);

/* Choose the file `only`, or, when it is NULL, the parts of the pipeline, with the weights' `variant` (NULL: none).
 * KILN_NOT_FOUND when there is no such file, or no pipeline. */
kiln_status hub_listing_choose(hub_listing *, const char *only, const char *variant,
                               kiln_error *err) KILN_CHECKED;

/* Whether the path is relative, stays below its folder, and has only printable characters. */
bool hub_path_is_safe(const char *path);

#endif
