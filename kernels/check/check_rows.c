/*
 * check_rows.c - add, scale and weighted sums of rows against level c.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernels/check/check.h"

#define BESIDE 64

static void check_add_scale(vr_check *ck, int n, vr_fill fill)
{
    char what[128];
    snprintf(what, sizeof what, "add or scale of %d, %s", n, vr_fill_name(fill));
    float *x = vr_check_floats(ck, n), *b = vr_check_floats(ck, n), *y = vr_check_floats(ck, n), *want = vr_check_floats(ck, n);
    vr_check_fill(ck, x, n, fill);
    vr_check_fill(ck, b, n, fill);
    ck->d->add(y, x, b, n);
    ck->c->add(want, x, b, n);
    vr_check_equal(ck, what, y, want, n);
    vr_check_guards(ck, what, y, n);
    /* in place, a NaN beside the row would survive being written: numbers follow the row */
    float *row = vr_check_floats(ck, n + BESIDE), *want_row = vr_check_floats(ck, n + BESIDE);
    vr_check_fill(ck, row, n + BESIDE, VR_FILL_NORMAL);
    memcpy(row, y, (size_t)n * sizeof *row);
    memcpy(want_row, row, (size_t)(n + BESIDE) * sizeof *row);
    ck->d->scale(row, 0.3f, n);
    ck->c->scale(want_row, 0.3f, n);
    vr_check_equal(ck, what, row, want_row, n + BESIDE);
}

static void check_weighted_sum(vr_check *ck, int n, int E, vr_fill fill)
{
    char what[128];
    snprintf(what, sizeof what, "weighted_sum of %d rows of %d, %s", n, E, vr_fill_name(fill));
    const int v_row = E + 3;
    float *v = vr_check_floats(ck, (int64_t)n * v_row), *p = vr_check_floats(ck, n);
    float *y = vr_check_floats(ck, E), *want = vr_check_floats(ck, E);
    double *wide = vr_check_doubles(ck, E), *limit = vr_check_doubles(ck, E);
    for (int j = 0; j < n; j++) vr_check_fill(ck, v + (int64_t)j * v_row, E, fill);
    vr_check_fill(ck, p, n, VR_FILL_NORMAL);
    vr_check_fill(ck, y, E, fill);
    memcpy(want, y, (size_t)E * sizeof *want);
    for (int e = 0; e < E; e++) {
        double size = fabs((double)y[e]);
        for (int j = 0; j < n; j++) size += fabs((double)p[j] * (double)v[j * v_row + e]);
        limit[e] = vr_check_reduce(fill, n + 2, size);
    }
    ck->c->weighted_sum(want, 0.3f, v, v_row, p, n, E);
    ck->d->weighted_sum(y, 0.3f, v, v_row, p, n, E);
    for (int e = 0; e < E; e++) wide[e] = (double)want[e];
    vr_check_near(ck, what, y, wide, limit, E);
    vr_check_guards(ck, what, y, E);
}

void vr_check_rows(vr_check *ck)
{
    const size_t mark = vr_arena_mark(&ck->arena);
    for (int i = 0, n; (n = vr_check_size(ck, i, 4096)) != 0 && !vr_check_failed(ck); i++) {
        for (int fill = 0; fill < VR_FILLS; fill++) {
            check_add_scale(ck, n, (vr_fill)fill);
            if (n <= 512) {
                check_weighted_sum(ck, 7, n, (vr_fill)fill);
                check_weighted_sum(ck, n, 88, (vr_fill)fill);
            }
            vr_arena_release(&ck->arena, mark);
        }
    }
}
