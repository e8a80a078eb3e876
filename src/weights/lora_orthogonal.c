/* lora_orthogonal.c - OFT and BOFT: rotations of a weight's rows, block by block (Qiu et al. 2023, arXiv:2306.07280; Liu et al.
 * 2023, arXiv:2311.06243).
 *
 * A block B of b x b numbers makes Q = B - B^T and, by Cayley, the rotation R = (I + Q)(I - Q)^-1, which always is: I - Q of a
 * skew Q has no eigenvalue 0. alpha, where it is above 0, bounds the length of all of a factor's Q together, at alpha times the
 * weight's rows.
 *
 *     OFT    [n,b,b]      W'[k,m] = sum_i R_k[i,m] W[k,i]                     blocks of neighbouring rows
 *     BOFT   [f,n,b,b]    f times, of rows 2^i b / 2 apart:  W'[k,m] = sum_j R_k[m,j] W[k,j]
 *
 * rescale [rows] is multiplied in at the end. */
#include "weights/lora_parts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_BLOCK = 4096 };

typedef struct blocks {
    int64_t factors, count, side;
} blocks;

static blocks blocks_of(const tensor_entry *e)
{
    const int64_t *d = e->shape.dim;
    return e->shape.rank == 4 ? (blocks){d[0], d[1], d[2]} : (blocks){1, d[0], d[1]};
}

bool lora_rotation_is(const tensor_entry *e)
{
    if (e->shape.rank < 3 || e->shape.rank > 4 || shape_count(e->shape) < 1)
        return false;
    blocks b = blocks_of(e);
    bool even = e->shape.rank == 3 || (b.side % 2 == 0 && b.factors <= 30);
    return even && b.side <= MOST_BLOCK && e->shape.dim[e->shape.rank - 1] == b.side;
}

/* Rows are taken in twos of groups of 2^i side / 2 by the i-th factor of a BOFT. */
bool lora_rotation_fits(const tensor_entry *e, int64_t rows)
{
    blocks b = blocks_of(e);
    if (b.count > rows / b.side || b.count * b.side != rows)
        return false;
    return e->shape.rank == 3 || rows % ((int64_t)b.side << (b.factors - 1)) == 0;
}

/* R of one block into `to`, [side,side]; `work` has room for 2 side^2 numbers. Gauss and Jordan, with pivots. */
static bool rotation(const float *block, int64_t side, double shrink, double *work, double *to)
{
    double *left = work, *right = work + side * side;
    for (int64_t i = 0; i < side; i++)
        for (int64_t j = 0; j < side; j++) {
            double q = shrink * ((double)block[i * side + j] - (double)block[j * side + i]);
            /* (I - Q)^T X = (I + Q)^T, where X = R^T; (I - Q)^T is I + Q. */
            left[i * side + j] = (i == j) + q;
            right[i * side + j] = (i == j) - q;
        }
    for (int64_t c = 0; c < side; c++) {
        int64_t pivot = c;
        for (int64_t i = c + 1; i < side; i++)
            pivot = fabs(left[i * side + c]) > fabs(left[pivot * side + c]) ? i : pivot;
        double top = left[pivot * side + c];
        if (!(fabs(top) > 1e-300) || !isfinite(top))
            return false;
        for (int64_t j = 0; j < side; j++) {
            double a = left[c * side + j], b = right[c * side + j];
            left[c * side + j] = left[pivot * side + j] / top;
            right[c * side + j] = right[pivot * side + j] / top;
            if (pivot != c) {
                left[pivot * side + j] = a;
                right[pivot * side + j] = b;
            }
        }
        for (int64_t i = 0; i < side; i++) {
            double factor = left[i * side + c];
            for (int64_t j = 0; i != c && factor != 0 && j < side; j++) {
                left[i * side + j] -= factor * left[c * side + j];
                right[i * side + j] -= factor * right[c * side + j];
            }
        }
    }
    for (int64_t i = 0; i < side; i++)
        for (int64_t j = 0; j < side; j++)
            to[i * side + j] = right[j * side + i];
    return true;
}

/* By how much the Qs of a file's tensor are shortened. */
static double bound_of(const float *values, blocks b, double limit)
{
    double sum = 0;
    if (!(limit > 0))
        return 1;
    for (int64_t k = 0; k < b.factors * b.count; k++)
        for (int64_t i = 0; i < b.side; i++)
            for (int64_t j = 0; j < b.side; j++) {
                const float *block = values + k * b.side * b.side;
                double q = (double)block[i * b.side + j] - (double)block[j * b.side + i];
                sum += q * q;
            }
    return sqrt(sum) > limit ? limit / sqrt(sum) : 1;
}

/* Where place p of block k lies among the rows, in factor f. OFT: side by side. BOFT: rows are written as (a, half, i) with
 * i < span and taken in the order (a, i, half). */
static int64_t row_of(blocks b, bool butterfly, int64_t f, int64_t k, int64_t p)
{
    int64_t place = k * b.side + p;
    if (!butterfly)
        return place;
    int64_t span = ((int64_t)1 << f) * (b.side / 2);
    int64_t a = place / (2 * span), rest = place % (2 * span);
    return a * 2 * span + rest % 2 * span + rest / 2;
}

/* Turn the rows of one block, in place. */
static void turn_block(const double *r, blocks b, bool butterfly, int64_t f, int64_t k, float *weight,
                       int64_t columns, double *column)
{
    for (int64_t c = 0; c < columns; c++) {
        for (int64_t p = 0; p < b.side; p++)
            column[p] = (double)weight[row_of(b, butterfly, f, k, p) * columns + c];
        for (int64_t m = 0; m < b.side; m++) {
            double sum = 0;
            for (int64_t j = 0; j < b.side; j++)
                sum += (butterfly ? r[m * b.side + j] : r[j * b.side + m]) * column[j];
            weight[row_of(b, butterfly, f, k, m) * columns + c] = (float)sum;
        }
    }
}

kiln_status lora_rotate(const lora_rotation *o, float *weight, int64_t rows, int64_t columns, kiln_error *err)
{
    blocks b = blocks_of(o->entry);
    size_t square = (size_t)(b.side * b.side);
    double *work = malloc((3 * square + (size_t)b.side) * sizeof *work);
    double shrink = bound_of(o->values, b, o->alpha * (double)rows);
    bool good = true;
    if (!work)
        return fail(err, KILN_NO_MEMORY, "out of memory for a LoRA");
    for (int64_t f = 0; f < b.factors; f++)
        for (int64_t k = 0; k < b.count && good; k++) {
            double *r = work + 2 * square;
            good = rotation(o->values + (size_t)(f * b.count + k) * square, b.side, shrink, work, r);
            if (good)
                turn_block(r, b, o->entry->shape.rank == 4, f, k, weight, columns, r + square);
        }
    for (int64_t i = 0; o->rescale && i < rows; i++)
        for (int64_t c = 0; c < columns; c++)
            weight[i * columns + c] *= o->rescale[i];
    free(work);
    return good ? KILN_OK
                : fail(err, KILN_BAD_FORMAT, "%s: '%s' makes no rotations", o->path, o->entry->name);
}
