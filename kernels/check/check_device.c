/*
 * check_device.c - operations of a device that the CPU backend makes of kernels which other families check: norms, gates, rope.
 *
 * Against level c, row by row. Limits: of class REDUCE, 8 u of the terms that make a number; 5 u of the argument's size for
 * activations as in check_activations.c.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernels/check/check.h"

typedef enum norm_kind { LAYER_NORM, RMS_NORM, L2_NORM, NORM_KINDS } norm_kind;

static void check_norm(vr_check *ck, norm_kind kind, int T, int D, vr_fill fill, bool in_place)
{
    const size_t mark = vr_arena_mark(&ck->arena);
    char what[128];
    snprintf(what, sizeof what, "norm %d of %d x %d, %s, in place %d", (int)kind, T, D, vr_fill_name(fill), in_place);
    const int64_t n = (int64_t)T * D;
    float *x = vr_check_floats(ck, n), *y = vr_check_floats(ck, n), *want = vr_check_floats(ck, n);
    float *w = vr_check_floats(ck, D), *b = vr_check_floats(ck, D);
    double *wide = vr_check_doubles(ck, n), *limit = vr_check_doubles(ck, n);
    vr_check_fill(ck, x, n, fill);
    vr_check_fill(ck, w, D, VR_FILL_NORMAL);
    vr_check_fill(ck, b, D, VR_FILL_NORMAL);
    for (int t = 0; t < T; t++) {
        const int64_t at = (int64_t)t * D;
        double largest = 0.0, mean = 0.0, squares = 0.0;
        for (int d = 0; d < D; d++) mean += (double)x[at + d] / D, largest = fmax(largest, fabs((double)x[at + d]));
        for (int d = 0; d < D; d++) squares += ((double)x[at + d] - mean) * ((double)x[at + d] - mean) / D;
        if (kind == LAYER_NORM) ck->c->layer_norm(want + at, x + at, w, b, D, 1e-6f);
        if (kind == RMS_NORM) ck->c->rms_norm(want + at, x + at, w, D, 1e-6f);
        if (kind == L2_NORM) ck->c->l2_norm(want + at, x + at, D, 1e-12f, 3.0f);
        for (int d = 0; d < D; d++) {
            /* a mean is off by roundings of the largest number; what is left of it is divided by the deviation */
            const double factor = kind == LAYER_NORM ? 1.0 / sqrt(squares + 1e-6) : 0.0;
            const double size = fabs((double)want[at + d]) + (kind == LAYER_NORM ? fabs((double)b[d]) : 0.0) +
                                largest * factor * fabs((double)w[d]);
            wide[at + d] = (double)want[at + d];
            limit[at + d] = 8.0 * VR_CHECK_U * size;
        }
    }
    if (in_place) memcpy(y, x, (size_t)n * sizeof *y);
    vr_backend *be = ck->one;
    const float *from = in_place ? y : x;
    if (kind == LAYER_NORM) be->ops->layer_norm(be, y, from, w, b, T, D, 1e-6f);
    if (kind == RMS_NORM) be->ops->rms_norm(be, y, from, w, T, D, 1e-6f);
    if (kind == L2_NORM) be->ops->l2_norm(be, y, from, T, D, 1e-12f, 3.0f);
    vr_check_near(ck, what, y, wide, limit, n);
    vr_check_guards(ck, what, y, n);
    vr_arena_release(&ck->arena, mark);
}

static void check_gated(vr_check *ck, vr_activation act, int n)
{
    const size_t mark = vr_arena_mark(&ck->arena);
    char what[128];
    snprintf(what, sizeof what, "gated of %d, activation %d", n, (int)act);
    float *gate = vr_check_floats(ck, n), *up = vr_check_floats(ck, n), *y = vr_check_floats(ck, n),
          *want = vr_check_floats(ck, n);
    double *wide = vr_check_doubles(ck, n), *limit = vr_check_doubles(ck, n);
    vr_check_fill(ck, gate, n, VR_FILL_NORMAL);
    vr_check_fill(ck, up, n, VR_FILL_NORMAL);
    for (int i = 0; i < n; i += 3) gate[i] *= 20.0f;
    ck->c->gated(want, gate, up, act, n);
    for (int i = 0; i < n; i++) {
        wide[i] = (double)want[i];
        limit[i] = 5.0 * VR_CHECK_U * fabs((double)gate[i] * (double)up[i]) + 0x1p-148;
    }
    ck->one->ops->gated(ck->one, y, gate, up, act, n);
    vr_check_near(ck, what, y, wide, limit, n);
    vr_check_guards(ck, what, y, n);
    ck->one->ops->gated(ck->one, gate, gate, up, act, n); /* y may be the gate */
    vr_check_equal(ck, what, gate, y, n);
    vr_arena_release(&ck->arena, mark);
}

static void check_rope(vr_check *ck, int T, int H, int E, vr_rope_pairs pairs)
{
    const size_t mark = vr_arena_mark(&ck->arena);
    char what[128];
    snprintf(what, sizeof what, "rope of %d x %d x %d, pairs %d", T, H, E, (int)pairs);
    const int64_t row = (int64_t)H * E + 5, n = T * row, half = E / 2;
    float *x = vr_check_floats(ck, n), *want = vr_check_floats(ck, n);
    float *c = vr_check_floats(ck, T * half), *s = vr_check_floats(ck, T * half);
    double *wide = vr_check_doubles(ck, n), *limit = vr_check_doubles(ck, n);
    vr_check_fill(ck, x, n, VR_FILL_NORMAL);
    vr_check_fill(ck, c, T * half, VR_FILL_NORMAL);
    vr_check_fill(ck, s, T * half, VR_FILL_NORMAL);
    memcpy(want, x, (size_t)n * sizeof *want);
    for (int64_t i = 0; i < n; i++) limit[i] = 0.0; /* between the rows nothing changes */
    for (int i = 0; i < T * H; i++) {
        const int t = i / H;
        const int64_t at = t * row + (int64_t)(i % H) * E;
        for (int k = 0; k < half; k++) {
            const int64_t first = at + (pairs == VR_ROPE_HALVES ? k : 2 * k),
                          second = pairs == VR_ROPE_HALVES ? first + half : first + 1;
            const double u = fabs((double)x[first]), v = fabs((double)x[second]);
            const double co = fabs((double)c[t * half + k]), si = fabs((double)s[t * half + k]);
            limit[first] = 8.0 * VR_CHECK_U * (u * co + v * si);
            limit[second] = 8.0 * VR_CHECK_U * (v * co + u * si);
        }
        ck->c->rope(want + at, c + t * half, s + t * half, pairs, E);
    }
    for (int64_t i = 0; i < n; i++) wide[i] = (double)want[i];
    ck->one->ops->rope(ck->one, x, row, c, s, pairs, T, H, E);
    vr_check_near(ck, what, x, wide, limit, n);
    vr_check_guards(ck, what, x, n);
    vr_arena_release(&ck->arena, mark);
}

void vr_check_device(vr_check *ck)
{
    for (int i = 0, D; (D = vr_check_size(ck, i, 4096)) != 0 && !vr_check_failed(ck); i++) {
        for (int kind = 0; kind < NORM_KINDS; kind++) {
            check_norm(ck, (norm_kind)kind, 3, D, VR_FILL_NORMAL, false);
            check_norm(ck, (norm_kind)kind, 2, D, VR_FILL_ALTERNATING, true);
            check_norm(ck, (norm_kind)kind, 1, D, VR_FILL_ZERO, false);
        }
        for (int act = VR_ACT_NONE; act <= VR_ACT_SILU; act++) check_gated(ck, (vr_activation)act, D);
    }
    check_norm(ck, LAYER_NORM, 70, 100, VR_FILL_NORMAL, false);
    check_rope(ck, 9, 5, 128, VR_ROPE_HALVES);
    check_rope(ck, 30, 3, 88, VR_ROPE_ADJACENT);
    check_rope(ck, 3, 2, 2, VR_ROPE_HALVES);
}
