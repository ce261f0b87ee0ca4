/*
 * dot_body.h - rows of W against one to four rows of x, for the vectors of a vec_*.h included before.
 *
 *   w [ROWS][K] -> widen -> times x [T][K] -> sums [rows][T][chains] -> y [T][n_rows]
 *
 * A number of W is read once, ascending, and widened once for all T; a vector of x serves ROWS rows of W, because x of
 * the decoder (16 to 44 KB a row) lies in the second-level cache. Rows at once and chains, sums for each number of y, as registers
 * allow: 32 registers 8 rows and 2 / 1 chains for T = 1 / 2, 16 registers 4 rows and 4 / 2; then 4 rows and 1. The chains depend on
 * T alone, so a row gives the same bits wherever it stands.
 * Ref:   kernels/dsp.h dot; bench/LOG.md.
 */
#include "kernels/dsp.h"
#include "kernels/vec/load_body.h"
#include "kernels/vec/unroll.h"

#define ROWS       (VF_REGISTERS == 32 ? 8 : 4) /* of W at once, at most; bench/LOG.md: 1, 2, 4, 8, 12, 16 tried */
#define MAX_CHAINS 4

/* R, T and chains are constants where this is called. */
VR_INLINE void dot_rows(load_fn load, float *y, int64_t y_row, const float *x, int64_t x_row, int R, int T, int chains,
                        const void *w, int64_t at, int64_t w_row, int K)
{
    vf sum[ROWS][VR_DSP_DOT_T][MAX_CHAINS];
    VR_UNROLL
    for (int i = 0; i < R * T * chains; i++) sum[i / (T * chains)][i / chains % T][i % chains] = vf_zero();
    int k = 0;
    for (; k <= K - chains * VF; k += chains * VF) {
        VR_UNROLL
        for (int c = 0; c < chains; c++) {
            vf weights[ROWS];
            VR_UNROLL
            for (int r = 0; r < R; r++) weights[r] = load(w, at + r * w_row + k + c * VF, VF);
            VR_UNROLL
            for (int t = 0; t < T; t++) {
                const vf a = vf_load(x + t * x_row + k + c * VF);
                VR_UNROLL
                for (int r = 0; r < R; r++) sum[r][t][c] = vf_fma(weights[r], a, sum[r][t][c]);
            }
        }
    }
    for (; k < K; k += VF) {
        const int n = K - k < VF ? K - k : VF;
        VR_UNROLL
        for (int i = 0; i < R * T; i++) {
            sum[i / T][i % T][0] =
                vf_fma(load(w, at + i / T * w_row + k, n), vf_load_part(x + i % T * x_row + k, n), sum[i / T][i % T][0]);
        }
    }
    VR_UNROLL
    for (int i = 0; i < R * T; i++) {
        vf total = sum[i / T][i % T][0];
        VR_UNROLL
        for (int c = 1; c < chains; c++) total = vf_add(total, sum[i / T][i % T][c]);
        y[i % T * y_row + i / T] = vf_sum(total);
    }
}

/* R, T and chains are constants where this is called. */
VR_INLINE void dot_all(load_fn load, float *y, int64_t y_row, const float *x, int64_t x_row, int R, int T, int chains,
                       const void *w, int64_t w_row, int n_rows, int K)
{
    int n = 0;
    for (; n <= n_rows - R; n += R) dot_rows(load, y + n, y_row, x, x_row, R, T, chains, w, n * w_row, w_row, K);
    for (; n < n_rows; n++) dot_rows(load, y + n, y_row, x, x_row, 1, T, chains, w, n * w_row, w_row, K);
}

VR_INLINE void dot(load_fn load, float *y, int64_t y_row, const float *x, int64_t x_row, int T, const void *w, int64_t w_row,
                   int n_rows, int K)
{
    switch (T) {
    case 1:
        dot_all(load, y, y_row, x, x_row, ROWS, 1, VF_REGISTERS == 32 ? 2 : 4, w, w_row, n_rows, K);
        break;
    case 2:
        dot_all(load, y, y_row, x, x_row, ROWS, 2, VF_REGISTERS == 32 ? 1 : 2, w, w_row, n_rows, K);
        break;
    case 3:
        dot_all(load, y, y_row, x, x_row, 4, 3, 1, w, w_row, n_rows, K);
        break;
    case 4:
        dot_all(load, y, y_row, x, x_row, 4, 4, 1, w, w_row, n_rows, K);
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
