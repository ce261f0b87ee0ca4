/*
 * rows_c.c - sums and scaling of rows at level c.
 *
 *   p [n], v [n][E] -> y [E]        x, b [n] -> y [n]
 *
 * Ref:   kernels/dsp.h.
 */
#include "kernels/dsp.h"

void vr_weighted_sum_c(float *y, float factor, const float *v, int64_t v_row, const float *p, int n, int E)
{
    for (int e = 0; e < E; e++) {
        double sum = (double)y[e] * (double)factor;
        for (int j = 0; j < n; j++) sum += (double)p[j] * (double)v[j * v_row + e];
        y[e] = (float)sum;
    }
}

void vr_add_c(float *y, const float *x, const float *b, int n)
{
    for (int i = 0; i < n; i++) y[i] = x[i] + b[i];
}

void vr_scale_c(float *y, float factor, int n)
{
    for (int i = 0; i < n; i++) y[i] *= factor;
}
