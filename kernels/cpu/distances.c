/*
 * distances.c - squared distances of all pairs of long rows, and mixtures of rows.
 *
 *   x [T,D], y [N,D] -> blocks of pairs -> runs of 1024 columns -> tiles of 2 x 4 rows (dsp), added in double -> d [T,N]
 *   a [K,T], x [T,D] -> runs of columns of one mixture, sums in double -> y [K,D]
 *
 * A run of columns of two blocks of 64 rows is 512 KB: it stays in the second-level cache while its tiles read it, and a row
 * comes from memory once for 64 others. With few pairs the blocks are smaller, so that there is something for every thread.
 */
#include <string.h>

#include "kernels/cpu/cpu.h"

#define A           VR_DSP_DISTANCE_A
#define B           VR_DSP_DISTANCE_B
#define COLUMNS     1024
#define BLOCK_MOST  64
#define MIX_COLUMNS 128

typedef struct distance_job {
    vr_dsp_distance_fn *distance;
    double *d;
    const float *x, *y;
    int T, N, block, columns_of_blocks;
    int64_t D;
    bool same; /* x is y: the lower half follows from the upper one */
} distance_job;

/* half: of tiles on and above the diagonal only. */
static void block_sums(const distance_job *j, double *sum, const float *const *a, int n_a, const float *const *b, int n_b,
                       bool half)
{
    double part[A * B];
    for (int64_t first = 0; first < j->D; first += COLUMNS) {
        const int columns = (int)(j->D - first < COLUMNS ? j->D - first : COLUMNS);
        for (int c = 0; c < n_b; c += B) {
            for (int r = 0; r < n_a && !(half && c + B <= r); r += A) {
                j->distance(part, a + r, b + c, first, columns);
                for (int i = 0; i < A; i++)
                    for (int k = 0; k < B; k++) sum[(r + i) * BLOCK_MOST + c + k] += part[i * B + k];
            }
        }
    }
}

/* Rows first .. first + n - 1, and the last once more until a tile is full. */
static void block_rows(const float **rows, const float *x, int64_t D, int first, int n)
{
    for (int i = 0; i < (n + B - 1) / B * B; i++) rows[i] = x + (int64_t)(first + vr_min_int(i, n - 1)) * D;
}

static void distance_tile(void *arg, int tile, int thread)
{
    (void)thread;
    const distance_job *j = arg;
    const int r = tile / j->columns_of_blocks * j->block, c = tile % j->columns_of_blocks * j->block;
    if (j->same && c < r) return;
    const int n_a = vr_min_int(j->block, j->T - r), n_b = vr_min_int(j->block, j->N - c);
    const float *a[BLOCK_MOST], *b[BLOCK_MOST];
    double sum[BLOCK_MOST * BLOCK_MOST] = { 0 };
    block_rows(a, j->x, j->D, r, n_a);
    block_rows(b, j->y, j->D, c, n_b);
    block_sums(j, sum, a, n_a, b, n_b, j->same && c == r);
    for (int i = 0; i < n_a; i++) {
        for (int k = j->same && c == r ? i : 0; k < n_b; k++) {
            const double d = sum[i * BLOCK_MOST + k];
            j->d[(int64_t)(r + i) * j->N + c + k] = d;
            if (j->same) j->d[(int64_t)(c + k) * j->N + r + i] = d;
        }
    }
}

void vr_cpu_distances(vr_backend *be, double *d, const float *x, int T, const float *y, int N, int64_t D)
{
    assert(T >= 0 && N >= 0 && D >= 0);
    const int64_t pairs = (int64_t)T * N;
    const int block = pairs >= 128 * 128 ? BLOCK_MOST : pairs >= 64 * 64 ? 16 : 8;
    distance_job j = { .distance = vr_cpu_of(be)->dsp.distance,
                       .d = d,
                       .x = x,
                       .y = y,
                       .T = T,
                       .N = N,
                       .block = block,
                       .columns_of_blocks = vr_ceil_div(N, block),
                       .D = D,
                       .same = x == y && T == N };
    vr_pool_run(vr_cpu_of(be)->pool, vr_ceil_div(T, block) * j.columns_of_blocks, distance_tile, &j);
}

typedef struct mix_job {
    float *y;
    const float *a, *x;
    int T, D, runs;
} mix_job;

static void mix_tile(void *arg, int tile, int thread)
{
    (void)thread;
    const mix_job *j = arg;
    const int row = tile / j->runs, first = tile % j->runs * MIX_COLUMNS, n = vr_min_int(MIX_COLUMNS, j->D - first);
    const float *a = j->a + (int64_t)row * j->T;
    float *y = j->y + (int64_t)row * j->D + first;
    double sum[MIX_COLUMNS] = { 0 };
    for (int t = 0; t < j->T; t++) {
        const float *x = j->x + (int64_t)t * j->D + first;
        const double share = (double)a[t];
        if (a[t] == 0.0f) continue;
        if (n == MIX_COLUMNS) { /* a constant count, which the compiler turns into vectors */
            for (int d = 0; d < MIX_COLUMNS; d++) sum[d] += share * (double)x[d];
        } else {
            for (int d = 0; d < n; d++) sum[d] += share * (double)x[d];
        }
    }
    for (int d = 0; d < n; d++) y[d] = (float)sum[d];
}

void vr_cpu_mix_rows(vr_backend *be, float *y, const float *a, int K, const float *x, int T, int D)
{
    assert(K >= 0 && T >= 0 && D >= 0);
    mix_job j = { y, a, x, T, D, vr_ceil_div(D, MIX_COLUMNS) };
    vr_pool_run(vr_cpu_of(be)->pool, K * j.runs, mix_tile, &j);
}
