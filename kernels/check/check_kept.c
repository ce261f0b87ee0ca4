/*
 * check_kept.c - rows of keys and values as a cache keeps them (kept.h): written, widened, multiplied and summed.
 *
 * Rows are written by level c, which is itself held to the bounds of kept.h; what is computed of them is compared with sums in
 * double of the values that they hold.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "kernels/check/check.h"

static const char *const names[VR_KEPTS] = { "f32", "f16", "q8" };

/* n rows of E numbers, row_stride elements apart, every one written by level c; their values go to wide [n][E]. */
static void *make_rows(vr_check *ck, vr_kept type, int n, int E, int64_t row_stride, vr_fill fill, float *wide)
{
    const size_t row_bytes = (size_t)row_stride * vr_kept_bytes(type);
    unsigned char *rows = (unsigned char *)vr_check_floats(ck, ((int64_t)row_bytes * n + 3) / 4);
    float *x = vr_check_floats(ck, E);
    for (int i = 0; i < n; i++) {
        unsigned char *row = rows + (size_t)i * row_bytes;
        vr_check_fill(ck, x, E, fill);
        if (type == VR_KEPT_F32)
            memcpy(row, x, (size_t)E * sizeof *x);
        else
            ck->c->kept[type].keep(row, x, E);
        ck->c->kept[type].widen(wide + (int64_t)i * E, row, E);
    }
    return rows;
}

/* How far a kept number may be from x; largest: of its group. */
static double rounding(vr_kept type, double x, double largest)
{
    if (type == VR_KEPT_F16) return fmax(fabs(x) * 0x1p-11, 0x1p-25);
    return (largest / 127.0 * (1.0 + 0x1p-10) + 0x1p-24) / 2.0 * (1.0 + 0x1p-15); /* the scale was rounded up */
}

/* Numbers x [n] kept by the level and by c: the same bytes, and within the bounds where they are finite. */
static void check_keep(vr_check *ck, vr_kept type, const float *x, int n, const char *kind)
{
    const size_t mark = vr_arena_mark(&ck->arena);
    const int64_t floats = ((int64_t)vr_kept_row(type, n) * (int64_t)vr_kept_bytes(type) + 3) / 4;
    char what[128];
    snprintf(what, sizeof what, "keep %d numbers as %s, %s", n, names[type], kind);
    float *row = vr_check_floats(ck, floats), *want = vr_check_floats(ck, floats);
    float *y = vr_check_floats(ck, n), *values = vr_check_floats(ck, n);
    ck->d->kept[type].keep(row, x, n);
    ck->c->kept[type].keep(want, x, n);
    vr_check_equal(ck, what, row, want, floats);
    vr_check_guards(ck, what, row, floats);
    ck->d->kept[type].widen(y, row, n);
    ck->c->kept[type].widen(values, want, n);
    vr_check_equal(ck, what, y, values, n);
    vr_check_guards(ck, what, y, n);
    for (int i = 0; i < n; i++) {
        double largest = 0.0;
        for (int k = i / VR_KEPT_GROUP * VR_KEPT_GROUP; k < n && k / VR_KEPT_GROUP == i / VR_KEPT_GROUP; k++)
            largest = fmax(largest, isfinite(x[k]) ? fabs((double)x[k]) : HUGE_VAL);
        const double most = type == VR_KEPT_Q8 ? largest / 127.0 : fabs((double)x[i]);
        const double value = (double)x[i], limit = rounding(type, value, largest);
        if (most < 65504.0) vr_check_near(ck, what, y + i, &value, &limit, 1);
        if (type == VR_KEPT_Q8 && !isfinite(largest) && !isnan(y[i]))
            vr_check_fail(ck, "%s: number %d of a group that is not finite reads %g", what, i, (double)y[i]);
    }
    vr_arena_release(&ck->arena, mark);
}

static void check_keeps(vr_check *ck, vr_kept type, int n)
{
    const size_t mark = vr_arena_mark(&ck->arena);
    float *x = vr_check_floats(ck, n);
    for (int fill = 0; fill < VR_FILLS; fill++) {
        vr_check_fill(ck, x, n, (vr_fill)fill);
        check_keep(ck, type, x, n, vr_fill_name((vr_fill)fill));
    }
    for (int exponent = -30; exponent <= 20; exponent += 5) {
        vr_check_fill(ck, x, n, VR_FILL_NORMAL);
        for (int i = 0; i < n; i++) x[i] = ldexpf(x[i], exponent);
        check_keep(ck, type, x, n, "of one size");
    }
    static const float odd[] = { NAN, INFINITY, -INFINITY, 65519.0F, 65520.0F, -0.0F, 0x1p-24F, 0x1.8p-25F, 0x1p-25F, -127.0F };
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        vr_check_fill(ck, x, n, VR_FILL_NORMAL);
        x[vr_check_random(ck) % (uint32_t)n] = odd[i];
        check_keep(ck, type, x, n, "with an odd one");
    }
    for (int i = 0; i < n; i++) x[i] = (float)(i % 255 - 127) + (i % 2 ? 0.5F : 0.0F); /* halves go to the even byte */
    check_keep(ck, type, x, n, "halves");
    vr_arena_release(&ck->arena, mark);
}

static void check_scores(vr_check *ck, vr_kept type, int T, int n, int E, vr_fill fill)
{
    const size_t mark = vr_arena_mark(&ck->arena);
    const int64_t row = vr_kept_row(type, E) + 4, size = (T - 1) * VR_DSP_FEW_KEYS + n;
    char what[128];
    snprintf(what, sizeof what, "scores of kept %s, %d x %d x %d, %s", names[type], T, n, E, vr_fill_name(fill));
    float *wide = vr_check_floats(ck, (int64_t)n * E), *q = vr_check_floats(ck, (T - 1) * VR_DSP_QUERY_ROW + E);
    float *y = vr_check_floats(ck, size), *first = vr_check_floats(ck, size);
    vr_ahead next = { .row = { (const char *)q, (const char *)q }, .run = 2, .n_rows = 3, .per_line = 40 };
    const void *rows = make_rows(ck, type, n, E, row, VR_FILL_NORMAL, wide);
    for (int t = 0; t < T; t++) vr_check_fill(ck, q + t * VR_DSP_QUERY_ROW, E, fill);
    memcpy(first, y, (size_t)size * sizeof *first);
    ck->d->kept[type].scores(y, q, T, rows, row, n, E, &next);
    for (int i = 0; i < T * n; i++) {
        double sum = 0.0, terms = 0.0;
        for (int e = 0; e < E; e++) {
            const double term = (double)q[i / n * VR_DSP_QUERY_ROW + e] * (double)wide[i % n * E + e];
            sum += term;
            terms += fabs(term);
        }
        const double limit = vr_check_reduce(fill, E, terms);
        vr_check_near(ck, what, y + i / n * VR_DSP_FEW_KEYS + i % n, &sum, &limit, 1);
    }
    for (int t = 0; t < T - 1; t++) /* what lies between the rows is untouched */
        vr_check_equal(ck, what, y + t * VR_DSP_FEW_KEYS + n, first + t * VR_DSP_FEW_KEYS + n, VR_DSP_FEW_KEYS - n);
    vr_check_guards(ck, what, y, size);
    vr_arena_release(&ck->arena, mark);
}

/* T sums at once, each of which gives the bits that it gives alone. */
static void check_weighted_sum(vr_check *ck, vr_kept type, int T, int n, int E, vr_fill fill)
{
    const size_t mark = vr_arena_mark(&ck->arena);
    const int64_t row = vr_kept_row(type, E) + 4, y_row = E + 3, size = (T - 1) * y_row + E;
    const float factor[VR_DSP_FEW] = { 0.3F, 1.0F, 0.0F, 2.5F, 1.0F, 0.7F, 0.1F, 3.0F };
    char what[128];
    snprintf(what, sizeof what, "weighted_sum %d of %d rows of %d as %s, %s", T, n, E, names[type], vr_fill_name(fill));
    float *wide = vr_check_floats(ck, (int64_t)n * E), *p = vr_check_floats(ck, (T - 1) * VR_DSP_FEW_KEYS + n);
    float *y = vr_check_floats(ck, size), *alone = vr_check_floats(ck, E);
    double *want = vr_check_doubles(ck, E), *limit = vr_check_doubles(ck, E);
    vr_ahead next = { .row = { (const char *)p, (const char *)p }, .run = 2, .n_rows = 3, .per_line = 40 }, none = { 0 };
    /* of what kept.h can hold */
    const void *v = make_rows(ck, type, n, E, row, type == VR_KEPT_F32 || fill != VR_FILL_HUGE ? fill : VR_FILL_NORMAL, wide);
    for (int t = 0; t < T; t++) vr_check_fill(ck, p + t * VR_DSP_FEW_KEYS, n, VR_FILL_NORMAL);
    for (int t = 0; t < T; t++) vr_check_fill(ck, y + t * y_row, E, fill);
    float *first = vr_check_floats(ck, size);
    memcpy(first, y, (size_t)size * sizeof *first);
    ck->d->kept[type].weighted_sum(y, y_row, factor, v, row, p, T, n, E, &next);
    for (int t = 0; t < T; t++) {
        const float *weight = p + t * VR_DSP_FEW_KEYS;
        for (int e = 0; e < E; e++) {
            const double before = (double)first[t * y_row + e];
            double terms = fabs(before * (double)factor[t]);
            want[e] = before * (double)factor[t];
            for (int j = 0; j < n; j++) {
                want[e] += (double)weight[j] * (double)wide[j * E + e];
                terms += fabs((double)weight[j] * (double)wide[j * E + e]);
            }
            limit[e] = vr_check_reduce(fill, n + 2, terms);
        }
        vr_check_near(ck, what, y + t * y_row, want, limit, E);
        if (t > 0) vr_check_equal(ck, what, y + t * y_row - 3, first + t * y_row - 3, 3);
        memcpy(alone, first + t * y_row, (size_t)E * sizeof *alone);
        ck->d->kept[type].weighted_sum(alone, y_row, factor + t, v, row, weight, 1, n, E, &none);
        vr_check_equal(ck, what, alone, y + t * y_row, E);
    }
    vr_check_guards(ck, what, y, size);
    vr_arena_release(&ck->arena, mark);
}

/* The operation: T rows of H heads, with room between rows and between heads that stays as it was. */
static void check_keep_rows(vr_check *ck, vr_kept type, int T, int H, int E)
{
    const size_t mark = vr_arena_mark(&ck->arena);
    const int64_t head = vr_kept_row(type, E) + 4, row = H * head + 8;
    const int64_t floats = (T * row * (int64_t)vr_kept_bytes(type) + 3) / 4;
    char what[128];
    snprintf(what, sizeof what, "keep_rows of %d x %d x %d as %s", T, H, E, names[type]);
    float *x = vr_check_floats(ck, (int64_t)T * H * E), *want = vr_check_floats(ck, floats);
    float *y[2] = { vr_check_floats(ck, floats), vr_check_floats(ck, floats) };
    vr_check_fill(ck, x, (int64_t)T * H * E, VR_FILL_NORMAL);
    for (int i = 0; i < T * H; i++) {
        unsigned char *to = (unsigned char *)want + (size_t)(i / H * row + i % H * head) * vr_kept_bytes(type);
        if (type == VR_KEPT_F32)
            memcpy(to, x + (int64_t)i * E, (size_t)E * sizeof *x);
        else
            ck->c->kept[type].keep(to, x + (int64_t)i * E, E);
    }
    ck->one->ops->keep_rows(ck->one, type, y[0], row, head, x, T, H, E);
    ck->two->ops->keep_rows(ck->two, type, y[1], row, head, x, T, H, E);
    for (int i = 0; i < 2; i++) {
        vr_check_equal(ck, what, y[i], want, floats);
        vr_check_guards(ck, what, y[i], floats);
    }
    vr_arena_release(&ck->arena, mark);
}

void vr_check_kept(vr_check *ck)
{
    for (int type = 0; type < VR_KEPTS && ck->one->ops->keep_rows && !vr_check_failed(ck); type++) {
        const vr_kept kept = (vr_kept)type;
        check_keep_rows(ck, kept, 1, 1, 1);
        check_keep_rows(ck, kept, 3, 2, 33);
        check_keep_rows(ck, kept, 70, 8, 128);
        check_keep_rows(ck, kept, 5, 3, 72);
    }
    for (int type = 0; type < VR_KEPTS && !ck->device; type++) {
        const vr_kept kept = (vr_kept)type;
        for (int i = 0, n; (n = vr_check_size(ck, i, 512)) != 0 && !vr_check_failed(ck); i++) {
            if (type != VR_KEPT_F32) check_keeps(ck, kept, n);
            for (int T = 1; T <= VR_DSP_FEW; T++) check_scores(ck, kept, T, T == 1 ? 19 : 9, n, VR_FILL_NORMAL);
            for (int fill = 1; fill < VR_FILLS; fill++) check_scores(ck, kept, 2, 2, n, (vr_fill)fill);
            for (int fill = 0; fill < VR_FILLS; fill++) {
                for (int T = 1; T <= VR_DSP_FEW; T++) check_weighted_sum(ck, kept, T, 7, n, (vr_fill)fill);
                if (n <= VR_DSP_FEW_KEYS) check_weighted_sum(ck, kept, 1, n, 88, (vr_fill)fill);
            }
        }
        for (int E = 64; E <= 136 && !vr_check_failed(ck); E += 8) check_scores(ck, kept, 1, 64, E, VR_FILL_NORMAL);
        for (int T = 1; T <= VR_DSP_FEW && !vr_check_failed(ck); T++) check_scores(ck, kept, T, 64, 128, VR_FILL_NORMAL);
    }
}
