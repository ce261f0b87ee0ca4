/*
 * activation_c.c - activations, the end of a product, gated rows and the running softmax at level c.
 *
 *   finish:  y = act(s + bias) + residual        gated:  y = act(gate) up        softmax: one block of scores of one query
 *
 * Ref:   kernels/ops.h (formulas); arXiv:1606.08415 (GELU); arXiv:1805.02867 (running softmax).
 * Trap:  1 + erf(x) cancels for x < 0; erfc(-x) does not.
 * Trap:  a block whose scores are all -inf must not make exp(-inf - -inf) = NaN: later blocks may still count.
 */
#include <math.h>

#include "kernels/dsp.h"

static double sigmoid(double x)
{
    return 1.0 / (1.0 + exp(-x));
}

static double activate(double x, vr_activation act)
{
    switch (act) {
    case VR_ACT_NONE:
        return x;
    case VR_ACT_GELU:
        return 0.5 * x * erfc(-x * 0.70710678118654752440);
    case VR_ACT_GELU_TANH:
        return x * sigmoid(1.59576912160573071176 * (x + 0.044715 * x * x * x)); /* (1+tanh u)/2 = sigmoid(2u) */
    case VR_ACT_GELU_QUICK:
        return x * sigmoid(1.702 * x);
    case VR_ACT_SILU:
        return x * sigmoid(x);
    }
    return x;
}

void vr_finish_c(float *y, const float *s, const float *bias, vr_activation act, const float *residual, int n)
{
    for (int i = 0; i < n; i++) {
        const double x = activate((double)s[i] + (bias ? (double)bias[i] : 0.0), act);
        y[i] = (float)(x + (residual ? (double)residual[i] : 0.0));
    }
}

void vr_gated_c(float *y, const float *gate, const float *up, vr_activation act, int n)
{
    for (int i = 0; i < n; i++) y[i] = (float)(activate((double)gate[i], act) * (double)up[i]);
}

float vr_softmax_c(float *s, int n, int n_zero, float scale, float *max, float *sum)
{
    float m = *max;
    for (int i = 0; i < n; i++) {
        s[i] *= scale;
        if (s[i] > m) m = s[i];
    }
    const float zero = m == -INFINITY ? 0.0f : m;
    const float factor = (float)exp((double)*max - (double)zero);
    double total = (double)*sum * (double)factor;
    for (int i = 0; i < n; i++) {
        s[i] = (float)exp((double)s[i] - (double)zero);
        total += (double)s[i];
    }
    for (int i = n; i < n_zero; i++) s[i] = 0.0f;
    *max = m;
    *sum = (float)total;
    return factor;
}
