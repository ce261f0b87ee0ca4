/*
 * check_distances.c - squared distances, mixtures of rows and means of grids against plain loops in double, one thread against
 * two.
 *
 *   equal rows must give 0, a pair the same bits at every place and in either order
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernels/check/check.h"

static double distance(const float *a, const float *b, int64_t D)
{
    double sum = 0.0;
    for (int64_t d = 0; d < D; d++) sum += ((double)a[d] - (double)b[d]) * ((double)a[d] - (double)b[d]);
    return sum;
}

static double *doubles(vr_check *ck, int64_t n)
{
    return vr_arena_alloc(&ck->arena, (size_t)n, sizeof(double));
}

/* Against the definition; d is as wide as an f32 here, which is what a limit of REDUCE can tell. */
static void compare(vr_check *ck, const char *what, const double *d, const float *x, int T, const float *y, int N, int64_t D)
{
    for (int i = 0; i < T && !vr_check_failed(ck); i++) {
        for (int k = 0; k < N; k++) {
            const float got = (float)d[(int64_t)i * N + k];
            const double want = distance(x + i * D, y + k * D, D);
            /* a difference rounds once, its square twice as much */
            const double limit = vr_check_reduce(VR_FILL_NORMAL, D < 16384 ? (int)D : 16384, want) + 3.0 * VR_CHECK_U * want;
            vr_check_near(ck, what, &got, &want, &limit, 1);
        }
    }
}

static void same_bits(vr_check *ck, const char *what, const double *a, const double *b, int64_t n)
{
    if (n > 0 && memcmp(a, b, (size_t)n * sizeof *a) != 0) vr_check_fail(ck, "%s: bits differ", what);
    ck->n_compared += n;
}

static void check_distances(vr_check *ck, int T, int N, int64_t D, float offset)
{
    char what[128];
    snprintf(what, sizeof what, "distances %d x %d x %lld, offset %g", T, N, (long long)D, (double)offset);
    float *x = vr_check_floats(ck, T * D), *y = vr_check_floats(ck, N * D);
    double *one = doubles(ck, (int64_t)T * N), *two = doubles(ck, (int64_t)T * N), *all = doubles(ck, (int64_t)T * T), pair;
    vr_check_fill(ck, x, T * D, VR_FILL_NORMAL);
    vr_check_fill(ck, y, N * D, VR_FILL_NORMAL);
    for (int64_t i = 0; i < T * D; i++) x[i] += offset;
    for (int64_t i = 0; i < N * D; i++) y[i] += offset;
    if (T > 2) memcpy(x + 2 * D, x, (size_t)D * sizeof *x);
    if (T > 0 && N > 1) memcpy(y + (N - 1) * D, x + (T - 1) * D, (size_t)D * sizeof *x);
    ck->one->ops->distances(ck->one, one, x, T, y, N, D);
    ck->two->ops->distances(ck->two, two, x, T, y, N, D);
    compare(ck, what, one, x, T, y, N, D);
    same_bits(ck, what, one, two, (int64_t)T * N);
    ck->two->ops->distances(ck->two, all, x, T, x, T, D);
    compare(ck, what, all, x, T, x, T, D);
    for (int k = 0; k < 20 && T > 0; k++) { /* alone, the other way round, at the other side of the matrix */
        const int i = (int)(vr_check_random(ck) % (uint32_t)T), j = (int)(vr_check_random(ck) % (uint32_t)T);
        ck->one->ops->distances(ck->one, &pair, x + j * D, 1, x + i * D, 1, D);
        same_bits(ck, what, &pair, &all[(int64_t)i * T + j], 1);
        same_bits(ck, what, &pair, &all[(int64_t)j * T + i], 1);
    }
    if (T > 2 && all[2] != 0.0) vr_check_fail(ck, "%s: equal rows are %g apart", what, all[2]);
}

static void check_mix(vr_check *ck, int K, int T, int D)
{
    char what[128];
    snprintf(what, sizeof what, "mix_rows %d x %d x %d", K, T, D);
    const int64_t n = (int64_t)K * D;
    float *a = vr_check_floats(ck, (int64_t)K * T), *x = vr_check_floats(ck, (int64_t)T * D);
    float *first = vr_check_floats(ck, n), *second = vr_check_floats(ck, n);
    double *want = vr_check_doubles(ck, n), *limit = vr_check_doubles(ck, n);
    vr_check_fill(ck, x, (int64_t)T * D, VR_FILL_NORMAL);
    for (int64_t i = 0; i < (int64_t)K * T; i++) a[i] = vr_check_random(ck) % 3 ? 0.0f : (float)vr_check_normal(ck);
    for (int t = 0; t < T && K > 0; t++) a[t] = t == T / 2 ? 1.0f : 0.0f; /* a copy */
    for (int64_t i = 0; i < n; i++) {
        double size = 0.0;
        want[i] = 0.0;
        for (int t = 0; t < T; t++) {
            const double term = (double)a[i / D * T + t] * (double)x[(int64_t)t * D + i % D];
            want[i] += term, size += fabs(term);
        }
        limit[i] = vr_check_reduce(VR_FILL_NORMAL, T, size);
    }
    ck->one->ops->mix_rows(ck->one, first, a, K, x, T, D);
    ck->two->ops->mix_rows(ck->two, second, a, K, x, T, D);
    vr_check_near(ck, what, first, want, limit, n);
    vr_check_equal(ck, what, second, first, n);
    vr_check_guards(ck, what, first, n);
    if (K > 0 && T > 0) vr_check_equal(ck, what, first, x + (int64_t)(T / 2) * D, D);
}

static void window(int i, int side, int in_side, bool adaptive, int *first, int *end)
{
    const int step = in_side / side;
    *first = adaptive ? (int)floor((double)i * in_side / side) : i * step;
    *end = adaptive ? (int)ceil((double)(i + 1) * in_side / side) : i * step + step;
}

static void check_pool(vr_check *ck, int N, int in_side, int side, bool adaptive, int D)
{
    char what[128];
    snprintf(what, sizeof what, "pool_grid %d x %d^2 -> %d^2 x %d, %d", N, in_side, side, D, adaptive);
    const int64_t batch = ((int64_t)in_side * in_side + 1) * D, n = (int64_t)N * side * side * D;
    float *x = vr_check_floats(ck, N * batch), *first = vr_check_floats(ck, n), *second = vr_check_floats(ck, n);
    double *want = vr_check_doubles(ck, n), *limit = vr_check_doubles(ck, n);
    vr_check_fill(ck, x, N * batch, VR_FILL_NORMAL);
    for (int64_t i = 0; i < n; i++) {
        int top, bottom, left, right;
        double sum = 0.0, size = 0.0;
        window((int)(i / D / side % side), side, in_side, adaptive, &top, &bottom);
        window((int)(i / D % side), side, in_side, adaptive, &left, &right);
        const int count = (bottom - top) * (right - left);
        for (int k = 0; k < count; k++) {
            const int r = top + k / (right - left), c = left + k % (right - left);
            const double number = (double)x[i / D / side / side * batch + ((int64_t)r * in_side + c) * D + i % D];
            sum += number, size += fabs(number);
        }
        want[i] = sum / count, limit[i] = vr_check_reduce(VR_FILL_NORMAL, count, size / count);
    }
    ck->one->ops->pool_grid(ck->one, first, side, x, batch, in_side, adaptive, N, D);
    ck->two->ops->pool_grid(ck->two, second, side, x, batch, in_side, adaptive, N, D);
    vr_check_near(ck, what, first, want, limit, n);
    vr_check_equal(ck, what, second, first, n);
    vr_check_guards(ck, what, first, n);
}

void vr_check_distances(vr_check *ck)
{
    static const int pairs[][3] = { { 0, 3, 5 },     { 1, 1, 1 },  { 1, 26, 333 }, { 26, 26, 1024 },
                                    { 9, 17, 1025 }, { 5, 2, 40 }, { 70, 66, 19 }, { 3, 8, 16397 } };
    static const int mixes[][3] = { { 1, 1, 1 }, { 25, 26, 300 }, { 3, 0, 7 }, { 2, 5, 129 }, { 7, 40, 64 } };
    static const int grids[][4] = { { 2, 16, 8, 7 },  { 1, 7, 3, 130 }, { 2, 8, 1, 33 }, { 1, 16, 12, 5 },
                                    { 1, 24, 14, 3 }, { 3, 5, 5, 9 },   { 1, 1, 1, 4 } };
    const size_t mark = vr_arena_mark(&ck->arena);
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0] && !vr_check_failed(ck); i++) {
        check_distances(ck, pairs[i][0], pairs[i][1], pairs[i][2], i % 2 ? 100.0f : 0.0f);
        vr_arena_release(&ck->arena, mark);
    }
    for (size_t i = 0; i < sizeof mixes / sizeof mixes[0] && !vr_check_failed(ck); i++) {
        check_mix(ck, mixes[i][0], mixes[i][1], mixes[i][2]);
        vr_arena_release(&ck->arena, mark);
    }
    for (size_t i = 0; i < 2 * (sizeof grids / sizeof grids[0]) && !vr_check_failed(ck); i++) {
        const int *g = grids[i / 2];
        check_pool(ck, g[0], g[1], g[2], i % 2, g[3]);
        vr_arena_release(&ck->arena, mark);
    }
    if (ck->thorough) check_distances(ck, 26, 26, 16384, 0.0f);
    vr_arena_release(&ck->arena, mark);
}
