/* dataset.h - a folder of pictures with captions, as training sees it.
 *
 * Where captions come from, per picture, the first that exists:
 *   metadata.jsonl       in the picture's folder or above it, one object per line as in Hugging Face's
 *                        imagefolder: {"file_name": "a/b.png", "text": "..."}
 *   picture.txt          (or .caption) beside the picture; each line that is not empty is one caption
 *   instance_prompt      of the options, or class_prompt for class pictures
 *   10_a photo of a dog  a folder named so (kohya's form): 10 repeats, and the rest is the caption
 * One of several captions is chosen anew each time the picture is shown.
 *
 * Opening reads only the pictures' headers. Items are sorted by name, so that the same folder gives the same
 * items on every machine. A picture that cannot be read is named once through the log and left out.
 *
 * Buckets are those of kohya's BucketManager: sizes of one area in several aspect ratios; a picture goes to
 * the bucket of the nearest aspect ratio, is scaled to cover it and cropped. Without buckets there is one:
 * the resolution.
 *
 * A dataset does not change once it is open (but for the marks of damaged pictures) and may be read by any
 * number of threads. */
#ifndef KILN_TRAIN_DATASET_H
#define KILN_TRAIN_DATASET_H

#include "base/error.h"
#include "train/captions.h"

/* Told one sentence per thing left out ("dog/3.png: ..., left out"). May be called during dataset_open and,
 * by a loader, from other threads (never two at once). */
typedef void (*dataset_log)(void *self, const char *sentence);

/* Option names are kohya's where they exist. Start from dataset_defaults(). Texts are copied. */
typedef struct dataset_options {
    const char *folder;                  /* train_data_dir */
    const char *reg_folder;              /* reg_data_dir: class pictures for prior preservation; NULL: none */
    const char *validation_folder;       /* NULL: validation_split of `folder` */
    const char *class_validation_folder; /* class pictures that are never trained on; NULL: none */
    const char *caption_extension;       /* NULL: .txt, then .caption */
    const char
        *instance_prompt;     /* of pictures without a caption of their own, before the folder's name; NULL */
    const char *class_prompt; /* the same for class pictures */
    const char *size_cache;   /* file that keeps pictures' sizes between runs; NULL: none */
    int width_px, height_px;  /* resolution; with buckets, their area */
    bool paired;              /* a class picture beside each training picture, see order.h. default false */
    bool captions_needed;     /* true: a folder without any caption is refused. default true */

    bool enable_bucket;                   /* false */
    int min_bucket_reso, max_bucket_reso; /* 256, 1024 px */
    int bucket_reso_steps;                /* 64 px */
    bool bucket_no_upscale;               /* false */

    bool random_crop;   /* false: the middle */
    bool crop_unscaled; /* cut pictures out as they are; smaller ones are scaled. default false */
    bool flip_aug;      /* false: mirror half of the showings */
    int num_repeats;    /* 1; multiplied with the folder's own */

    double validation_split;  /* 0..0.9 of the pictures, chosen by the hash of seed and name. default 0 */
    uint64_t validation_seed; /* 0 */

    caption_options captions;

    dataset_log log; /* NULL: silent */
    void *log_self;
} dataset_options;

dataset_options dataset_defaults(void);

typedef enum dataset_part {
    DATASET_TRAIN,
    DATASET_REGULARISATION,
    DATASET_VALIDATION,
    DATASET_CLASS_VALIDATION
} dataset_part;

typedef struct dataset_item {
    const char *path;            /* as it can be opened */
    const char *name;            /* relative to its folder, with '/' */
    const char *const *captions; /* captions_count of them; none: shown without words */
    int captions_count;
    int width_px, height_px; /* of the file, upright */
    int bucket;              /* index of dataset_bucket_at */
    int repeats;             /* showings per epoch, at least 1 */
    dataset_part part;
} dataset_item;

typedef struct dataset_bucket {
    int width_px, height_px;
    int64_t items; /* pictures in it, of all parts */
} dataset_bucket;

typedef struct dataset dataset;

/* NOT_FOUND when the folder is missing or holds no picture; BAD_ARGUMENT for options out of range; BAD_FORMAT
 * for a damaged metadata.jsonl (with its line) and when captions are needed and there are none. */
kiln_status dataset_open(const dataset_options *, dataset **out, kiln_error *) KILN_CHECKED;
void dataset_close(dataset *);

/* All items: first training, then regularisation, validation, and class validation, each by name. */
int64_t dataset_count(const dataset *);
const dataset_item *dataset_item_at(const dataset *, int64_t index);
/* Items of one part, and the index of its first. */
int64_t dataset_part_count(const dataset *, dataset_part);
int64_t dataset_part_first(const dataset *, dataset_part);
int dataset_bucket_count(const dataset *);
const dataset_bucket *dataset_bucket_at(const dataset *, int index);
/* The options it was opened with (folder texts included), borrowed. */
const dataset_options *dataset_options_of(const dataset *);
/* 64 digits: sha256 over parts, names, sizes, repeats and captions (not the pixels). Equal hashes: the same
 * order of samples under the same seed. */
const char *dataset_hash(const dataset *);
/* A picture that turned out damaged when it was decoded: the first mark is told to the log with the reason;
 * loaders show the next good picture of its bucket instead. Safe from any thread. */
void dataset_mark_damaged(const dataset *, int64_t index, const kiln_error *reason);
bool dataset_is_damaged(const dataset *, int64_t index);
/* The next item after `index`, of its part and bucket (cyclic), that is not marked; -1 when there is none. */
int64_t dataset_next_good(const dataset *, int64_t index);

/* One sentence through the dataset's log, if it has one. Safe from any thread. */
void dataset_tell(const dataset *, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
