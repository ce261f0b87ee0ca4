/*
 * device.c - operations of a CUDA device, each against what the same device was seen to do at best: vidrun-bench --device cuda.
 *
 *   best rates (copy of 1 GB; bf16 product of 8192^3 by cuBLAS) -> each case: warm-up, rounds of several calls, median -> a line
 *
 * Time is that of the host around calls and a sync: launches count, as they do in a run. Weights and activations lie on the
 * device before. Over the shim of the tests (tests/simt) sizes are small and the figures mean nothing: it shows that all runs.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/strips.h"
#include "bench/bench.h"

typedef enum kind { COPY, LINEAR, ATTENTION, RMS_NORM, PRUNE, PRUNE_COPY, GRAM } kind;

typedef struct device_case {
    const char *name;
    kind kind;
    vr_dtype dtype;
    int T, K, N; /* linear; attention: queries, keys, heads; rows and columns */
    int E;       /* attention */
} device_case;

static const device_case cases[] = {
    { "copy_rows", COPY, VR_DTYPE_F32, 32768, 4096, 0, 0 },
    { "linear bf16, 8192^3", LINEAR, VR_DTYPE_BF16, 8192, 8192, 8192, 0 },
    { "linear bf16, 8 frames of EVA-g", LINEAR, VR_DTYPE_BF16, 2056, 1408, 6144, 0 },
    { "linear f16, 8 frames of EVA-g", LINEAR, VR_DTYPE_F16, 2056, 1408, 6144, 0 },
    { "linear bf16, prefill", LINEAR, VR_DTYPE_BF16, 512, 4096, 11008, 0 },
    { "linear q8, prefill", LINEAR, VR_DTYPE_Q8_R16, 512, 4096, 11008, 0 },
    { "linear bf16, a token", LINEAR, VR_DTYPE_BF16, 1, 4096, 11008, 0 },
    { "linear f16, a token", LINEAR, VR_DTYPE_F16, 1, 4096, 11008, 0 },
    { "linear q8, a token", LINEAR, VR_DTYPE_Q8_R16, 1, 4096, 11008, 0 },
    { "linear q4, a token", LINEAR, VR_DTYPE_Q4_R16, 1, 4096, 11008, 0 },
    { "attention, a frame of EVA-g", ATTENTION, VR_DTYPE_F32, 257, 257, 16, 88 },
    { "attention, prefill", ATTENTION, VR_DTYPE_F32, 2048, 2048, 32, 128 },
    { "attention, a token", ATTENTION, VR_DTYPE_F32, 1, 2048, 32, 128 },
    { "rms_norm", RMS_NORM, VR_DTYPE_F32, 2048, 4096, 0, 0 },
    { "prune, index form", PRUNE, VR_DTYPE_BF16, 400, 3584, 144, 0 },
    { "prune, copy form", PRUNE_COPY, VR_DTYPE_BF16, 400, 3584, 144, 0 },
    { "gram of 16 frames", GRAM, VR_DTYPE_BF16, 16, 884736, 0, 0 },
};

typedef struct data {
    vr_backend *be;
    vr_arena arena;
    device_case c; /* sizes as they are run */
    void *x, *y, *host_w, *out;
} data;

static double operations(const device_case *c)
{
    if (c->kind == LINEAR && c->T > 8) return 2.0 * c->T * c->K * c->N;
    if (c->kind == ATTENTION && c->T > 1) return 4.0 * c->T * c->K * c->N * c->E * (c->T == c->K && c->E == 128 ? 0.5 : 1.0);
    return 0; /* bound by memory */
}

static size_t weight_bytes(const device_case *c)
{
    if (c->kind != LINEAR) return 0;
    return vr_is_strips(c->dtype) ? vr_strips_bytes(c->dtype, c->N, c->K) : (size_t)c->K * (size_t)c->N * 2;
}

static double bytes(const device_case *c)
{
    const double rows = (double)c->T * c->K;
    switch (c->kind) {
    case COPY:
    case RMS_NORM:
        return 8.0 * rows;
    case LINEAR:
        return (double)weight_bytes(c) + 4.0 * rows + 4.0 * c->T * c->N;
    case ATTENTION:
        return 4.0 * c->N * c->E * (2.0 * c->T + 2.0 * c->K);
    case PRUNE:
        return 2.0 * rows * c->N;
    case PRUNE_COPY:
        return 2.0 * rows * c->N * 2.0; /* half of the rows are kept: read again and written */
    case GRAM:
        return 2.0 * rows;
    }
    return 0;
}

static void call(const data *d)
{
    const device_case *c = &d->c;
    vr_backend *be = d->be;
    const vr_ops *op = be->ops;
    float *x = d->x, *y = d->y;
    const vr_matrix w = { d->host_w, c->dtype, c->N, c->K };
    const int64_t row = (int64_t)c->N * c->E;
    switch (c->kind) {
    case COPY:
        op->copy_rows(be, y, c->K, x, c->K, c->T, c->K);
        break;
    case LINEAR:
        op->linear(be, y, x, &w, NULL, VR_ACT_NONE, NULL, c->T);
        break;
    case ATTENTION:
        op->attention(be, &(vr_attention){ .n_batch = 1,
                                           .n_queries = c->T,
                                           .n_keys = c->K,
                                           .n_heads = c->N,
                                           .n_kv_heads = c->N,
                                           .head_dim = c->E,
                                           .scale = 0.1F,
                                           .causal = c->E == 128,
                                           .q = { x, 0, row, c->E },
                                           .k = { x, 0, row, c->E },
                                           .v = { x, 0, row, c->E },
                                           .out = { y, 0, row, c->E } });
        break;
    case RMS_NORM:
        op->rms_norm(be, y, x, x, c->T, c->K, 1e-6F);
        break;
    case PRUNE:
    case PRUNE_COPY:
        op->prune(be, &(vr_prune){ .x = x,
                                   .dtype = c->dtype,
                                   .n_frames = c->T,
                                   .N = c->N,
                                   .D = c->K,
                                   .window = 8,
                                   .n_least = c->N / 2,
                                   .similarity = d->out,
                                   .mask = (uint8_t *)d->out + 4 * (size_t)c->T * (size_t)c->N,
                                   .indices = (int32_t *)d->out + 2 * (size_t)c->T * (size_t)c->N,
                                   .n_kept = (int32_t *)d->out + 3 * (size_t)c->T * (size_t)c->N,
                                   .rows = c->kind == PRUNE_COPY ? y : NULL });
        break;
    case GRAM:
        op->gram(be, d->out, x, c->dtype, c->T, c->K);
        break;
    }
}

/* Numbers on the device; half: 16 bits each. */
static int fill(data *d, void *x, size_t n, bool half, vr_err *e)
{
    uint64_t seed = 7;
    const size_t size = half ? 2 : 4;
    unsigned char *host = malloc(n * size);
    if (!host) return vr_fail(e, VR_ERR_LIMIT, "bench device: no memory");
    for (size_t i = 0; i < n; i++) bench_store(host, half ? VR_DTYPE_BF16 : VR_DTYPE_F32, (int64_t)i, bench_random(&seed));
    d->be->write(d->be, x, host, n * size);
    free(host);
    return vr_backend_sync(d->be, e);
}

static int prepare(data *d, vr_err *e)
{
    const device_case *c = &d->c;
    const bool half = c->kind == PRUNE || c->kind == PRUNE_COPY || c->kind == GRAM;
    const size_t longest = (size_t)(c->T > c->K ? c->T : c->K);
    const size_t rows = c->kind == ATTENTION
                            ? longest * (size_t)c->N * (size_t)c->E
                            : (size_t)c->T * (size_t)c->K * (c->kind == PRUNE || c->kind == PRUNE_COPY ? (size_t)c->N : 1);
    const size_t products = c->kind == LINEAR ? (size_t)c->T * (size_t)c->N : rows;
    const size_t out = 16 * (size_t)c->T * (size_t)(c->N > c->T ? c->N : c->T) + 4096;
    VR_TRY(vr_backend_arena_open(d->be, &d->arena, 4 * (rows + products) + out + 4096, e));
    d->x = vr_arena_floats(&d->arena, rows), d->y = vr_arena_floats(&d->arena, products);
    d->out = vr_arena_alloc(&d->arena, out, 1);
    const size_t n_bytes = weight_bytes(c);
    if (n_bytes > 0) {
        d->host_w = bench_alloc(n_bytes);
        if (!d->host_w) return vr_fail(e, VR_ERR_LIMIT, "bench device: no memory for weights");
        memset(d->host_w, 0x3c, n_bytes); /* about 1 in every type */
        d->be->hold(d->be, d->host_w, n_bytes);
    }
    return fill(d, d->x, rows, half, e);
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Seconds of a call: median of rounds of as many calls as take about 20 ms. */
static int measure(const data *d, int rounds, double *seconds, vr_err *e)
{
    double time[BENCH_MAX_ROUNDS];
    int calls = 1;
    for (int round = -2; round < rounds; round++) { /* two of warming up: weights, plans of cuBLAS */
        const double start = bench_seconds();
        for (int i = 0; i < calls; i++) call(d);
        VR_TRY(vr_backend_sync(d->be, e));
        const double took = (bench_seconds() - start) / calls;
        if (round >= 0) time[round] = took;
        if (round == -1) calls = took > 0.02 ? 1 : took > 1e-5 ? (int)(0.02 / took) : 2000;
    }
    qsort(time, (size_t)rounds, sizeof *time, by_value);
    *seconds = time[rounds / 2];
    return VR_OK;
}

/* Sizes that a processor gets through, for the shim of the tests. */
static device_case smaller(device_case c)
{
    c.T = c.T > 8 ? (c.T + 127) / 128 : c.T;
    c.K = (c.K + 31) / 32 * 2, c.N = (c.N + 15) / 16;
    if (c.kind == ATTENTION && c.T > 1) c.T = c.K;
    if (c.kind == GRAM) c.K /= 64;
    return c;
}

int bench_device(const bench_run *run, int device, vr_err *e)
{
    vr_backend *first;
    VR_TRY(vr_backend_open_cuda(&first, &(vr_cuda_options){ .device = device, .precision = VR_PRECISION_AUTO }, e));
    const bool shim = strstr(first->name, "SIMT") != NULL;
    double best_copy = 0, best_product = 0;
    int rc = VR_OK;
    printf("%s, %d rounds%s\n", first->name, run->rounds, shim ? "; small sizes, no measurement" : "");
    printf("%-34s %10s %10s %12s\n", "operation", "us", "rate", "of the best");
    for (size_t i = 0; rc == VR_OK && i < sizeof cases / sizeof *cases; i++) {
        /* a backend of its own: weights of the last case give their memory back */
        data d = { .c = shim ? smaller(cases[i]) : cases[i] };
        double seconds = 0;
        rc = vr_backend_open_cuda(&d.be, &(vr_cuda_options){ .device = device, .precision = VR_PRECISION_AUTO }, e);
        if (rc == VR_OK) rc = prepare(&d, e);
        if (rc == VR_OK) rc = measure(&d, run->rounds, &seconds, e);
        const double work = operations(&d.c), rate = (work > 0 ? work : bytes(&d.c)) / (seconds > 0 ? seconds : 1);
        double *best = work > 0 ? &best_product : &best_copy;
        if (*best == 0) *best = rate;
        if (rc == VR_OK)
            printf("%-34s %10.1f %6.2f %s %10.1f %%\n", d.c.name, 1e6 * seconds, 1e-12 * rate, work > 0 ? "TF/s" : "TB/s",
                   100 * rate / *best);
        vr_arena_close(&d.arena);
        vr_backend_free(d.be);
        if (d.host_w) bench_free(d.host_w, weight_bytes(&d.c));
    }
    vr_backend_free(first);
    return rc;
}
