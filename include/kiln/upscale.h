/* upscale.h - the public interface for enlarging pictures: by a trained network, or by a classical filter.
 *
 *     kiln_upscaler_open("4x-UltraSharp.pth", NULL, &upscaler, &err);
 *     kiln_upscale(upscaler, picture, NULL, &larger, &err);
 *
 * Errors and ownership: as in kiln.h. An upscaler is one thread's; any number of them may be open for one file. */
#ifndef KILN_UPSCALE_H
#define KILN_UPSCALE_H

#include "kiln/kiln.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct kiln_upscaler kiln_upscaler;

/* The upscaler that comes with Kiln: a small network by 2. */
#define KILN_BUNDLED_UPSCALER "upscale-2x"

/* `model` is a file (.pth, .pt, .ckpt, .safetensors) with an ESRGAN (old, Real-ESRGAN or BSRGAN names), SRVGGNetCompact,
 * SPAN, RealPLKSR, SwinIR or DAT, told from its tensors; a folder with such a file, as a training saves it; the name of
 * a filter: "lanczos", "bicubic", "nearest" (in any case); or KILN_BUNDLED_UPSCALER (NULL means that), which is looked
 * for as models/upscale-2x in the data directory. Of the options only data_directory, precision, threads and reference
 * count; NULL: the defaults. KILN_UNSUPPORTED says what the file is when it is no upscaler. */
KILN_API KILN_CHECKED kiln_status kiln_upscaler_open(const char *model, const kiln_model_options *options,
                                                     kiln_upscaler **out, kiln_error *);
KILN_API void kiln_upscaler_close(kiln_upscaler *);
/* As A1111 would list it: the file's name without folder and extension, or "Lanczos". */
KILN_API const char *kiln_upscaler_name(const kiln_upscaler *);
/* "ESRGAN", "SRVGGNetCompact", "SPAN", "RealPLKSR", "SwinIR", "DAT" or "filter". */
KILN_API const char *kiln_upscaler_kind(const kiln_upscaler *);
/* How many times larger one pass makes a picture (1 for a network that restores); 0 for a filter, which does any. */
KILN_API int kiln_upscaler_scale(const kiln_upscaler *);
/* Ask the running call to stop, as kiln_session_cancel does. */
KILN_API void kiln_upscaler_cancel(kiln_upscaler *);

typedef struct kiln_upscale_options {
    double scale;      /* times, 0.01..64; 0: that of the network, and 2 for a filter */
    int width, height; /* px, instead of scale; one of them 0 keeps the picture's proportions */
    int tile;          /* px of the smaller picture; 0: by memory, at most 1 GiB for a tile; -1: never tile */
    int overlap;       /* px that neighbouring tiles share; -1: from how far the network looks */
    const char
        *filter; /* of the last step to a size that passes do not give: "lanczos" (NULL), "bicubic", ... */
    int64_t memory_limit; /* bytes; 0: what the machine has. What does not fit is refused before it starts */
    kiln_progress_function progress; /* stages "loading" and "upscale" (tiles) */
    void *user;
} kiln_upscale_options;

KILN_API kiln_upscale_options kiln_upscale_defaults(void);

/* What an enlargement will do and take. */
typedef struct kiln_upscale_work {
    int width, height;           /* px of the result */
    int passes;                  /* of the network; 0: a filter alone */
    int tile_width, tile_height; /* px, of the largest pass; the whole picture where it is not tiled */
    int64_t tiles;               /* of all passes */
    kiln_memory_plan memory;
} kiln_upscale_work;
/* Checks every option and the picture's size, without enlarging. options NULL: the defaults. */
KILN_API KILN_CHECKED kiln_status kiln_upscale_plan(kiln_upscaler *, const kiln_image *,
                                                    const kiln_upscale_options *options, kiln_upscale_work *,
                                                    kiln_error *);

/* Enlarge a picture. The network is run as often as it takes to reach the size, then the filter shrinks what is too
 * large. Channels and bit depth are those of the picture; an alpha channel is enlarged by Lanczos, and colours by the
 * network as they are under it. Texts are kept; "postprocessing" is added, as A1111 writes it. */
KILN_API KILN_CHECKED kiln_status kiln_upscale(kiln_upscaler *, const kiln_image *,
                                               const kiln_upscale_options *options, kiln_image **out,
                                               kiln_error *);

#ifdef __cplusplus
}
#endif
#endif
