/*
 * exp_body.h - exponential, logistic function and normal distribution, for the vectors of a vec_*.h included before.
 *
 *   exp(x) = 2^n exp(r),  n = round(x / ln 2),  abs(r) <= ln 2 / 2:   exp(r) = 1 + r + r^2 p(r)
 *   P(x) = chance that a normal number is below x = exp(-x^2/2) g(abs(x)) for x < 0, 1 - the same for x > 0
 *   g(a) (a + c) is smooth in t = (a - c) / (a + c), so one polynomial serves all a >= 0
 *
 * Both polynomials: our own weighted minimax fits (Lawson's iteration against double); relative errors 3e-9 and 3e-9 before
 * rounding, so rounding decides: exp within 1 ULP, P within 4 of the result for either sign.
 * Ref:   Cody and Waite 1980 (ln 2 in two parts); Schonfelder 1978 (the mapping t).
 * Trap:  x^2 rounded to f32 costs x^2/2 ULP in the exponential; its rounding error is computed and applied.
 * Trap:  min and max keep the NaN of their second operand: clamping passes NaN on.
 */
#ifndef VR_EXP_BODY_H
#define VR_EXP_BODY_H

static inline vf vf_exp(vf x)
{
    x = vf_max(vf_set1(-105.0f), vf_min(vf_set1(89.0f), x)); /* exp is 0 and infinite there */
    const vf n = vf_round(vf_mul(x, vf_set1(0x1.715476p+0f)));
    const vf r = vf_fnma(n, vf_set1(-0x1.05c610p-29f), vf_fnma(n, vf_set1(0x1.62e430p-1f), x));
    vf p = vf_set1(0x1.6a2434p-10f);
    p = vf_fma(p, r, vf_set1(0x1.1239e2p-7f));
    p = vf_fma(p, r, vf_set1(0x1.5558f2p-5f));
    p = vf_fma(p, r, vf_set1(0x1.555492p-3f));
    p = vf_fma(p, r, vf_set1(0x1.fffffcp-2f));
    p = vf_fma(vf_mul(r, r), p, r);
    return vf_ldexp(vf_add(p, vf_set1(1.0f)), n);
}

static inline vf vf_sigmoid(vf x)
{
    return vf_div(vf_set1(1.0f), vf_add(vf_set1(1.0f), vf_exp(vf_sub(vf_zero(), x))));
}

static inline vf vf_normal_below(vf x)
{
    const vf a = vf_min(vf_set1(20.0f), vf_abs(x)); /* exp(-200) is 0 */
    const vf square = vf_mul(a, a), lost = vf_sub(vf_zero(), vf_fnma(a, a, square));
    const vf half = vf_set1(0.5f), c = vf_set1(4.25f);
    vf e = vf_exp(vf_mul(square, vf_set1(-0.5f)));
    e = vf_fnma(vf_mul(lost, half), e, e);
    const vf inverse = vf_div(vf_set1(1.0f), vf_add(a, c)), t = vf_mul(vf_sub(a, c), inverse);
    vf g = vf_set1(-0x1.e4265ep-13f);
    g = vf_fma(g, t, vf_set1(-0x1.77ce2cp-12f));
    g = vf_fma(g, t, vf_set1(0x1.1e6d82p-9f));
    g = vf_fma(g, t, vf_set1(-0x1.8bad0ap-11f));
    g = vf_fma(g, t, vf_set1(-0x1.3d53acp-6f));
    g = vf_fma(g, t, vf_set1(0x1.5d4712p-4f));
    g = vf_fma(g, t, vf_set1(-0x1.c39d64p-3f));
    g = vf_fma(g, t, vf_set1(0x1.ac43d4p-2f));
    g = vf_fma(g, t, vf_set1(-0x1.401104p-1f));
    g = vf_fma(g, t, vf_set1(0x1.84e44ap-1f));
    const vf below = vf_mul(vf_mul(g, inverse), e);
    return vf_if_negative(x, below, vf_sub(vf_set1(1.0f), below));
}

#endif
