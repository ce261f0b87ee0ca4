/*
 * select.c - family select: how like its window a frame is (LongVU frame selection), windows of 16 frames of 576 x 1536
 * features.
 *
 *   x [n_frames, 884736] -> Gram matrix of every window (op gram) -> mean cosines
 *   oracle: s_f = x_f . (sum_k x_k / |x_k|) / (m |x_f|), in double, without a Gram matrix
 *
 * Floor: read x once. From bf16 the products of pairs in f32 cost more than that on two fast memory channels: 136 a column.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"

#define WINDOW   16
#define COLUMNS  (576 * 1536)
#define MAX_WAYS 4

typedef struct select_data {
    bench_run *run;
    vr_dtype dtype;
    int n_frames;
    size_t x_bytes;
    void *x;
    double *similarity, *want; /* [n_frames] */
} select_data;

typedef struct select_way {
    select_data *data;
    vr_backend *be;
} select_way;

/* A frame: what all share, and noise. */
static void fill_tile(void *arg, int tile, int thread)
{
    (void)thread;
    const select_data *d = arg;
    uint64_t shared = UINT64_C(4101842887655102017), own = UINT64_C(2685821657736338717) + (uint64_t)tile;
    const float share = 0.1f * (float)(tile % 10);
    for (int k = 0; k < COLUMNS; k++)
        bench_store(d->x, d->dtype, (int64_t)tile * COLUMNS + k,
                    share * bench_random(&shared) + (1.0f - share) * bench_random(&own));
}

static void oracle_tile(void *arg, int tile, int thread)
{
    (void)thread;
    const select_data *d = arg;
    const int64_t first = (int64_t)tile * WINDOW;
    double square[WINDOW] = { 0 }, product[WINDOW] = { 0 };
    for (int f = 0; f < WINDOW; f++) {
        for (int64_t k = 0; k < COLUMNS; k++) {
            const double x = (double)bench_load(d->x, d->dtype, (first + f) * COLUMNS + k);
            square[f] += x * x;
        }
    }
    for (int64_t k = 0; k < COLUMNS; k++) {
        double x[WINDOW], sum = 0.0;
        for (int f = 0; f < WINDOW; f++) {
            x[f] = (double)bench_load(d->x, d->dtype, (first + f) * COLUMNS + k);
            sum += x[f] / sqrt(square[f]);
        }
        for (int f = 0; f < WINDOW; f++) product[f] += x[f] * sum;
    }
    for (int f = 0; f < WINDOW; f++) d->want[first + f] = product[f] / sqrt(square[f]) / WINDOW;
}

static double call_read(void *arg)
{
    const select_data *d = arg;
    return bench_read(d->run->pool, d->x, d->x_bytes);
}

static double call_own(void *arg)
{
    const select_way *w = arg;
    select_data *d = w->data;
    double g[WINDOW * WINDOW];
    const double start = bench_seconds();
    for (int first = 0; first < d->n_frames; first += WINDOW) {
        const unsigned char *x = (const unsigned char *)d->x + (size_t)first * COLUMNS * vr_dtype_bytes(d->dtype);
        w->be->ops->gram(w->be, g, x, d->dtype, WINDOW, COLUMNS);
        for (int i = 0; i < WINDOW; i++) {
            double sum = 0.0;
            for (int k = 0; k < WINDOW; k++) sum += g[i * WINDOW + k] / sqrt(g[i * WINDOW + i] * g[k * WINDOW + k]);
            d->similarity[first + i] = sum / WINDOW;
        }
    }
    return bench_seconds() - start;
}

static int add_ways(select_data *d, bench_group *g, select_way *ways, int *n_ways, vr_err *e)
{
    const char *levels[4];
    const int n_levels = bench_levels(d->run, levels);
    for (int i = 0; i < n_levels; i++) {
        select_way *w = &ways[*n_ways];
        *w = (select_way){ .data = d };
        VR_TRY(vr_backend_open_cpu(
            &w->be, &(vr_cpu_options){ .n_threads = d->run->n_threads, .gemm = VR_GEMM_OWN, .level = levels[i] }, e));
        ++*n_ways;
        call_own(w);
        for (int f = 0; f < d->n_frames; f++) {
            if (!(fabs(d->similarity[f] - d->want[f]) < 1e-6))
                return vr_fail(e, VR_ERR_OTHER, "select %s: frame %d is %.9g, not %.9g", levels[i], f, d->similarity[f],
                               d->want[f]);
        }
        bench_way *b = bench_add(g, BENCH_OWN, "select", call_own, w);
        b->bytes = (double)d->x_bytes, b->floors = 1, b->n_threads = d->run->n_threads;
        snprintf(b->level, sizeof b->level, "%s", levels[i]);
    }
    return VR_OK;
}

static int measure_case(bench_run *run, vr_dtype dtype, const char *type, int n_frames, vr_err *e)
{
    select_data d = { .run = run, .dtype = dtype, .n_frames = n_frames };
    select_way ways[MAX_WAYS];
    int n_ways = 0, rc = VR_OK;
    bench_group g = { .bench = "prune", .window = WINDOW };
    snprintf(g.type, sizeof g.type, "%s", type);
    snprintf(g.shape, sizeof g.shape, "%dx%d", n_frames, COLUMNS);
    if (!bench_begin(run, &g)) return VR_OK;
    d.x_bytes = (size_t)n_frames * COLUMNS * vr_dtype_bytes(dtype);
    d.x = bench_alloc(d.x_bytes), d.similarity = malloc((size_t)n_frames * sizeof(double));
    d.want = malloc((size_t)n_frames * sizeof(double));
    if (!d.x || !d.similarity || !d.want) {
        rc = vr_fail(e, VR_ERR_LIMIT, "bench select: no memory");
        goto done;
    }
    vr_pool_run(run->pool, n_frames, fill_tile, &d);
    vr_pool_run(run->pool, n_frames / WINDOW, oracle_tile, &d);
    bench_add(&g, BENCH_FLOOR, "read", call_read, &d);
    if ((rc = add_ways(&d, &g, ways, &n_ways, e)) != VR_OK) goto done;
    peer_add(run->peer, &g, "select", d.x, d.x_bytes, (const int[]){ n_frames, COLUMNS, WINDOW }, 3, 7, 3);
    bench_measure(run, &g);
done:
    for (int i = 0; i < n_ways; i++) vr_backend_free(ways[i].be);
    bench_free(d.x, d.x_bytes);
    free(d.similarity);
    free(d.want);
    return rc;
}

int bench_select(bench_run *run, vr_err *e)
{
    VR_TRY(measure_case(run, VR_DTYPE_BF16, "bf16", 4 * WINDOW, e));
    return measure_case(run, VR_DTYPE_F32, "f32", 2 * WINDOW, e);
}
