/*
 * gemm_openblas.c - the matrix product by OpenBLAS, for machines that its kernels suit better than ours.
 *
 *   for each block of rows of W:  widen to f32 (threads) -> for each block of rows of x:  cblas_sgemm -> finish (threads) -> y
 *
 * Ref:   https://www.openblas.net (cblas_sgemm, openblas_set_num_threads: for the whole process).
 * Trap:  y may be residual, so the product goes to scratch first.
 * Owner: widened weights and product live in vr_cpu.blas.
 */
#include <cblas.h>

#include "kernels/cpu/cpu.h"

#define WEIGHTS    (12 << 20) /* floats of widened weights: 1024 rows of width 11008 */
#define ROWS_T     1024
#define ROWS_N     1024
#define WIDEN_ROWS 16 /* rows of W a task */

typedef struct block {
    const vr_product *p;
    float *weights, *sums;
    int n_first, n, t_first, t;
} block;

size_t vr_openblas_scratch(void)
{
    return (size_t)WEIGHTS + (size_t)ROWS_T * ROWS_N;
}

void vr_openblas_threads(int n_threads)
{
    openblas_set_num_threads(n_threads);
}

static void widen_task(void *arg, int task, int thread)
{
    (void)thread;
    const block *b = arg;
    const vr_matrix *w = b->p->w;
    const int last = vr_min_int(b->n, (task + 1) * WIDEN_ROWS);
    for (int i = task * WIDEN_ROWS; i < last; i++) {
        const unsigned char *row =
            (const unsigned char *)w->data + ((size_t)(b->n_first + i) * (size_t)w->cols) * vr_dtype_bytes(w->dtype);
        b->p->cpu->dsp.widen[vr_dsp_dtype(w->dtype)](b->weights + (size_t)i * (size_t)w->cols, row, w->cols);
    }
}

static void finish_task(void *arg, int row, int thread)
{
    (void)thread;
    const block *b = arg;
    const vr_product *p = b->p;
    const int64_t at = (int64_t)(b->t_first + row) * p->w->rows + b->n_first;
    p->cpu->dsp.finish(p->y + at, b->sums + (ptrdiff_t)row * b->n, p->bias ? p->bias + b->n_first : NULL, p->act,
                       p->residual ? p->residual + at : NULL, b->n);
}

void vr_gemm_openblas(const vr_product *p)
{
    const int K = p->w->cols, N = p->w->rows;
    const int n_block = vr_min_int(ROWS_N, WEIGHTS / (K > 0 ? K : 1)); /* >= 192: K is at most VR_MAX_WIDTH */
    block b = { .p = p, .weights = p->cpu->blas, .sums = p->cpu->blas + WEIGHTS };
    for (b.n_first = 0; b.n_first < N; b.n_first += n_block) {
        b.n = vr_min_int(n_block, N - b.n_first);
        const float *weights = b.weights;
        if (p->w->dtype == VR_DTYPE_F32)
            weights = (const float *)p->w->data + (size_t)b.n_first * (size_t)K;
        else
            vr_pool_run(p->cpu->pool, vr_ceil_div(b.n, WIDEN_ROWS), widen_task, &b);
        for (b.t_first = 0; b.t_first < p->T; b.t_first += ROWS_T) {
            b.t = vr_min_int(ROWS_T, p->T - b.t_first);
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, b.t, b.n, K, 1.0f, p->x + (int64_t)b.t_first * K,
                        K > 0 ? K : 1, weights, K > 0 ? K : 1, 0.0f, b.sums, b.n);
            vr_pool_run(p->cpu->pool, b.t, finish_task, &b);
        }
    }
}
