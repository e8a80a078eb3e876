/* upscale_fold.c - see upscale_fold.h. */
#include "weights/upscale_fold.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char short_form[] = "eval_conv.";

/* The pieces of one long convolution. C in, G between the first and the second, H after it, O out. */
typedef struct pieces {
    int64_t C, G, H, O;
    float *w1, *b1, *w2, *b2, *w3, *b3, *s, *bs;
} pieces;

static kiln_status read_piece(const upscale_fold *f, const char *stem, const char *name, shape *s,
                              float **out, kiln_error *err)
{
    char full[2 * PATH_TEXT];
    snprintf(full, sizeof full, "%s%s", stem, name);
    int index = graph_find_parameter(f->graph, full);
    if (index < 0)
        return fail(err, KILN_INTERNAL, "there is no parameter '%s' to fold", full);
    const parameter *p = &f->graph->parameters[index];
    *s = p->shape;
    *out = malloc((size_t)shape_count(p->shape) * sizeof **out + 1);
    if (!*out)
        return fail(err, KILN_NO_MEMORY, "out of memory to fold '%s'", full);
    parameter_source source = weights_source(f->weights);
    return source.read(source.self, p, index, *out, err);
}

static kiln_status read_pieces(const upscale_fold *f, const char *stem, pieces *p, kiln_error *err)
{
    shape first, second, third, beside, bias;
    kiln_status status = read_piece(f, stem, "conv.0.weight", &first, &p->w1, err);
    if (status == KILN_OK)
        status = read_piece(f, stem, "conv.0.bias", &bias, &p->b1, err);
    if (status == KILN_OK)
        status = read_piece(f, stem, "conv.1.weight", &second, &p->w2, err);
    if (status == KILN_OK)
        status = read_piece(f, stem, "conv.1.bias", &bias, &p->b2, err);
    if (status == KILN_OK)
        status = read_piece(f, stem, "conv.2.weight", &third, &p->w3, err);
    if (status == KILN_OK)
        status = read_piece(f, stem, "conv.2.bias", &bias, &p->b3, err);
    if (status == KILN_OK)
        status = read_piece(f, stem, "sk.weight", &beside, &p->s, err);
    if (status == KILN_OK)
        status = read_piece(f, stem, "sk.bias", &bias, &p->bs, err);
    if (status != KILN_OK)
        return status;
    p->G = first.dim[0];
    p->C = first.dim[1];
    p->H = second.dim[0];
    p->O = third.dim[0];
    return KILN_OK;
}

static void pieces_fini(pieces *p)
{
    float *all[] = {p->w1, p->b1, p->w2, p->b2, p->w3, p->b3, p->s, p->bs};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

/* One output channel at a time: row[g,i,j] = sum_h w3[o,h] w2[h,g,i,j]. */
static void fold_row(const pieces *p, int64_t o, double *row)
{
    for (int64_t k = 0; k < p->G * 9; k++) {
        row[k] = 0;
        for (int64_t h = 0; h < p->H; h++)
            row[k] += (double)p->w3[o * p->H + h] * p->w2[h * p->G * 9 + k];
    }
}

static void fold_weight(const pieces *p, int64_t o, const double *row, float *to)
{
    for (int64_t c = 0; c < p->C; c++)
        for (int64_t tap = 0; tap < 9; tap++) {
            double sum = tap == 4 ? (double)p->s[o * p->C + c] : 0;
            for (int64_t g = 0; g < p->G; g++)
                sum += row[g * 9 + tap] * p->w1[g * p->C + c];
            to[(o * p->C + c) * 9 + tap] = (float)sum;
        }
}

static void fold_bias(const pieces *p, int64_t o, const double *row, float *to)
{
    double sum = (double)p->b3[o] + (double)p->bs[o];
    for (int64_t h = 0; h < p->H; h++)
        sum += (double)p->w3[o * p->H + h] * p->b2[h];
    for (int64_t k = 0; k < p->G * 9; k++)
        sum += row[k] * p->b1[k / 9];
    to[o] = (float)sum;
}

static kiln_status fold(const upscale_fold *f, const parameter *wanted, const char *leaf, float *to,
                        kiln_error *err)
{
    char stem[PATH_TEXT];
    pieces p = {0};
    double *row = NULL;
    snprintf(stem, sizeof stem, "%.*s", (int)(leaf - wanted->canonical), wanted->canonical);
    kiln_status status = read_pieces(f, stem, &p, err);
    bool weight = strcmp(leaf + sizeof short_form - 1, "weight") == 0;
    if (status == KILN_OK && shape_count(wanted->shape) != (weight ? p.O * p.C * 9 : p.O))
        status = fail(err, KILN_INTERNAL, "'%s' cannot be folded", wanted->canonical);
    if (status == KILN_OK && !(row = malloc((size_t)(p.G * 9) * sizeof *row)))
        status = fail(err, KILN_NO_MEMORY, "out of memory to fold '%s'", wanted->canonical);
    for (int64_t o = 0; status == KILN_OK && o < p.O; o++) {
        fold_row(&p, o, row);
        if (weight)
            fold_weight(&p, o, row, to);
        else
            fold_bias(&p, o, row, to);
    }
    free(row);
    pieces_fini(&p);
    return status;
}

static kiln_status read_folded(void *self, const parameter *p, int index, float *to, kiln_error *err)
{
    const upscale_fold *f = self;
    (void)index;
    const char *leaf = strstr(p->canonical, short_form);
    if (leaf)
        return fold(f, p, leaf, to, err);
    int same = graph_find_parameter(f->graph, p->canonical);
    if (same < 0)
        return fail(err, KILN_INTERNAL, "there is no parameter '%s'", p->canonical);
    parameter_source source = weights_source(f->weights);
    return source.read(source.self, &f->graph->parameters[same], same, to, err);
}

parameter_source upscale_fold_source(const upscale_fold *f)
{
    return (parameter_source){.read = read_folded, .self = (void *)f};
}
