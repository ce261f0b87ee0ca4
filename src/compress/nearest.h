/*
 * nearest.h - the first of the smallest numbers, as the argmin of PyTorch finds it.
 */
#ifndef VR_NEAREST_H
#define VR_NEAREST_H

#include <math.h>
#include <stdint.h>

/* Of x[0], x[step], ... n numbers, n >= 1: the place of the smallest; not-a-number before every number; of equals the first. */
static inline int vr_nearest(const float *x, int n, int64_t step)
{
    int best = 0;
    for (int i = 1; i < n && !isnan(x[best * step]); i++) {
        if (x[i * step] < x[best * step] || isnan(x[i * step])) best = i;
    }
    return best;
}

#endif
