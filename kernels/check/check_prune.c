/*
 * check_prune.c - cosines, Gram matrices and row moves at level d against sums in double; prune, gram, frame_similarity, top_k
 * against plain loops, one thread against two.
 *
 *   rows with zeros, NaN, equal and opposite rows; windows that end short; decisions are compared with the similarities of the
 *   same run, so nothing near a threshold is left out
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/check/check.h"

static const vr_dtype dtypes[] = { VR_DTYPE_F32, VR_DTYPE_F16, VR_DTYPE_BF16 };

static double product(const float *a, const float *b, int64_t D)
{
    double sum = 0.0;
    for (int64_t d = 0; d < D; d++) sum += (double)a[d] * (double)b[d];
    return sum;
}

static double cosine(const float *a, const float *b, int64_t D)
{
    return product(a, b, D) / (fmax(sqrt(product(a, a, D)), 1e-8) * fmax(sqrt(product(b, b, D)), 1e-8));
}

/* --- kernels ------------------------------------------------------------------------------------------------------------ */

static void check_cosine(vr_check *ck, vr_dtype dtype, int n, int D, bool chain)
{
    char what[128];
    snprintf(what, sizeof what, "cosine of %d rows of %d, %s%s", n, D, vr_dtype_name(dtype), chain ? ", chain" : "");
    const int64_t row = D + 5, numbers = (int64_t)(n + 1) * row;
    enum { S_ROW = 3 };
    float *wide = vr_check_floats(ck, numbers), *s = vr_check_floats(ck, n * S_ROW), y[VR_DSP_MAX_COSINE];
    const unsigned char *x = vr_check_weights(ck, dtype, numbers, wide);
    double want[VR_DSP_MAX_COSINE], limit[VR_DSP_MAX_COSINE];
    const size_t row_bytes = (size_t)row * vr_dtype_bytes(dtype);
    ck->d->cosine[vr_dsp_dtype(dtype)](s, S_ROW, x, x + row_bytes, row, n, D, chain);
    for (int r = 0; r < n; r++) {
        want[r] = cosine(wide + (chain ? r * row : 0), wide + (r + 1) * row, D);
        limit[r] = vr_check_reduce(VR_FILL_NORMAL, D, 2.0);
        y[r] = s[r * S_ROW];
    }
    vr_check_near(ck, what, y, want, limit, n);
    vr_check_guards(ck, what, s, (int64_t)(n - 1) * S_ROW + 1);
    for (int r = 0; r < n; r++) { /* the same bits alone */
        float alone;
        ck->d->cosine[vr_dsp_dtype(dtype)](&alone, 1, x + (chain ? (size_t)r : 0) * row_bytes, x + (size_t)(r + 1) * row_bytes,
                                           row, 1, D, chain);
        vr_check_equal(ck, what, &alone, &y[r], 1);
    }
}

static void check_gram_kernel(vr_check *ck, vr_dtype dtype, int n, int D)
{
    char what[128];
    snprintf(what, sizeof what, "gram of %d rows of %d, %s", n, D, vr_dtype_name(dtype));
    float *wide = vr_check_floats(ck, (int64_t)n * (D + 3));
    const unsigned char *x = vr_check_weights(ck, dtype, (int64_t)n * (D + 3), wide);
    const void *rows[VR_DSP_GRAM];
    double g[VR_DSP_GRAM * VR_DSP_GRAM];
    for (int i = 0; i < VR_DSP_GRAM * VR_DSP_GRAM; i++) g[i] = -7.0;
    for (int i = 0; i < n; i++) rows[i] = x + (size_t)(i * (D + 3)) * vr_dtype_bytes(dtype);
    ck->d->gram[vr_dsp_dtype(dtype)](g, rows, n, 2, D);
    for (int i = 0; i < VR_DSP_GRAM; i++) {
        for (int j = 0; j < VR_DSP_GRAM; j++) {
            const float got = (float)g[i * VR_DSP_GRAM + j];
            double want = -7.0, limit = 0.0;
            if (i <= j && j < n) {
                const float *a = wide + (int64_t)i * (D + 3) + 2, *b = wide + (int64_t)j * (D + 3) + 2;
                double size = 0.0;
                for (int d = 0; d < D; d++) size += fabs((double)a[d] * (double)b[d]);
                want = product(a, b, D), limit = vr_check_reduce(VR_FILL_NORMAL, D, size) + VR_CHECK_U * fabs(want);
            }
            vr_check_near(ck, what, &got, &want, &limit, 1);
        }
    }
}

static void check_gather_kernel(vr_check *ck, int n, int row)
{
    const char *what = "gather past the caches";
    enum { ROWS = 11 };
    float *x = vr_check_floats(ck, ROWS * row), *y = vr_check_floats(ck, (int64_t)n * row),
          *want = vr_check_floats(ck, (int64_t)n * row);
    int32_t *ids = vr_arena_alloc(&ck->arena, (size_t)n, sizeof *ids);
    vr_check_fill(ck, x, ROWS * row, VR_FILL_NORMAL);
    for (int i = 0; i < n; i++) {
        ids[i] = (int32_t)(vr_check_random(ck) % ROWS);
        memcpy(want + (int64_t)i * row, x + (int64_t)ids[i] * row, (size_t)row * sizeof *want);
    }
    ck->d->gather(y, x, ids, n, (size_t)row * sizeof *x);
    vr_check_equal(ck, what, y, want, (int64_t)n * row);
    vr_check_guards(ck, what, y, (int64_t)n * row);
}

/* --- prune -------------------------------------------------------------------------------------------------------------- */

typedef struct prune_case {
    int n_frames, N, D, window;
    vr_dtype dtype;
    vr_prune_anchor anchor;
    float threshold;
    int n_least;
} prune_case;

typedef struct prune_out {
    float *similarity, *mask, *indices, *rows; /* of other types; as floats they have guards */
    int32_t n_kept;
} prune_out;

static void out_alloc(vr_check *ck, const prune_case *c, prune_out *o)
{
    const int64_t n = (int64_t)c->n_frames * c->N;
    o->similarity = vr_check_floats(ck, n);
    o->mask = vr_check_floats(ck, (n + 3) / 4);
    o->indices = vr_check_floats(ck, n);
    o->rows = vr_check_floats(ck, (n * c->D * (int64_t)vr_dtype_bytes(c->dtype) + 3) / 4);
}

static void run_prune(vr_backend *be, const prune_case *c, const void *x, prune_out *o)
{
    be->ops->prune(be, &(vr_prune){ .x = x,
                                    .dtype = c->dtype,
                                    .n_frames = c->n_frames,
                                    .N = c->N,
                                    .D = c->D,
                                    .window = c->window,
                                    .anchor = c->anchor,
                                    .threshold = c->threshold,
                                    .n_least = c->n_least,
                                    .similarity = o->similarity,
                                    .mask = (uint8_t *)o->mask,
                                    .indices = (int32_t *)(void *)o->indices,
                                    .n_kept = &o->n_kept,
                                    .rows = o->rows });
}

/* The frame that f is compared with; -1: none. */
static int anchor_of(const prune_case *c, int f)
{
    const int first = f / c->window * c->window;
    if (f == first || (c->anchor == VR_PRUNE_PAIRS && (f - first) % 2 == 0)) return -1;
    return c->anchor == VR_PRUNE_FIRST ? first : f - 1;
}

static bool expected(const prune_case *c, const float *s, int i)
{
    if (isnan(s[i])) return false;
    if (c->n_least == 0) return s[i] < c->threshold;
    int before = 0;
    for (int k = 0; k < c->N; k++) before += s[k] < s[i] || (s[k] == s[i] && k < i);
    return before < c->n_least;
}

static void compare_decisions(vr_check *ck, const char *what, const prune_case *c, const void *x, const prune_out *o)
{
    const uint8_t *mask = (const uint8_t *)o->mask;
    const int32_t *ids = (const int32_t *)(const void *)o->indices;
    const size_t row = (size_t)c->D * vr_dtype_bytes(c->dtype);
    int32_t n = 0;
    for (int f = 0; f < c->n_frames; f++) {
        for (int i = 0; i < c->N; i++) {
            const int32_t at = f * c->N + i;
            const bool keep = anchor_of(c, f) < 0 || expected(c, o->similarity + (int64_t)f * c->N, i);
            if (mask[at] != keep) vr_check_fail(ck, "%s: mask of frame %d, row %d is %d, not %d", what, f, i, mask[at], keep);
            if (!keep) continue;
            if (n >= o->n_kept || ids[n] != at) vr_check_fail(ck, "%s: index %d is not %d", what, n, at);
            if (memcmp((const unsigned char *)o->rows + (size_t)n * row, (const unsigned char *)x + (size_t)at * row, row) != 0)
                vr_check_fail(ck, "%s: kept row %d is not row %d", what, n, at);
            n++;
        }
    }
    if (n != o->n_kept) vr_check_fail(ck, "%s: %d rows kept, not %d", what, o->n_kept, n);
}

static void compare_guards(vr_check *ck, const char *what, const prune_case *c, const prune_out *o)
{
    const int64_t n = (int64_t)c->n_frames * c->N, row = c->D * (int64_t)vr_dtype_bytes(c->dtype);
    vr_check_guards(ck, what, o->similarity, n);
    vr_check_guards(ck, what, o->mask, (n + 3) / 4);
    vr_check_guards(ck, what, o->indices, o->n_kept); /* nothing behind the last of the list */
    if (n == o->n_kept || row % 4 == 0) vr_check_guards(ck, what, o->rows, (o->n_kept * row + 3) / 4);
}

/* Rows that are hard: zero, NaN, a copy and the opposite of another. Both the numbers and their f32 values. */
static void spoil(vr_check *ck, const prune_case *c, unsigned char *x, float *wide)
{
    const size_t row = (size_t)c->D * vr_dtype_bytes(c->dtype);
    const int n = c->n_frames * c->N;
    static const uint8_t nan32[] = { 0, 0, 0xc0, 0x7f }, nan16[] = { 0x00, 0x7e }, nanb16[] = { 0xc0, 0x7f };
    for (int k = 0; k < n / 5; k++) {
        const int to = (int)(vr_check_random(ck) % (uint32_t)n), from = (int)(vr_check_random(ck) % (uint32_t)n);
        const int kind = (int)(vr_check_random(ck) % 3);
        if (kind == 0 || to == from) {
            memset(x + (size_t)to * row, 0, row);
            memset(wide + (int64_t)to * c->D, 0, (size_t)c->D * sizeof *wide);
        } else if (kind == 1) {
            memcpy(x + (size_t)to * row, x + (size_t)from * row, row);
            memcpy(wide + (int64_t)to * c->D, wide + (int64_t)from * c->D, (size_t)c->D * sizeof *wide);
        } else {
            const size_t at = (size_t)to * (size_t)c->D + vr_check_random(ck) % (uint32_t)c->D, size = vr_dtype_bytes(c->dtype);
            memcpy(x + at * size, c->dtype == VR_DTYPE_F32 ? nan32 : c->dtype == VR_DTYPE_F16 ? nan16 : nanb16, size);
            wide[at] = NAN;
        }
    }
}

static void check_prune(vr_check *ck, const prune_case *c)
{
    char what[160];
    snprintf(what, sizeof what, "prune %dx%dx%d %s, window %d, anchor %d, threshold %g, least %d", c->n_frames, c->N, c->D,
             vr_dtype_name(c->dtype), c->window, (int)c->anchor, (double)c->threshold, c->n_least);
    const size_t mark = vr_arena_mark(&ck->arena);
    const int64_t n = (int64_t)c->n_frames * c->N;
    float *wide = vr_check_floats(ck, n * c->D);
    unsigned char *x = vr_check_weights(ck, c->dtype, n * c->D, wide);
    double *want = vr_check_doubles(ck, n), *limit = vr_check_doubles(ck, n);
    if (vr_check_random(ck) % 2) spoil(ck, c, x, wide);
    for (int64_t i = 0; i < n; i++) {
        const int f = (int)(i / c->N), a = anchor_of(c, f);
        want[i] = a < 0 ? 0.0 : cosine(wide + ((int64_t)a * c->N + i % c->N) * c->D, wide + i * c->D, c->D);
        limit[i] = vr_check_reduce(VR_FILL_NORMAL, c->D, 2.0);
    }
    prune_out one, two;
    out_alloc(ck, c, &one);
    out_alloc(ck, c, &two);
    run_prune(ck->one, c, x, &one);
    vr_check_near(ck, what, one.similarity, want, limit, n);
    compare_decisions(ck, what, c, x, &one);
    compare_guards(ck, what, c, &one);
    run_prune(ck->two, c, x, &two);
    for (int64_t i = 0; i < n; i++) {
        if (!isnan(one.similarity[i])) vr_check_equal(ck, what, &two.similarity[i], &one.similarity[i], 1);
    }
    compare_decisions(ck, what, c, x, &two);
    compare_guards(ck, what, c, &two);
    vr_arena_release(&ck->arena, mark);
}

static int pick(vr_check *ck, int most)
{
    return 1 + (int)(vr_check_random(ck) % (uint32_t)most);
}

static void check_prune_sizes(vr_check *ck)
{
    static const float thresholds[] = { 0.8f, 0.0f, 2.0f, -2.0f, 0.05f };
    for (int i = 0; i < (ck->thorough ? 700 : 60) && !vr_check_failed(ck); i++) {
        prune_case c = {
            pick(ck, 17), pick(ck, 33), pick(ck, 100), pick(ck, 20), dtypes[i % 3], (vr_prune_anchor)(i / 3 % 3), 0.0f, 0
        };
        c.threshold = thresholds[vr_check_random(ck) % 5];
        if (i % 4 == 0) c.n_least = pick(ck, c.N + 2);
        if (i % 7 == 0) c.window = 8, c.n_frames = 17; /* the last window is one frame */
        check_prune(ck, &c);
    }
    for (int i = 0; i < 3; i++) { /* several tiles a window, rows past the caches, short windows by the thousand */
        check_prune(
            ck, &(prune_case){ ck->thorough ? 11 : 9, ck->thorough ? 156 : 6, 3584, 8, dtypes[i], VR_PRUNE_FIRST, 0.01f, 0 });
        check_prune(ck, &(prune_case){ 10, ck->thorough ? 30 : 5, 3584, 4, dtypes[i], (vr_prune_anchor)i, 0.0f, 9 });
        if (ck->thorough) check_prune(ck, &(prune_case){ 4097, 2, 3, 2, dtypes[i], (vr_prune_anchor)i, 0.5f, 0 });
    }
}

/* --- gram, frame_similarity, top_k ---------------------------------------------------------------------------------------- */

static void check_gram(vr_check *ck, vr_dtype dtype, int T, int D)
{
    char what[128];
    snprintf(what, sizeof what, "gram %d x %d %s", T, D, vr_dtype_name(dtype));
    float *wide = vr_check_floats(ck, (int64_t)T * D);
    const void *x = vr_check_weights(ck, dtype, (int64_t)T * D, wide);
    double *one = vr_check_doubles(ck, (int64_t)T * T), *two = vr_check_doubles(ck, (int64_t)T * T);
    ck->one->ops->gram(ck->one, one, x, dtype, T, D);
    ck->two->ops->gram(ck->two, two, x, dtype, T, D);
    if (memcmp(one, two, (size_t)T * (size_t)T * sizeof *one) != 0) vr_check_fail(ck, "%s: two threads give other bits", what);
    for (int i = 0; i < T * T; i++) {
        const float *a = wide + (int64_t)(i / T) * D, *b = wide + (int64_t)(i % T) * D, got = (float)one[i];
        double size = 0.0;
        for (int d = 0; d < D; d++) size += fabs((double)a[d] * (double)b[d]);
        const double want = product(a, b, D), limit = vr_check_reduce(VR_FILL_NORMAL, D, size) + VR_CHECK_U * fabs(want);
        vr_check_near(ck, what, &got, &want, &limit, 1);
    }
}

static void check_frames(vr_check *ck, int n_frames, int D, int window)
{
    char what[128];
    snprintf(what, sizeof what, "frame_similarity %d x %d, window %d", n_frames, D, window);
    float *x = vr_check_floats(ck, (int64_t)n_frames * D), *y = vr_check_floats(ck, n_frames),
          *z = vr_check_floats(ck, n_frames);
    double *want = vr_check_doubles(ck, n_frames), *limit = vr_check_doubles(ck, n_frames);
    vr_check_fill(ck, x, (int64_t)n_frames * D, VR_FILL_NORMAL);
    if (n_frames > 4) memset(x + 2 * D, 0, (size_t)D * sizeof *x); /* a frame of zeros: NaN for its window */
    for (int f = 0; f < n_frames; f++) {
        const int first = f / window * window, m = n_frames - first < window ? n_frames - first : window;
        want[f] = 0.0;
        for (int k = first; k < first + m; k++) {
            const float *a = x + (int64_t)f * D, *b = x + (int64_t)k * D;
            want[f] += product(a, b, D) / sqrt(product(a, a, D) * product(b, b, D)) / m;
        }
        limit[f] = vr_check_reduce(VR_FILL_NORMAL, D, 2.0);
    }
    ck->one->ops->frame_similarity(ck->one, y, x, n_frames, D, window);
    vr_check_near(ck, what, y, want, limit, n_frames);
    vr_check_guards(ck, what, y, n_frames);
    ck->two->ops->frame_similarity(ck->two, z, x, n_frames, D, window);
    for (int f = 0; f < n_frames; f++) {
        if (!isnan(y[f])) vr_check_equal(ck, what, &z[f], &y[f], 1);
    }
}

/* a is taken before b. */
static bool before(const float *x, int a, int b, bool least)
{
    if (isnan(x[a]) || isnan(x[b])) return isnan(x[a]) == isnan(x[b]) ? a < b : isnan(x[b]);
    if (x[a] == x[b]) return a < b;
    return least ? x[a] < x[b] : x[a] > x[b];
}

static void check_top_k(vr_check *ck, int T, int n, int k, bool least)
{
    char what[128];
    snprintf(what, sizeof what, "top_k %d of %d, %s", k, n, least ? "least" : "largest");
    static const float hard[] = { 0.0f, -0.0f, INFINITY, -INFINITY, NAN, 1e-40f, -1e-40f, 2.0f };
    const int count = k < n ? k : n;
    float *x = vr_check_floats(ck, (int64_t)T * n), *ids = vr_check_floats(ck, (int64_t)T * count);
    vr_check_fill(ck, x, (int64_t)T * n, VR_FILL_NORMAL);
    for (int i = 0; i < T * n / 2; i++) x[vr_check_random(ck) % (uint32_t)(T * n)] = hard[vr_check_random(ck) % 8];
    for (int pass = 0; pass < 2; pass++) {
        vr_backend *be = pass == 0 ? ck->one : ck->two;
        be->ops->top_k(be, (int32_t *)(void *)ids, x, T, n, k, least);
        vr_check_guards(ck, what, ids, (int64_t)T * count);
        for (int t = 0; t < T; t++) {
            int at = t * count;
            for (int i = 0; i < n; i++) {
                int rank = 0;
                for (int j = 0; j < n; j++) rank += before(x + t * n, j, i, least);
                if (rank >= count) continue;
                if (((const int32_t *)(const void *)ids)[at++] != i) vr_check_fail(ck, "%s: row %d lacks place %d", what, t, i);
            }
        }
        ck->n_compared += (int64_t)T * count;
    }
}

void vr_check_prune(vr_check *ck)
{
    const size_t mark = vr_arena_mark(&ck->arena);
    for (int i = 0, D; (D = vr_check_size(ck, i, 4096)) != 0 && !vr_check_failed(ck); i++) {
        for (int t = 0; t < 3; t++) {
            for (int n = 1; n <= ck->d->cosine_rows; n++) {
                check_cosine(ck, dtypes[t], n, D, false);
                check_cosine(ck, dtypes[t], n, D, true);
            }
            for (int n = 1; n <= VR_DSP_GRAM; n += D > 40 || !ck->thorough ? 5 : 1) check_gram_kernel(ck, dtypes[t], n, D);
            check_gram(ck, dtypes[t], pick(ck, D < 600 ? 35 : 5), D);
            vr_arena_release(&ck->arena, mark);
        }
        check_gather_kernel(ck, pick(ck, 9), D);
        check_frames(ck, pick(ck, 35), D, pick(ck, 20));
        check_top_k(ck, pick(ck, 3), D < 600 ? D : 600, pick(ck, D + 2), i % 2 == 0);
        vr_arena_release(&ck->arena, mark);
    }
    /* tensor cores want multiples of 8: one tile and several, chunks of columns and their ends */
    static const int sizes[][2] = { { 16, 1000 }, { 13, 4104 }, { 70, 136 }, { 20, 4232 }, { 130, 8 } };
    for (int i = 0; i < 10 && !vr_check_failed(ck); i++) {
        check_gram(ck, i % 2 ? VR_DTYPE_BF16 : VR_DTYPE_F16, sizes[i / 2][0], sizes[i / 2][1]);
        vr_arena_release(&ck->arena, mark);
    }
    if (ck->thorough) check_gram(ck, VR_DTYPE_BF16, 3, 40000);
    if (ck->thorough) check_gram(ck, VR_DTYPE_F16, 33, 40000);
    vr_arena_release(&ck->arena, mark);
    check_prune_sizes(ck);
    vr_arena_release(&ck->arena, mark);
}
