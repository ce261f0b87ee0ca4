/*
 * stock.c - see stock.h.
 *
 * Ref: ggml-common.h (block_q4_0, block_q4_1, block_q8_0, block_q6_K), ggml-quants.c (dequantize_row_q6_K).
 */
#include "base/stock.h"

#include <string.h>

#include "base/half.h"
#include "base/strips.h"

bool vr_is_stock(uint32_t type)
{
    return type == VR_DTYPE_Q8_0 || type == VR_DTYPE_Q4_0 || type == VR_DTYPE_Q4_1 || type == VR_DTYPE_Q6_K;
}

vr_dtype vr_stock_target(vr_dtype t)
{
    switch (t) {
    case VR_DTYPE_Q8_0:
        return VR_DTYPE_Q8_R16;
    case VR_DTYPE_Q4_0:
        return VR_DTYPE_Q4_R16;
    case VR_DTYPE_Q4_1:
        return VR_DTYPE_Q4M_R16;
    default:
        return VR_DTYPE_F16;
    }
}

size_t vr_stock_target_bytes(vr_dtype t, int rows, int cols)
{
    const vr_dtype target = vr_stock_target(t);
    return target == VR_DTYPE_F16 ? (size_t)rows * (size_t)cols * 2 : vr_strips_bytes(target, rows, cols);
}

/* n numbers of Q6_K, 256 at a time: 128 bytes of low halves, 64 of upper pairs of bits, 16 scales, scale of the scales. Of each
 * 128 numbers the low halves of the first 64 are the lower ones of 64 bytes, and the pairs are four to a byte, 32 apart. */
static void widen_q6_k(uint16_t *out, const unsigned char *stock, int n)
{
    for (int first = 0; first < n; first += 256, stock += 210) {
        uint16_t scale;
        memcpy(&scale, stock + 208, sizeof scale);
        for (int i = 0; i < 256; i++) {
            const int half = i / 128, part = i % 128 / 32, at = i % 32;
            const int both = stock[64 * half + 32 * (part % 2) + at], low = part < 2 ? both & 15 : both >> 4;
            const int high = stock[128 + 32 * half + at] >> 2 * part & 3;
            const int own = (int8_t)stock[192 + 8 * half + 2 * part + at / 16];
            out[first + i] = vr_f32_to_f16(vr_f16_to_f32(scale) * (float)own * (float)((low | high << 4) - 32));
        }
    }
}

void vr_stock_repack(void *out, vr_dtype t, const void *data, int rows, int cols)
{
    int elements, bytes;
    vr_dtype_block((uint32_t)t, &elements, &bytes);
    const size_t row_bytes = (size_t)(cols / elements) * (size_t)bytes;
    if (vr_stock_target(t) == VR_DTYPE_F16) {
        for (int r = 0; r < rows; r++)
            widen_q6_k((uint16_t *)out + (size_t)r * (size_t)cols, (const unsigned char *)data + (size_t)r * row_bytes, cols);
        return;
    }
    for (int r = 0; r < rows; r += VR_STRIP_ROWS) {
        const int n = rows - r < VR_STRIP_ROWS ? rows - r : VR_STRIP_ROWS;
        vr_strip_from_stock((unsigned char *)out + vr_strips_bytes(vr_stock_target(t), r, cols), vr_stock_target(t),
                            (const unsigned char *)data + (size_t)r * row_bytes, row_bytes, n, cols);
    }
}
