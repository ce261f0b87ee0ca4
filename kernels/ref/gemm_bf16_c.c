/*
 * gemm_bf16_c.c - products of bf16 pairs at level c.
 *
 *   w, a rounded to bf16 -> panel [K/2][8][2] -> tile [rows][8] += a [rows][K/2][2] panel, sums in double
 *
 * Ref: kernels/dsp.h.
 */
#include <math.h>

#include "base/half.h"
#include "kernels/dsp.h"

#define TILE_COLS 8 /* as in select.c */

static uint16_t narrow(float x)
{
    return vr_f32_to_bf16(fabsf(x) < 0x1p-126F ? copysignf(0, x) : x);
}

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

#define FOR_DTYPE(dtype)                                                                                                       \
    void vr_pack_pairs_##dtype##_c(uint16_t *panel, const void *w, int64_t w_row, int n, int K)                                \
    {                                                                                                                          \
        for (int k = 0; k < K + K % 2; k++) {                                                                                  \
            for (int c = 0; c < TILE_COLS; c++)                                                                                \
                panel[(k / 2 * TILE_COLS + c) * 2 + k % 2] = c < n && k < K ? narrow(load_##dtype(w, c * w_row + k)) : 0;      \
        }                                                                                                                      \
    }

FOR_DTYPE(f32)
FOR_DTYPE(f16)
FOR_DTYPE(bf16)

void vr_narrow_c(uint16_t *y, const float *x, int n)
{
    for (int i = 0; i < n; i++) y[i] = narrow(x[i]);
    if (n % 2) y[n] = 0;
}

void vr_gemm_tile_bf16_c(float *c, int64_t c_row, const uint16_t *a, int64_t a_row, const uint16_t *panel, int rows, int cols,
                         int pairs, bool add)
{
    for (int r = 0; r < rows; r++) {
        double sum[TILE_COLS] = { 0 };
        for (int j = 0; add && j < cols; j++) sum[j] = (double)c[r * c_row + j];
        for (int k = 0; k < 2 * pairs; k++) {
            const double x = (double)vr_bf16_to_f32(a[r * a_row + k]);
            for (int j = 0; j < TILE_COLS; j++)
                sum[j] += x * (double)vr_bf16_to_f32(panel[(k / 2 * TILE_COLS + j) * 2 + k % 2]);
        }
        for (int j = 0; j < cols; j++) c[r * c_row + j] = (float)sum[j];
    }
}
