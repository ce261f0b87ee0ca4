/*
 * probe.c - what this machine can do right now: multiply-adds, reading, writing; memory and random numbers for the families.
 *
 *   FMA burst in registers | sum of a buffer larger than the caches | streaming stores      each on all threads of the pool
 *
 * Trap:  memory must be touched and hold no zeros; large pages are asked for, because small ones cost 5 % of the read rate.
 */
#define _DEFAULT_SOURCE /* madvise */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/limits.h"
#include "bench/bench.h"
#include "kernels/cpu/cpuid.h"
#include "base/half.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define READ_BYTES ((size_t)128 << 20)
#define TILES      64
#define FMA_STEPS  1200000 /* some 10 ms */
#define PAGE       ((size_t)2 << 20)

static clockid_t clock_id = CLOCK_MONOTONIC;
static void *memory; /* READ_BYTES, for the read probe */

double bench_seconds(void)
{
    struct timespec t;
    clock_gettime(clock_id, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void bench_clock_processor(void)
{
    clock_id = CLOCK_PROCESS_CPUTIME_ID;
}

void bench_rest(int milliseconds)
{
    nanosleep(&(struct timespec){ .tv_nsec = 1000000L * milliseconds }, NULL);
}

void *bench_alloc(size_t n_bytes)
{
    const size_t rounded = (n_bytes + PAGE - 1) / PAGE * PAGE + (n_bytes == 0 ? PAGE : 0);
    void *x = aligned_alloc(PAGE, rounded);
    if (x) madvise(x, rounded, MADV_HUGEPAGE);
    return x;
}

void bench_free(void *x, size_t n_bytes)
{
    (void)n_bytes;
    free(x);
}

float bench_random(uint64_t *seed)
{
    uint64_t s = *seed;
    s ^= s << 13;
    s ^= s >> 7;
    s ^= s << 17;
    *seed = s;
    return (float)(s >> 40) * 0x1p-23f - 1.0f;
}

/* Nearest even; values of the bench are normal numbers of every type. */
static uint16_t narrow_f16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint32_t sign = bits >> 16 & 0x8000, rounded = (bits & 0x7fffffff) + 0xfff + (bits >> 13 & 1);
    if (rounded < 0x38800000) return (uint16_t)sign;
    return (uint16_t)(sign | ((rounded - 0x38000000) >> 13));
}

void bench_store(void *x, vr_dtype dtype, int64_t i, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (dtype == VR_DTYPE_F32)
        ((float *)x)[i] = value;
    else if (dtype == VR_DTYPE_F16)
        ((uint16_t *)x)[i] = narrow_f16(value);
    else
        ((uint16_t *)x)[i] = (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

float bench_load(const void *x, vr_dtype dtype, int64_t i)
{
    if (dtype == VR_DTYPE_F32) return ((const float *)x)[i];
    const uint16_t half = ((const uint16_t *)x)[i];
    return dtype == VR_DTYPE_F16 ? vr_f16_to_f32(half) : vr_bf16_to_f32(half);
}

int bench_probe_open(bench_run *run, vr_err *e)
{
    memory = bench_alloc(READ_BYTES);
    if (!memory) return vr_fail(e, VR_ERR_LIMIT, "bench: no memory for the read probe");
    memset(memory, 0x5a, READ_BYTES);
    for (int i = 0; i < 5; i++) {
        const double fma = bench_probe_fma(run);
        run->best_fma = fma > run->best_fma ? fma : run->best_fma;
    }
    return VR_OK;
}

void bench_probe_close(void)
{
    bench_free(memory, READ_BYTES);
    memory = NULL;
}

/* --- multiply-adds ------------------------------------------------------------------------------------------------------- */

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
    float *sink = (float *)arg + tile;
    *sink = 0.0f;
#if defined(__x86_64__)
    if (vr_cpu_flags() & VR_CPU_AVX512)
        *sink = burst_avx512();
    else if (vr_cpu_flags() & VR_CPU_AVX2)
        *sink = burst_avx2();
#endif
}

double bench_probe_fma(const bench_run *run)
{
    float sink[VR_MAX_THREADS];
    const int n = vr_pool_threads(run->pool);
    const double start = bench_seconds(), lanes = vr_cpu_flags() & VR_CPU_AVX512 ? 16.0 : 8.0;
    vr_pool_run(run->pool, n, fma_tile, sink);
    return n * (double)FMA_STEPS * 10.0 * 2.0 * lanes / (bench_seconds() - start);
}

/* --- reading and writing -------------------------------------------------------------------------------------------------- */

typedef struct stream_job {
    const unsigned char *x;
    unsigned char *y;
    size_t n_bytes;
    uint64_t sink[TILES];
} stream_job;

/* Byte range of a tile: whole lines. */
static void tile_range(size_t n_bytes, int tile, size_t *first, size_t *end)
{
    const size_t per_tile = (n_bytes / TILES + 63) / 64 * 64;
    *first = per_tile * (size_t)tile < n_bytes ? per_tile * (size_t)tile : n_bytes;
    *end = *first + per_tile < n_bytes ? *first + per_tile : n_bytes;
}

#if defined(__x86_64__)
__attribute__((target("avx2"))) static uint64_t read_avx2(const unsigned char *x, size_t n)
{
    __m256i s[4] = { _mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256() };
    for (size_t i = 0; i + 128 <= n; i += 128) {
        for (size_t k = 0; k < 4; k++)
            s[k] = _mm256_xor_si256(s[k], _mm256_loadu_si256((const __m256i *)(const void *)(x + i + 32 * k)));
    }
    const __m256i all = _mm256_xor_si256(_mm256_xor_si256(s[0], s[1]), _mm256_xor_si256(s[2], s[3]));
    return (uint64_t)_mm256_extract_epi64(all, 0) ^ (uint64_t)_mm256_extract_epi64(all, 3);
}

__attribute__((target("avx2"))) static void write_avx2(unsigned char *y, size_t n)
{
    const __m256i value = _mm256_set1_epi32(0x3f803f80);
    for (size_t i = 0; i + 32 <= n; i += 32) _mm256_stream_si256((__m256i *)(void *)(y + i), value);
    _mm_sfence();
}
#endif

static void read_tile(void *arg, int tile, int thread)
{
    (void)thread;
    stream_job *j = arg;
    size_t first, end;
    tile_range(j->n_bytes, tile, &first, &end);
#if defined(__x86_64__)
    if (vr_cpu_flags() & VR_CPU_AVX2) {
        j->sink[tile] = read_avx2(j->x + first, end - first);
        return;
    }
#endif
    uint64_t sum[8] = { 0 };
    for (size_t i = first; i + 64 <= end; i += 64) {
        uint64_t line[8];
        memcpy(line, j->x + i, sizeof line);
        for (int k = 0; k < 8; k++) sum[k] += line[k];
    }
    for (int k = 1; k < 8; k++) sum[0] += sum[k];
    j->sink[tile] = sum[0];
}

static void write_tile(void *arg, int tile, int thread)
{
    (void)thread;
    const stream_job *j = arg;
    size_t first, end;
    tile_range(j->n_bytes, tile, &first, &end);
#if defined(__x86_64__)
    if (vr_cpu_flags() & VR_CPU_AVX2) {
        write_avx2(j->y + first, end - first);
        return;
    }
#endif
    memset(j->y + first, 0x3f, end - first);
}

double bench_read(vr_pool *pool, const void *x, size_t n_bytes)
{
    stream_job j = { .x = x, .n_bytes = n_bytes };
    const double start = bench_seconds();
    vr_pool_run(pool, TILES, read_tile, &j);
    return bench_seconds() - start;
}

double bench_write(vr_pool *pool, void *x, size_t n_bytes)
{
    stream_job j = { .y = x, .n_bytes = n_bytes };
    const double start = bench_seconds();
    vr_pool_run(pool, TILES, write_tile, &j);
    return bench_seconds() - start;
}

double bench_probe_read(const bench_run *run)
{
    return (double)READ_BYTES / bench_read(run->pool, memory, READ_BYTES);
}
