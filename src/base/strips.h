/*
 * strips.h - quantised matrices as they lie in a weight file: strips of 16 rows, so that a vector holds one place of 16 rows.
 *
 *   [rows, cols] -> strips of 16 rows -> blocks of 16 rows x 64 columns, one behind the other, ascending columns
 *   block: scales f16 [2 groups of 32 columns][16 rows], then the numbers
 *     Q8: [16 quads of columns][16 rows][4 columns] bytes, number + 128           1088 bytes
 *     Q4: [2 groups][4 quads][16 rows][4 columns], low halves: columns 0..15 of the group, high halves: 16..31; number + 8
 *                                                                                 576 bytes
 *     Q4M: behind the scales as many least values, f16; then the numbers as in Q4, as they are    640 bytes
 *   value = scale * number, Q8: -127..127, Q4: -8..7;  Q4M: scale * number + least, 0..15
 * Rows and columns that do not exist are numbers 0, groups of them have scale (and least value) zero.
 *
 * 64 columns of a row of activations times a strip are 16 products of vectors without a shuffle; a block begins at a multiple
 * of 64 bytes. The same numbers as in stock Q8_0, Q4_0 and Q4_1 blocks, in another order: nothing is lost on the way.
 */
#ifndef VR_STRIPS_H
#define VR_STRIPS_H

#include "base/tensor.h"

#define VR_STRIP_ROWS    16
#define VR_STRIP_COLUMNS 64 /* of a block */
#define VR_STRIP_GROUP   32 /* columns with a scale of their own */

typedef struct vr_q8_block {
    uint16_t scale[2][VR_STRIP_ROWS];
    uint8_t q[16][VR_STRIP_ROWS][4];
} vr_q8_block;

typedef struct vr_q4_block {
    uint16_t scale[2][VR_STRIP_ROWS];
    uint8_t q[2][4][VR_STRIP_ROWS][4];
} vr_q4_block;

typedef struct vr_q4m_block {
    uint16_t scale[2][VR_STRIP_ROWS], least[2][VR_STRIP_ROWS];
    uint8_t q[2][4][VR_STRIP_ROWS][4];
} vr_q4m_block;

/* Blocks of a row of `cols` numbers. */
static inline int vr_strip_blocks(int cols)
{
    return cols / VR_STRIP_COLUMNS + (cols % VR_STRIP_COLUMNS != 0);
}

static inline bool vr_is_strips(vr_dtype t)
{
    return t == VR_DTYPE_Q8_R16 || t == VR_DTYPE_Q4_R16 || t == VR_DTYPE_Q4M_R16;
}

static inline size_t vr_strip_block_bytes(vr_dtype t)
{
    return t == VR_DTYPE_Q8_R16 ? sizeof(vr_q8_block) : t == VR_DTYPE_Q4_R16 ? sizeof(vr_q4_block) : sizeof(vr_q4m_block);
}

/* What is added to a number so that it is kept without a sign. */
static inline int vr_strip_excess(vr_dtype t)
{
    return t == VR_DTYPE_Q8_R16 ? 128 : t == VR_DTYPE_Q4_R16 ? 8 : 0;
}

/* Bytes of a whole matrix. */
size_t vr_strips_bytes(vr_dtype t, int64_t rows, int64_t cols);
/* Of any type. */
static inline size_t vr_matrix_bytes(const vr_matrix *w)
{
    if (!vr_is_strips(w->dtype)) return (size_t)w->rows * (size_t)w->cols * vr_dtype_bytes(w->dtype);
    return (size_t)((w->rows + VR_STRIP_ROWS - 1) / VR_STRIP_ROWS) * (size_t)vr_strip_blocks(w->cols) *
           vr_strip_block_bytes(w->dtype);
}

/* One strip from n <= 16 rows of cols finite numbers, rows of x_row floats -> vr_strip_blocks(cols) blocks at out. Rounds to
 * nearest, halves to even; the scale is that of the largest number of a group, Q4's as in stock files: largest / -8; Q4M's a
 * fifteenth of the way from the least number to the largest. */
void vr_strip_quantise(void *out, vr_dtype t, const float *x, int64_t x_row, int n, int cols);

/* The same strip from stock blocks Q8_0 (to Q8), Q4_0 (to Q4) or Q4_1 (to Q4M), rows of whole blocks of 32, row_bytes apart. */
void vr_strip_from_stock(void *out, vr_dtype t, const void *rows, size_t row_bytes, int n, int cols);

/* y[i] = value of row `row` of the strip at column first + i, i < n. */
void vr_strip_widen(float *y, const void *strip, vr_dtype t, int row, int first, int n);

#endif
