/*
 * check_grid.c - layer scale, mean, gather and bilinear resize of grids against plain loops in double, one thread against two.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernels/check/check.h"

/* One thread against the expected numbers, two against the bits of one. */
#define BOTH(call)                                                                                                             \
    do {                                                                                                                       \
        vr_backend *be = ck->one;                                                                                              \
        float *y = first;                                                                                                      \
        call;                                                                                                                  \
        be = ck->two, y = second;                                                                                              \
        call;                                                                                                                  \
        vr_check_near(ck, what, first, want, limit, n);                                                                        \
        vr_check_equal(ck, what, second, first, n);                                                                            \
        vr_check_guards(ck, what, first, n);                                                                                   \
    } while (0)

static void check_scale_mean(vr_check *ck, int N, int T, int D)
{
    char what[128];
    snprintf(what, sizeof what, "scale_add or mean_rows %d x %d x %d", N, T, D);
    int64_t n = (int64_t)N * T * D;
    float *x = vr_check_floats(ck, n), *r = vr_check_floats(ck, n), *scale = vr_check_floats(ck, D);
    float *first = vr_check_floats(ck, n), *second = vr_check_floats(ck, n);
    double *want = vr_check_doubles(ck, n), *limit = vr_check_doubles(ck, n);
    vr_check_fill(ck, x, n, VR_FILL_NORMAL);
    vr_check_fill(ck, r, n, VR_FILL_NORMAL);
    vr_check_fill(ck, scale, D, VR_FILL_NORMAL);
    for (int64_t i = 0; i < n; i++) {
        const double term = (double)scale[i % D] * (double)x[i];
        want[i] = (double)r[i] + term;
        limit[i] = vr_check_reduce(VR_FILL_NORMAL, 1, fabs((double)r[i]) + fabs(term));
    }
    BOTH(be->ops->scale_add(be, y, r, x, scale, N * T, D));
    memcpy(second, r, (size_t)n * sizeof *second); /* y may be the residual */
    ck->two->ops->scale_add(ck->two, second, second, x, scale, N * T, D);
    vr_check_equal(ck, what, second, first, n);

    n = (int64_t)N * D;
    first = vr_check_floats(ck, n), second = vr_check_floats(ck, n);
    for (int64_t i = 0; i < n; i++) {
        double size = 0.0;
        want[i] = 0.0;
        for (int t = 0; t < T; t++) {
            const double number = (double)x[(i / D * T + t) * D + i % D];
            want[i] += number / T, size += fabs(number) / T;
        }
        limit[i] = vr_check_reduce(VR_FILL_NORMAL, T, size);
    }
    BOTH(be->ops->mean_rows(be, y, x, N, T, D));
}

static void check_gather(vr_check *ck, int T, int D)
{
    const char *what = "gather_rows";
    enum { ROWS = 37 };
    const int64_t n = (int64_t)T * D;
    float *x = vr_check_floats(ck, ROWS * (int64_t)D), *first = vr_check_floats(ck, n), *second = vr_check_floats(ck, n);
    double *want = vr_check_doubles(ck, n), *limit = vr_check_doubles(ck, n);
    int32_t *ids = vr_arena_alloc(&ck->arena, (size_t)T, sizeof *ids);
    vr_check_fill(ck, x, ROWS * (int64_t)D, VR_FILL_NORMAL);
    for (int t = 0; t < T; t++) ids[t] = (int32_t)(vr_check_random(ck) % ROWS);
    for (int64_t i = 0; i < n; i++) want[i] = (double)x[ids[i / D] * (int64_t)D + i % D], limit[i] = 0.0;
    BOTH(be->ops->gather_rows(be, y, x, ids, T, D));
}

/* Where line i of `side` lies among in_side lines. */
static void taps(int i, int side, int in_side, int at[2], double *share)
{
    const double u = fmax((i + 0.5) * in_side / side - 0.5, 0.0);
    at[0] = (int)u < in_side - 1 ? (int)u : in_side - 1;
    at[1] = at[0] + 1 < in_side ? at[0] + 1 : in_side - 1;
    *share = u - at[0];
}

static void check_resize(vr_check *ck, int N, int in_side, int side, int D)
{
    char what[128];
    snprintf(what, sizeof what, "resize_grid %d x %d^2 -> %d^2 x %d", N, in_side, side, D);
    const int64_t batch = ((int64_t)in_side * in_side + 1) * D, n = (int64_t)N * side * side * D;
    float *x = vr_check_floats(ck, N * batch), *first = vr_check_floats(ck, n), *second = vr_check_floats(ck, n);
    double *want = vr_check_doubles(ck, n), *limit = vr_check_doubles(ck, n);
    vr_check_fill(ck, x, N * batch, VR_FILL_NORMAL);
    for (int64_t i = 0; i < n; i++) {
        int r[2], c[2];
        double v, h, size = 0.0;
        taps((int)(i / D / side % side), side, in_side, r, &v);
        taps((int)(i / D % side), side, in_side, c, &h);
        want[i] = 0.0;
        for (int k = 0; k < 4; k++) {
            const double weight = (k / 2 ? v : 1.0 - v) * (k % 2 ? h : 1.0 - h);
            const double number = (double)x[i / D / side / side * batch + ((int64_t)r[k / 2] * in_side + c[k % 2]) * D + i % D];
            want[i] += weight * number, size += fabs(number);
        }
        limit[i] = vr_check_reduce(VR_FILL_HUGE, 4, size) + 4 * VR_CHECK_U * in_side * size; /* the place itself is f32 */
    }
    BOTH(be->ops->resize_grid(be, y, side, x, batch, in_side, N, D));
}

/* Grids with `gap` floats between them, which nobody may read or write. */
static void check_neighbours(vr_check *ck, int T, int side, int D, int gap)
{
    char what[128];
    snprintf(what, sizeof what, "add_neighbours %d x %d^2 x %d", T, side, D);
    const int64_t batch = (int64_t)side * side * D + gap, n = T * batch;
    float *x = vr_check_floats(ck, n), *w = vr_check_floats(ck, 27 * (int64_t)D), *bias = vr_check_floats(ck, D);
    float *first = vr_check_floats(ck, n), *second = vr_check_floats(ck, n);
    double *want = vr_check_doubles(ck, n), *limit = vr_check_doubles(ck, n);
    vr_check_fill(ck, w, 27 * (int64_t)D, VR_FILL_NORMAL);
    vr_check_fill(ck, bias, D, VR_FILL_NORMAL);
    for (int t = 0; t < T; t++) vr_check_fill(ck, x + t * batch, batch - gap, VR_FILL_NORMAL);
    for (int64_t i = 0; i < n; i++) {
        const int64_t inside = i % batch;
        const int t = (int)(i / batch), d = (int)(inside % D), r = (int)(inside / D / side), c = (int)(inside / D % side);
        want[i] = (double)first[i], limit[i] = 0; /* the mark between two grids stays */
        if (inside >= batch - gap) continue;
        double size = fabs((double)x[i]) + fabs((double)bias[d]);
        want[i] = (double)x[i] + (double)bias[d];
        for (int k = 0; k < 27; k++) {
            const int at = t + k / 9 - 1, line = r + k / 3 % 3 - 1, column = c + k % 3 - 1;
            if (at < 0 || at >= T || line < 0 || line >= side || column < 0 || column >= side) continue;
            const double term = (double)w[k * D + d] * (double)x[at * batch + ((int64_t)line * side + column) * D + d];
            want[i] += term, size += fabs(term);
        }
        limit[i] = vr_check_reduce(VR_FILL_NORMAL, 29, size);
    }
    BOTH(be->ops->add_neighbours(be, y, x, batch, w, bias, T, side, D));
}

void vr_check_grid(vr_check *ck)
{
    static const int volumes[][4] = { { 1, 1, 1, 0 }, { 3, 4, 5, 5 }, { 2, 3, 70, 70 }, { 1, 16, 3, 1 }, { 8, 2, 64, 0 } };
    static const int shapes[][3] = { { 1, 1, 1 }, { 3, 7, 33 }, { 2, 100, 65 }, { 1, 9, 9001 }, { 4, 1, 70 } };
    static const int grids[][4] = { { 1, 27, 24, 5 }, { 2, 12, 8, 17 }, { 1, 1, 3, 2 },
                                    { 3, 5, 5, 4 },   { 1, 7, 1, 3 },   { 1, 3, 16, 1 } };
    const size_t mark = vr_arena_mark(&ck->arena);
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0] && !vr_check_failed(ck); i++) {
        check_scale_mean(ck, shapes[i][0], shapes[i][1], shapes[i][2]);
        check_gather(ck, shapes[i][0] * shapes[i][1], shapes[i][2]);
        vr_arena_release(&ck->arena, mark);
    }
    for (size_t i = 0; i < sizeof grids / sizeof grids[0] && !vr_check_failed(ck); i++) {
        check_resize(ck, grids[i][0], grids[i][1], grids[i][2], grids[i][3]);
        vr_arena_release(&ck->arena, mark);
    }
    for (size_t i = 0; i < sizeof volumes / sizeof volumes[0] && !vr_check_failed(ck); i++) {
        check_neighbours(ck, volumes[i][0], volumes[i][1], volumes[i][2], volumes[i][3]);
        vr_arena_release(&ck->arena, mark);
    }
    if (ck->thorough) check_gather(ck, 1100, 4001); /* past the caches */
    vr_arena_release(&ck->arena, mark);
}
