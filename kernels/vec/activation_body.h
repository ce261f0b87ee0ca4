/*
 * activation_body.h - activations, ends of products, gated rows, softmax, for the vectors of a vec_*.h included before.
 *
 *   finish:  s + bias -> act -> + residual -> y        gated:  act(gate) up -> y
 *   softmax: s scale -> maximum;  s -> exp(s - max) -> sum      two passes over a block that lies in the first-level cache
 *
 * Ref:   formulas in kernels/ops.h and kernels/dsp.h; kernels/ref/activation_c.c.
 * Trap:  as at level c, a block of -inf alone subtracts 0, not -inf.
 */
#include <math.h>
#include <stddef.h>

#include "kernels/dsp.h"
#include "kernels/vec/exp_body.h"
#include "kernels/vec/unroll.h"

/* act is a constant where this is called. */
VR_INLINE vf activate(vf x, vr_activation act)
{
    switch (act) {
    case VR_ACT_NONE:
        return x;
    case VR_ACT_GELU:
        return vf_mul(x, vf_normal_below(x));
    case VR_ACT_GELU_TANH: {
        const vf inner = vf_fma(vf_mul(x, x), vf_set1(0.044715f), vf_set1(1.0f)); /* (1 + tanh u)/2 = sigmoid(2 u) */
        return vf_mul(x, vf_sigmoid(vf_mul(vf_mul(x, vf_set1(1.5957691216057308f)), inner)));
    }
    case VR_ACT_GELU_QUICK:
        return vf_mul(x, vf_sigmoid(vf_mul(x, vf_set1(1.702f))));
    case VR_ACT_SILU:
        return vf_mul(x, vf_sigmoid(x));
    }
    return x;
}

VR_INLINE vf load_some(const float *p, int i, int n)
{
    return n >= VF ? vf_load(p + i) : vf_load_part(p + i, n);
}

VR_INLINE void finish_some(float *y, const float *s, const float *bias, vr_activation act, const float *residual, int i, int n)
{
    vf x = load_some(s, i, n);
    if (bias) x = vf_add(x, load_some(bias, i, n));
    x = activate(x, act);
    if (residual) x = vf_add(x, load_some(residual, i, n));
    if (n >= VF)
        vf_store(y + i, x);
    else
        vf_store_part(y + i, x, n);
}

VR_INLINE void finish(float *y, const float *s, const float *bias, vr_activation act, const float *residual, int n)
{
    int i = 0;
    for (; i <= n - VF; i += VF) finish_some(y, s, bias, act, residual, i, VF);
    if (i < n) finish_some(y, s, bias, act, residual, i, n - i);
}

void VR_LEVEL(vr_finish)(float *y, const float *s, const float *bias, vr_activation act, const float *residual, int n)
{
    switch (act) {
    case VR_ACT_NONE:
        finish(y, s, bias, VR_ACT_NONE, residual, n);
        break;
    case VR_ACT_GELU:
        finish(y, s, bias, VR_ACT_GELU, residual, n);
        break;
    case VR_ACT_GELU_TANH:
        finish(y, s, bias, VR_ACT_GELU_TANH, residual, n);
        break;
    case VR_ACT_GELU_QUICK:
        finish(y, s, bias, VR_ACT_GELU_QUICK, residual, n);
        break;
    case VR_ACT_SILU:
        finish(y, s, bias, VR_ACT_SILU, residual, n);
        break;
    }
}

VR_INLINE void gated(float *y, const float *gate, const float *up, vr_activation act, int n)
{
    int i = 0;
    for (; i <= n - VF; i += VF) vf_store(y + i, vf_mul(activate(vf_load(gate + i), act), vf_load(up + i)));
    if (i < n) {
        vf_store_part(y + i, vf_mul(activate(vf_load_part(gate + i, n - i), act), vf_load_part(up + i, n - i)), n - i);
    }
}

void VR_LEVEL(vr_gated)(float *y, const float *gate, const float *up, vr_activation act, int n)
{
    switch (act) {
    case VR_ACT_NONE:
        gated(y, gate, up, VR_ACT_NONE, n);
        break;
    case VR_ACT_GELU:
        gated(y, gate, up, VR_ACT_GELU, n);
        break;
    case VR_ACT_GELU_TANH:
        gated(y, gate, up, VR_ACT_GELU_TANH, n);
        break;
    case VR_ACT_GELU_QUICK:
        gated(y, gate, up, VR_ACT_GELU_QUICK, n);
        break;
    case VR_ACT_SILU:
        gated(y, gate, up, VR_ACT_SILU, n);
        break;
    }
}

/* s *= scale; the largest of it and of max. A NaN in s is passed over here and comes out of the exponential. */
static float scale_and_find(float *s, int n, float scale, float max)
{
    const vf factor = vf_set1(scale);
    vf largest = vf_set1(max);
    int i = 0;
    for (; i <= n - VF; i += VF) {
        const vf x = vf_mul(vf_load(s + i), factor);
        vf_store(s + i, x);
        largest = vf_max(x, largest);
    }
    if (i < n) {
        const vf x = vf_mul(vf_load_part(s + i, n - i), factor);
        vf_store_part(s + i, x, n - i);
        largest = vf_max(vf_keep_part(x, n - i, vf_set1(-INFINITY)), largest);
    }
    return max == max ? vf_largest(largest) : max;
}

float VR_LEVEL(vr_softmax)(float *s, int n, int n_zero, float scale, float *max, float *sum)
{
    const float m = scale_and_find(s, n, scale, *max), zero = m == -INFINITY ? 0.0f : m;
    const float factor = expf(*max - zero);
    const vf shift = vf_set1(zero);
    vf total = vf_zero();
    int i = 0;
    for (; i <= n - VF; i += VF) {
        const vf p = vf_exp(vf_sub(vf_load(s + i), shift));
        vf_store(s + i, p);
        total = vf_add(total, p);
    }
    if (i < n) {
        const vf p = vf_exp(vf_sub(vf_load_part(s + i, n - i), shift));
        vf_store_part(s + i, p, n - i);
        total = vf_add(total, vf_keep_part(p, n - i, vf_zero()));
    }
    for (i = n; i < n_zero; i++) s[i] = 0.0f;
    *max = m;
    *sum = *sum * factor + vf_sum(total);
    return factor;
}
