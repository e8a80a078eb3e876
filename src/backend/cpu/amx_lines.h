/* amx_lines.h - the left operand of amx_product.c: activations as rows of A tiles.
 *
 * A line is 32 channels (64 bytes) of one position of x. Positions are laid out in a row: rows of an image one after
 * another, `pitch` lines apart, images `image` apart, with so many zeros between them that a step beyond a border reads
 * zero; then a tap of the kernel is a constant distance, and 16 consecutive positions are a tile, whatever the tap. With
 * stride s, x is first split into its s * s phases, each of which is such a row. Where rows of an image are shorter than a
 * tile, `group` images may be interleaved: position p of each, then position p + 1 of each.
 *
 * Rows of a matrix in bf16, a multiple of 32 wide, are used where they are ("in place"). Otherwise, and where the last tile
 * is incomplete, two tiles at a time are copied right before they are used ("a panel"). */
#ifndef KILN_BACKEND_CPU_AMX_LINES_H
#define KILN_BACKEND_CPU_AMX_LINES_H

#include "backend/cpu/onednn.h"

enum { MOST_TAPS = 16, MOST_PHASES = 16 };

typedef struct amx_lines {
    int64_t batch, height, width, channels; /* of x, enlarged */
    int64_t out_height, out_width;          /* positions that are asked for */
    int64_t kernel_height, kernel_width, stride, upsample, pad_top, pad_left;
    dtype type;                     /* of x */
    int64_t depth;                  /* lines of a position, one in every 32 channels */
    int64_t group, groups;          /* images that are interleaved; how many such */
    int64_t pitch, image, lines;    /* in lines; of one phase */
    bool by_rows;                   /* tiles start where rows do: none of their positions is void */
    int64_t segments, tiles, valid; /* rows (images); tiles of one, lines of one */
    int phases, phase[MOST_PHASES];
    int taps;
    int64_t tap_line[MOST_TAPS]; /* from a position; phases lie one after another */
    bool direct;                 /* a matrix: not copied beforehand */
    int64_t rows;                /* of a matrix */
    bool in_place;               /* whole tiles need not be copied at all */
    /* Bytes from a tile's first line, by step: channels outside, taps inside; of the copy or the panel, and of x. */
    int32_t *offset, *offset_in_place;
    size_t bytes; /* of the copy */
} amx_lines;

/* From the sizes of a forward convolution or matrix product; false where it has no such layout. */
kiln_status amx_lines_new(const product_request *, int upsample, amx_lines *out, bool *possible,
                          kiln_error *);
void amx_lines_free(amx_lines *);
/* Copy x, by all threads of a parallel region; ends with a barrier. */
void amx_lines_copy(const amx_lines *, const void *x, char *to);
static inline int64_t amx_lines_tiles(const amx_lines *l)
{
    return l->segments * l->tiles;
}
/* The first line of a tile of the copy: 16 lines, whatever the tap. */
const char *amx_lines_tile(const amx_lines *, const char *copy, int64_t tile);
/* Some steps of one or two tiles of a matrix, next to each other in every step; absent rows are zeros. */
void amx_lines_panel(const amx_lines *, const void *x, int64_t tile, int64_t step, int64_t steps, char *to);
/* Where the positions of a tile lie in y, -1 for nowhere. */
void amx_lines_places(const amx_lines *, int64_t tile, int32_t place[16]);

#endif
