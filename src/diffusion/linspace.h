/* linspace.h - evenly spaced numbers, in the order of operations of torch (float) and numpy (double). */
#ifndef KILN_DIFFUSION_LINSPACE_H
#define KILN_DIFFUSION_LINSPACE_H

/* Entry i of `count` numbers from first to last: torch counts from the nearer end. */
static inline float linspace_f32(float first, float last, int count, int i)
{
    if (count < 2)
        return first;
    float step = (last - first) / (float)(count - 1);
    return i < count / 2 ? first + step * (float)i : last - step * (float)(count - 1 - i);
}

/* numpy counts from the first and sets the last exactly. */
static inline double linspace_f64(double first, double last, int count, int i)
{
    if (count < 2)
        return first;
    if (i == count - 1)
        return last;
    return (double)i * ((last - first) / (double)(count - 1)) + first;
}

#endif
