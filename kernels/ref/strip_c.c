/*
 * strip_c.c - quantised rows and products at level c.
 *
 * Ref: kernels/quantised.h.
 */
#include <math.h>
#include <string.h>

#include "base/half.h"
#include "kernels/dsp.h"

void vr_quantise_c(int8_t *q, int32_t *sums, float *scale, const float *x, int K, int tile)
{
    const int groups = 2 * vr_strip_blocks(K);
    float most = 0, finite = 0;
    for (int k = 0; k < K; k++) {
        most = fmaxf(most, fabsf(x[k]));
        finite += x[k] * 0;
    }
    for (int g = 0; g < groups; g++) {
        memset(q + (ptrdiff_t)g * tile * VR_STRIP_GROUP, 0, VR_STRIP_GROUP);
        sums[(ptrdiff_t)g * tile] = 0;
    }
    *scale = finite == 0 ? most / 127 : NAN;
    if (!(finite == 0) || most < 0x1p-100F) {
        if (finite == 0) *scale = 0;
        return;
    }
    const float inverse = 127 / most;
    for (int k = 0; k < K; k++) {
        const ptrdiff_t place = (ptrdiff_t)(k / VR_STRIP_GROUP) * tile;
        const int8_t whole = (int8_t)rintf(x[k] * inverse);
        q[place * VR_STRIP_GROUP + k % VR_STRIP_GROUP] = whole;
        sums[place] += whole;
    }
}

/* the number of row r at column k of group g (0, 1) of a block */
static int number(const void *block, vr_dtype type, int g, int k, int r)
{
    if (type == VR_DTYPE_Q8_R16) return ((const vr_q8_block *)block)->q[g * 8 + k / 4][r][k % 4] - 128;
    const vr_q4_block *four = block;
    const vr_q4m_block *least = block;
    const int both = type == VR_DTYPE_Q4_R16 ? four->q[g][k % 16 / 4][r][k % 4] : least->q[g][k % 16 / 4][r][k % 4];
    return (k < 16 ? both & 15 : both >> 4) - vr_strip_excess(type);
}

static float scale_of(const void *block, int g, int r)
{
    return vr_f16_to_f32(((const vr_q8_block *)block)->scale[g][r]); /* scales lie first in all kinds */
}

static float least_of(const void *block, int g, int r)
{
    return vr_f16_to_f32(((const vr_q4m_block *)block)->least[g][r]);
}

#define TILE_COLS 8 /* as in select.c */

void vr_pack_strip_c(float *panel, const void *strip, vr_dtype type, int row, int k, int K)
{
    for (int i = 0; i < K; i += VR_STRIP_GROUP) {
        const int g = (k + i) % VR_STRIP_COLUMNS / VR_STRIP_GROUP, end = K - i < VR_STRIP_GROUP ? K - i : VR_STRIP_GROUP;
        const void *block = (const unsigned char *)strip + (size_t)((k + i) / VR_STRIP_COLUMNS) * vr_strip_block_bytes(type);
        for (int c = 0; c < TILE_COLS; c++) {
            const float scale = scale_of(block, g, row + c), least = type == VR_DTYPE_Q4M_R16 ? least_of(block, g, row + c) : 0;
            for (int m = 0; m < end; m++)
                panel[(ptrdiff_t)(i + m) * TILE_COLS + c] = scale * (float)number(block, type, g, m, row + c) + least;
        }
    }
}

/* one row of x, one row of the strip */
static float product(const vr_quantised_rows *x, int t, const unsigned char *strip, vr_dtype type, int r)
{
    const size_t block_bytes = vr_strip_block_bytes(type);
    int64_t place = vr_quantised_place(x, t);
    float sum = 0;
    for (int g = 0; g < 2 * x->blocks; g++, place += x->tile) {
        const int8_t *q = x->q + place * VR_STRIP_GROUP;
        const void *block = strip + (size_t)(g / 2) * block_bytes;
        int32_t whole = 0;
        for (int k = 0; k < VR_STRIP_GROUP; k++) whole += q[k] * number(block, type, g % 2, k, r);
        sum = fmaf((float)whole, scale_of(block, g % 2, r), sum);
        if (type != VR_DTYPE_Q4M_R16) continue;
        sum = fmaf((float)x->sums[place], least_of(block, g % 2, r), sum);
    }
    return sum * x->scale[t];
}

static void strip_product(float *y, int64_t y_row, const vr_quantised_rows *x, int first, int T, const void *strip,
                          int n_strips, vr_dtype type)
{
    for (int t = 0; t < T; t++) {
        for (int s = 0; s < n_strips; s++) {
            const unsigned char *at = (const unsigned char *)strip + (size_t)s * (size_t)x->blocks * vr_strip_block_bytes(type);
            for (int r = 0; r < VR_STRIP_ROWS; r++) y[t * y_row + s * VR_STRIP_ROWS + r] = product(x, first + t, at, type, r);
        }
    }
}

void vr_strip_q8_c(float *y, int64_t y_row, const vr_quantised_rows *x, int first, int T, const void *strip, int n_strips)
{
    strip_product(y, y_row, x, first, T, strip, n_strips, VR_DTYPE_Q8_R16);
}

void vr_strip_q4_c(float *y, int64_t y_row, const vr_quantised_rows *x, int first, int T, const void *strip, int n_strips)
{
    strip_product(y, y_row, x, first, T, strip, n_strips, VR_DTYPE_Q4_R16);
}

void vr_strip_q4m_c(float *y, int64_t y_row, const vr_quantised_rows *x, int first, int T, const void *strip, int n_strips)
{
    strip_product(y, y_row, x, first, T, strip, n_strips, VR_DTYPE_Q4M_R16);
}
