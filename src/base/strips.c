/*
 * strips.c - see strips.h.
 *
 * Ref:  ggml-quants.c (quantize_row_q8_0_ref, quantize_row_q4_0_ref, quantize_row_q4_1_ref: which scale a group gets);
 *       here scale and least value are rounded to f16 first and the numbers are those nearest under the rounded ones.
 */
#include "base/strips.h"

#include <math.h>
#include <string.h>

#include "base/half.h"

size_t vr_strips_bytes(vr_dtype t, int64_t rows, int64_t cols)
{
    const int64_t strips = (rows + VR_STRIP_ROWS - 1) / VR_STRIP_ROWS;
    const int64_t blocks = (cols + VR_STRIP_COLUMNS - 1) / VR_STRIP_COLUMNS;
    return (size_t)strips * (size_t)blocks * vr_strip_block_bytes(t);
}

/* Places in a block, in bytes: of the number of row r at column c (0..63), and of scale and least value of a group. */
static size_t number_at(vr_dtype t, int r, int c)
{
    const int quad = t == VR_DTYPE_Q8_R16 ? c / 4 : c / VR_STRIP_GROUP * 4 + c % 16 / 4;
    const size_t numbers = t == VR_DTYPE_Q4M_R16 ? offsetof(vr_q4m_block, q) : offsetof(vr_q8_block, q);
    return numbers + (size_t)((quad * VR_STRIP_ROWS + r) * 4 + c % 4);
}

static size_t scale_at(int group, int r)
{
    return sizeof(uint16_t) * (size_t)(group * VR_STRIP_ROWS + r); /* scales lie first in all kinds */
}

static size_t least_at(int group, int r)
{
    return offsetof(vr_q4m_block, least) + scale_at(group, r);
}

static float half_at(const unsigned char *block, size_t at)
{
    uint16_t half;
    memcpy(&half, block + at, sizeof half);
    return vr_f16_to_f32(half);
}

/* Numbers beyond the largest half are cut. Returns what was kept. */
static float set_half(unsigned char *block, size_t at, float x)
{
    const uint16_t half = vr_f32_to_f16(fminf(fmaxf(x, -65504.0F), 65504.0F));
    memcpy(block + at, &half, sizeof half);
    return vr_f16_to_f32(half);
}

static bool is_high(int c)
{
    return c % VR_STRIP_GROUP >= 16;
}

static void set(unsigned char *block, vr_dtype t, int r, int c, int number)
{
    unsigned char *const at = block + number_at(t, r, c);
    const int kept = number + vr_strip_excess(t);
    *at = (unsigned char)(t == VR_DTYPE_Q8_R16 ? kept : is_high(c) ? (*at & 0x0f) | kept << 4 : (*at & 0xf0) | kept);
}

static int get(const unsigned char *block, vr_dtype t, int r, int c)
{
    const int kept = block[number_at(t, r, c)];
    return (t == VR_DTYPE_Q8_R16 ? kept : is_high(c) ? kept >> 4 : kept & 15) - vr_strip_excess(t);
}

/* A block of zeros with scale zero. */
static void clear(unsigned char *block, vr_dtype t)
{
    const size_t head = number_at(t, 0, 0), n_bytes = vr_strip_block_bytes(t);
    memset(block, 0, head);
    memset(block + head, t == VR_DTYPE_Q8_R16 ? 128 : vr_strip_excess(t) * 0x11, n_bytes - head);
}

/* The number of largest size, with its sign; the first among equals. */
static float largest(const float *x, int n)
{
    float found = 0;
    for (int i = 0; i < n; i++)
        if (fabsf(x[i]) > fabsf(found)) found = x[i];
    return found;
}

static void quantise_group(unsigned char *block, vr_dtype t, int r, int group, const float *x, int n)
{
    const int lowest = t == VR_DTYPE_Q8_R16 ? -127 : t == VR_DTYPE_Q4_R16 ? -8 : 0;
    const int highest = t == VR_DTYPE_Q8_R16 ? 127 : t == VR_DTYPE_Q4_R16 ? 7 : 15;
    float least = 0, wanted = largest(x, n);
    if (t == VR_DTYPE_Q4M_R16) {
        float most = x[0];
        least = x[0];
        for (int i = 1; i < n; i++) most = fmaxf(most, x[i]), least = fminf(least, x[i]);
        least = set_half(block, least_at(group, r), least);
        wanted = fmaxf(most - least, 0) / 15;
    } else {
        wanted = t == VR_DTYPE_Q8_R16 ? fabsf(wanted) / 127 : wanted / -8;
    }
    const float scale = set_half(block, scale_at(group, r), wanted);
    for (int i = 0; i < n; i++) {
        const float number = scale != 0 ? rintf((x[i] - least) / scale) : 0;
        set(block, t, r, group * VR_STRIP_GROUP + i, (int)fminf(fmaxf(number, (float)lowest), (float)highest));
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
    const bool eight = t == VR_DTYPE_Q8_R16, least = t == VR_DTYPE_Q4M_R16;
    const size_t head = least ? 4 : 2, stock_bytes = head + (eight ? 32 : 16);
    for (int b = 0; b < vr_strip_blocks(cols); b++) clear((unsigned char *)out + (size_t)b * vr_strip_block_bytes(t), t);
    for (int r = 0; r < n; r++) {
        const unsigned char *stock = (const unsigned char *)rows + (size_t)r * row_bytes;
        for (int first = 0; first < cols; first += VR_STRIP_GROUP, stock += stock_bytes) {
            unsigned char *block = (unsigned char *)out + (size_t)(first / VR_STRIP_COLUMNS) * vr_strip_block_bytes(t);
            const int column = first % VR_STRIP_COLUMNS;
            memcpy(block + scale_at(column / VR_STRIP_GROUP, r), stock, sizeof(uint16_t));
            if (least) memcpy(block + least_at(column / VR_STRIP_GROUP, r), stock + 2, sizeof(uint16_t));
            for (int i = 0; i < VR_STRIP_GROUP; i++) {
                const int both = stock[head + (size_t)i % 16];
                const int eighth = eight ? (int8_t)stock[2 + i] : 0;
                const int number = (i < 16 ? both & 15 : both >> 4) - vr_strip_excess(t);
                set(block, t, r, column + i, !eight ? number : eighth < -127 ? -127 : eighth);
            }
        }
    }
}

void vr_strip_widen(float *y, const void *strip, vr_dtype t, int row, int first, int n)
{
    const bool has_least = t == VR_DTYPE_Q4M_R16;
    for (int i = 0; i < n;) {
        const int column = first + i, left = VR_STRIP_GROUP - column % VR_STRIP_GROUP, end = left < n - i ? i + left : n;
        const unsigned char *block =
            (const unsigned char *)strip + (size_t)(column / VR_STRIP_COLUMNS) * vr_strip_block_bytes(t);
        const int group = column % VR_STRIP_COLUMNS / VR_STRIP_GROUP;
        const float scale = half_at(block, scale_at(group, row)), least = has_least ? half_at(block, least_at(group, row)) : 0;
        for (; i < end; i++) {
            y[i] = scale * (float)get(block, t, row, (first + i) % VR_STRIP_COLUMNS);
            if (has_least) y[i] += least;
        }
    }
}
