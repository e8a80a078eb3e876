/* upscale.h - networks that enlarge pictures. They come without a config.json, so what a file is, and every count in it,
 * is told from the names and shapes of its tensors.
 *
 *     ESRGAN       RRDBNet (Wang et al. 2018), in three namings: "model.0..." (the old one), "body.0.rdb1..." (Real-
 *                  ESRGAN), "RRDB_trunk.0.RDB1..." (BSRGAN); a pixel unshuffle in front where it enlarges by 1 or 2
 *     Compact      SRVGGNetCompact (Wang et al. 2021, Real-ESRGAN)
 *     SPAN         Swift Parameter-free Attention Network (Wan et al. 2023)
 *     RealPLKSR    Partial Large Kernel CNN (Lee et al. 2024), the "real" form
 *     SwinIR       Liang et al. 2021: classical, lightweight, real (nearest + convolution), and restoration by 1
 *     DAT          Dual Aggregation Transformer (Chen et al. 2023)
 *
 * Canonical names are those of the first published code (Real-ESRGAN's for ESRGAN), original ones those of the file.
 * Pictures are [N,H,W,C] in 0..1 on both sides, the result not clamped. */
#ifndef KILN_MODEL_UPSCALE_H
#define KILN_MODEL_UPSCALE_H

#include "graph/graph.h"
#include "model/config.h"

typedef enum upscale_kind {
    UPSCALE_ESRGAN,
    UPSCALE_COMPACT,
    UPSCALE_SPAN,
    UPSCALE_PLKSR,
    UPSCALE_SWINIR,
    UPSCALE_DAT,
    UPSCALE_KINDS
} upscale_kind;

typedef enum esrgan_naming { ESRGAN_REAL, ESRGAN_BSRGAN, ESRGAN_OLD } esrgan_naming;

typedef struct esrgan_config {
    esrgan_naming naming;
    int features, growth, blocks;
    int doublings; /* enlargements by 2 */
    bool plus;     /* ESRGAN+: a 1x1 path in every dense block */
} esrgan_config;

typedef struct compact_config {
    int features, convolutions; /* between the first and the last */
} compact_config;

typedef struct span_config {
    int features;
    bool centred; /* (x - mean) * 255 first */
} span_config;

typedef struct plksr_config {
    int features, blocks, kernel, part; /* part: channels that the large kernel sees */
    bool attention, layer_norm;
} plksr_config;

enum { UPSCALE_MAX_GROUPS = 64, UPSCALE_MAX_STAGES = 5 };

/* How a transformer ends. */
typedef enum upscale_tail { TAIL_SHUFFLE, TAIL_SHUFFLE_DIRECT, TAIL_NEAREST, TAIL_RESTORE } upscale_tail;

typedef struct transformer_config {
    int features, groups;
    int blocks[UPSCALE_MAX_GROUPS], heads[UPSCALE_MAX_GROUPS]; /* of each group */
    int window[2];                                             /* rows, columns (SwinIR: alike) */
    int hidden;                                                /* of the blocks' second half */
    bool attention_bias, embedding_norm, three_convolutions;
    upscale_tail tail;
    int tail_features, stages, stage_factor[UPSCALE_MAX_STAGES]; /* of the enlargements at the end */
    float range;                                                 /* the picture is 0..range inside */
} transformer_config;

typedef struct upscale_config {
    upscale_kind kind;
    int channels; /* of pictures: 1 or 3 */
    int scale;    /* how many times larger the result is; 1 for restoration */
    int unshuffle;
    int multiple; /* height and width of the picture must be multiples of this */
    int align;    /* tiles should begin at multiples of this, so that windows fall as in the whole picture */
    int reach;    /* how far away, in pixels of the picture, a pixel can matter; 0: everything does */
    union {
        esrgan_config esrgan;
        compact_config compact;
        span_config span;
        plksr_config plksr;
        transformer_config transformer;
    } of;
} upscale_config;

/* "ESRGAN", "SRVGGNetCompact", ... */
const char *upscale_kind_name(upscale_kind);

/* Tell a network from tensors. KILN_NOT_FOUND when it is none of these; KILN_UNSUPPORTED for a form of one that is not
 * drawn here, by name. DAT's window is told but for which side is which: the smaller one is taken for the rows. */
kiln_status upscale_config_from_tensors(const tensor_finder *, upscale_config *out, kiln_error *err);

/* An SRVGGNetCompact for colours. */
upscale_config upscale_compact(int features, int convolutions, int scale);
/* The config.json of one: num_feat, num_conv, upscale, num_in_ch and num_out_ch, the names of its published code. */
kiln_status upscale_config_parse(const char *json, size_t length, const char *name, upscale_config *out,
                                 kiln_error *err);

/* "picture" [batch,height,width,C] -> "enlarged" [batch,height*scale,width*scale,C]. `folded`: SPAN's convolutions in
 * their short form, see upscale_has_folded. Errors stay in the graph. */
void upscale_draw(graph *, const upscale_config *, bool folded, int batch, int height, int width);
/* The same from a value that is there already, for training. */
value upscale_apply(at, const upscale_config *, bool folded, value picture);

/* SPAN is trained with three convolutions in a row and one beside them where one of 3x3 does the same. Drawn folded it
 * declares those, "NAME.eval_conv.weight" and "NAME.eval_conv.bias", whose numbers come from the parameters of the long form. */
bool upscale_has_folded(const upscale_config *);

#endif
