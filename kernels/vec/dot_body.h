/*
 * dot_body.h - rows of W against one to four rows of x, for the vectors of a vec_*.h included before.
 *
 *   w [ROWS streams][apart rows][K] -> widen -> times x [T][K] -> sums [streams][T] -> y [T][n_rows]
 *
 * A number of W is read once and widened once for all T. Rows that are multiplied at once are n_rows / ROWS apart, so each
 * stream of addresses goes on where its last row ended, and several lines of each are read together: neighbouring rows, one
 * line of each at a time, come 15 to 20 % slower from memory. Eight (f32: four), because x of the decoder (16 to 44 KB a
 * row) lies in the second-level cache, and fetching it costs as much as fetching W. One sum for each number of y: eight are
 * enough to hide what an addition takes.
 * A sum takes its vectors in the order of the columns, so a row gives the same bits wherever it stands.
 * Ref:   kernels/dsp.h dot; bench/LOG.md.
 */
#include "kernels/dsp.h"
#include "kernels/vec/load_body.h"
#include "kernels/vec/unroll.h"

#define ROWS        8  /* of W at once, at most; bench/LOG.md */
#define MAX_VECTORS 16 /* of a row in a step, at most */

/* sum[r][t] += the products of `vectors` vectors from column k on. R, T and vectors are constants where this is called. */
VR_INLINE void dot_step(load_fn load, vf sum[ROWS][VR_DSP_DOT_T], const float *x, int64_t x_row, int R, int T, int vectors,
                        const void *w, int64_t at, int64_t w_row)
{
    vf a[VR_DSP_DOT_T][MAX_VECTORS];
    VR_UNROLL
    for (int i = 0; i < T * vectors; i++) a[i / vectors][i % vectors] = vf_load(x + i / vectors * x_row + i % vectors * VF);
    VR_UNROLL
    for (int r = 0; r < R; r++) {
        VR_UNROLL
        for (int v = 0; v < vectors; v++) {
            const vf weights = load(w, at + r * w_row + v * VF, VF);
            VR_UNROLL
            for (int t = 0; t < T; t++) sum[r][t] = vf_fma(weights, a[t][v], sum[r][t]);
        }
    }
}

/* R, T and vectors are constants where this is called. Rows of W are w_row apart here, their numbers of y `apart`. */
VR_INLINE void dot_rows(load_fn load, float *y, int64_t y_row, int apart, const float *x, int64_t x_row, int R, int T,
                        int vectors, const void *w, int64_t at, int64_t w_row, int K)
{
    vf sum[ROWS][VR_DSP_DOT_T];
    VR_UNROLL
    for (int i = 0; i < R * T; i++) sum[i / T][i % T] = vf_zero();
    int k = 0;
    for (; k <= K - vectors * VF; k += vectors * VF) dot_step(load, sum, x + k, x_row, R, T, vectors, w, at + k, w_row);
    for (; k <= K - VF; k += VF) dot_step(load, sum, x + k, x_row, R, T, 1, w, at + k, w_row);
    if (k < K) {
        VR_UNROLL
        for (int i = 0; i < R * T; i++) {
            const vf weights = load(w, at + i / T * w_row + k, K - k);
            sum[i / T][i % T] = vf_fma(weights, vf_load_part(x + i % T * x_row + k, K - k), sum[i / T][i % T]);
        }
    }
    VR_UNROLL
    for (int i = 0; i < R * T; i++) y[i % T * y_row + i / T * apart] = vf_sum(sum[i / T][i % T]);
}

/* R, T and vectors are constants where this is called. */
VR_INLINE void dot_all(load_fn load, float *y, int64_t y_row, const float *x, int64_t x_row, int R, int T, int vectors,
                       const void *w, int64_t w_row, int n_rows, int K)
{
    const int apart = n_rows / R;
    for (int n = 0; n < apart; n++)
        dot_rows(load, y + n, y_row, apart, x, x_row, R, T, vectors, w, n * w_row, apart * w_row, K);
    for (int n = apart * R; n < n_rows; n++) dot_rows(load, y + n, y_row, 1, x, x_row, 1, T, vectors, w, n * w_row, w_row, K);
}

/* rows: of W at once, for one row of x. */
VR_INLINE void dot(load_fn load, int rows, float *y, int64_t y_row, const float *x, int64_t x_row, int T, const void *w,
                   int64_t w_row, int n_rows, int K)
{
    switch (T) {
    case 1:
        dot_all(load, y, y_row, x, x_row, rows, 1, VF < 8 ? MAX_VECTORS : 128 / VF, w, w_row, n_rows, K);
        break;
    case 2:
        dot_all(load, y, y_row, x, x_row, VF_REGISTERS == 32 ? 8 : 4, 2, 4, w, w_row, n_rows, K);
        break;
    case 3:
        dot_all(load, y, y_row, x, x_row, 4, 3, 4, w, w_row, n_rows, K);
        break;
    case 4:
        dot_all(load, y, y_row, x, x_row, 4, 4, 2, w, w_row, n_rows, K);
        break;
    default:
        break;
    }
}

#define DEFINE_DOT(dtype, rows)                                                                                                \
    void VR_LEVEL(vr_dot_##dtype)(float *y, int64_t y_row, const float *x, int64_t x_row, int T, const void *w, int64_t w_row, \
                                  int n_rows, int K)                                                                           \
    {                                                                                                                          \
        dot(load_##dtype, rows, y, y_row, x, x_row, T, w, w_row, n_rows, K);                                                   \
    }

DEFINE_DOT(f32, 4)
DEFINE_DOT(f16, ROWS)
DEFINE_DOT(bf16, ROWS)
