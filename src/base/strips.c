/*
 * strips.c - see strips.h.
 *
 * Ref:  ggml-quants.c (quantize_row_q8_0_ref, quantize_row_q4_0_ref: which scale a group gets); here the scale is rounded to f16
 *       first and the numbers are those nearest under the rounded one.
 */
#include "base/strips.h"

#include <math.h>
#include <string.h>

#include "base/half.h"

size_t vr_strip_block_bytes(vr_dtype t)
{
    return t == VR_DTYPE_Q8_R16 ? sizeof(vr_q8_block) : sizeof(vr_q4_block);
}

size_t vr_strips_bytes(vr_dtype t, int64_t rows, int64_t cols)
{
    const int64_t strips = (rows + VR_STRIP_ROWS - 1) / VR_STRIP_ROWS;
    const int64_t blocks = (cols + VR_STRIP_COLUMNS - 1) / VR_STRIP_COLUMNS;
    return (size_t)strips * (size_t)blocks * vr_strip_block_bytes(t);
}

/* Where the number of row r at column c (0..63) of a block is kept. */
static void set8(vr_q8_block *b, int r, int c, int number)
{
    b->q[c / 4][r][c % 4] = (uint8_t)(number + 128);
}

static void set4(vr_q4_block *b, int r, int c, int number)
{
    const int g = c / VR_STRIP_GROUP, k = c % VR_STRIP_GROUP;
    uint8_t *at = &b->q[g][k % 16 / 4][r][k % 4];
    *at = (uint8_t)(k < 16 ? (*at & 0xf0) | (number + 8) : (*at & 0x0f) | (number + 8) << 4);
}

static int get8(const vr_q8_block *b, int r, int c)
{
    return (int)b->q[c / 4][r][c % 4] - 128;
}

static int get4(const vr_q4_block *b, int r, int c)
{
    const int g = c / VR_STRIP_GROUP, k = c % VR_STRIP_GROUP, both = b->q[g][k % 16 / 4][r][k % 4];
    return (k < 16 ? both & 15 : both >> 4) - 8;
}

/* A block of zeros with scale zero. */
static void clear(void *block, vr_dtype t)
{
    vr_q8_block *b8 = block;
    vr_q4_block *b4 = block;
    if (t == VR_DTYPE_Q8_R16) {
        memset(b8->scale, 0, sizeof b8->scale);
        memset(b8->q, 128, sizeof b8->q);
    } else {
        memset(b4->scale, 0, sizeof b4->scale);
        memset(b4->q, 0x88, sizeof b4->q);
    }
}

static void set(void *block, vr_dtype t, int r, int c, int number)
{
    if (t == VR_DTYPE_Q8_R16)
        set8(block, r, c, number);
    else
        set4(block, r, c, number);
}

static uint16_t *scale_of(void *block, int group, int r)
{
    return &((vr_q8_block *)block)->scale[group][r]; /* scales lie first in both kinds */
}

/* The number of largest size, with its sign; the first among equals. */
static float largest(const float *x, int n)
{
    float found = 0;
    for (int i = 0; i < n; i++)
        if (fabsf(x[i]) > fabsf(found)) found = x[i];
    return found;
}

static void quantise_group(void *block, vr_dtype t, int r, int group, const float *x, int n)
{
    const int least = t == VR_DTYPE_Q8_R16 ? -127 : -8, most = t == VR_DTYPE_Q8_R16 ? 127 : 7;
    const float top = largest(x, n), wanted = t == VR_DTYPE_Q8_R16 ? fabsf(top) / 127 : top / -8;
    const uint16_t half = vr_f32_to_f16(fminf(fmaxf(wanted, -65504.0F), 65504.0F));
    const float scale = vr_f16_to_f32(half);
    *scale_of(block, group, r) = half;
    for (int i = 0; i < n; i++) {
        const float number = scale != 0 ? rintf(x[i] / scale) : 0;
        set(block, t, r, group * VR_STRIP_GROUP + i, (int)fminf(fmaxf(number, (float)least), (float)most));
    }
}

void vr_strip_quantise(void *out, vr_dtype t, const float *x, int64_t x_row, int n, int cols)
{
    for (int b = 0; b < vr_strip_blocks(cols); b++) {
        unsigned char *block = (unsigned char *)out + (size_t)b * vr_strip_block_bytes(t);
        clear(block, t);
        for (int r = 0; r < n; r++) {
            for (int g = 0; g < 2; g++) {
                const int first = b * VR_STRIP_COLUMNS + g * VR_STRIP_GROUP, left = cols - first;
                if (left > 0)
                    quantise_group(block, t, r, g, x + r * x_row + first, left < VR_STRIP_GROUP ? left : VR_STRIP_GROUP);
            }
        }
    }
}

void vr_strip_from_stock(void *out, vr_dtype t, const void *rows, size_t row_bytes, int n, int cols)
{
    const bool eight = t == VR_DTYPE_Q8_R16;
    const size_t stock_bytes = eight ? 34 : 18;
    for (int b = 0; b < vr_strip_blocks(cols); b++) clear((unsigned char *)out + (size_t)b * vr_strip_block_bytes(t), t);
    for (int r = 0; r < n; r++) {
        const unsigned char *stock = (const unsigned char *)rows + (size_t)r * row_bytes;
        for (int first = 0; first < cols; first += VR_STRIP_GROUP, stock += stock_bytes) {
            unsigned char *block = (unsigned char *)out + (size_t)(first / VR_STRIP_COLUMNS) * vr_strip_block_bytes(t);
            const int column = first % VR_STRIP_COLUMNS;
            memcpy(scale_of(block, column / VR_STRIP_GROUP, r), stock, sizeof(uint16_t));
            for (int i = 0; i < VR_STRIP_GROUP; i++) {
                const int both = stock[2 + i % 16];
                const int eighth = eight ? (int8_t)stock[2 + i] : 0;
                const int number = eight ? (eighth < -127 ? -127 : eighth) : (i < 16 ? both & 15 : both >> 4) - 8;
                set(block, t, r, column + i, number);
            }
        }
    }
}

void vr_strip_widen(float *y, const void *strip, vr_dtype t, int row, int first, int n)
{
    for (int i = 0; i < n; i++) {
        const int column = first + i, c = column % VR_STRIP_COLUMNS;
        const unsigned char *block =
            (const unsigned char *)strip + (size_t)(column / VR_STRIP_COLUMNS) * vr_strip_block_bytes(t);
        const float scale = vr_f16_to_f32(((const vr_q8_block *)(const void *)block)->scale[c / VR_STRIP_GROUP][row]);
        const int number = t == VR_DTYPE_Q8_R16 ? get8((const void *)block, row, c) : get4((const void *)block, row, c);
        y[i] = scale * (float)number;
    }
}
