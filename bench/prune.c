/*
 * prune.c - family prune: the fused cosine and prune operation, index and copy form; with family select in between.
 *
 *   data: windows of 8 frames, half of the rows of later frames like their anchor (cosine 0.93), half new (cosine about 0)
 *   floors: read x once; for the copy form also: write the kept rows once with streaming stores
 *   check before timing: similarities, mask, list and rows of every way against sums in double
 *
 * Trap:  PyTorch in bf16 and f16 rounds after every step; no row of the data is near the threshold, so it must keep the same
 * number.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"

#define THRESHOLD 0.7f
#define MAX_WAYS  8

typedef struct prune_case {
    int n_frames, N, D, window;
    vr_dtype dtype;
    vr_prune_anchor anchor;
    bool sweep; /* only with --sweep */
} prune_case;

static const prune_case cases[] = {
    { 128, 144, 3584, 8, VR_DTYPE_BF16, VR_PRUNE_FIRST, false },   { 128, 144, 3584, 8, VR_DTYPE_F16, VR_PRUNE_FIRST, false },
    { 128, 144, 3584, 8, VR_DTYPE_F32, VR_PRUNE_FIRST, false },    { 128, 64, 3584, 8, VR_DTYPE_BF16, VR_PRUNE_FIRST, false },
    { 128, 144, 3584, 8, VR_DTYPE_BF16, VR_PRUNE_PREVIOUS, true }, { 128, 144, 3584, 8, VR_DTYPE_BF16, VR_PRUNE_PAIRS, true },
    { 128, 144, 3584, 4, VR_DTYPE_BF16, VR_PRUNE_FIRST, true },    { 128, 144, 3584, 16, VR_DTYPE_BF16, VR_PRUNE_FIRST, true },
    { 8, 144, 3584, 8, VR_DTYPE_BF16, VR_PRUNE_FIRST, true },      { 400, 144, 1024, 8, VR_DTYPE_BF16, VR_PRUNE_FIRST, true },
};
enum { N_CASES = sizeof cases / sizeof cases[0] };

typedef struct prune_data prune_data;

typedef struct prune_way {
    prune_data *data;
    vr_backend *be;
    bool copy;
} prune_way;

struct prune_data {
    bench_run *run;
    const prune_case *c;
    size_t row_bytes, x_bytes;
    void *x, *rows;
    float *similarity;
    double *want; /* oracle; NaN: compared with no one */
    uint8_t *mask;
    int32_t *indices, n_kept, n_expected;
    int n_ways;
    prune_way ways[MAX_WAYS];
};

static int anchor_of(const prune_case *c, int f)
{
    const int first = f / c->window * c->window;
    if (f == first || (c->anchor == VR_PRUNE_PAIRS && (f - first) % 2 == 0)) return -1;
    return c->anchor == VR_PRUNE_FIRST ? first : f - 1;
}

/* A window: frames one after the other; a row is 0.4 noise beside its anchor, or all noise. */
static void fill_tile(void *arg, int tile, int thread)
{
    (void)thread;
    const prune_data *d = arg;
    const prune_case *c = d->c;
    uint64_t seed = UINT64_C(88172645463325252) + (uint64_t)tile;
    const int64_t first = (int64_t)tile * c->window * c->N, all = (int64_t)c->n_frames * c->N;
    for (int64_t row = first; row < all && row < first + (int64_t)c->window * c->N; row++) {
        const int a = anchor_of(c, (int)(row / c->N));
        const int64_t at = row * c->D, from = ((int64_t)a * c->N + row % c->N) * c->D;
        const bool alike = a >= 0 && bench_random(&seed) < 0.0f;
        for (int k = 0; k < c->D; k++) {
            const float noise = bench_random(&seed);
            bench_store(d->x, c->dtype, at + k, alike ? bench_load(d->x, c->dtype, from + k) + 0.4f * noise : noise);
        }
    }
}

static void oracle_tile(void *arg, int tile, int thread)
{
    (void)thread;
    const prune_data *d = arg;
    const prune_case *c = d->c;
    const int a = anchor_of(c, tile);
    for (int i = 0; i < c->N; i++) {
        const int64_t row = (int64_t)tile * c->N + i, b_at = row * c->D, a_at = ((int64_t)a * c->N + i) * c->D;
        double ab = 0.0, aa = 0.0, bb = 0.0;
        for (int k = 0; a >= 0 && k < c->D; k++) {
            const double x = (double)bench_load(d->x, c->dtype, a_at + k), y = (double)bench_load(d->x, c->dtype, b_at + k);
            ab += x * y, aa += x * x, bb += y * y;
        }
        d->want[row] = a < 0 ? (double)NAN : ab / (fmax(sqrt(aa), 1e-8) * fmax(sqrt(bb), 1e-8));
    }
}

static bool make_data(prune_data *d)
{
    const prune_case *c = d->c;
    const size_t n = (size_t)c->n_frames * (size_t)c->N;
    d->row_bytes = (size_t)c->D * vr_dtype_bytes(c->dtype), d->x_bytes = n * d->row_bytes;
    d->x = bench_alloc(d->x_bytes), d->rows = bench_alloc(d->x_bytes);
    d->similarity = malloc(n * sizeof *d->similarity), d->want = malloc(n * sizeof *d->want);
    d->mask = malloc(n), d->indices = malloc(n * sizeof *d->indices);
    if (!d->x || !d->rows || !d->similarity || !d->want || !d->mask || !d->indices) return false;
    vr_pool_run(d->run->pool, (c->n_frames + c->window - 1) / c->window, fill_tile, d);
    memset(d->rows, 1, d->x_bytes);
    vr_pool_run(d->run->pool, c->n_frames, oracle_tile, d);
    for (size_t i = 0; i < n; i++) d->n_expected += isnan(d->want[i]) || d->want[i] < (double)THRESHOLD;
    return true;
}

static void free_data(prune_data *d)
{
    bench_free(d->x, d->x_bytes);
    bench_free(d->rows, d->x_bytes);
    free(d->similarity);
    free(d->want);
    free(d->mask);
    free(d->indices);
    for (int i = 0; i < d->n_ways; i += 2) vr_backend_free(d->ways[i].be);
}

static double call_read(void *arg)
{
    const prune_data *d = arg;
    return bench_read(d->run->pool, d->x, d->x_bytes);
}

static double call_write(void *arg)
{
    const prune_data *d = arg;
    return bench_write(d->run->pool, d->rows, (size_t)d->n_expected * d->row_bytes);
}

static double call_own(void *arg)
{
    const prune_way *w = arg;
    prune_data *d = w->data;
    const prune_case *c = d->c;
    const double start = bench_seconds();
    w->be->ops->prune(w->be, &(vr_prune){ .x = d->x,
                                          .dtype = c->dtype,
                                          .n_frames = c->n_frames,
                                          .N = c->N,
                                          .D = c->D,
                                          .window = c->window,
                                          .anchor = c->anchor,
                                          .threshold = THRESHOLD,
                                          .similarity = d->similarity,
                                          .mask = d->mask,
                                          .indices = d->indices,
                                          .n_kept = &d->n_kept,
                                          .rows = w->copy ? d->rows : NULL });
    return bench_seconds() - start;
}

static int check_way(prune_way *w, vr_err *e)
{
    prune_data *d = w->data;
    const prune_case *c = d->c;
    const char *level = vr_cpu_level(w->be), *type = vr_dtype_name(c->dtype);
    int32_t n = 0;
    call_own(w);
    for (int32_t i = 0; i < c->n_frames * c->N; i++) {
        const bool none = isnan(d->want[i]), keep = none || d->want[i] < (double)THRESHOLD;
        if (fabs((double)d->similarity[i] - (none ? 0.0 : d->want[i])) > 1e-5)
            return vr_fail(e, VR_ERR_OTHER, "prune %s %s: similarity %d is %g, not %g", level, type, i,
                           (double)d->similarity[i], d->want[i]);
        if (d->mask[i] != keep) return vr_fail(e, VR_ERR_OTHER, "prune %s %s: mask %d is %d", level, type, i, d->mask[i]);
        if (!keep) continue;
        if (n >= d->n_kept || d->indices[n] != i)
            return vr_fail(e, VR_ERR_OTHER, "prune %s %s: index %d is not %d", level, type, n, i);
        const unsigned char *row = (const unsigned char *)d->rows + (size_t)n * d->row_bytes;
        if (w->copy && memcmp(row, (const unsigned char *)d->x + (size_t)i * d->row_bytes, d->row_bytes) != 0)
            return vr_fail(e, VR_ERR_OTHER, "prune %s %s: row %d of the copy differs", level, type, n);
        n++;
    }
    return VR_OK;
}

static int add_ways(prune_data *d, bench_group *g, vr_err *e)
{
    const char *levels[4];
    const int n_levels = bench_levels(d->run, levels);
    for (int i = 0; i < n_levels; i++) {
        vr_backend *be = NULL;
        VR_TRY(vr_backend_open_cpu(
            &be, &(vr_cpu_options){ .n_threads = d->run->n_threads, .gemm = VR_GEMM_OWN, .level = levels[i] }, e));
        for (int copy = 0; copy < 2; copy++) {
            prune_way *w = &d->ways[d->n_ways++];
            *w = (prune_way){ d, be, copy == 1 };
            VR_TRY(check_way(w, e));
            bench_way *b = bench_add(g, BENCH_OWN, copy ? "copy" : "index", call_own, w);
            b->bytes = (double)d->x_bytes + (copy ? (double)d->n_expected * (double)d->row_bytes : 0.0);
            b->floors = copy ? 3 : 1;
            b->n_threads = d->run->n_threads;
            snprintf(b->level, sizeof b->level, "%s", levels[i]);
        }
    }
    return VR_OK;
}

static void add_peers(prune_data *d, bench_group *g)
{
    const prune_case *c = d->c;
    if (c->anchor != VR_PRUNE_FIRST || !d->run->peer) return;
    peer_add(d->run->peer, g, "prune", d->x, d->x_bytes, (const int[]){ c->n_frames, c->N, c->D, c->window }, 4, 7, 3);
    peer_expect(d->run->peer, d->n_expected);
}

static const char *type_name(vr_dtype dtype)
{
    return dtype == VR_DTYPE_F32 ? "f32" : dtype == VR_DTYPE_F16 ? "f16" : "bf16";
}

static int measure_case(bench_run *run, const prune_case *c, vr_err *e)
{
    prune_data d = { .run = run, .c = c };
    static const char *const anchors[] = { "", " previous", " pairs" };
    bench_group g = { .bench = "prune", .window = c->window };
    snprintf(g.type, sizeof g.type, "%s", type_name(c->dtype));
    snprintf(g.shape, sizeof g.shape, "%dx%dx%d%s", c->n_frames, c->N, c->D, anchors[c->anchor]);
    if (!bench_begin(run, &g)) return VR_OK;
    int rc = make_data(&d) ? VR_OK : vr_fail(e, VR_ERR_LIMIT, "bench prune: no memory for %s %s", g.type, g.shape);
    bench_add(&g, BENCH_FLOOR, "read", call_read, &d);
    bench_add(&g, BENCH_FLOOR, "write", call_write, &d);
    if (rc == VR_OK) rc = add_ways(&d, &g, e);
    if (rc == VR_OK) add_peers(&d, &g);
    if (rc == VR_OK) bench_measure(run, &g);
    free_data(&d);
    return rc;
}

/* What has a goal comes first, in case that time runs out. */
int bench_prune(bench_run *run, vr_err *e)
{
    VR_TRY(measure_case(run, &cases[0], e));
    VR_TRY(bench_select(run, e));
    for (int i = 1; i < N_CASES; i++) {
        if (!cases[i].sweep || run->sweep) VR_TRY(measure_case(run, &cases[i], e));
    }
    return VR_OK;
}
