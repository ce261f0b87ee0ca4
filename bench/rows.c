/*
 * rows.c - families top-k (the places of the largest numbers of rows) and gather (rows in a new order).
 *
 *   top-k:   x [T, n] -> ids [T, k]       floor: read x once
 *   gather:  x [n, D], ids -> y [k, D]    floor: read as many bytes once, write them once with streaming stores
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"

#define MAX_WAYS 4

typedef struct rows_data {
    bench_run *run;
    int T, n, k; /* top-k: rows, numbers of a row, wanted; gather: rows, width, wanted */
    float *x, *y;
    int32_t *ids;
    size_t x_bytes, y_bytes;
} rows_data;

typedef struct rows_way {
    rows_data *data;
    vr_backend *be;
} rows_way;

static double call_read(void *arg)
{
    const rows_data *d = arg;
    return bench_read(d->run->pool, d->x, d->y_bytes ? d->y_bytes : d->x_bytes);
}

static double call_write(void *arg)
{
    const rows_data *d = arg;
    return bench_write(d->run->pool, d->y, d->y_bytes);
}

static double call_top_k(void *arg)
{
    const rows_way *w = arg;
    const rows_data *d = w->data;
    const double start = bench_seconds();
    w->be->ops->top_k(w->be, d->ids, d->x, d->T, d->n, d->k, false);
    return bench_seconds() - start;
}

static double call_gather(void *arg)
{
    const rows_way *w = arg;
    const rows_data *d = w->data;
    const double start = bench_seconds();
    w->be->ops->gather_rows(w->be, d->y, d->x, d->ids, d->k, d->n);
    return bench_seconds() - start;
}

static int descending(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x < y) - (x > y);
}

/* Every place taken holds at least the k-th number, and there are k, ascending. */
static bool top_k_right(const rows_data *d)
{
    float *sorted = malloc((size_t)d->n * sizeof *sorted);
    bool ok = sorted != NULL;
    for (int t = 0; ok && t < d->T; t += 7) {
        const float *x = d->x + (int64_t)t * d->n;
        const int32_t *ids = d->ids + (int64_t)t * d->k;
        memcpy(sorted, x, (size_t)d->n * sizeof *sorted);
        qsort(sorted, (size_t)d->n, sizeof *sorted, descending);
        for (int i = 0; i < d->k; i++) ok = ok && x[ids[i]] >= sorted[d->k - 1] && (i == 0 || ids[i] > ids[i - 1]);
    }
    free(sorted);
    return ok;
}

static bool gather_right(const rows_data *d)
{
    for (int i = 0; i < d->k; i++) {
        if (memcmp(d->y + (int64_t)i * d->n, d->x + (int64_t)d->ids[i] * d->n, (size_t)d->n * sizeof(float)) != 0) return false;
    }
    return true;
}

static int measure_case(bench_run *run, const char *what, int T, int n, int k, vr_err *e)
{
    const bool gather = strcmp(what, "gather") == 0;
    rows_data d = { .run = run, .T = T, .n = n, .k = k, .x_bytes = (size_t)T * (size_t)n * sizeof(float) };
    d.y_bytes = gather ? (size_t)k * (size_t)n * sizeof(float) : 0;
    rows_way ways[MAX_WAYS] = { 0 };
    const char *levels[4];
    const int n_levels = bench_levels(run, levels);
    int rc = VR_OK;
    bench_group g = { .bench = what, .type = "f32" };
    snprintf(g.shape, sizeof g.shape, "%d of %dx%d", k, T, n);
    if (!bench_begin(run, &g)) return VR_OK;
    d.x = bench_alloc(d.x_bytes), d.y = bench_alloc(d.y_bytes);
    d.ids = malloc((size_t)(gather ? 1 : T) * (size_t)k * sizeof *d.ids);
    if (!d.x || !d.y || !d.ids) {
        rc = vr_fail(e, VR_ERR_LIMIT, "bench %s: no memory", what);
        goto done;
    }
    uint64_t seed = 2685821657736338717ull;
    for (size_t i = 0; i < d.x_bytes / sizeof(float); i++) d.x[i] = bench_random(&seed);
    for (int i = 0; gather && i < k; i++) d.ids[i] = (int32_t)((int64_t)i * T / k);
    bench_add(&g, BENCH_FLOOR, "read", call_read, &d);
    if (gather) bench_add(&g, BENCH_FLOOR, "write", call_write, &d);
    for (int i = 0; i < n_levels; i++) {
        rows_way *w = &ways[i];
        w->data = &d;
        if ((rc = vr_backend_open_cpu(&w->be,
                                      &(vr_cpu_options){ .n_threads = run->n_threads, .gemm = VR_GEMM_OWN, .level = levels[i] },
                                      e)) != VR_OK)
            goto done;
        (gather ? call_gather : call_top_k)(w);
        if (!(gather ? gather_right(&d) : top_k_right(&d))) {
            rc = vr_fail(e, VR_ERR_OTHER, "%s %s: wrong result", what, levels[i]);
            goto done;
        }
        bench_way *b = bench_add(&g, BENCH_OWN, what, gather ? call_gather : call_top_k, w);
        b->bytes = gather ? 2.0 * (double)d.y_bytes : (double)d.x_bytes;
        b->floors = gather ? 3 : 1, b->n_threads = run->n_threads;
        snprintf(b->level, sizeof b->level, "%s", levels[i]);
    }
    peer_add(run->peer, &g, what, d.x, d.x_bytes, (const int[]){ T, n, k }, 3, 7, 3);
    bench_measure(run, &g);
done:
    for (int i = 0; i < MAX_WAYS; i++) {
        if (ways[i].be) vr_backend_free(ways[i].be);
    }
    bench_free(d.x, d.x_bytes);
    bench_free(d.y, d.y_bytes);
    free(d.ids);
    return rc;
}

int bench_top_k(bench_run *run, vr_err *e)
{
    VR_TRY(measure_case(run, "top-k", 4096, 576, 288, e));
    return measure_case(run, "top-k", 64, 262144, 32768, e);
}

int bench_gather(bench_run *run, vr_err *e)
{
    VR_TRY(measure_case(run, "gather", 18432, 3584, 9216, e));
    return measure_case(run, "gather", 262144, 64, 131072, e);
}
