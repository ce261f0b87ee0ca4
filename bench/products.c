/*
 * products.c - families gemm, gemv, attention, norms: operations at the sizes of the models.
 *
 *   floor: bytes at the rate of the read probe, or operations at the rate of the FMA probe, times 2 in bf16 and 4 with whole
 *   numbers of 8 bits, which is what AVX-512 makes of a multiply-add of f32
 *   peers of products of many rows: oneDNN in the type of the product, PyTorch in f32 and bf16, OpenBLAS in f32
 *
 *   f16: --precision f32, weights of f16;  bf16, q8, q4, q4m: --precision auto, but "in f32" as the name says
 *
 * Ours takes rows in f32 and rounds them; peers are handed what they multiply, and weights in f32 where ours are f16: theirs is the
 * product alone, with bias and GELU where the case has them (OpenBLAS: without).
 * Trap:  weights must not fit the last cache where memory is measured: the products with one row read 64 MB and more.
 */
#include <cblas.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "base/strips.h"
#include "bench/bench.h"
#include "bench/onednn.h"

typedef enum kind { GEMM, GEMV, ATTENTION, LAYER_NORM, RMS_NORM, GATED } kind;

typedef struct product_case {
    const char *family, *name;
    kind kind;
    int T, K, N;            /* attention: queries, keys, batch; norms: rows, width */
    int heads, kv_heads, E; /* attention */
    bool causal;
    vr_dtype dtype; /* F16: in f32; of attention BF16: as bf16; of one query: what keys and values are kept in */
} product_case;

static const product_case cases[] = {
    { "gemm", "ViT-g qkv", GEMM, 257, 1408, 4224, 0, 0, 0, false, VR_DTYPE_F16 },
    { "gemm", "ViT-g fc1 + gelu", GEMM, 257, 1408, 6144, 0, 0, 0, false, VR_DTYPE_F16 },
    { "gemm", "ViT-g fc2", GEMM, 257, 6144, 1408, 0, 0, 0, false, VR_DTYPE_F16 },
    { "gemm", "Q-Former fc1 + gelu", GEMM, 32, 768, 3072, 0, 0, 0, false, VR_DTYPE_F16 },
    { "gemm", "LLaMA-7B up 256 rows", GEMM, 256, 4096, 11008, 0, 0, 0, false, VR_DTYPE_F16 },
    { "gemm", "ViT-g qkv", GEMM, 257, 1408, 4224, 0, 0, 0, false, VR_DTYPE_BF16 },
    { "gemm", "ViT-g fc1 + gelu", GEMM, 257, 1408, 6144, 0, 0, 0, false, VR_DTYPE_BF16 },
    { "gemm", "ViT-g fc2", GEMM, 257, 6144, 1408, 0, 0, 0, false, VR_DTYPE_BF16 },
    { "gemm", "ViT-g fc2 2 frames", GEMM, 514, 6144, 1408, 0, 0, 0, false, VR_DTYPE_BF16 },
    { "gemm", "LLaMA-7B up 512 rows", GEMM, 512, 4096, 11008, 0, 0, 0, false, VR_DTYPE_BF16 },
    { "gemm", "LLaMA-7B up 512 rows", GEMM, 512, 4096, 11008, 0, 0, 0, false, VR_DTYPE_Q8_R16 },
    { "gemm", "LLaMA-7B down 512 rows", GEMM, 512, 11008, 4096, 0, 0, 0, false, VR_DTYPE_Q8_R16 },
    { "gemm", "LLaMA-7B up 512 rows", GEMM, 512, 4096, 11008, 0, 0, 0, false, VR_DTYPE_Q4_R16 },
    { "gemm", "LLaMA-7B down 512 rows", GEMM, 512, 11008, 4096, 0, 0, 0, false, VR_DTYPE_Q4_R16 },
    { "gemm", "LLaMA-7B up 512 rows", GEMM, 512, 4096, 11008, 0, 0, 0, false, VR_DTYPE_Q4M_R16 },
    { "gemm", "ViT-g qkv", GEMM, 257, 1408, 4224, 0, 0, 0, false, VR_DTYPE_Q8_R16 },
    { "gemm", "ViT-g fc1 + gelu", GEMM, 257, 1408, 6144, 0, 0, 0, false, VR_DTYPE_Q8_R16 },
    { "gemm", "ViT-g fc2", GEMM, 257, 6144, 1408, 0, 0, 0, false, VR_DTYPE_Q8_R16 },
    { "gemv", "LLaMA-7B up 1 row", GEMV, 1, 4096, 11008, 0, 0, 0, false, VR_DTYPE_F16 },
    { "gemv", "LLaMA-7B down 1 row", GEMV, 1, 11008, 4096, 0, 0, 0, false, VR_DTYPE_F16 },
    { "gemv", "LLaMA-7B head 1 row", GEMV, 1, 4096, 32000, 0, 0, 0, false, VR_DTYPE_F16 },
    { "gemv", "LLaMA-7B up 4 rows", GEMV, 4, 4096, 11008, 0, 0, 0, false, VR_DTYPE_F16 },
    { "gemv", "LLaMA-7B up 1 row", GEMV, 1, 4096, 11008, 0, 0, 0, false, VR_DTYPE_BF16 },
    { "gemv", "LLaMA-7B down 1 row", GEMV, 1, 11008, 4096, 0, 0, 0, false, VR_DTYPE_BF16 },
    { "gemv", "LLaMA-7B 2 up 1 row", GEMV, 1, 4096, 22016, 0, 0, 0, false, VR_DTYPE_Q8_R16 },
    { "gemv", "LLaMA-7B 2 down 1 row", GEMV, 1, 11008, 8192, 0, 0, 0, false, VR_DTYPE_Q8_R16 },
    { "gemv", "LLaMA-7B 4 up 1 row", GEMV, 1, 4096, 44032, 0, 0, 0, false, VR_DTYPE_Q4_R16 },
    { "gemv", "LLaMA-7B 4 down 1 row", GEMV, 1, 11008, 16384, 0, 0, 0, false, VR_DTYPE_Q4_R16 },
    { "gemv", "LLaMA-7B 4 up 1 row", GEMV, 1, 4096, 44032, 0, 0, 0, false, VR_DTYPE_Q4M_R16 },
    { "gemv", "LLaMA-7B 2 up 1 row in f32", GEMV, 1, 4096, 22016, 0, 0, 0, false, VR_DTYPE_Q8_R16 },
    { "gemv", "LLaMA-7B 2 up 1 row in f32", GEMV, 1, 4096, 22016, 0, 0, 0, false, VR_DTYPE_Q4M_R16 },
    { "attention", "ViT-g 2 frames", ATTENTION, 257, 257, 2, 16, 16, 88, false, VR_DTYPE_F16 },
    { "attention", "Q-Former cross", ATTENTION, 32, 257, 2, 12, 12, 64, false, VR_DTYPE_F16 },
    { "attention", "LLaMA-7B prefill 512", ATTENTION, 512, 512, 1, 32, 32, 128, true, VR_DTYPE_F16 },
    { "attention", "LLaMA-7B decode 2048", ATTENTION, 1, 2048, 1, 32, 32, 128, true, VR_DTYPE_F32 },
    { "attention", "LLaMA-7B decode 8192", ATTENTION, 1, 8192, 1, 32, 32, 128, true, VR_DTYPE_F32 },
    { "attention", "LLaMA-7B decode 8192", ATTENTION, 1, 8192, 1, 32, 32, 128, true, VR_DTYPE_F16 },
    { "attention", "LLaMA-7B decode 8192", ATTENTION, 1, 8192, 1, 32, 32, 128, true, VR_DTYPE_Q8_R16 },
    { "attention", "Qwen2-7B decode 16384", ATTENTION, 1, 16384, 1, 28, 4, 128, true, VR_DTYPE_F32 },
    { "attention", "Qwen2-7B decode 16384", ATTENTION, 1, 16384, 1, 28, 4, 128, true, VR_DTYPE_F16 },
    { "attention", "Qwen2-7B decode 16384", ATTENTION, 1, 16384, 1, 28, 4, 128, true, VR_DTYPE_Q8_R16 },
    { "attention", "ViT-g 2 frames", ATTENTION, 257, 257, 2, 16, 16, 88, false, VR_DTYPE_BF16 },
    { "attention", "SigLIP", ATTENTION, 729, 729, 1, 16, 16, 72, false, VR_DTYPE_BF16 },
    { "attention", "LLaMA-7B prefill 512", ATTENTION, 512, 512, 1, 32, 32, 128, true, VR_DTYPE_BF16 },
    { "norms", "layer_norm ViT-g", LAYER_NORM, 2056, 1408, 0, 0, 0, 0, false, VR_DTYPE_F32 },
    { "norms", "rms_norm LLaMA-7B", RMS_NORM, 512, 4096, 0, 0, 0, 0, false, VR_DTYPE_F32 },
    { "norms", "gated silu LLaMA-7B", GATED, 256, 11008, 0, 0, 0, 0, false, VR_DTYPE_F32 },
};
enum { N_CASES = sizeof cases / sizeof cases[0] };

typedef struct product_data {
    const product_case *c;
    const bench_run *run;
    vr_backend *own, *fast; /* --precision f32, auto */
    float *x, *y, *bias;    /* x: rows, or q, k, v one after the other */
    void *w;
    float *wide; /* w in f32, for OpenBLAS */
    onednn *onednn;
} product_data;

static vr_backend *backend_of(const product_data *d)
{
    const bool wide = d->c->dtype == VR_DTYPE_F16 || d->c->dtype == VR_DTYPE_F32 || strstr(d->c->name, "in f32");
    return wide ? d->own : d->fast;
}

static double operations(const product_case *c)
{
    const double T = c->T, K = c->K;
    if (c->kind == ATTENTION) return 4.0 * T * K * c->E * c->heads * c->N * (c->causal && c->T > 1 ? 0.5 : 1.0);
    return c->kind == GEMM || c->kind == GEMV ? 2.0 * T * K * c->N : 0.0;
}

static size_t weight_bytes(const product_case *c)
{
    if (vr_is_strips(c->dtype)) return vr_strips_bytes(c->dtype, c->N, c->K);
    return 2 * (size_t)c->K * (size_t)c->N;
}

/* multiply-adds of the case while a unit makes one of f32 */
static double rate(const product_case *c)
{
    return vr_is_strips(c->dtype) ? 4.0 : c->dtype == VR_DTYPE_BF16 ? 2.0 : 1.0;
}

static vr_kept kept(const product_case *c)
{
    if (c->T > 1) return VR_KEPT_F32;
    return c->dtype == VR_DTYPE_F32 ? VR_KEPT_F32 : c->dtype == VR_DTYPE_F16 ? VR_KEPT_F16 : VR_KEPT_Q8;
}

/* of keys, or of values */
static size_t plane_bytes(const product_case *c)
{
    const size_t rows = (size_t)c->N * (size_t)c->K * (size_t)c->kv_heads;
    return rows * (size_t)vr_kept_row(kept(c), c->E) * vr_kept_bytes(kept(c));
}

static double bytes(const product_case *c)
{
    const double T = c->T, K = c->K;
    if (c->kind == ATTENTION) return 2.0 * (double)plane_bytes(c);
    if (c->kind == GEMM || c->kind == GEMV) return (double)weight_bytes(c);
    return (c->kind == GATED ? 12.0 : 8.0) * T * K;
}

static bool memory_bound(const product_case *c)
{
    return !(c->kind == GEMM || (c->kind == ATTENTION && c->T > 4));
}

static float *random_floats(size_t n)
{
    uint64_t seed = 88172645463325252ull;
    float *x = bench_alloc(n * sizeof *x); /* large pages, as a cache of keys has */
    for (size_t i = 0; x && i < n; i++) x[i] = bench_random(&seed);
    return x;
}

/* Weights of about 0.1: whatever bytes the type has, but scales of about 2^-7. */
static void fill_weights(void *w, vr_dtype dtype, size_t n_bytes)
{
    uint16_t *half = w;
    for (size_t i = 0; i < n_bytes / 2; i++) half[i] = (uint16_t)(i * 2654435761u >> 7);
    if (!vr_is_strips(dtype)) {
        const uint16_t exponent = dtype == VR_DTYPE_F16 ? 0x2c00 : 0x3d80, kept = dtype == VR_DTYPE_F16 ? 0x83ff : 0x807f;
        for (size_t i = 0; i < n_bytes / 2; i++) half[i] = (uint16_t)(exponent | (half[i] & kept));
        return;
    }
    const size_t block = vr_strip_block_bytes(dtype), n_scales = (dtype == VR_DTYPE_Q4M_R16 ? 4 : 2) * (size_t)VR_STRIP_ROWS;
    for (size_t at = 0; at < n_bytes; at += block)
        for (size_t i = 0; i < n_scales; i++) half[at / 2 + i] = (uint16_t)(0x1c00 | (half[at / 2 + i] & 0xff));
}

static bool make_data(product_data *d)
{
    const product_case *c = d->c;
    const size_t T = (size_t)c->T, K = (size_t)c->K, N = (size_t)c->N;
    size_t n_x = 2 * T * K, n_y = T * K, w_bytes = 64, n_bias = K;
    if (c->kind == GEMM || c->kind == GEMV) n_x = T * K, n_y = T * N, w_bytes = weight_bytes(c), n_bias = N;
    const size_t q_width = (size_t)(c->heads * c->E), kv_width = (size_t)(c->kv_heads * c->E);
    if (c->kind == ATTENTION) n_x = N * (T * q_width + 2 * K * kv_width), n_y = N * T * q_width, w_bytes = 2 * plane_bytes(c);
    d->x = random_floats(n_x), d->y = random_floats(n_y), d->bias = random_floats(n_bias);
    d->w = bench_alloc(w_bytes);
    if (d->w && c->kind != ATTENTION) fill_weights(d->w, c->dtype, w_bytes);
    if (d->w && d->x && c->kind == ATTENTION) {
        const int64_t head = vr_kept_row(kept(c), c->E);
        d->own->ops->keep_rows(d->own, kept(c), d->w, c->kv_heads * head, head, d->x + N * T * q_width, 2 * c->N * c->K,
                               c->kv_heads, c->E);
    }
    return d->x && d->y && d->bias && d->w;
}

static void free_data(product_data *d)
{
    bench_free(d->x, 0);
    bench_free(d->y, 0);
    bench_free(d->bias, 0);
    bench_free(d->w, 0);
    bench_free(d->wide, 0);
    onednn_free(d->onednn);
    d->wide = NULL, d->onednn = NULL;
}

static void run_attention(vr_backend *be, const product_case *c, const product_data *d)
{
    const int64_t width = (int64_t)c->heads * c->E, head = vr_kept_row(kept(c), c->E), row = c->kv_heads * head;
    vr_attention a = { .n_batch = c->N, .n_queries = c->T, .n_keys = c->K, .n_heads = c->heads, .n_kv_heads = c->kv_heads };
    a.head_dim = c->E, a.scale = (float)(1.0 / sqrt((double)c->E)), a.causal = c->causal;
    a.q = (vr_heads){ d->x, c->T * width, width, c->E };
    a.kept = kept(c);
    a.k = (vr_kept_heads){ d->w, c->K * row, row, head };
    a.v = (vr_kept_heads){ (const unsigned char *)d->w + plane_bytes(c), c->K * row, row, head };
    a.out = (vr_heads){ d->y, c->T * width, width, c->E };
    be->ops->attention(be, &a);
}

static bool has_gelu(const product_case *c)
{
    return strstr(c->name, "gelu") != NULL;
}

static double run_case(vr_backend *be, const product_data *d)
{
    const product_case *c = d->c;
    const vr_matrix w = { d->w, c->dtype, c->N, c->K };
    const vr_activation act = has_gelu(c) ? VR_ACT_GELU : VR_ACT_NONE;
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
    return memory_bound(d->c) ? bytes(d->c) / bench_probe_read(d->run) : operations(d->c) / (rate(d->c) * bench_probe_fma(d->run));
}

static double call_own(void *arg)
{
    return run_case(backend_of(arg), arg);
}

static double call_blas(void *arg)
{
    const product_data *d = arg;
    const product_case *c = d->c;
    const double start = bench_seconds();
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, c->T, c->N, c->K, 1.0f, d->x, c->K, d->wide, c->K, 0.0f, d->y, c->N);
    const double time = bench_seconds() - start;
    bench_rest(60); /* its threads turn for 2^26 ticks of a clock of 2.4 to 3.7 GHz */
    return time;
}

static const char *type_name(const product_case *c)
{
    switch (c->dtype) {
    case VR_DTYPE_F32:
        return "f32";
    case VR_DTYPE_BF16:
        return "bf16";
    case VR_DTYPE_Q8_R16:
        return "q8";
    case VR_DTYPE_Q4_R16:
        return "q4";
    case VR_DTYPE_Q4M_R16:
        return "q4m";
    default:
        return c->kind == ATTENTION && kept(c) == VR_KEPT_F32 ? "f32" : "f16";
    }
}

/* A small product in bf16: the attention behind it is one too (kernels/backend.h). */
static void after_product(vr_backend *be)
{
    static const uint16_t w[64];
    static float x[64], y[64];
    be->ops->linear(be, y, x, &(vr_matrix){ w, VR_DTYPE_BF16, 8, 8 }, NULL, VR_ACT_NONE, NULL, 8);
}

static void add_blas(bench_run *run, product_data *d, bench_group *g)
{
    const size_t n = (size_t)d->c->K * (size_t)d->c->N;
    d->wide = bench_alloc(n * sizeof *d->wide);
    if (!d->wide) return;
    for (size_t i = 0; i < n; i++) d->wide[i] = vr_f16_to_f32(((const uint16_t *)d->w)[i]);
    openblas_set_num_threads(run->n_threads);
    bench_way *blas = bench_add(g, BENCH_PEER, "", call_blas, d);
    snprintf(blas->name, sizeof blas->name, "OpenBLAS");
}

static void add_peers(bench_run *run, product_data *d, bench_group *g)
{
    const product_case *c = d->c;
    const bool strips = vr_is_strips(c->dtype), wide = c->dtype == VR_DTYPE_F16, gelu = has_gelu(c);
    if (!run->peers || c->kind != GEMM) return;
    const char *const type = strips ? "int8" : wide ? "f32" : "bf16";
    if (onednn_name()) d->onednn = onednn_open(type, c->T, c->K, c->N, gelu, run->n_threads);
    if (d->onednn) {
        bench_way *w = bench_add(g, BENCH_PEER, "", onednn_time, d->onednn);
        snprintf(w->name, sizeof w->name, "%s", onednn_name());
    }
    if (!strips) peer_add(run->peer, g, "linear", NULL, 0, (const int[]){ c->T, c->K, c->N, gelu }, 4, run->rounds, 0);
    if (wide) add_blas(run, d, g);
}

static int measure_case(bench_run *run, product_data *d, vr_err *e)
{
    const product_case *c = d->c;
    bench_group g = { .bench = c->family };
    snprintf(g.type, sizeof g.type, "%s", type_name(c));
    snprintf(g.shape, sizeof g.shape, "%dx%dx%d", c->T, c->K, c->N);
    if (!bench_begin(run, &g)) return VR_OK;
    if (!make_data(d)) {
        free_data(d);
        return vr_fail(e, VR_ERR_LIMIT, "bench %s: no memory", c->name);
    }
    if (c->kind == ATTENTION && c->dtype == VR_DTYPE_BF16) after_product(d->fast);
    bench_add(&g, BENCH_FLOOR, "probe", call_floor, d);
    bench_way *own = bench_add(&g, BENCH_OWN, c->name, call_own, d);
    own->bytes = bytes(c), own->operations = memory_bound(c) ? 0.0 : operations(c), own->floors = 1;
    own->n_threads = run->n_threads;
    snprintf(own->level, sizeof own->level, "%s", vr_cpu_level(backend_of(d)));
    add_peers(run, d, &g);
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
        rc = vr_backend_open_cpu(&d.fast,
                                 &(vr_cpu_options){ .n_threads = run->n_threads,
                                                    .gemm = VR_GEMM_OWN,
                                                    .precision = VR_PRECISION_AUTO,
                                                    .level = run->level },
                                 e);
    for (int i = 0; rc == VR_OK && i < N_CASES; i++) {
        if (strcmp(cases[i].family, family) != 0) continue;
        d.c = &cases[i];
        rc = measure_case(run, &d, e);
    }
    vr_backend_free(d.own);
    vr_backend_free(d.fast);
    return rc;
}
