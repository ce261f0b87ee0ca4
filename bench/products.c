/*
 * products.c - families gemm, gemv, attention, norms: operations at the sizes of the models.
 *
 *   floor: bytes at the rate of the read probe, or operations at the rate of the FMA probe;  peer: OpenBLAS, for products of
 *   many rows
 *
 * Trap:  weights must not fit the last cache where memory is measured: the products with one row read 64 MB and more.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"

typedef enum kind { GEMM, GEMV, ATTENTION, LAYER_NORM, RMS_NORM, GATED } kind;

typedef struct product_case {
    const char *family, *name;
    kind kind;
    int T, K, N;            /* attention: queries, keys, batch; norms: rows, width */
    int heads, kv_heads, E; /* attention */
    bool causal;
} product_case;

static const product_case cases[] = {
    { "gemm", "ViT-g qkv", GEMM, 257, 1408, 4224, 0, 0, 0, false },
    { "gemm", "ViT-g fc1 + gelu", GEMM, 257, 1408, 6144, 0, 0, 0, false },
    { "gemm", "ViT-g fc2", GEMM, 257, 6144, 1408, 0, 0, 0, false },
    { "gemm", "Q-Former fc1 + gelu", GEMM, 32, 768, 3072, 0, 0, 0, false },
    { "gemm", "LLaMA-7B up 256 rows", GEMM, 256, 4096, 11008, 0, 0, 0, false },
    { "gemv", "LLaMA-7B up 1 row", GEMV, 1, 4096, 11008, 0, 0, 0, false },
    { "gemv", "LLaMA-7B down 1 row", GEMV, 1, 11008, 4096, 0, 0, 0, false },
    { "gemv", "LLaMA-7B head 1 row", GEMV, 1, 4096, 32000, 0, 0, 0, false },
    { "gemv", "LLaMA-7B up 4 rows", GEMV, 4, 4096, 11008, 0, 0, 0, false },
    { "attention", "ViT-g 2 frames", ATTENTION, 257, 257, 2, 16, 16, 88, false },
    { "attention", "Q-Former cross", ATTENTION, 32, 257, 2, 12, 12, 64, false },
    { "attention", "LLaMA-7B prefill 512", ATTENTION, 512, 512, 1, 32, 32, 128, true },
    { "attention", "LLaMA-7B decode 2048", ATTENTION, 1, 2048, 1, 32, 32, 128, true },
    { "norms", "layer_norm ViT-g", LAYER_NORM, 2056, 1408, 0, 0, 0, 0, false },
    { "norms", "rms_norm LLaMA-7B", RMS_NORM, 512, 4096, 0, 0, 0, 0, false },
    { "norms", "gated silu LLaMA-7B", GATED, 256, 11008, 0, 0, 0, 0, false },
};
enum { N_CASES = sizeof cases / sizeof cases[0] };

typedef struct product_data {
    const product_case *c;
    const bench_run *run;
    vr_backend *own, *blas;
    float *x, *y, *bias; /* x: rows, or q, k, v one after the other */
    uint16_t *w;
} product_data;

static double operations(const product_case *c)
{
    const double T = c->T, K = c->K;
    if (c->kind == ATTENTION) return 4.0 * T * K * c->E * c->heads * c->N * (c->causal && c->T > 1 ? 0.5 : 1.0);
    return c->kind == GEMM || c->kind == GEMV ? 2.0 * T * K * c->N : 0.0;
}

static double bytes(const product_case *c)
{
    const double T = c->T, K = c->K;
    if (c->kind == ATTENTION) return 8.0 * K * c->E * c->kv_heads * c->N;
    if (c->kind == GEMM || c->kind == GEMV) return 2.0 * K * c->N;
    return (c->kind == GATED ? 12.0 : 8.0) * T * K;
}

static bool memory_bound(const product_case *c)
{
    return !(c->kind == GEMM || (c->kind == ATTENTION && c->T > 4));
}

static float *random_floats(size_t n)
{
    uint64_t seed = 88172645463325252ull;
    float *x = malloc(n * sizeof *x);
    for (size_t i = 0; x && i < n; i++) x[i] = bench_random(&seed);
    return x;
}

static bool make_data(product_data *d)
{
    const product_case *c = d->c;
    const size_t T = (size_t)c->T, K = (size_t)c->K, N = (size_t)c->N;
    size_t n_x = 2 * T * K, n_y = T * K, n_w = 1, n_bias = K;
    if (c->kind == GEMM || c->kind == GEMV) n_x = T * K, n_y = T * N, n_w = K * N, n_bias = N;
    if (c->kind == ATTENTION) n_x = N * (T + 2 * K) * (size_t)(c->heads * c->E), n_y = N * T * (size_t)(c->heads * c->E);
    d->x = random_floats(n_x), d->y = random_floats(n_y), d->bias = random_floats(n_bias), d->w = malloc(n_w * sizeof *d->w);
    for (size_t i = 0; d->w && i < n_w; i++)
        d->w[i] = (uint16_t)(0x2c00 + (i * 2654435761u >> 7 & 0x83ff)); /* f16, about 0.1 */
    return d->x && d->y && d->bias && d->w;
}

static void free_data(product_data *d)
{
    free(d->x);
    free(d->y);
    free(d->bias);
    free(d->w);
}

static void run_attention(vr_backend *be, const product_case *c, const product_data *d)
{
    const int64_t width = (int64_t)c->heads * c->E;
    float *k = d->x + (int64_t)c->N * c->T * width, *v = k + (int64_t)c->N * c->K * width;
    vr_attention a = { .n_batch = c->N, .n_queries = c->T, .n_keys = c->K, .n_heads = c->heads, .n_kv_heads = c->kv_heads };
    a.head_dim = c->E, a.scale = (float)(1.0 / sqrt((double)c->E)), a.causal = c->causal;
    a.q = (vr_heads){ d->x, c->T * width, width, c->E };
    a.k = (vr_heads){ k, c->K * width, width, c->E };
    a.v = (vr_heads){ v, c->K * width, width, c->E };
    a.out = (vr_heads){ d->y, c->T * width, width, c->E };
    be->ops->attention(be, &a);
}

static double run_case(vr_backend *be, const product_data *d)
{
    const product_case *c = d->c;
    const vr_matrix w = { d->w, VR_DTYPE_F16, c->N, c->K };
    const vr_activation act = strstr(c->name, "gelu") ? VR_ACT_GELU : VR_ACT_NONE;
    const double start = bench_seconds();
    switch (c->kind) {
    case GEMM:
    case GEMV:
        be->ops->linear(be, d->y, d->x, &w, d->bias, act, NULL, c->T);
        break;
    case ATTENTION:
        run_attention(be, c, d);
        break;
    case LAYER_NORM:
        be->ops->layer_norm(be, d->y, d->x, d->bias, d->bias, c->T, c->K, 1e-6f);
        break;
    case RMS_NORM:
        be->ops->rms_norm(be, d->y, d->x, d->bias, c->T, c->K, 1e-6f);
        break;
    case GATED:
        be->ops->gated(be, d->y, d->x, d->x + (int64_t)c->T * c->K, VR_ACT_SILU, (int64_t)c->T * c->K);
        break;
    }
    return bench_seconds() - start;
}

static double call_floor(void *arg)
{
    const product_data *d = arg;
    return memory_bound(d->c) ? bytes(d->c) / bench_probe_read(d->run) : operations(d->c) / bench_probe_fma(d->run);
}

static double call_own(void *arg)
{
    return run_case(((const product_data *)arg)->own, arg);
}

static double call_blas(void *arg)
{
    return run_case(((const product_data *)arg)->blas, arg);
}

static int measure_case(bench_run *run, product_data *d, vr_err *e)
{
    const product_case *c = d->c;
    bench_group g = { .bench = c->family, .type = "f16" };
    snprintf(g.shape, sizeof g.shape, "%dx%dx%d", c->T, c->K, c->N);
    if (!bench_begin(run, &g)) return VR_OK;
    if (!make_data(d)) {
        free_data(d);
        return vr_fail(e, VR_ERR_LIMIT, "bench %s: no memory", c->name);
    }
    bench_add(&g, BENCH_FLOOR, "probe", call_floor, d);
    bench_way *own = bench_add(&g, BENCH_OWN, c->name, call_own, d);
    own->bytes = bytes(c), own->operations = memory_bound(c) ? 0.0 : operations(c), own->floors = 1;
    own->n_threads = run->n_threads;
    snprintf(own->level, sizeof own->level, "%s", vr_cpu_level(d->own));
    if (c->kind == GEMM) {
        bench_way *blas = bench_add(&g, BENCH_PEER, "", call_blas, d);
        snprintf(blas->name, sizeof blas->name, "OpenBLAS");
    }
    bench_measure(run, &g);
    free_data(d);
    return VR_OK;
}

int bench_products(bench_run *run, const char *family, vr_err *e)
{
    product_data d = { .run = run };
    int rc = vr_backend_open_cpu(&d.own,
                                 &(vr_cpu_options){ .n_threads = run->n_threads, .gemm = VR_GEMM_OWN, .level = run->level }, e);
    if (rc == VR_OK)
        rc = vr_backend_open_cpu(
            &d.blas, &(vr_cpu_options){ .n_threads = run->n_threads, .gemm = VR_GEMM_OPENBLAS, .level = run->level }, e);
    for (int i = 0; rc == VR_OK && i < N_CASES; i++) {
        if (strcmp(cases[i].family, family) != 0) continue;
        d.c = &cases[i];
        rc = measure_case(run, &d, e);
    }
    vr_backend_free(d.own);
    vr_backend_free(d.blas);
    return rc;
}
