/*
 * quantised.h - products of quantised weights (base/strips.h) with rows quantised when they are used.
 *
 *   x [T,K] f32 -> q i8 in tiles of up to strip_rows rows, one scale a row, sums of every 32 numbers   vr_dsp_quantise_fn
 *   q, strip of 16 rows of W -> y [T][16]                                                      vr_dsp_strip_fn
 *
 *   a tile: [groups of 32 columns][rows][32 numbers]: what a kernel reads is one stream, whatever the width of a row
 *
 *   y[t][r] = scale_t * sum over groups g of 32 columns, ascending: fma((float)(sum_k q[t][k] w[r][k]), scale[r][g], ...)
 *   and with a least value (Q4M), behind each of these: fma((float)(sum_k q[t][k]), least[r][g], ...)
 *
 * The sum of a group is a whole number and exact; the sum over groups is f32 in one order: all levels give the same bits.
 * Trap:  unsigned weights (number + 128, + 8) times signed rows: the excess is taken off by the sums of the rows, so neither
 *        the sign of a weight nor a row of sums of weights is needed (kernels/vec/strip_body.h).
 */
#ifndef VR_QUANTISED_H
#define VR_QUANTISED_H

#include <stdint.h>

#include "base/strips.h"

#define VR_STRIP_T     6  /* rows of x that a strip kernel with vectors takes at once */
#define VR_STRIP_MAX_T 32 /* one with tiles */

/* Rows of x as a strip kernel reads them. Rows that a last tile does not have are never read. */
typedef struct vr_quantised_rows {
    int8_t *q;     /* [tiles][blocks * 2][tile][32], zeros behind K */
    int32_t *sums; /* [tiles][blocks * 2][tile] */
    float *scale;  /* [T] */
    int blocks;    /* vr_strip_blocks(K) */
    int tile;      /* rows of a tile, 1 .. strip_rows of the level (dsp.h) */
} vr_quantised_rows;

/* Place of the sum of the first group of row t, and of its 32 numbers; those of the next group are `tile` places on. */
static inline int64_t vr_quantised_place(const vr_quantised_rows *x, int t)
{
    return (int64_t)(t / x->tile) * x->tile * x->blocks * 2 + t % x->tile;
}

/* One row, its groups `tile` places apart: scale = largest / 127, q = nearest(x * (127 / largest)), halves to even;
 * largest < 2^-100: zeros, scale 0; a number that is not finite: scale NaN, q zeros. EXACT */
typedef void vr_dsp_quantise_fn(int8_t *q, int32_t *sums, float *scale, const float *x, int K, int tile);

/* y[t][s*16 + r], t < T <= strip_rows, s < n_strips <= 2, strips one behind the other (blocks * block bytes each); rows from
 * `first` on of x, all in one tile; y rows of y_row floats. EXACT between levels */
typedef void vr_dsp_strip_fn(float *y, int64_t y_row, const vr_quantised_rows *x, int first, int T, const void *strip,
                             int n_strips);

#endif
