/*
 * gemm.c - the own matrix product.
 *
 *   task (rows of x, panel of tile_cols rows of W):
 *     for each block of k:  W rows, f32/f16/bf16/strips -> panel [k_block][tile_cols] f32, second-level cache
 *       for each tile_rows rows of x:  sums [rows][tile_cols] += x tile * panel          registers
 *     sums + bias -> activation -> + residual -> y
 *
 * Weights are widened and packed where they are used: the file is mapped once and never copied, and one packing of 1/3 clock a
 * number serves up to VR_GEMM_ROWS rows of x at 1/16 clock each. x is read in place: a row of a tile is one broadcast a step.
 * Each number of y is summed over k by one thread in one order: neither threads nor T changes it.
 * Ref:   Goto and van de Geijn, Anatomy of high-performance matrix multiplication, 2008 (blocks and panels).
 * Trap:  y may be residual, so sums stay in scratch until the last block of k.
 */
#include "kernels/cpu/cpu.h"

size_t vr_gemm_scratch(const vr_dsp *d)
{
    return ((size_t)d->k_block + VR_GEMM_ROWS) * (size_t)d->tile_cols;
}

static void gemm_task(void *arg, int task, int thread)
{
    const vr_product *p = arg;
    const vr_dsp *d = &p->cpu->dsp;
    const int K = p->w->cols, N = p->w->rows, n_panels = vr_ceil_div(N, d->tile_cols);
    const int column = task % n_panels * d->tile_cols, n = vr_min_int(d->tile_cols, N - column);
    const int row = task / n_panels * VR_GEMM_ROWS, rows = vr_min_int(VR_GEMM_ROWS, p->T - row);
    float *const sums = p->cpu->scratch[thread], *const panel = sums + (ptrdiff_t)VR_GEMM_ROWS * d->tile_cols;
    const size_t element = vr_dtype_bytes(p->w->dtype);
    const unsigned char *w = (const unsigned char *)p->w->data + (size_t)column * (size_t)K * element;
    const bool strips = vr_is_strips(p->w->dtype);
    const int block = strips && rows <= d->tile_rows ? d->k_block_few : d->k_block;

    for (int k = 0; k == 0 || k < K; k += block) {
        const int depth = vr_min_int(block, K - k);
        if (strips)
            vr_strips_panel(panel, d, p->w, column, n, k, depth);
        else
            d->pack[vr_dsp_dtype(p->w->dtype)](panel, w + (size_t)k * element, K, n, depth);
        for (int r = 0; r < rows; r += d->tile_rows) {
            d->gemm_tile(sums + (ptrdiff_t)r * d->tile_cols, d->tile_cols, p->x + (int64_t)(row + r) * K + k, K, panel,
                         vr_min_int(d->tile_rows, rows - r), n, depth, k > 0);
        }
    }
    for (int r = 0; r < rows; r++) {
        const int64_t at = (int64_t)(row + r) * N + column;
        d->finish(p->y + at, sums + (ptrdiff_t)r * d->tile_cols, p->bias ? p->bias + column : NULL, p->act,
                  p->residual ? p->residual + at : NULL, n);
    }
}

void vr_gemm_own(const vr_product *p)
{
    vr_product job = *p;
    vr_pool_run(p->cpu->pool, vr_ceil_div(p->w->rows, p->cpu->dsp.tile_cols) * vr_ceil_div(p->T, VR_GEMM_ROWS), gemm_task,
                &job);
}
