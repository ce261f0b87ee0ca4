/*
 * linear.c - y = act(x W^T + bias) + residual: the choice of a product, and products with few rows.
 *
 *   quantised W: linear_strips.c;  F32, F16, BF16:
 *   T <= 4:  threads take 128 rows of W at a time -> dot with all T rows of x -> finish     W is read once, at memory speed
 *   else:    gemm.c (own tiles in f32), gemm_bf16.c or gemm_openblas.c
 *
 * A product with 1 to 4 rows moves 2 bytes of weight for 2 to 8 operations: packing a panel would cost more than the sums.
 * Ref:   kernels/ops.h linear; bench/LOG.md.
 * Trap:  y may be residual, so sums go to a buffer of the tile first.
 */
#include "kernels/cpu/cpu.h"

#include "base/limits.h"

#define DOT_ROWS 128 /* 1 MB of f16 weights at width 4096: some 35 us of one core's memory rate; eight streams of 16 rows */

static void dot_tile(void *arg, int tile, int thread)
{
    (void)thread;
    const vr_product *p = arg;
    const vr_dsp *d = &p->cpu->dsp;
    const int K = p->w->cols, N = p->w->rows, first = tile * DOT_ROWS, n = vr_min_int(DOT_ROWS, N - first);
    const unsigned char *w = (const unsigned char *)p->w->data + (size_t)first * (size_t)K * vr_dtype_bytes(p->w->dtype);
    float sums[VR_DSP_DOT_T * DOT_ROWS];
    d->dot[vr_dsp_dtype(p->w->dtype)](sums, DOT_ROWS, p->x, K, p->T, w, K, n, K);
    for (int t = 0; t < p->T; t++) {
        const int64_t at = (int64_t)t * N + first;
        d->finish(p->y + at, sums + t * DOT_ROWS, p->bias ? p->bias + first : NULL, p->act,
                  p->residual ? p->residual + at : NULL, n);
    }
}

void vr_cpu_linear(vr_backend *be, float *y, const float *x, const vr_matrix *w, const float *bias, vr_activation act,
                   const float *residual, int T)
{
    assert(T >= 0 && w->rows >= 0 && w->cols >= 0 && w->cols <= VR_MAX_WIDTH);
    if (T == 0 || w->rows == 0) return;
    vr_product p = { .cpu = vr_cpu_of(be), .y = y, .x = x, .w = w, .bias = bias, .act = act, .residual = residual, .T = T };
    const vr_precision precision = p.cpu->precision;
    const bool strips = vr_is_strips(w->dtype), pairs = p.cpu->dsp.gemm_tile_bf16 != NULL;
    const bool narrow = precision != VR_PRECISION_F32 && !(precision == VR_PRECISION_AUTO && w->dtype == VR_DTYPE_F32);
    if (T > VR_DSP_DOT_T) p.cpu->narrow = narrow && pairs;
    if (strips && (precision == VR_PRECISION_INT8 || precision == VR_PRECISION_AUTO))
        vr_linear_strips(&p);
    else if (strips)
        vr_gemm_own(&p);
    else if (T <= VR_DSP_DOT_T)
        vr_pool_run(p.cpu->pool, vr_ceil_div(w->rows, DOT_ROWS), dot_tile, &p);
    else if (narrow && pairs)
        vr_gemm_bf16(&p);
    else if (p.cpu->gemm == VR_GEMM_OPENBLAS)
        vr_gemm_openblas(&p);
    else
        vr_gemm_own(&p);
}
