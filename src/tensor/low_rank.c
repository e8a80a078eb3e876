/* low_rank.c - see low_rank.h. */
#include "tensor/low_rank.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MORE_DIRECTIONS = 8, POWER_ITERATIONS = 4, JACOBI_SWEEPS = 60 };

/* out[rows,p] = m[rows,columns] z[columns,p] */
static void multiply(const float *m, int64_t rows, int64_t columns, const double *z, int64_t p, double *out)
{
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        double *sum = out + r * p;
        memset(sum, 0, (size_t)p * sizeof *sum);
        for (int64_t c = 0; c < columns; c++) {
            double factor = (double)m[r * columns + c];
            for (int64_t k = 0; k < p; k++)
                /* The caller filled z: NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult) */
                sum[k] += factor * z[c * p + k];
        }
    }
}

/* out[columns,p] = m^T y[rows,p] */
static void multiply_transposed(const float *m, int64_t rows, int64_t columns, const double *y, int64_t p,
                                double *out)
{
    enum { BLOCK = 64 };
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < columns; first += BLOCK) {
        int64_t last = first + BLOCK < columns ? first + BLOCK : columns;
        memset(out + first * p, 0, (size_t)((last - first) * p) * sizeof *out);
        for (int64_t r = 0; r < rows; r++)
            for (int64_t c = first; c < last; c++) {
                double factor = (double)m[r * columns + c];
                for (int64_t k = 0; k < p; k++)
                    out[c * p + k] += factor * y[r * p + k];
            }
    }
}

static double column_product(const double *y, int64_t n, int64_t p, int64_t i, int64_t j)
{
    double sum = 0;
    for (int64_t r = 0; r < n; r++)
        sum += y[r * p + i] * y[r * p + j];
    return sum;
}

/* Gram and Schmidt, twice over each column, since once leaves what rounding left. A column that is nothing but rounding becomes
 * zeros. */
static void orthonormalize(double *y, int64_t n, int64_t p)
{
    for (int64_t i = 0; i < p; i++) {
        double before = sqrt(column_product(y, n, p, i, i));
        for (int round = 0; round < 2; round++)
            for (int64_t j = 0; j < i; j++) {
                double along = column_product(y, n, p, i, j);
                for (int64_t r = 0; r < n; r++)
                    y[r * p + i] -= along * y[r * p + j];
            }
        double length = sqrt(column_product(y, n, p, i, i));
        double factor = length > before * 1e-10 && length > 0 ? 1 / length : 0;
        for (int64_t r = 0; r < n; r++)
            y[r * p + i] *= factor;
    }
}

/* One rotation of Jacobi's that makes g[i,j] nought; w collects them. */
static void rotate(double *g, double *w, int64_t p, int64_t i, int64_t j)
{
    double theta = (g[j * p + j] - g[i * p + i]) / (2 * g[i * p + j]);
    double t = (theta >= 0 ? 1 : -1) / (fabs(theta) + sqrt(theta * theta + 1));
    double cosine = 1 / sqrt(t * t + 1), sine = t * cosine;
    for (int64_t k = 0; k < p; k++) {
        double a = g[k * p + i], b = g[k * p + j];
        g[k * p + i] = cosine * a - sine * b;
        g[k * p + j] = sine * a + cosine * b;
    }
    for (int64_t k = 0; k < p; k++) {
        double a = g[i * p + k], b = g[j * p + k];
        g[i * p + k] = cosine * a - sine * b;
        g[j * p + k] = sine * a + cosine * b;
        a = w[k * p + i];
        b = w[k * p + j];
        w[k * p + i] = cosine * a - sine * b;
        w[k * p + j] = sine * a + cosine * b;
    }
}

/* Eigenvectors of the symmetric g as the columns of w; g becomes diagonal. */
static void jacobi(double *g, double *w, int64_t p)
{
    memset(w, 0, (size_t)(p * p) * sizeof *w);
    for (int64_t i = 0; i < p; i++)
        w[i * p + i] = 1;
    for (int sweep = 0; sweep < JACOBI_SWEEPS; sweep++) {
        bool changed = false;
        for (int64_t i = 0; i < p; i++)
            for (int64_t j = i + 1; j < p; j++)
                if (fabs(g[i * p + j]) > 1e-15 * sqrt(fabs(g[i * p + i] * g[j * p + j])) &&
                    g[i * p + j] != 0) {
                    rotate(g, w, p, i, j);
                    changed = true;
                }
        if (!changed)
            return;
    }
}

/* The largest of the diagonal that is not taken yet. */
static int64_t largest(const double *g, int64_t p, bool *taken)
{
    int64_t best = -1;
    for (int64_t i = 0; i < p; i++)
        if (!taken[i] && (best < 0 || g[i * p + i] > g[best * p + best]))
            best = i;
    taken[best] = true;
    return best;
}

typedef struct decomposition {
    int64_t rows, columns, p;
    double *q, *z; /* [rows,p] orthonormal; [columns,p] m^T q */
    double *g, *w; /* [p,p] */
    bool *taken;
} decomposition;

/* Singular value and vectors i: up[.,i] and down[i,.] get the root of the value each. */
static double take_vector(const decomposition *d, int rank, int i, float *up, float *down)
{
    int64_t from = largest(d->g, d->p, d->taken);
    double square = d->g[from * d->p + from], value = square > 0 ? sqrt(square) : 0, root = sqrt(value);
    for (int64_t r = 0; r < d->rows; r++) {
        double sum = 0;
        for (int64_t k = 0; k < d->p; k++)
            sum += d->q[r * d->p + k] * d->w[k * d->p + from];
        up[r * rank + i] = (float)(sum * root);
    }
    for (int64_t c = 0; c < d->columns; c++) {
        double sum = 0;
        for (int64_t k = 0; k < d->p; k++)
            sum += d->z[c * d->p + k] * d->w[k * d->p + from];
        down[i * d->columns + c] = root > 0 ? (float)(sum / root) : 0;
    }
    return value * value;
}

static void decompose(const decomposition *d, const float *m)
{
    uint32_t state = 20110217;
    for (int64_t i = 0; i < d->columns * d->p; i++) {
        state = state * 1664525u + 1013904223u;
        d->z[i] = (double)(int32_t)state / 2147483648.0;
    }
    multiply(m, d->rows, d->columns, d->z, d->p, d->q);
    orthonormalize(d->q, d->rows, d->p);
    for (int i = 0; i < POWER_ITERATIONS; i++) {
        multiply_transposed(m, d->rows, d->columns, d->q, d->p, d->z);
        orthonormalize(d->z, d->columns, d->p);
        multiply(m, d->rows, d->columns, d->z, d->p, d->q);
        orthonormalize(d->q, d->rows, d->p);
    }
    multiply_transposed(m, d->rows, d->columns, d->q, d->p, d->z);
    for (int64_t i = 0; i < d->p; i++)
        for (int64_t j = 0; j < d->p; j++)
            d->g[i * d->p + j] = column_product(d->z, d->columns, d->p, i, j);
    jacobi(d->g, d->w, d->p);
}

kiln_status low_rank_nearest(const float *m, int64_t rows, int64_t columns, int rank, float *up, float *down,
                             double *kept, kiln_error *err)
{
    int64_t side = rows < columns ? rows : columns, p = rank + MORE_DIRECTIONS;
    if (rank < 1 || rank > side)
        return fail(err, KILN_BAD_ARGUMENT, "a matrix of %lldx%lld has no part of rank %d", (long long)rows,
                    (long long)columns, rank);
    p = p < side ? p : side;
    decomposition d = {.rows = rows, .columns = columns, .p = p};
    d.q = malloc((size_t)(rows * p) * sizeof *d.q);
    d.z = malloc((size_t)(columns * p) * sizeof *d.z);
    d.g = malloc((size_t)(p * p) * sizeof *d.g);
    d.w = malloc((size_t)(p * p) * sizeof *d.w);
    d.taken = calloc((size_t)p, sizeof *d.taken);
    bool good = d.q && d.z && d.g && d.w && d.taken;
    *kept = 0;
    if (good) {
        decompose(&d, m);
        for (int i = 0; i < rank; i++)
            *kept += take_vector(&d, rank, i, up, down);
    }
    free(d.q);
    free(d.z);
    free(d.g);
    free(d.w);
    free(d.taken);
    return good ? KILN_OK : fail(err, KILN_NO_MEMORY, "out of memory for a decomposition");
}
