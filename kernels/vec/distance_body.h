/*
 * distance_body.h - squared distances of 2 x 4 rows over a block of columns, for the vectors of a vec_*.h included before.
 *
 * Eight sums, each a chain of its own: as many as two multiply-add units with a latency of four keep busy, and six loads feed
 * them. A subtraction goes to the adders, beside the multiplications. A pair is summed alike wherever it stands in the tile,
 * and (a - b)^2 is (b - a)^2 to the bit.
 * Ref:   kernels/ref/distance_c.c.
 */
#include "kernels/dsp.h"
#include "kernels/vec/load_body.h"

#define A VR_DSP_DISTANCE_A
#define B VR_DSP_DISTANCE_B

VR_INLINE void distance_step(vf *sum, const float *const *a, const float *const *b, int64_t d, int n)
{
    vf x[A];
    VR_UNROLL
    for (int i = 0; i < A; i++) x[i] = load_f32(a[i], d, n);
    VR_UNROLL
    for (int j = 0; j < B; j++) {
        vf y = load_f32(b[j], d, n);
        VF_HOLD(y); /* or gcc 12 loads it twice, once a subtraction: 10 loads for 8 sums, 1.4 times the time */
        VR_UNROLL
        for (int i = 0; i < A; i++) {
            const vf step = vf_sub(x[i], y);
            sum[i * B + j] = vf_fma(step, step, sum[i * B + j]);
        }
    }
}

void VR_LEVEL(vr_distance)(double *sums, const float *const *a, const float *const *b, int64_t first, int columns)
{
    vf sum[A * B];
    VR_UNROLL
    for (int i = 0; i < A * B; i++) sum[i] = vf_zero();
    int d = 0;
    for (; d <= columns - VF; d += VF) distance_step(sum, a, b, first + d, VF);
    if (d < columns) distance_step(sum, a, b, first + d, columns - d);
    VR_UNROLL
    for (int i = 0; i < A * B; i++) sums[i] = (double)vf_sum(sum[i]);
}
