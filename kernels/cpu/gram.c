/*
 * gram.c - products of all pairs of long rows, and what follows from them: how like its neighbours a frame is.
 *
 *   x [T, D] -> groups of at most 16 rows x chunks of columns -> partial sums (dsp, one slot a chunk) -> g [T, T] in double
 *   T <= 16: one group.  T > 16: every pair of eights is a group
 *
 * x is read once for T <= 16. Chunks, not rows, are cut into tiles, so both threads work on one window; slots are added in
 * order, so the number of threads does not show in the result.
 * Ref:   LongVU cambrian_arch.py:646-785 (select_frame).
 */
#include <math.h>
#include <string.h>

#include "kernels/cpu/cpu.h"

#define MAX_CHUNKS 64
#define EIGHT      (VR_DSP_GRAM / 2)
#define PARTIAL    (VR_DSP_GRAM * VR_DSP_GRAM)
#define MAX_WINDOW 64

size_t vr_gram_scratch(void)
{
    return (size_t)MAX_CHUNKS * PARTIAL * sizeof(double) / sizeof(float);
}

typedef struct gram_job {
    vr_dsp_gram_fn *gram;
    const void *rows[VR_DSP_GRAM];
    int n;
    int64_t D, per_chunk;
    double *partial; /* [n_chunks, 16, 16] */
} gram_job;

static void gram_tile(void *arg, int tile, int thread)
{
    (void)thread;
    const gram_job *j = arg;
    const int64_t first = tile * j->per_chunk, end = first + j->per_chunk < j->D ? first + j->per_chunk : j->D;
    double *sum = j->partial + (int64_t)tile * PARTIAL, part[PARTIAL];
    memset(sum, 0, PARTIAL * sizeof *sum);
    for (int64_t at = first; at < end; at += VR_DSP_GRAM_COLUMNS) {
        j->gram(part, j->rows, j->n, at, (int)(end - at < VR_DSP_GRAM_COLUMNS ? end - at : VR_DSP_GRAM_COLUMNS));
        for (int i = 0; i < j->n; i++) {
            for (int k = i; k < j->n; k++) sum[i * VR_DSP_GRAM + k] += part[i * VR_DSP_GRAM + k];
        }
    }
}

/* Products of the rows ids[0..n) of x into g [T, T]. */
static void group_products(vr_cpu *cpu, double *g, const void *x, vr_dtype dtype, int T, int64_t D, const int *ids, int n)
{
    const int64_t chunks = (D + VR_DSP_GRAM_COLUMNS - 1) / VR_DSP_GRAM_COLUMNS, rounds = (chunks + MAX_CHUNKS - 1) / MAX_CHUNKS;
    gram_job j = { .gram = cpu->dsp.gram[vr_dsp_dtype(dtype)], .n = n, .D = D, .per_chunk = rounds * VR_DSP_GRAM_COLUMNS };
    j.partial = (double *)(void *)cpu->scratch[0];
    for (int i = 0; i < n; i++) j.rows[i] = (const unsigned char *)x + (int64_t)ids[i] * D * (int64_t)vr_dtype_bytes(dtype);
    const int n_chunks = rounds ? (int)((D + j.per_chunk - 1) / j.per_chunk) : 0;
    vr_pool_run(cpu->pool, n_chunks, gram_tile, &j);
    for (int i = 0; i < n; i++) {
        for (int k = i; k < n; k++) {
            double sum = 0.0;
            for (int c = 0; c < n_chunks; c++) sum += j.partial[c * PARTIAL + i * VR_DSP_GRAM + k];
            g[(int64_t)ids[i] * T + ids[k]] = g[(int64_t)ids[k] * T + ids[i]] = sum;
        }
    }
}

void vr_cpu_gram(vr_backend *be, double *g, const void *x, vr_dtype dtype, int T, int64_t D)
{
    assert(T >= 0 && D >= 0);
    int ids[VR_DSP_GRAM];
    if (T <= VR_DSP_GRAM) {
        for (int i = 0; i < T; i++) ids[i] = i;
        group_products(vr_cpu_of(be), g, x, dtype, T, D, ids, T);
        return;
    }
    for (int a = 0; a < T; a += EIGHT) {
        for (int b = a + EIGHT; b < T; b += EIGHT) {
            int n = 0;
            for (int i = a; i < a + EIGHT; i++) ids[n++] = i;
            for (int i = b; i < T && i < b + EIGHT; i++) ids[n++] = i;
            group_products(vr_cpu_of(be), g, x, dtype, T, D, ids, n);
        }
    }
}

void vr_cpu_frame_similarity(vr_backend *be, float *similarity, const float *x, int n_frames, int64_t D, int window)
{
    assert(n_frames >= 0 && D >= 0 && window >= 1 && window <= MAX_WINDOW);
    double g[MAX_WINDOW * MAX_WINDOW];
    for (int first = 0; first < n_frames; first += window) {
        const int m = vr_min_int(window, n_frames - first);
        vr_cpu_gram(be, g, x + first * D, VR_DTYPE_F32, m, D);
        for (int i = 0; i < m; i++) {
            double sum = 0.0;
            for (int k = 0; k < m; k++) sum += g[i * m + k] / (sqrt(g[i * m + i]) * sqrt(g[k * m + k]));
            similarity[first + i] = (float)(sum / m);
        }
    }
}
