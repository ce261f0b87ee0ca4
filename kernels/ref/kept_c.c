/*
 * kept_c.c - rows of keys and values at level c.
 *
 *   x [n] -> row;  row -> y [n];  x [T][K], rows -> y [T][rows];  p [T][n], rows [n][E] -> y [T][E], all sums in double
 *
 * Ref: kernels/kept.h, kernels/dsp.h.
 */
#include <math.h>
#include <string.h>

#include "base/half.h"
#include "kernels/dsp.h"
#include "kernels/kept_scale.h"

static float value_f32(const void *row, int E, int e)
{
    (void)E;
    return ((const float *)row)[e];
}

static float value_f16(const void *row, int E, int e)
{
    (void)E;
    return vr_f16_to_f32(((const uint16_t *)row)[e]);
}

static float value_q8(const void *row, int E, int e)
{
    const int8_t *bytes = row;
    const uint16_t *scales = (const uint16_t *)(const void *)(bytes + vr_kept_scales(E));
    return vr_f16_to_f32(scales[e / VR_KEPT_GROUP]) * (float)bytes[e];
}

#define WEIGHTED_SUM(type, element)                                                                                            \
    void vr_weighted_sum_##type##_c(float *y, int64_t y_row, const float *factor, const void *v, int64_t v_row,                \
                                    const float *p, int64_t p_row, int T, int n, int E)                                        \
    {                                                                                                                          \
        for (int i = 0; i < T * E; i++) {                                                                                      \
            const int t = i / E, e = i % E;                                                                                    \
            double sum = (double)y[t * y_row + e] * (double)factor[t];                                                         \
            for (int j = 0; j < n; j++)                                                                                        \
                sum += (double)p[t * p_row + j] * (double)value_##type((const element *)v + j * v_row, E, e);                  \
            y[t * y_row + e] = (float)sum;                                                                                     \
        }                                                                                                                      \
    }

WEIGHTED_SUM(f32, float)
WEIGHTED_SUM(f16, uint16_t)
WEIGHTED_SUM(q8, int8_t)

void vr_dot_q8_c(float *y, int64_t y_row, const float *x, int64_t x_row, int T, const void *w, int64_t w_row, int n_rows, int K)
{
    for (int n = 0; n < n_rows; n++) {
        for (int t = 0; t < T; t++) {
            double sum = 0.0;
            for (int k = 0; k < K; k++) sum += (double)x[t * x_row + k] * (double)value_q8((const int8_t *)w + n * w_row, K, k);
            y[t * y_row + n] = (float)sum;
        }
    }
}

void vr_widen_q8_c(float *y, const void *row, int n)
{
    for (int i = 0; i < n; i++) y[i] = value_q8(row, n, i);
}

void vr_keep_f16_c(void *row, const float *x, int n)
{
    for (int i = 0; i < n; i++) ((uint16_t *)row)[i] = vr_f32_to_f16(x[i]);
}

void vr_keep_q8_c(void *row, const float *x, int n)
{
    int8_t *bytes = row;
    uint16_t *scales = (uint16_t *)(void *)(bytes + vr_kept_scales(n));
    memset(row, 0, (size_t)vr_kept_row(VR_KEPT_Q8, n));
    for (int k = 0; k < n; k += VR_KEPT_GROUP, scales++) {
        const int end = n - k < VR_KEPT_GROUP ? n : k + VR_KEPT_GROUP;
        float most = 0, finite = 0;
        for (int i = k; i < end; i++) {
            most = fmaxf(most, fabsf(x[i]));
            finite += x[i] * 0;
        }
        *scales = vr_kept_scale(most, finite == 0);
        const float inverse = vr_kept_inverse(*scales);
        for (int i = k; i < end && finite == 0; i++) bytes[i] = (int8_t)rintf(x[i] * inverse);
    }
}
