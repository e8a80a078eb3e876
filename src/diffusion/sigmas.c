/* sigmas.c - one short function per curve. See sigmas.h. */
#include "diffusion/sigmas.h"

#include "diffusion/linspace.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

typedef struct curve_request {
    const schedule *table;
    int steps;
    double low, high, rho;
    bool large_family;
    float *out; /* room for capacity + 1 */
    int count;
} curve_request;

static const struct {
    const char *label, *id, *alias, *about;
} curve_names[] = {
#define CURVE_NAMES(name, label, id, alias, about) {label, id, alias, about},
    SIGMA_CURVE_MAP(CURVE_NAMES)
#undef CURVE_NAMES
};

const char *sigma_curve_label(sigma_curve curve)
{
    return (unsigned)curve < SIGMAS_COUNT ? curve_names[curve].label : "?";
}

const char *sigma_curve_about(sigma_curve curve)
{
    return (unsigned)curve < SIGMAS_COUNT ? curve_names[curve].about : "?";
}

const char *sigma_curve_id(sigma_curve curve)
{
    return (unsigned)curve < SIGMAS_COUNT ? curve_names[curve].id : "?";
}

const char *sigma_curve_alias(sigma_curve curve)
{
    return (unsigned)curve < SIGMAS_COUNT ? curve_names[curve].alias : NULL;
}

bool sigma_curve_from_name(const char *name, sigma_curve *out)
{
    for (int i = 0; i < SIGMAS_COUNT; i++) {
        const char *alias = curve_names[i].alias;
        if (strcasecmp(name, curve_names[i].label) == 0 || strcasecmp(name, curve_names[i].id) == 0 ||
            (alias && strcasecmp(name, alias) == 0)) {
            *out = (sigma_curve)i;
            return true;
        }
    }
    return false;
}

double sigma_karras(double sigma_min, double sigma_max, double rho, double ramp)
{
    double low = pow(sigma_min, 1 / rho), high = pow(sigma_max, 1 / rho);
    return pow(high + ramp * (low - high), rho);
}

/* ------------------------------------------------------------------------------- Beta(a, b) */

/* The continued fraction of the regularised incomplete beta function, by Lentz's method (Abramowitz and
 * Stegun 26.5.8). Converges fast for x <= 1/2. */
static double incomplete_beta(double x, double a, double b)
{
    const double tiny = 1e-300;
    double front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x)) / a;
    double f = 1, c = 1, d = 0;
    for (int i = 0; i <= 300; i++) {
        int m = i / 2;
        double numerator = 1;
        if (i > 0 && i % 2 == 0)
            numerator = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        else if (i > 0)
            numerator = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        d = 1 + numerator * d;
        d = 1 / (fabs(d) < tiny ? tiny : d);
        c = 1 + numerator / c;
        c = fabs(c) < tiny ? tiny : c;
        f *= c * d;
        if (fabs(1 - c * d) < 1e-16)
            break;
    }
    return front * (f - 1);
}

double beta_quantile(double p)
{
    return beta_quantile_of(p, 0.6, 0.6);
}

double beta_quantile_of(double p, double a, double b)
{
    if (!(p > 0))
        return 0;
    if (p >= 1)
        return 1;
    if (p > (a == b ? 0.5 : incomplete_beta(0.5, a, b))) /* seen from the other side */
        return 1 - beta_quantile_of(1 - p, b, a);
    double low = 0, high = 0.5;
    for (int i = 0; i < 200 && high - low > 1e-17 * high; i++) {
        double middle = (low + high) / 2;
        if (middle == low || middle == high)
            break;
        if (incomplete_beta(middle, a, b) < p)
            low = middle;
        else
            high = middle;
    }
    return (low + high) / 2;
}

/* --------------------------------------------------------------------------------------- curves */

static void timestep_line(curve_request *r, int points)
{
    float first = schedule_timestep_f32(r->table, (float)r->high);
    float last = schedule_timestep_f32(r->table, (float)r->low);
    for (int i = 0; i < r->steps; i++)
        r->out[i] = schedule_sigma(r->table, linspace_f32(first, last, points, i));
}

static void uniform(curve_request *r)
{
    if (r->table->kind != SCHEDULE_VP) {
        timestep_line(r, r->steps);
        return;
    }
    for (int i = 0; i < r->steps; i++)
        r->out[i] = schedule_sigma(r->table, linspace_f32((float)(r->table->count - 1), 0, r->steps, i));
}

static void karras(curve_request *r)
{
    double rho = r->rho > 0 ? r->rho : 7;
    float high = (float)pow(r->high, 1 / rho);
    float span = (float)(pow(r->low, 1 / rho) - pow(r->high, 1 / rho));
    for (int i = 0; i < r->steps; i++)
        r->out[i] = powf(high + linspace_f32(0, 1, r->steps, i) * span, (float)rho);
}

static void exponential(curve_request *r)
{
    for (int i = 0; i < r->steps; i++)
        r->out[i] = expf(linspace_f32((float)log(r->high), (float)log(r->low), r->steps, i));
}

static void polyexponential(curve_request *r)
{
    float rho = r->rho > 0 ? (float)r->rho : 1, span = (float)(log(r->high) - log(r->low));
    for (int i = 0; i < r->steps; i++)
        r->out[i] = expf(powf(linspace_f32(1, 0, r->steps, i), rho) * span + (float)log(r->low));
}

static void kl_optimal(curve_request *r)
{
    double low = atan(r->low), high = atan(r->high);
    for (int i = 0; i <= r->steps; i++) {
        double ramp = (double)i / r->steps;
        r->out[i] = (float)tan(ramp * low + (1 - ramp) * high);
    }
}

/* ComfyUI: the lowest level at the last step but the one to 0. */
static void kl_optimal_zero(curve_request *r)
{
    double low = atan(r->low), high = atan(r->high);
    for (int i = 0; i < r->steps; i++) {
        double ramp = linspace_f64(0, 1, r->steps, i);
        r->out[i] = (float)tan(ramp * low + (1 - ramp) * high);
    }
}

static void align_your_steps(curve_request *r, sigma_curve curve)
{
    enum { POINTS = 11 };
    static const double small[POINTS] = {14.615, 6.475, 3.861, 2.697, 1.886, 1.396,
                                         0.963,  0.652, 0.399, 0.152, 0.029};
    static const double large[POINTS] = {14.615, 6.315, 3.771, 2.181, 1.342, 0.862,
                                         0.555,  0.380, 0.234, 0.113, 0.029};
    static const double video[POINTS] = {700.00, 54.5,  15.886, 7.977, 4.248, 1.789,
                                         0.981,  0.403, 0.173,  0.034, 0.002};
    const double *table = r->large_family ? large : small;
    if (curve == SIGMAS_ALIGN_YOUR_STEPS_SD1)
        table = small;
    else if (curve == SIGMAS_ALIGN_YOUR_STEPS_SDXL)
        table = large;
    else if (curve == SIGMAS_ALIGN_YOUR_STEPS_SVD)
        table = video;
    for (int i = 0; i < r->steps; i++) {
        double at = linspace_f64(0, POINTS - 1, r->steps, i);
        int left = at >= POINTS - 1 ? POINTS - 2 : (int)at;
        double w = at - left;
        r->out[i] = (float)exp((1 - w) * log(table[left]) + w * log(table[left + 1]));
    }
}

static void simple(curve_request *r)
{
    double stride = (double)r->table->count / r->steps;
    for (int i = 0; i < r->steps; i++)
        r->out[i] = r->table->sigma[r->table->count - 1 - (int)(i * stride)];
}

static void ddim(curve_request *r)
{
    int stride = r->table->count / r->steps, points = (r->table->count - 2) / stride + 1;
    for (int i = 0; i < points; i++)
        r->out[i] = r->table->sigma[1 + (points - 1 - i) * stride];
    r->count = points;
}

static void beta(curve_request *r)
{
    for (int i = 0; i < r->steps; i++)
        r->out[i] = (float)(r->low + beta_quantile(1 - linspace_f64(0, 1, r->steps, i)) * (r->high - r->low));
}

/* ComfyUI: quantiles of whole timesteps, those that fall together once. */
static void beta_timesteps(curve_request *r, double a, double b)
{
    int last = -1;
    r->count = 0;
    for (int i = 0; i < r->steps; i++) {
        int t = (int)rint(beta_quantile_of(1 - (double)i / r->steps, a, b) * (r->table->count - 1));
        if (t != last)
            r->out[r->count++] = r->table->sigma[t];
        last = t;
    }
}

/* `points` values of an arc tangent around `pivot`, from `first` down to `last`; the last one is not written. */
static void arc_down(float *out, int points, double slope, double pivot, double first, double last)
{
    double high = atan(slope * pivot), low = atan(-slope * (points - 1 - pivot));
    for (int i = 0; i + 1 < points; i++)
        out[i] = (float)(last + (first - last) * (atan(-slope * (i - pivot)) - low) / (high - low));
}

/* RES4LYF's, of which both halves bend at 60% of the steps; there for levels up to 1. */
static void bong_tangent(curve_request *r)
{
    int points = r->steps + 2, middle = (int)(points * 0.6);
    double slope = 0.2 / (points / 40.0);
    arc_down(r->out, middle, slope, middle, r->high, r->high / 2);
    arc_down(r->out + middle - 1, points - middle, slope, 0, r->high / 2, 0);
}

/* Levels outside of the limits become the limit, once. */
static void laplace(curve_request *r)
{
    const double scale = 0.5, least = 1e-5;
    r->count = 0;
    for (int i = 0; i < r->steps; i++) {
        double x = linspace_f64(0, 1, r->steps, i), sign = (x < 0.5) - (x > 0.5);
        double sigma = exp(-scale * sign * log(1 - 2 * fabs(0.5 - x) + least));
        float limited = (float)fmin(fmax(sigma, r->low), r->high);
        if (r->count == 0 || limited < r->out[r->count - 1])
            r->out[r->count++] = limited;
    }
}

/* Genmo's Mochi: noise falls by `threshold` over the first half, then quadratically to 0. */
static void linear_quadratic(curve_request *r)
{
    const double threshold = 0.025;
    int linear = r->steps / 2, quadratic = r->steps - linear;
    double rest = linear - threshold * r->steps, square = (double)quadratic * quadratic;
    for (int i = 0; i < r->steps; i++) {
        double gone = linear > 0 ? i * threshold / linear : 0;
        if (linear > 0 && i >= linear) {
            double of_square = rest / (linear * square), of_line = threshold / linear - 2 * rest / square;
            gone = of_square * i * i + of_line * i + of_square * linear * linear;
        }
        r->out[i] = (float)(r->high * (1 - gone));
    }
}

/* Lin et al. 2023, arXiv:2305.08891, table 2, entries of the training table. */
static void spaced(curve_request *r, sigma_curve curve)
{
    int total = r->table->count, stride = total / r->steps;
    for (int i = 0; i < r->steps; i++) {
        double t = linspace_f64(total - 1, 0, r->steps, i);
        if (curve == SIGMAS_TRAILING)
            t = rint(total - (double)i * ((double)total / r->steps)) - 1;
        else if (curve == SIGMAS_LEADING)
            t = fmin((double)(r->steps - 1 - i) * stride + r->table->config.steps_offset, total - 1);
        r->out[i] = r->table->sigma[(int)rint(t)];
    }
}

static void draw_curve(curve_request *r, sigma_curve curve)
{
    switch (curve) {
    case SIGMAS_KARRAS:
        karras(r);
        break;
    case SIGMAS_EXPONENTIAL:
        exponential(r);
        break;
    case SIGMAS_POLYEXPONENTIAL:
        polyexponential(r);
        break;
    case SIGMAS_SGM_UNIFORM:
        timestep_line(r, r->steps + 1);
        break;
    case SIGMAS_NORMAL:
        timestep_line(r, r->steps);
        break;
    case SIGMAS_KL_OPTIMAL:
        kl_optimal(r);
        break;
    case SIGMAS_KL_OPTIMAL_ZERO:
        kl_optimal_zero(r);
        break;
    case SIGMAS_BETA_TIMESTEPS:
        beta_timesteps(r, 0.6, 0.6);
        break;
    case SIGMAS_BETA_57:
        beta_timesteps(r, 0.5, 0.7);
        break;
    case SIGMAS_BONG_TANGENT:
        bong_tangent(r);
        break;
    case SIGMAS_LAPLACE:
        laplace(r);
        break;
    case SIGMAS_LINEAR_QUADRATIC:
        linear_quadratic(r);
        break;
    case SIGMAS_TRAILING:
    case SIGMAS_LEADING:
    case SIGMAS_LINSPACE:
        spaced(r, curve);
        break;
    case SIGMAS_ALIGN_YOUR_STEPS:
    case SIGMAS_ALIGN_YOUR_STEPS_SD1:
    case SIGMAS_ALIGN_YOUR_STEPS_SDXL:
    case SIGMAS_ALIGN_YOUR_STEPS_SVD:
        align_your_steps(r, curve);
        break;
    case SIGMAS_SIMPLE:
        simple(r);
        break;
    case SIGMAS_DDIM:
        ddim(r);
        break;
    case SIGMAS_BETA:
        beta(r);
        break;
    default:
        uniform(r);
        break;
    }
}

kiln_status sigmas_new(const schedule *table, sigma_curve curve, int steps, const sigma_options *options,
                       float **out, int *count, kiln_error *err)
{
    *out = NULL;
    *count = 0;
    if (steps < 1 || steps > table->count)
        return fail(err, KILN_BAD_ARGUMENT, "steps is %d, expected 1 to %d", steps, table->count);
    curve_request r = {.table = table, .steps = steps, .count = steps};
    r.low = options && options->sigma_min > 0 ? options->sigma_min : (double)table->sigma[0];
    r.high = options && options->sigma_max > 0 ? options->sigma_max : (double)table->sigma[table->count - 1];
    r.rho = options ? options->rho : 0;
    r.large_family = options && options->large_family;
    if (!(r.low < r.high) || !isfinite(r.high) || !(r.rho >= 0) || !(r.rho < 1000))
        return fail(err, KILN_BAD_ARGUMENT, "noise levels: sigma_min %g, sigma_max %g, rho %g do not fit",
                    r.low, r.high, r.rho);
    /* The most that any curve makes is the whole table (DDIM). */
    r.out = calloc((size_t)table->count + 2, sizeof(float));
    if (!r.out)
        return fail(err, KILN_NO_MEMORY, "no memory for %d noise levels", steps);
    draw_curve(&r, curve);
    *out = r.out;
    *count = r.count;
    return KILN_OK;
}
