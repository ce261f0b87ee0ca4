/*
 * gemm_c.c - products at level c: pack, tile, dot.
 *
 *   w [n rows] -> panel [K][8] -> tile [rows][8] += a [rows][K] panel
 *
 * The definition: every sum is one double, rounded once. The backend gives this level a k_block as long as any row, so a whole
 * product is summed in double.
 * Ref:   kernels/dsp.h.
 */
#include "kernels/dsp.h"
#include "base/half.h"

#define TILE_COLS 8 /* as in select.c */

static float load_f32(const void *w, int64_t i)
{
    return ((const float *)w)[i];
}

static float load_f16(const void *w, int64_t i)
{
    return vr_f16_to_f32(((const uint16_t *)w)[i]);
}

static float load_bf16(const void *w, int64_t i)
{
    return vr_bf16_to_f32(((const uint16_t *)w)[i]);
}

/* Three functions for each type of weights; a macro, so that the type is known where the loops are compiled. */
#define FOR_DTYPE(dtype)                                                                                                       \
    void vr_widen_##dtype##_c(float *y, const void *w, int n)                                                                  \
    {                                                                                                                          \
        for (int i = 0; i < n; i++) y[i] = load_##dtype(w, i);                                                                 \
    }                                                                                                                          \
                                                                                                                               \
    void vr_pack_##dtype##_c(float *panel, const void *w, int64_t w_row, int n, int K)                                         \
    {                                                                                                                          \
        for (int k = 0; k < K; k++) {                                                                                          \
            for (int c = 0; c < TILE_COLS; c++) panel[k * TILE_COLS + c] = c < n ? load_##dtype(w, c * w_row + k) : 0.0f;      \
        }                                                                                                                      \
    }                                                                                                                          \
                                                                                                                               \
    void vr_dot_##dtype##_c(float *y, int64_t y_row, const float *x, int64_t x_row, int T, const void *w, int64_t w_row,       \
                            int n_rows, int K)                                                                                 \
    {                                                                                                                          \
        for (int n = 0; n < n_rows; n++) {                                                                                     \
            for (int t = 0; t < T; t++) {                                                                                      \
                double sum = 0.0;                                                                                              \
                for (int k = 0; k < K; k++) sum += (double)x[t * x_row + k] * (double)load_##dtype(w, n * w_row + k);          \
                y[t * y_row + n] = (float)sum;                                                                                 \
            }                                                                                                                  \
        }                                                                                                                      \
    }

FOR_DTYPE(f32)
FOR_DTYPE(f16)
FOR_DTYPE(bf16)

void vr_gemm_tile_c(float *c, int64_t c_row, const float *a, int64_t a_row, const float *panel, int rows, int cols, int K,
                    bool add)
{
    for (int r = 0; r < rows; r++) {
        double sum[TILE_COLS] = { 0 };
        for (int j = 0; add && j < cols; j++) sum[j] = (double)c[r * c_row + j];
        for (int k = 0; k < K; k++) {
            const double x = (double)a[r * a_row + k];
            for (int j = 0; j < TILE_COLS; j++) sum[j] += x * (double)panel[k * TILE_COLS + j];
        }
        for (int j = 0; j < cols; j++) c[r * c_row + j] = (float)sum[j];
    }
}
