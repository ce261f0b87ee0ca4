/*
 * gemm_bf16.c - the own matrix product on bf16 numbers: gemm.c with rows of x rounded once and panels of pairs.
 *
 *   VR_GEMM_ROWS rows of x -> bf16, threads share them -> tasks (panels of tile_cols rows of W) as in gemm.c
 *
 * Ref: gemm.c; kernels/dsp.h.
 */
#include <string.h>

#include "kernels/cpu/cpu.h"

typedef struct bf16_job {
    const vr_product *p;
    uint16_t *rows; /* [n, row_size], zeros behind K */
    int64_t row_size;
    int first, n; /* rows of x */
} bf16_job;

#define NARROW_ROWS 16 /* a tile of the first step */

static void narrow_task(void *arg, int task, int thread)
{
    (void)thread;
    const bf16_job *j = arg;
    const vr_product *p = j->p;
    const int end = vr_min_int(j->n, (task + 1) * NARROW_ROWS);
    const int K = p->w->cols, even = K + K % 2;
    for (int t = task * NARROW_ROWS; t < end; t++) {
        uint16_t *row = j->rows + t * j->row_size;
        p->cpu->dsp.narrow(row, p->x + (int64_t)(j->first + t) * K, K);
        memset(row + even, 0, (size_t)(j->row_size - even) * sizeof *row);
    }
}

static void gemm_task(void *arg, int task, int thread)
{
    const bf16_job *j = arg;
    const vr_product *p = j->p;
    const vr_dsp *d = &p->cpu->dsp;
    const int K = p->w->cols, N = p->w->rows, column = task * d->tile_cols, n = vr_min_int(d->tile_cols, N - column);
    const int block = 2 * d->k_block; /* numbers of half the size: as many bytes a panel */
    float *const sums = p->cpu->scratch[thread];
    uint16_t *const panel = (uint16_t *)(void *)(sums + (ptrdiff_t)VR_GEMM_ROWS * d->tile_cols);
    const size_t element = vr_dtype_bytes(p->w->dtype);
    const unsigned char *w = (const unsigned char *)p->w->data + (size_t)column * (size_t)K * element;
    for (int k = 0; k == 0 || k < K; k += block) {
        const int depth = vr_min_int(block, K - k);
        d->pack_pairs[vr_dsp_dtype(p->w->dtype)](panel, w + (size_t)k * element, K, n, depth);
        const int pairs = vr_ceil_div(depth, 2), padded = vr_ceil_div(pairs, d->pair_step) * d->pair_step;
        memset(panel + (ptrdiff_t)2 * pairs * d->tile_cols, 0, (size_t)(padded - pairs) * (size_t)d->tile_cols * 4);
        for (int r = 0; r < j->n; r += d->pair_rows)
            d->gemm_tile_bf16(sums + (ptrdiff_t)r * d->tile_cols, d->tile_cols, j->rows + r * j->row_size + k, j->row_size,
                              panel, vr_min_int(d->pair_rows, j->n - r), n, pairs, k > 0);
    }
    for (int r = 0; r < j->n; r++) {
        const int64_t at = (int64_t)(j->first + r) * N + column;
        d->finish(p->y + at, sums + (ptrdiff_t)r * d->tile_cols, p->bias ? p->bias + column : NULL, p->act,
                  p->residual ? p->residual + at : NULL, n);
    }
}

void vr_gemm_bf16(const vr_product *p)
{
    const int K = p->w->cols, most = vr_min_int(p->T, VR_GEMM_ROWS);
    const int step = 2 * p->cpu->dsp.pair_step;
    bf16_job j = { .p = p, .row_size = (int64_t)vr_ceil_div(K, step) * step };
    if (step > 2 && j.row_size % 512 == 0) j.row_size += step; /* tiles of rows a multiple of 1 KB apart share few cache lines */
    j.rows = vr_cpu_rows(p->cpu, (size_t)most * (size_t)j.row_size * sizeof *j.rows);
    if (!j.rows) return;
    for (j.first = 0; j.first < p->T; j.first += VR_GEMM_ROWS) {
        j.n = vr_min_int(VR_GEMM_ROWS, p->T - j.first);
        vr_pool_run(p->cpu->pool, vr_ceil_div(j.n, NARROW_ROWS), narrow_task, &j);
        vr_pool_run(p->cpu->pool, vr_ceil_div(p->w->rows, p->cpu->dsp.tile_cols), gemm_task, &j);
    }
}
