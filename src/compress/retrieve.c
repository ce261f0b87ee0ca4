/*
 * retrieve.c - see retrieve.h.
 *
 *   expanded form: squares of rows (op gram of one row), products from op distances: a.b = (|a|^2 + |b|^2 - |a-b|^2) / 2
 *                  -> f32 -> (a2 + b2) - 2 ab -> root -> first smallest
 *
 * Ref:  Flash-VStream-LLaVA vstream_arch.py:240-262; Flash-VStream-Qwen vstream_qwen2vl_model.py:182-244,
 *       compress_functions.py (efficient_euclidean_distance).
 * Trap: a mean of two rows is equally far from both: rounding alone decides, and the original's cannot be known here.
 * Trap: in bfloat16 a square keeps 8 bits of |a|^2 + |b|^2, so rows that are alike tie or give no number; the first wins.
 */
#include "compress/retrieve.h"

#include <math.h>
#include <string.h>

#include "compress/nearest.h"

void vr_retrieve_nearest(const double *distance, int T, const int32_t *keys, int n_keys, int32_t *picks, float *roots)
{
    for (int j = 0; j < n_keys; j++) {
        for (int i = 0; i < T; i++) roots[(int64_t)i * n_keys + j] = (float)sqrt(distance[(int64_t)i * T + keys[j]]);
        picks[j] = vr_nearest(roots + j, T, n_keys);
    }
}

typedef float round_fn(float x);

static float keep(float x)
{
    return x;
}

/* The nearest, ties to even. */
static float to_bfloat16(float x)
{
    uint32_t bits;
    if (isnan(x)) return x;
    memcpy(&bits, &x, sizeof bits);
    bits = (bits + 0x7fffu + (bits >> 16 & 1u)) & 0xffff0000u;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* Sums of squares of T rows, host: exact ones, and those of rounded squares. */
typedef struct sums {
    double *exact, *terms; /* [T] */
} sums;

static void sum_squares(const vr_run *run, const float *x, int T, int D, bool bfloat16, const sums *out)
{
    const size_t mark = vr_arena_mark(run->scratch);
    double *device = vr_arena_alloc(run->scratch, (size_t)T, sizeof *device);
    for (int t = 0; t < T; t++) run->be->ops->gram(run->be, device + t, x + (int64_t)t * D, VR_DTYPE_F32, 1, D);
    if (!run->be->plan) run->be->read(run->be, out->exact, device, (size_t)T * sizeof *device);
    for (int t = 0; t < T && !run->be->plan; t++) {
        const float *row = x + (int64_t)t * D;
        out->terms[t] = bfloat16 ? 0.0 : out->exact[t];
        for (int d = 0; d < D && bfloat16; d++) out->terms[t] += (double)to_bfloat16(row[d] * row[d]);
    }
    vr_arena_release(run->scratch, mark);
}

/* roots [T] of key j; between [T]: exact squares of the distances. Every step is rounded as the original's. */
static void expand(round_fn *rounded, float *roots, const sums *key, int j, const sums *bank, const double *between, int T)
{
    for (int i = 0; i < T; i++) {
        const float sum = rounded(rounded((float)key->terms[j]) + rounded((float)bank->terms[i]));
        const float product = rounded((float)(0.5 * (key->exact[j] + bank->exact[i] - between[i])));
        roots[i] = rounded(sqrtf(rounded(sum - rounded(2.0f * product))));
    }
}

static sums sums_alloc(vr_arena *host, int n)
{
    return (sums){ vr_arena_alloc(host, (size_t)n, sizeof(double)), vr_arena_alloc(host, (size_t)n, sizeof(double)) };
}

void vr_retrieve_expanded(const vr_run *run, const float *keys, int n_keys, const float *bank, int T, int D, bool bfloat16,
                          int32_t *picks)
{
    const size_t mark = vr_arena_mark(run->scratch), host = vr_arena_mark(run->host), n = (size_t)n_keys * (size_t)T;
    double *device = vr_arena_alloc(run->scratch, n, sizeof *device);
    double *between = vr_arena_alloc(run->host, n, sizeof *between);
    const sums key_sums = sums_alloc(run->host, n_keys), bank_sums = sums_alloc(run->host, T);
    float *roots = vr_arena_floats(run->host, (size_t)T);
    run->be->ops->distances(run->be, device, keys, n_keys, bank, T, D);
    if (!run->be->plan) run->be->read(run->be, between, device, n * sizeof *between);
    sum_squares(run, keys, n_keys, D, bfloat16, &key_sums);
    sum_squares(run, bank, T, D, bfloat16, &bank_sums);
    for (int j = 0; j < n_keys && !run->be->plan; j++) {
        expand(bfloat16 ? to_bfloat16 : keep, roots, &key_sums, j, &bank_sums, between + (int64_t)j * T, T);
        picks[j] = vr_nearest(roots, T, 1);
    }
    vr_arena_release(run->host, host);
    vr_arena_release(run->scratch, mark);
}
