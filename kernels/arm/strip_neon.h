/*
 * strip_neon.h - quantised rows and products with the byte product DOT of an including file: strip_body.h on NEON.
 *
 *   signed weights times signed rows:  Q8: stored ^ 128 is the number;  Q4, Q4M: 0..15 as stored, and a group of Q4 begins
 *   at -8 sum
 *
 * DOT(acc, w, x): acc + products of 4 signed bytes a lane; sums of two products fit 16 bits (2 * 128 * 127).
 * Ref:   kernels/quantised.h.
 */
#ifndef VR_STRIP_NEON_H
#define VR_STRIP_NEON_H

#include <stdbool.h>

#include "kernels/arm/vec_neon.h"

typedef int32x4_t vi;

VR_INLINE vi vi_load(const unsigned char *p)
{
    return vreinterpretq_s32_u8(vld1q_u8(p));
}

VR_INLINE vi vi_set1(int32_t x)
{
    return vdupq_n_s32(x);
}

VR_INLINE vi vi_low_halves(vi x)
{
    return vandq_s32(x, vdupq_n_s32(0x0f0f0f0f));
}

VR_INLINE vi vi_high_halves(vi x)
{
    return vreinterpretq_s32_u8(vshrq_n_u8(vreinterpretq_u8_s32(x), 4));
}

VR_INLINE vf vi_to_float(vi x)
{
    return vcvtq_f32_s32(x);
}

VR_INLINE vi vi_nearest(vf x)
{
    return vcvtnq_s32_f32(x);
}

VR_INLINE vi vi_add(vi a, vi b)
{
    return vaddq_s32(a, b);
}

VR_INLINE int32_t vi_sum(vi x)
{
    return vaddvq_s32(x);
}

VR_INLINE void vi_store_bytes(int8_t *q, vi x)
{
    const int16x4_t words = vmovn_s32(x);
    const int8x8_t bytes = vmovn_s16(vcombine_s16(words, words));
    __builtin_memcpy(q, &bytes, VF);
}

VR_INLINE vi weights(vi w, int excess)
{
    return excess == 128 ? veorq_s32(w, vreinterpretq_s32_u8(vdupq_n_u8(128))) : w;
}

#define DOT_START(sum, excess) vi_set1((excess) == 8 ? -8 * (sum) : 0)
#define DOT_WEIGHTS(w, excess) weights(w, excess)

#include "kernels/vec/strip_body.h"

#include "kernels/vec/quantise_body.h"

/* Two rows and one strip: 8 whole and 8 f32 sums, 4 to 8 vectors of weights. */
VR_INLINE void strips(float *y, int64_t y_row, const vr_quantised_rows *x, int first, int T, const void *strip, int n_strips,
                      vr_dtype type)
{
    const size_t strip_bytes = (size_t)x->blocks * vr_strip_block_bytes(type);
    for (int s = 0; s < n_strips; s++) {
        const unsigned char *at = (const unsigned char *)strip + (size_t)s * strip_bytes;
        for (int t = 0; t < T; t += 2)
            strip_rows(y + t * y_row + s * VR_STRIP_ROWS, y_row, x, first + t, T - t < 2 ? T - t : 2, at, 1, type);
    }
}

#define DEFINE_STRIPS(level)                                                                                                   \
    void vr_strip_q8_##level(float *y, int64_t y_row, const vr_quantised_rows *x, int first, int T, const void *strip,         \
                             int n_strips)                                                                                     \
    {                                                                                                                          \
        strips(y, y_row, x, first, T, strip, n_strips, VR_DTYPE_Q8_R16);                                                       \
    }                                                                                                                          \
    void vr_strip_q4_##level(float *y, int64_t y_row, const vr_quantised_rows *x, int first, int T, const void *strip,         \
                             int n_strips)                                                                                     \
    {                                                                                                                          \
        strips(y, y_row, x, first, T, strip, n_strips, VR_DTYPE_Q4_R16);                                                       \
    }                                                                                                                          \
    void vr_strip_q4m_##level(float *y, int64_t y_row, const vr_quantised_rows *x, int first, int T, const void *strip,        \
                              int n_strips)                                                                                    \
    {                                                                                                                          \
        strips(y, y_row, x, first, T, strip, n_strips, VR_DTYPE_Q4M_R16);                                                      \
    }

#endif
