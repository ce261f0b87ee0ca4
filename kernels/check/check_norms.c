/*
 * check_norms.c - norms and rotary positions against level c.
 *
 * Limits: the error of a norm is that of its factor, a sum of one sign (D / 16 roundings at most in a lane), and of the mean:
 *   layer:  S = (abs(x) + mean abs(x)) abs(w) / deviation + abs(b)        RMS, L2:  S = abs(y)
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernels/check/check.h"

#define BESIDE 64

typedef struct norm_case {
    float *x, *w, *b, *y, *want;
    double *wide, *limit;
    int D;
    vr_fill fill;
    char what[128];
} norm_case;

static void make_case(vr_check *ck, norm_case *n, const char *name, int D, vr_fill fill)
{
    *n = (norm_case){ .D = D, .fill = fill };
    n->x = vr_check_floats(ck, D), n->w = vr_check_floats(ck, D), n->b = vr_check_floats(ck, D);
    n->y = vr_check_floats(ck, D), n->want = vr_check_floats(ck, D);
    n->wide = vr_check_doubles(ck, D), n->limit = vr_check_doubles(ck, D);
    vr_check_fill(ck, n->x, D, fill);
    vr_check_fill(ck, n->w, D, VR_FILL_NORMAL);
    vr_check_fill(ck, n->b, D, VR_FILL_NORMAL);
    snprintf(n->what, sizeof n->what, "%s of %d, %s", name, D, vr_fill_name(fill));
}

/* size[d] in n->limit becomes the limit; y against want; the same once more in place. */
static void compare(vr_check *ck, norm_case *n)
{
    const double roundings = n->fill == VR_FILL_NORMAL ? 8.0 : (double)n->D / 8.0 + 8.0;
    for (int d = 0; d < n->D; d++) {
        n->wide[d] = (double)n->want[d];
        n->limit[d] = roundings * VR_CHECK_U * n->limit[d] + 0x1p-149;
    }
    vr_check_near(ck, n->what, n->y, n->wide, n->limit, n->D);
    vr_check_guards(ck, n->what, n->y, n->D);
}

static void check_layer(vr_check *ck, int D, vr_fill fill, float eps)
{
    norm_case n;
    make_case(ck, &n, "layer_norm", D, fill);
    ck->c->layer_norm(n.want, n.x, n.w, n.b, D, eps);
    ck->d->layer_norm(n.y, n.x, n.w, n.b, D, eps);
    double mean = 0.0, size = 0.0, variance = 0.0;
    for (int d = 0; d < D; d++) mean += (double)n.x[d] / D, size += fabs((double)n.x[d]) / D;
    for (int d = 0; d < D; d++) variance += ((double)n.x[d] - mean) * ((double)n.x[d] - mean) / D;
    const double factor = 1.0 / sqrt(variance + (double)eps);
    for (int d = 0; d < D; d++) {
        n.limit[d] = (fabs((double)n.x[d]) + size) * factor * fabs((double)n.w[d]) + fabs((double)n.b[d]);
    }
    compare(ck, &n);
    ck->d->layer_norm(n.x, n.x, n.w, n.b, D, eps);
    vr_check_equal(ck, n.what, n.x, n.y, D);
}

static void check_rms(vr_check *ck, int D, vr_fill fill)
{
    norm_case n;
    make_case(ck, &n, "rms_norm", D, fill);
    ck->c->rms_norm(n.want, n.x, n.w, D, 1e-6f);
    ck->d->rms_norm(n.y, n.x, n.w, D, 1e-6f);
    for (int d = 0; d < D; d++) n.limit[d] = fabs((double)n.want[d]);
    compare(ck, &n);
    ck->d->rms_norm(n.x, n.x, n.w, D, 1e-6f);
    vr_check_equal(ck, n.what, n.x, n.y, D);
}

static void check_l2(vr_check *ck, int D, vr_fill fill)
{
    norm_case n;
    make_case(ck, &n, "l2_norm", D, fill);
    ck->c->l2_norm(n.want, n.x, D, 1e-12f, 20.0f);
    ck->d->l2_norm(n.y, n.x, D, 1e-12f, 20.0f);
    for (int d = 0; d < D; d++) n.limit[d] = fabs((double)n.want[d]);
    compare(ck, &n);
    ck->d->l2_norm(n.x, n.x, D, 1e-12f, 20.0f);
    vr_check_equal(ck, n.what, n.x, n.y, D);
}

static void check_rope(vr_check *ck, int E, vr_fill fill, vr_rope_pairs pairs)
{
    norm_case n;
    make_case(ck, &n, pairs == VR_ROPE_HALVES ? "rope, halves" : "rope, adjacent", E, fill);
    memcpy(n.y, n.x, (size_t)E * sizeof *n.y);
    memcpy(n.want, n.x, (size_t)E * sizeof *n.want);
    float *c = vr_check_floats(ck, E / 2), *s = vr_check_floats(ck, E / 2);
    for (int i = 0; i < E / 2; i++) {
        const double angle = 6.2832 * vr_check_random(ck) * 0x1p-32;
        c[i] = (float)cos(angle);
        s[i] = (float)sin(angle);
    }
    ck->d->rope(n.y, c, s, pairs, E);
    ck->c->rope(n.want, c, s, pairs, E);
    for (int i = 0; i < E / 2; i++) {
        const int first = pairs == VR_ROPE_HALVES ? i : 2 * i, second = pairs == VR_ROPE_HALVES ? i + E / 2 : 2 * i + 1;
        n.limit[first] = n.limit[second] = fabs((double)n.x[first]) + fabs((double)n.x[second]);
    }
    compare(ck, &n);
    /* in place, a NaN beside the head would survive being written: numbers follow it */
    float *row = vr_check_floats(ck, E + BESIDE), *want = vr_check_floats(ck, E + BESIDE);
    vr_check_fill(ck, want, E + BESIDE, VR_FILL_NORMAL);
    memcpy(row, want, (size_t)(E + BESIDE) * sizeof *row);
    ck->d->rope(row, c, s, pairs, E);
    vr_check_equal(ck, n.what, row + E, want + E, BESIDE);
}

/* A NaN anywhere makes a whole norm NaN. */
static void check_nan(vr_check *ck, int D)
{
    norm_case n;
    make_case(ck, &n, "norm with a NaN", D, VR_FILL_NORMAL);
    n.x[vr_check_random(ck) % (uint32_t)D] = NAN;
    float *y = n.y;
    for (int kind = 0; kind < 3; kind++) {
        if (kind == 0)
            ck->d->layer_norm(y, n.x, n.w, n.b, D, 1e-6f);
        else if (kind == 1)
            ck->d->rms_norm(y, n.x, n.w, D, 1e-6f);
        else
            ck->d->l2_norm(y, n.x, D, 1e-6f, 1.0f);
        for (int d = 0; d < D; d++) {
            if (!isnan(y[d])) vr_check_fail(ck, "%s of %d, kind %d: number %d is not NaN", n.what, D, kind, d);
        }
    }
}

void vr_check_norms(vr_check *ck)
{
    const size_t mark = vr_arena_mark(&ck->arena);
    for (int i = 0, D; (D = vr_check_size(ck, i, 11008)) != 0 && !vr_check_failed(ck); i++) {
        for (int fill = 0; fill < VR_FILLS; fill++) {
            check_layer(ck, D, (vr_fill)fill, 1e-6f);
            check_layer(ck, D, (vr_fill)fill, 1e-12f);
            check_rms(ck, D, (vr_fill)fill);
            check_l2(ck, D, (vr_fill)fill);
            if (D <= 100) {
                check_rope(ck, 2 * D, (vr_fill)fill, VR_ROPE_HALVES);
                check_rope(ck, 2 * D, (vr_fill)fill, VR_ROPE_ADJACENT);
            }
            vr_arena_release(&ck->arena, mark);
        }
        check_nan(ck, D);
        vr_arena_release(&ck->arena, mark);
    }
}
