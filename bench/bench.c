/*
 * bench.c - `vidrun-bench [-t THREADS] [-r ROUNDS] [-c CLOCK] [FAMILY...]`: kernels at the sizes of the models, as shares of
 * what this machine can do.
 *
 *   round:  probe FMA, probe read -> each case once, own product and OpenBLAS side by side -> shares of the probes of this round
 *   report: median time and rate, median share with p10 and p90 over the rounds
 *
 * Families: gemm gemv attention norms; all without arguments. Compute share = rate / FMA probe, memory share = bytes / time / read
 * probe: only shares compare between runs and machines. A round whose FMA probe is below 0.85 of the best is dropped; fewer than 5
 * clean rounds and the case is "not measured". CLOCK processor counts processor time, for one thread on a busy machine; its
 * figures are not wall time and say so.
 * Ref:   bench/LOG.md holds what was measured, and what failed.
 * Trap:  weights must not fit the last cache where memory is measured: the products with one row read 64 MB and more.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/pool.h"
#include "kernels/backend.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define MAX_ROUNDS 101
#define READ_BYTES ((size_t)128 << 20)

typedef enum kind { GEMM, GEMV, ATTENTION, LAYER_NORM, RMS_NORM, GATED } kind;

typedef struct bench_case {
    const char *family, *name;
    kind kind;
    int T, K, N;            /* attention: queries, keys, batch; norms: rows, width */
    int heads, kv_heads, E; /* attention */
    bool causal;
} bench_case;

static const bench_case cases[] = {
    { "gemm", "ViT-g qkv", GEMM, 257, 1408, 4224, 0, 0, 0, false },
    { "gemm", "ViT-g fc1 + gelu", GEMM, 257, 1408, 6144, 0, 0, 0, false },
    { "gemm", "ViT-g fc2", GEMM, 257, 6144, 1408, 0, 0, 0, false },
    { "gemm", "Q-Former fc1 + gelu", GEMM, 32, 768, 3072, 0, 0, 0, false },
    { "gemm", "LLaMA-7B up, 256 rows", GEMM, 256, 4096, 11008, 0, 0, 0, false },
    { "gemv", "LLaMA-7B up, 1 row", GEMV, 1, 4096, 11008, 0, 0, 0, false },
    { "gemv", "LLaMA-7B down, 1 row", GEMV, 1, 11008, 4096, 0, 0, 0, false },
    { "gemv", "LLaMA-7B head, 1 row", GEMV, 1, 4096, 32000, 0, 0, 0, false },
    { "gemv", "LLaMA-7B up, 4 rows", GEMV, 4, 4096, 11008, 0, 0, 0, false },
    { "attention", "ViT-g, 2 frames", ATTENTION, 257, 257, 2, 16, 16, 88, false },
    { "attention", "Q-Former cross", ATTENTION, 32, 257, 2, 12, 12, 64, false },
    { "attention", "LLaMA-7B prefill 512", ATTENTION, 512, 512, 1, 32, 32, 128, true },
    { "attention", "LLaMA-7B decode 2048", ATTENTION, 1, 2048, 1, 32, 32, 128, true },
    { "norms", "layer_norm ViT-g", LAYER_NORM, 2056, 1408, 0, 0, 0, 0, false },
    { "norms", "rms_norm LLaMA-7B", RMS_NORM, 512, 4096, 0, 0, 0, 0, false },
    { "norms", "gated silu LLaMA-7B", GATED, 256, 11008, 0, 0, 0, 0, false },
};
enum { N_CASES = sizeof cases / sizeof cases[0] };

typedef struct data {
    float *x, *y, *bias; /* x: rows, or q, k, v one after the other */
    uint16_t *w;
} data;

typedef struct probe {
    vr_pool *pool;
    const float *memory; /* READ_BYTES */
    bool avx512, avx2;
    float *sink; /* [threads] so that results are used */
} probe;

static clockid_t clock_id = CLOCK_MONOTONIC;

static double seconds(void)
{
    struct timespec t;
    clock_gettime(clock_id, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* --- what this machine can do ------------------------------------------------------------------------------------------- */

#define FMA_STEPS 400000

#if defined(__x86_64__)
/* Ten chains: more than latency 4 times 2 units. They start apart, or the compiler would keep one of them. */
#define FMA_BURST(type, fma, set1)                                                                                             \
    type s0 = set1(0.0f), s1 = set1(0.1f), s2 = set1(0.2f), s3 = set1(0.3f), s4 = set1(0.4f);                                  \
    type s5 = set1(0.5f), s6 = set1(0.6f), s7 = set1(0.7f), s8 = set1(0.8f), s9 = set1(0.9f);                                  \
    const type a = set1(0.999f), b = set1(0.001f);                                                                             \
    for (int i = 0; i < FMA_STEPS; i++) {                                                                                      \
        s0 = fma(s0, a, b), s1 = fma(s1, a, b), s2 = fma(s2, a, b), s3 = fma(s3, a, b), s4 = fma(s4, a, b);                    \
        s5 = fma(s5, a, b), s6 = fma(s6, a, b), s7 = fma(s7, a, b), s8 = fma(s8, a, b), s9 = fma(s9, a, b);                    \
    }

__attribute__((target("avx512f"))) static float burst_avx512(void)
{
    FMA_BURST(__m512, _mm512_fmadd_ps, _mm512_set1_ps)
    const __m512 s =
        _mm512_add_ps(_mm512_add_ps(_mm512_add_ps(s0, s1), _mm512_add_ps(s2, s3)),
                      _mm512_add_ps(_mm512_add_ps(s4, s5), _mm512_add_ps(_mm512_add_ps(s6, s7), _mm512_add_ps(s8, s9))));
    return _mm512_reduce_add_ps(s);
}

__attribute__((target("avx2,fma"))) static float burst_avx2(void)
{
    FMA_BURST(__m256, _mm256_fmadd_ps, _mm256_set1_ps)
    const __m256 s =
        _mm256_add_ps(_mm256_add_ps(_mm256_add_ps(s0, s1), _mm256_add_ps(s2, s3)),
                      _mm256_add_ps(_mm256_add_ps(s4, s5), _mm256_add_ps(_mm256_add_ps(s6, s7), _mm256_add_ps(s8, s9))));
    return _mm256_cvtss_f32(s);
}
#endif

static void fma_tile(void *arg, int tile, int thread)
{
    (void)thread;
    const probe *p = arg;
    p->sink[tile] = 0.0f;
#if defined(__x86_64__)
    if (p->avx512)
        p->sink[tile] = burst_avx512();
    else if (p->avx2)
        p->sink[tile] = burst_avx2();
#endif
}

static double probe_fma(const probe *p)
{
    const int n = vr_pool_threads(p->pool);
    probe arg = *p;
    const double start = seconds();
    vr_pool_run(p->pool, n, fma_tile, &arg);
    return (double)n * FMA_STEPS * 10 * (p->avx512 ? 32 : 16) / (seconds() - start);
}

/* Sums of whole numbers, because the compiler may reorder those into vectors. */
static void read_tile(void *arg, int tile, int thread)
{
    (void)thread;
    const probe *p = arg;
    const size_t per_tile = READ_BYTES / 64 / sizeof(uint64_t);
    const uint64_t *x = (const uint64_t *)(const void *)p->memory + (size_t)tile * per_tile;
    uint64_t sum[8] = { 0 };
    for (size_t i = 0; i < per_tile; i += 8) {
        for (int j = 0; j < 8; j++) sum[j] += x[i + (size_t)j];
    }
    for (int j = 1; j < 8; j++) sum[0] += sum[j];
    p->sink[tile % vr_pool_threads(p->pool)] = (float)(sum[0] & 1);
}

static double probe_read(const probe *p)
{
    probe arg = *p;
    const double start = seconds();
    vr_pool_run(p->pool, 64, read_tile, &arg);
    return (double)READ_BYTES / (seconds() - start);
}

/* --- cases --------------------------------------------------------------------------------------------------------------- */

static double operations(const bench_case *c)
{
    const double T = c->T, K = c->K;
    if (c->kind == ATTENTION) return 4.0 * T * K * c->E * c->heads * c->N * (c->causal && c->T > 1 ? 0.5 : 1.0);
    return c->kind == GEMM || c->kind == GEMV ? 2.0 * T * K * c->N : 0.0;
}

static double bytes(const bench_case *c)
{
    const double T = c->T, K = c->K;
    if (c->kind == ATTENTION) return 8.0 * K * c->E * c->kv_heads * c->N;
    if (c->kind == GEMM || c->kind == GEMV) return 2.0 * K * c->N;
    return (c->kind == GATED ? 12.0 : 8.0) * T * K;
}

static bool memory_bound(const bench_case *c)
{
    return !(c->kind == GEMM || (c->kind == ATTENTION && c->T > 4));
}

static float random_float(void)
{
    static uint64_t state = 88172645463325252ull;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (float)(state >> 40) * 0x1p-23f - 1.0f;
}

static float *random_floats(size_t n)
{
    float *x = malloc(n * sizeof *x);
    for (size_t i = 0; x && i < n; i++) x[i] = random_float();
    return x;
}

static bool make_data(const bench_case *c, data *d)
{
    const size_t T = (size_t)c->T, K = (size_t)c->K, N = (size_t)c->N;
    size_t n_x = 2 * T * K, n_y = T * K, n_w = 1, n_bias = K;
    if (c->kind == GEMM || c->kind == GEMV) n_x = T * K, n_y = T * N, n_w = K * N, n_bias = N;
    if (c->kind == ATTENTION) n_x = N * (T + 2 * K) * (size_t)(c->heads * c->E), n_y = N * T * (size_t)(c->heads * c->E);
    *d = (data){ random_floats(n_x), random_floats(n_y), random_floats(n_bias), malloc(n_w * sizeof *d->w) };
    for (size_t i = 0; d->w && i < n_w; i++)
        d->w[i] = (uint16_t)(0x2c00 + (i * 2654435761u >> 7 & 0x83ff)); /* f16, about 0.1 */
    return d->x && d->y && d->bias && d->w;
}

static void free_data(data *d)
{
    free(d->x);
    free(d->y);
    free(d->bias);
    free(d->w);
}

static void run_attention(vr_backend *be, const bench_case *c, const data *d)
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

static void run_case(vr_backend *be, const bench_case *c, const data *d)
{
    const vr_matrix w = { d->w, VR_DTYPE_F16, c->N, c->K };
    const vr_activation act = strstr(c->name, "gelu") ? VR_ACT_GELU : VR_ACT_NONE;
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
}

/* --- rounds -------------------------------------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(double *x, int n, double q)
{
    qsort(x, (size_t)n, sizeof *x, by_value);
    return x[(int)(q * (n - 1) + 0.5)];
}

typedef struct series {
    double time[MAX_ROUNDS], share[MAX_ROUNDS];
} series;

static void report(const bench_case *c, const char *way, series *s, const double *fma, int rounds)
{
    double best = 0.0;
    int n = 0;
    for (int r = 0; r < rounds; r++) best = fmax(best, fma[r]);
    for (int r = 0; r < rounds; r++) {
        if (fma[r] < 0.85 * best) continue;
        s->time[n] = s->time[r];
        s->share[n++] = s->share[r];
    }
    printf("%-10s %-22s %-9s ", c->family, c->name, way);
    if (n < 5) {
        printf("not measured: %d of %d rounds are clean\n", n, rounds);
        return;
    }
    const double time = quantile(s->time, n, 0.5), median = quantile(s->share, n, 0.5);
    const double rate = memory_bound(c) ? bytes(c) / time : operations(c) / time;
    printf("%9.3f ms %7.1f %-8s %5.2f of %s probe (%.2f..%.2f, n %d)\n", 1e3 * time, 1e-9 * rate,
           memory_bound(c) ? "GB/s" : "GFLOP/s", median, memory_bound(c) ? "read" : "FMA", quantile(s->share, n, 0.1),
           quantile(s->share, n, 0.9), n);
}

static bool bench(const bench_case *c, vr_backend *const be[2], const probe *p, int rounds)
{
    static series all[2];
    static double fma[MAX_ROUNDS];
    const int ways = c->kind == GEMM ? 2 : 1;
    data d;
    const bool ok = make_data(c, &d);
    for (int way = 0; ok && way < ways; way++) run_case(be[way], c, &d); /* the first call is not counted */
    for (int r = 0; ok && r < rounds; r++) {
        fma[r] = probe_fma(p);
        const double ceiling = memory_bound(c) ? probe_read(p) : fma[r];
        for (int i = 0; i < ways; i++) {
            const int way = (i + r) % ways;
            const double start = seconds();
            run_case(be[way], c, &d);
            all[way].time[r] = seconds() - start;
            all[way].share[r] = (memory_bound(c) ? bytes(c) : operations(c)) / all[way].time[r] / ceiling;
        }
        fma[r] = fmin(fma[r], probe_fma(p));
    }
    for (int way = 0; ok && way < ways; way++) report(c, way == 0 ? "own" : "OpenBLAS", &all[way], fma, rounds);
    free_data(&d);
    return ok;
}

static bool wanted(const bench_case *c, int argc, char **argv)
{
    bool any = false;
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] == '-')
            i++;
        else if (any = true, strcmp(argv[i], c->family) == 0)
            return true;
    }
    return !any;
}

static bool on_processor_clock(int argc, char **argv)
{
    for (int i = 1; i + 1 < argc; i++) {
        if (strcmp(argv[i], "-c") == 0) return strcmp(argv[i + 1], "processor") == 0;
    }
    return false;
}

static int option(int argc, char **argv, const char *name, int value, int max)
{
    for (int i = 1; i + 1 < argc; i++) {
        if (strcmp(argv[i], name) == 0) value = atoi(argv[i + 1]);
    }
    return value < 1 ? 1 : value > max ? max : value;
}

int main(int argc, char **argv)
{
    const bool processor = on_processor_clock(argc, argv);
    const int n_threads = processor ? 1 : option(argc, argv, "-t", 2, 64), rounds = option(argc, argv, "-r", 15, MAX_ROUNDS);
    if (processor) clock_id = CLOCK_PROCESS_CPUTIME_ID;
    vr_backend *be[2] = { NULL, NULL };
    vr_err e;
    probe p = { .memory = random_floats(READ_BYTES / sizeof(float)), .sink = calloc((size_t)n_threads, sizeof(float)) };
    bool ok = p.memory && p.sink && vr_pool_open(&p.pool, n_threads, &e) == VR_OK;
    ok = ok && vr_backend_open_cpu(&be[0], &(vr_cpu_options){ n_threads, VR_GEMM_OWN, NULL }, &e) == VR_OK;
    ok = ok && vr_backend_open_cpu(&be[1], &(vr_cpu_options){ n_threads, VR_GEMM_OPENBLAS, NULL }, &e) == VR_OK;
    if (ok) {
        p.avx512 = strstr(vr_cpu_features(), "avx512") != NULL;
        p.avx2 = strstr(vr_cpu_features(), "avx2") != NULL;
        printf("level %s of %s; %d threads; FMA %.0f GFLOP/s, read %.1f GB/s\n", vr_cpu_level(be[0]), vr_cpu_features(),
               n_threads, 1e-9 * probe_fma(&p), 1e-9 * probe_read(&p));
    }
    for (int i = 0; ok && i < N_CASES; i++) ok = !wanted(&cases[i], argc, argv) || bench(&cases[i], be, &p, rounds);
    if (!ok) fprintf(stderr, "vidrun-bench: no memory or no thread\n");
    vr_backend_free(be[0]);
    vr_backend_free(be[1]);
    vr_pool_free(p.pool);
    free(p.sink);
    free((void *)(uintptr_t)p.memory);
    return ok ? 0 : 1;
}
