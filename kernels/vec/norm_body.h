/*
 * norm_body.h - norms of a row and rotary positions, for the vectors of a vec_*.h included before.
 *
 *   x [D] -> sums in 4 vectors -> factor -> y [D]; the row stays in the first-level cache between the passes
 *
 * Four vectors of sums: a chain is D / (4 VF) roundings long, which keeps sums of one sign inside class REDUCE.
 * Ref:   kernels/ref/norm_c.c.
 */
#include <math.h>

#include "kernels/dsp.h"
#include "kernels/vec/unroll.h"

#define CHAINS 4

/* sum of x[d] - mean, or of its square. */
VR_INLINE float sum_row(const float *x, int D, float mean, bool square)
{
    const vf m = vf_set1(mean);
    vf sum[CHAINS];
    VR_UNROLL
    for (int i = 0; i < CHAINS; i++) sum[i] = vf_zero();
    int d = 0;
    for (; d <= D - CHAINS * VF; d += CHAINS * VF) {
        VR_UNROLL
        for (int i = 0; i < CHAINS; i++) {
            const vf a = vf_sub(vf_load(x + d + i * VF), m);
            sum[i] = square ? vf_fma(a, a, sum[i]) : vf_add(sum[i], a);
        }
    }
    for (; d < D; d += VF) {
        const int n = D - d < VF ? D - d : VF;
        const vf a = vf_keep_part(vf_sub(vf_load_part(x + d, n), m), n, vf_zero());
        sum[0] = square ? vf_fma(a, a, sum[0]) : vf_add(sum[0], a);
    }
    return vf_sum(vf_add(vf_add(sum[0], sum[1]), vf_add(sum[2], sum[3])));
}

void VR_LEVEL(vr_layer_norm)(float *y, const float *x, const float *w, const float *b, int D, float eps)
{
    const float mean = sum_row(x, D, 0.0f, false) / (float)D, variance = sum_row(x, D, mean, true) / (float)D;
    const vf m = vf_set1(mean), factor = vf_set1(1.0f / sqrtf(variance + eps));
    int d = 0;
    for (; d <= D - VF; d += VF) {
        vf_store(y + d, vf_fma(vf_mul(vf_sub(vf_load(x + d), m), factor), vf_load(w + d), vf_load(b + d)));
    }
    if (d < D) {
        const int n = D - d;
        const vf a = vf_mul(vf_sub(vf_load_part(x + d, n), m), factor);
        vf_store_part(y + d, vf_fma(a, vf_load_part(w + d, n), vf_load_part(b + d, n)), n);
    }
}

void VR_LEVEL(vr_rms_norm)(float *y, const float *x, const float *w, int D, float eps)
{
    const vf factor = vf_set1(1.0f / sqrtf(sum_row(x, D, 0.0f, true) / (float)D + eps));
    int d = 0;
    for (; d <= D - VF; d += VF) vf_store(y + d, vf_mul(vf_mul(vf_load(x + d), factor), vf_load(w + d)));
    if (d < D) {
        const int n = D - d;
        vf_store_part(y + d, vf_mul(vf_mul(vf_load_part(x + d, n), factor), vf_load_part(w + d, n)), n);
    }
}

void VR_LEVEL(vr_l2_norm)(float *y, const float *x, int D, float eps, float scale)
{
    const float norm = sqrtf(sum_row(x, D, 0.0f, true));
    const vf factor = vf_set1(scale / (norm < eps ? eps : norm));
    int d = 0;
    for (; d <= D - VF; d += VF) vf_store(y + d, vf_mul(vf_load(x + d), factor));
    if (d < D) vf_store_part(y + d, vf_mul(vf_load_part(x + d, D - d), factor), D - d);
}

static void rope_halves(float *x, const float *cosine, const float *sine, int half)
{
    for (int i = 0; i < half; i += VF) {
        const int n = half - i < VF ? half - i : VF;
        const vf u = vf_load_part(x + i, n), v = vf_load_part(x + half + i, n);
        const vf c = vf_load_part(cosine + i, n), s = vf_load_part(sine + i, n);
        vf_store_part(x + i, vf_fnma(v, s, vf_mul(u, c)), n);
        vf_store_part(x + half + i, vf_fma(u, s, vf_mul(v, c)), n);
    }
}

static void rope_adjacent(float *x, const float *cosine, const float *sine, int half)
{
    int i = 0;
    for (; i <= half - VF / 2; i += VF / 2) {
        const vf a = vf_load(x + 2 * i);
        vf_store(x + 2 * i, vf_turn(a, vf_load_twice(cosine + i), vf_swap_pairs(a), vf_load_twice(sine + i)));
    }
    for (; i < half; i++) {
        const float u = x[2 * i], v = x[2 * i + 1];
        x[2 * i] = u * cosine[i] - v * sine[i];
        x[2 * i + 1] = v * cosine[i] + u * sine[i];
    }
}

void VR_LEVEL(vr_rope)(float *x, const float *cosine, const float *sine, vr_rope_pairs pairs, int E)
{
    if (pairs == VR_ROPE_HALVES)
        rope_halves(x, cosine, sine, E / 2);
    else
        rope_adjacent(x, cosine, sine, E / 2);
}
