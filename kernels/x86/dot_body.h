/*
 * dot_body.h - rows of W against one to four rows of x, for the vectors of a vec_*.h included before.
 *
 *   w [n_rows][K] -> widen -> times x [T][K] -> T x 4 sums -> y [T][n_rows]
 *
 * A row of W is read once, ascending, and widened once for all T; four sums for each t hide the latency of the multiply-add and
 * keep every lane's chain at K / (4 VF) roundings.
 * Ref:   kernels/dsp.h dot; /bench/LOG.md.
 */
#include "kernels/dsp.h"
#include "kernels/x86/load_body.h"
#include "kernels/x86/unroll.h"

#define CHAINS 4

/* T is a constant where this is called. */
VR_INLINE void dot_row(load_fn load, float *y, int64_t y_row, const float *x, int64_t x_row, int T, const void *w, int64_t at,
                       int K)
{
    vf sum[VR_DSP_DOT_T][CHAINS];
    VR_UNROLL
    for (int t = 0; t < T; t++) {
        VR_UNROLL
        for (int i = 0; i < CHAINS; i++) sum[t][i] = vf_zero();
    }
    int k = 0;
    for (; k <= K - CHAINS * VF; k += CHAINS * VF) {
        VR_UNROLL
        for (int i = 0; i < CHAINS; i++) {
            const vf weights = load(w, at + k + i * VF, VF);
            VR_UNROLL
            for (int t = 0; t < T; t++) sum[t][i] = vf_fma(weights, vf_load(x + t * x_row + k + i * VF), sum[t][i]);
        }
    }
    for (; k < K; k += VF) {
        const int n = K - k < VF ? K - k : VF;
        const vf weights = load(w, at + k, n);
        VR_UNROLL
        for (int t = 0; t < T; t++) sum[t][0] = vf_fma(weights, vf_load_part(x + t * x_row + k, n), sum[t][0]);
    }
    VR_UNROLL
    for (int t = 0; t < T; t++) {
        y[t * y_row] = vf_sum(vf_add(vf_add(sum[t][0], sum[t][1]), vf_add(sum[t][2], sum[t][3])));
    }
}

VR_INLINE void dot(load_fn load, float *y, int64_t y_row, const float *x, int64_t x_row, int T, const void *w, int64_t w_row,
                   int n_rows, int K)
{
    switch (T) {
    case 1:
        for (int n = 0; n < n_rows; n++) dot_row(load, y + n, y_row, x, x_row, 1, w, n * w_row, K);
        break;
    case 2:
        for (int n = 0; n < n_rows; n++) dot_row(load, y + n, y_row, x, x_row, 2, w, n * w_row, K);
        break;
    case 3:
        for (int n = 0; n < n_rows; n++) dot_row(load, y + n, y_row, x, x_row, 3, w, n * w_row, K);
        break;
    case 4:
        for (int n = 0; n < n_rows; n++) dot_row(load, y + n, y_row, x, x_row, 4, w, n * w_row, K);
        break;
    default:
        break;
    }
}

#define DEFINE_DOT(dtype)                                                                                                      \
    void VR_LEVEL(vr_dot_##dtype)(float *y, int64_t y_row, const float *x, int64_t x_row, int T, const void *w, int64_t w_row, \
                                  int n_rows, int K)                                                                           \
    {                                                                                                                          \
        dot(load_##dtype, y, y_row, x, x_row, T, w, w_row, n_rows, K);                                                         \
    }

DEFINE_DOT(f32)
DEFINE_DOT(f16)
DEFINE_DOT(bf16)
