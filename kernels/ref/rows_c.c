/*
 * rows_c.c - sums and scaling of rows at level c.
 *
 *   x, b [n] -> y [n]
 *
 * Ref: kernels/dsp.h.
 */
#include "kernels/dsp.h"

void vr_add_c(float *y, const float *x, const float *b, int n)
{
    for (int i = 0; i < n; i++) y[i] = x[i] + b[i];
}

void vr_scale_c(float *y, float factor, int n)
{
    for (int i = 0; i < n; i++) y[i] *= factor;
}
