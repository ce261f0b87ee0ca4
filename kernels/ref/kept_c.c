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
                                    const float *p, int T, int n, int E, vr_ahead *next)                                       \
    {                                                                                                                          \
        (void)next;                                                                                                            \
        for (int i = 0; i < T * E; i++) {                                                                                      \
            const int t = i / E, e = i % E;                                                                                    \
            double sum = (double)y[t * y_row + e] * (double)factor[t];                                                         \
            for (int j = 0; j < n; j++)                                                                                        \
                sum += (double)p[t * VR_DSP_FEW_KEYS + j] * (double)value_##type((const element *)v + j * v_row, E, e);        \
            y[t * y_row + e] = (float)sum;                                                                                     \
        }                                                                                                                      \
    }

WEIGHTED_SUM(f32, float)
WEIGHTED_SUM(f16, uint16_t)
WEIGHTED_SUM(q8, int8_t)

#define SCORES(type, element)                                                                                                  \
    void vr_scores_##type##_c(float *s, const float *q, int T, const void *k, int64_t k_row, int n, int E, vr_ahead *next)     \
    {                                                                                                                          \
        (void)next;                                                                                                            \
        for (int i = 0; i < T * n; i++) {                                                                                      \
            const int t = i / n, j = i % n;                                                                                    \
            double sum = 0.0;                                                                                                  \
            for (int e = 0; e < E; e++)                                                                                        \
                sum += (double)q[t * VR_DSP_QUERY_ROW + e] * (double)value_##type((const element *)k + j * k_row, E, e);       \
            s[t * VR_DSP_FEW_KEYS + j] = (float)sum;                                                                           \
        }                                                                                                                      \
    }

SCORES(f32, float)
SCORES(f16, uint16_t)
SCORES(q8, int8_t)

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
