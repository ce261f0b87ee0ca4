/*
 * distance_c.c - squared distances of rows at level c.
 *
 *   a [2], b [4] rows -> sums [2][4]
 *
 * Ref:   kernels/dsp.h. Differences and sums in double: both are exact to the last digit that matters.
 */
#include "kernels/dsp.h"

void vr_distance_c(double *sums, const float *const *a, const float *const *b, int64_t first, int columns)
{
    for (int i = 0; i < VR_DSP_DISTANCE_A; i++) {
        for (int j = 0; j < VR_DSP_DISTANCE_B; j++) {
            double sum = 0.0;
            for (int64_t d = first; d < first + columns; d++) {
                const double step = (double)a[i][d] - (double)b[j][d];
                sum += step * step;
            }
            sums[i * VR_DSP_DISTANCE_B + j] = sum;
        }
    }
}
