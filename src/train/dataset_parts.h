/* dataset_parts.h - what the files of dataset.h share: pictures found in a folder, with their words.
 * Internal. */
#ifndef KILN_TRAIN_DATASET_PARTS_H
#define KILN_TRAIN_DATASET_PARTS_H

#include "base/arena.h"
#include "train/dataset.h"

enum { CAPTION_FILE_MAX = 1 << 20, METADATA_FILE_MAX = 1 << 30, REPEATS_MAX = 10000, FOLDER_DEPTH_MAX = 32 };

typedef struct found_picture {
    char *path, *name;      /* name: relative to the folder that was scanned */
    const char *class_name; /* of a folder "10_class", or NULL */
    int repeats;
    uint64_t file_bytes;
    int64_t changed_ns; /* time of the file's last change */
    int width_px, height_px;
    const char **captions;
    int captions_count;
} found_picture;

/* A line of a metadata.jsonl. */
typedef struct metadata_line {
    char *name; /* relative to the scanned folder */
    const char **texts;
    int texts_count;
    int line;
    bool used;
} metadata_line;

/* One folder as it is read. Texts live in `memory`. */
typedef struct folder_scan {
    const dataset_options *options;
    arena *memory;
    const char *folder;
    const char *prompt; /* caption of pictures without one of their own, or NULL */
    size_t prompted;    /* how many took it */
    found_picture *pictures;
    size_t count, capacity;
    metadata_line *lines;
    size_t line_count, line_capacity;
    int64_t other_files;
} folder_scan;

void folder_scan_fini(folder_scan *);
/* Walk the folder: fills pictures (sorted by name; no sizes, no captions yet) and metadata lines. */
kiln_status folder_scan_walk(folder_scan *, kiln_error *err) KILN_CHECKED;
/* Read one metadata.jsonl; `prefix` is its folder relative to the scanned one, "" or ending in '/'. */
kiln_status folder_scan_metadata(folder_scan *, const char *path, const char *prefix,
                                 kiln_error *err) KILN_CHECKED;
/* Give every picture its captions. */
kiln_status folder_scan_captions(folder_scan *, kiln_error *err) KILN_CHECKED;
/* Give every picture its size, from the cache file (NULL: none) or its header; those without are told and
 * dropped. */
kiln_status folder_scan_sizes(folder_scan *, const char *size_cache, kiln_error *err) KILN_CHECKED;
/* One sentence to the log of the options. */
void dataset_options_tell(const dataset_options *, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The whole file with a final NUL in malloc'ed memory. */
kiln_status read_small_file(const char *path, size_t most, char **out, size_t *size,
                            kiln_error *err) KILN_CHECKED;

#endif
