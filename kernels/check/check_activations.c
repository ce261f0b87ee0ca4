/*
 * check_activations.c - finish, gated and the running softmax against level c.
 *
 * Limits as in kernels/dsp.h: 5 u of the argument's size for activations, whose slope is at most 1.13, so that the rounding of
 * s + bias is inside; (4 + abs(argument)) u of the result for the exponential, whose argument is a rounded difference.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernels/check/check.h"

static const char *const names[] = { "none", "gelu", "gelu_tanh", "gelu_quick", "silu" };

/* Arguments where activations bend, and far out. */
static float argument(vr_check *ck, int i)
{
    static const float edges[] = { 0.0f,  -0.0f,  1e-30f, -1e-30f, 1e-40f, 100.0f, -100.0f,
                                   1e10f, -1e10f, 13.0f,  -13.0f,  -88.0f, -104.0f };
    const int n_edges = (int)(sizeof edges / sizeof edges[0]);
    if (i % 3 == 0) return edges[vr_check_random(ck) % (uint32_t)n_edges];
    return (float)(vr_check_normal(ck) * (i % 3 == 1 ? 1.0 : 6.0));
}

static void check_finish(vr_check *ck, vr_activation act, int n, bool with_bias, bool with_residual)
{
    const size_t mark = vr_arena_mark(&ck->arena);
    char what[128];
    snprintf(what, sizeof what, "finish of %d, %s, bias %d, residual %d", n, names[act], with_bias, with_residual);
    float *s = vr_check_floats(ck, n), *bias = vr_check_floats(ck, n), *residual = vr_check_floats(ck, n);
    float *y = vr_check_floats(ck, n), *want = vr_check_floats(ck, n);
    double *wide = vr_check_doubles(ck, n), *limit = vr_check_doubles(ck, n);
    for (int i = 0; i < n; i++) s[i] = argument(ck, i);
    vr_check_fill(ck, bias, n, VR_FILL_NORMAL);
    vr_check_fill(ck, residual, n, VR_FILL_NORMAL);
    ck->c->finish(want, s, with_bias ? bias : NULL, act, with_residual ? residual : NULL, n);
    ck->d->finish(y, s, with_bias ? bias : NULL, act, with_residual ? residual : NULL, n);
    for (int i = 0; i < n; i++) {
        const double x = fabs((double)s[i]) + (with_bias ? fabs((double)bias[i]) : 0.0);
        wide[i] = (double)want[i];
        limit[i] = 5.0 * VR_CHECK_U * (x + (with_residual ? fabs((double)residual[i]) : 0.0)) + 0x1p-148;
    }
    vr_check_near(ck, what, y, wide, limit, n);
    vr_check_guards(ck, what, y, n);
    ck->d->finish(s, s, with_bias ? bias : NULL, act, with_residual ? residual : NULL, n);
    vr_check_equal(ck, what, s, y, n);
    vr_arena_release(&ck->arena, mark);
}

static void check_gated(vr_check *ck, vr_activation act, int n)
{
    const size_t mark = vr_arena_mark(&ck->arena);
    char what[128];
    snprintf(what, sizeof what, "gated of %d, %s", n, names[act]);
    float *gate = vr_check_floats(ck, n), *up = vr_check_floats(ck, n), *y = vr_check_floats(ck, n),
          *want = vr_check_floats(ck, n);
    double *wide = vr_check_doubles(ck, n), *limit = vr_check_doubles(ck, n);
    for (int i = 0; i < n; i++) gate[i] = argument(ck, i);
    vr_check_fill(ck, up, n, VR_FILL_NORMAL);
    ck->c->gated(want, gate, up, act, n);
    ck->d->gated(y, gate, up, act, n);
    for (int i = 0; i < n; i++) {
        wide[i] = (double)want[i];
        limit[i] = 5.0 * VR_CHECK_U * fabs((double)gate[i] * (double)up[i]) + 0x1p-148;
    }
    vr_check_near(ck, what, y, wide, limit, n);
    vr_check_guards(ck, what, y, n);
    ck->d->gated(gate, gate, up, act, n);
    vr_check_equal(ck, what, gate, y, n);
    vr_arena_release(&ck->arena, mark);
}

/* GELU keeps the digits of its small negative results: 8 u of the result itself. */
static void check_gelu_tail(vr_check *ck)
{
    const size_t mark = vr_arena_mark(&ck->arena);
    enum { N = 4000 };
    float *x = vr_check_floats(ck, N), *y = vr_check_floats(ck, N), *want = vr_check_floats(ck, N);
    double *wide = vr_check_doubles(ck, N), *limit = vr_check_doubles(ck, N);
    for (int i = 0; i < N; i++) x[i] = -12.0f + 0.005f * (float)i;
    ck->c->finish(want, x, NULL, VR_ACT_GELU, NULL, N);
    ck->d->finish(y, x, NULL, VR_ACT_GELU, NULL, N);
    for (int i = 0; i < N; i++) {
        wide[i] = (double)want[i];
        limit[i] = 8.0 * VR_CHECK_U * fabs(wide[i]) + 0x1p-148;
    }
    vr_check_near(ck, "gelu, relative", y, wide, limit, N);
    vr_arena_release(&ck->arena, mark);
}

/* NaN stays NaN; an infinite argument gives what level c gives. */
static void check_special(vr_check *ck, vr_activation act)
{
    const float x[] = { NAN, INFINITY, -INFINITY };
    float y[3], want[3];
    const double limit[3] = { 0 };
    ck->c->finish(want, x, NULL, act, NULL, 3);
    ck->d->finish(y, x, NULL, act, NULL, 3);
    const double wide[3] = { (double)want[0], (double)want[1], (double)want[2] };
    vr_check_near(ck, names[act], y, wide, limit, 3);
}

typedef enum score_kind { SCORES_NORMAL, SCORES_WIDE, SCORES_SOME_HIDDEN, SCORES_HIDDEN, SCORES_NAN, SCORES_KINDS } score_kind;

static void make_scores(vr_check *ck, float *s, int n, score_kind kind)
{
    for (int i = 0; i < n; i++) {
        const bool hidden = kind == SCORES_HIDDEN || (kind == SCORES_SOME_HIDDEN && vr_check_random(ck) % 2);
        s[i] = hidden ? -INFINITY : (float)(vr_check_normal(ck) * (kind == SCORES_WIDE ? 60.0 : 3.0));
    }
    if (kind == SCORES_NAN) s[vr_check_random(ck) % (uint32_t)n] = NAN;
}

/* Two blocks in a row, so that the running maximum and sum count. */
static void check_softmax(vr_check *ck, int n, score_kind kind)
{
    const size_t mark = vr_arena_mark(&ck->arena);
    const int pad = 3;
    char what[128];
    snprintf(what, sizeof what, "softmax of %d, kind %d", n, (int)kind);
    float max[2] = { -INFINITY, -INFINITY }, sum[2] = { 0.0f, 0.0f };
    double *wide = vr_check_doubles(ck, n + pad), *limit = vr_check_doubles(ck, n + pad);
    for (int block = 0; block < 2; block++) {
        float *s = vr_check_floats(ck, n + pad), *want = vr_check_floats(ck, n + pad), *scores = vr_check_floats(ck, n);
        make_scores(ck, scores, n, block == 0 ? kind : SCORES_NORMAL);
        memcpy(s, scores, (size_t)n * sizeof *s);
        memcpy(want, scores, (size_t)n * sizeof *want);
        const double before = (double)max[0];
        const float factor = ck->d->softmax(s, n, n + pad, 0.7f, &max[1], &sum[1]);
        const double want_factor = (double)ck->c->softmax(want, n, n + pad, 0.7f, &max[0], &sum[0]);
        vr_check_equal(ck, what, &max[1], &max[0], 1);
        for (int i = 0; i < n + pad; i++) {
            wide[i] = (double)want[i];
            const double distance = i < n && isfinite(scores[i]) ? fabs(0.7 * (double)scores[i] - (double)max[0]) : 0.0;
            limit[i] = i < n ? (4.0 + distance) * VR_CHECK_U * fabs(wide[i]) + 0x1p-148 : 0.0;
        }
        vr_check_near(ck, what, s, wide, limit, n + pad);
        vr_check_guards(ck, what, s, n + pad);
        const double distance = isfinite(before) ? fabs(before - (double)max[0]) : 0.0;
        const double factor_limit = (4.0 + distance) * VR_CHECK_U * want_factor, want_sum = (double)sum[0];
        const double sum_limit = (n + 40.0 + distance) * VR_CHECK_U * want_sum;
        vr_check_near(ck, what, &factor, &want_factor, &factor_limit, 1);
        vr_check_near(ck, what, &sum[1], &want_sum, &sum_limit, 1);
    }
    vr_arena_release(&ck->arena, mark);
}

void vr_check_activations(vr_check *ck)
{
    for (int act = VR_ACT_NONE; act <= VR_ACT_SILU; act++) {
        for (int i = 0, n; (n = vr_check_size(ck, i, 11008)) != 0 && !vr_check_failed(ck); i++) {
            for (int with = 0; with < 4; with++) check_finish(ck, (vr_activation)act, n, with & 1, with & 2);
            check_gated(ck, (vr_activation)act, n);
        }
        check_special(ck, (vr_activation)act);
    }
    check_gelu_tail(ck);
    for (int i = 0, n; (n = vr_check_size(ck, i, 512)) != 0 && !vr_check_failed(ck); i++) {
        for (int kind = 0; kind < SCORES_KINDS; kind++) check_softmax(ck, n, (score_kind)kind);
    }
}
