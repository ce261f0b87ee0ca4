/*
 * linear_strips.c - products with quantised weights (base/strips.h).
 *
 *   VR_GEMM_ROWS rows of x -> signed bytes, one scale a row, threads share them
 *     -> tasks (two strips of W): 6 rows of x at a time -> strip kernel -> finish
 *
 * With one row the same code is the decoder's: W is read once, front to back, and nothing of it is unpacked to memory.
 * Ref:  kernels/quantised.h; bench/LOG.md.
 * Trap: columns of the last strip that do not exist are computed, but never leave the buffer.
 */
#include "kernels/cpu/cpu.h"

enum { STRIPS = 2, TASK_ROWS = STRIPS * VR_STRIP_ROWS };

typedef struct strips_job {
    const vr_product *p;
    vr_dsp_strip_fn *kernel;
    vr_quantised_rows rows;
    int first, n; /* rows of x */
} strips_job;

#define QUANTISE_ROWS 16 /* a tile of the first step */

static void quantise_task(void *arg, int task, int thread)
{
    (void)thread;
    const strips_job *j = arg;
    const vr_product *p = j->p;
    const int end = vr_min_int(j->n, (task + 1) * QUANTISE_ROWS), blocks = j->rows.blocks;
    for (int t = task * QUANTISE_ROWS; t < end; t++)
        p->cpu->dsp.quantise(j->rows.q + (ptrdiff_t)t * blocks * VR_STRIP_COLUMNS, j->rows.sums + (ptrdiff_t)t * blocks * 2,
                             j->rows.scale + t, p->x + (int64_t)(j->first + t) * p->w->cols, p->w->cols);
}

static void strips_task(void *arg, int task, int thread)
{
    (void)thread;
    const strips_job *j = arg;
    const vr_product *p = j->p;
    const int N = p->w->rows, column = task * TASK_ROWS, n = vr_min_int(TASK_ROWS, N - column);
    const size_t strip_bytes = (size_t)j->rows.blocks * vr_strip_block_bytes(p->w->dtype);
    const unsigned char *strip = (const unsigned char *)p->w->data + (size_t)(task * STRIPS) * strip_bytes;
    const int strips = vr_ceil_div(n, VR_STRIP_ROWS), together = j->n == 1 ? 1 : strips;
    float sums[VR_STRIP_T * TASK_ROWS];
    for (int t = 0; t < j->n; t += VR_STRIP_T) {
        const int rows = vr_min_int(VR_STRIP_T, j->n - t);
        for (int s = 0; s < strips; s += together) /* one row: one stream of weights */
            j->kernel(sums + s * VR_STRIP_ROWS, TASK_ROWS, &j->rows, t, rows, strip + (size_t)s * strip_bytes, together);
        for (int r = 0; r < rows; r++) {
            const int64_t at = (int64_t)(j->first + t + r) * N + column;
            p->cpu->dsp.finish(p->y + at, sums + r * TASK_ROWS, p->bias ? p->bias + column : NULL, p->act,
                               p->residual ? p->residual + at : NULL, n);
        }
    }
}

void vr_linear_strips(const vr_product *p)
{
    const int blocks = vr_strip_blocks(p->w->cols);
    const size_t n = (size_t)vr_min_int(p->T, VR_GEMM_ROWS), row = (size_t)blocks * VR_STRIP_COLUMNS;
    strips_job j = { .p = p, .rows.blocks = blocks };
    j.kernel = vr_dsp_strip(&p->cpu->dsp, p->w->dtype);
    unsigned char *memory = vr_cpu_rows(p->cpu, n * (row + (size_t)blocks * 2 * sizeof(int32_t) + sizeof(float)));
    if (!memory) return;
    j.rows.q = (int8_t *)memory; /* rows of a multiple of 64 bytes: what follows is aligned */
    j.rows.sums = (int32_t *)(void *)(memory + n * row);
    j.rows.scale = (float *)(void *)(j.rows.sums + n * (size_t)blocks * 2);
    for (j.first = 0; j.first < p->T; j.first += VR_GEMM_ROWS) {
        j.n = vr_min_int(VR_GEMM_ROWS, p->T - j.first);
        vr_pool_run(p->cpu->pool, vr_ceil_div(j.n, QUANTISE_ROWS), quantise_task, &j);
        vr_pool_run(p->cpu->pool, vr_ceil_div(p->w->rows, TASK_ROWS), strips_task, &j);
    }
}

void vr_strips_panel(float *panel, int tile_cols, const vr_matrix *w, int column, int n, int k, int depth)
{
    for (int c = 0; c < tile_cols; c++) {
        const int row = column + c;
        const void *strip =
            (const unsigned char *)w->data + vr_strips_bytes(w->dtype, row / VR_STRIP_ROWS * VR_STRIP_ROWS, w->cols);
        for (int i = 0; i < depth; i++) {
            panel[(ptrdiff_t)i * tile_cols + c] = 0;
            if (c < n) vr_strip_widen(&panel[(ptrdiff_t)i * tile_cols + c], strip, w->dtype, row % VR_STRIP_ROWS, k + i, 1);
        }
    }
}
