/*
 * norm_c.c - layer, RMS and L2 norm of one row at level c, and rotary positions.
 *
 *   x [D] -> sums in double -> y [D]
 *
 * Ref:   arXiv:1607.06450 (layer norm), arXiv:1910.07467 (RMS norm), arXiv:2104.09864 (rope).
 * Trap:  the variance is the mean of squared differences, not mean(x^2) - mean^2, which cancels.
 */
#include <math.h>

#include "kernels/dsp.h"

void vr_layer_norm_c(float *y, const float *x, const float *w, const float *b, int D, float eps)
{
    double mean = 0.0, variance = 0.0;
    for (int d = 0; d < D; d++) mean += (double)x[d];
    mean /= D;
    for (int d = 0; d < D; d++) variance += ((double)x[d] - mean) * ((double)x[d] - mean);
    const double factor = 1.0 / sqrt(variance / D + (double)eps);
    for (int d = 0; d < D; d++) y[d] = (float)(((double)x[d] - mean) * factor * (double)w[d] + (double)b[d]);
}

static double sum_of_squares(const float *x, int D)
{
    double sum = 0.0;
    for (int d = 0; d < D; d++) sum += (double)x[d] * (double)x[d];
    return sum;
}

void vr_rms_norm_c(float *y, const float *x, const float *w, int D, float eps)
{
    const double factor = 1.0 / sqrt(sum_of_squares(x, D) / D + (double)eps);
    for (int d = 0; d < D; d++) y[d] = (float)((double)x[d] * factor * (double)w[d]);
}

void vr_l2_norm_c(float *y, const float *x, int D, float eps, float scale)
{
    const double norm = sqrt(sum_of_squares(x, D));
    const double factor = (double)scale / (norm < (double)eps ? (double)eps : norm);
    for (int d = 0; d < D; d++) y[d] = (float)((double)x[d] * factor);
}

void vr_rope_c(float *x, const float *cosine, const float *sine, vr_rope_pairs pairs, int E)
{
    const int half = E / 2;
    for (int i = 0; i < half; i++) {
        const int first = pairs == VR_ROPE_HALVES ? i : 2 * i;
        const int second = pairs == VR_ROPE_HALVES ? i + half : 2 * i + 1;
        const double u = (double)x[first], v = (double)x[second], c = (double)cosine[i], s = (double)sine[i];
        x[first] = (float)(u * c - v * s);
        x[second] = (float)(v * c + u * s);
    }
}
